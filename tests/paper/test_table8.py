import math

import pytest

from shufflenet.deploy.runtimes import RUNTIMES
from shufflenet.paper import published, table8
from shufflenet.paper.measured_tables import COMPILED_ALEXNET, gain, measured_times, printed_times
from shufflenet.paper.results import Results
from shufflenet.paper.tables import table


def record(ms):
    """A bench's record in which a network takes ms(multiply-adds in millions, size)."""
    rows = [
        {"variant": row.variant, "size": list(size), "median_ms": ms(row.multiply_adds, size)}
        for row in published.TABLE8
        for size in published.SIZES
    ]
    return {"runtime": "compiled C 1.2.3", "host": "a machine", "threads": 1, "rows": rows}


PROPORTIONAL = record(lambda work, size: work * size[0] * size[1] / 1e6)


def test_time_in_proportion_to_work_gains_what_theory_says():
    assert table8.time_factor(measured_times(PROPORTIONAL), (480, 640)) == pytest.approx(4)
    half = record(lambda work, size: math.sqrt(work))
    assert table8.time_factor(measured_times(half), (224, 224)) == pytest.approx(2)
    # The paper: 18× in theory, 13× in fact.
    assert gain(measured_times(PROPORTIONAL), "shufflenet_x0_5_g3", (224, 224)) == pytest.approx(720 / 38)
    assert gain(printed_times(), "shufflenet_x0_5_g3", (224, 224)) == pytest.approx(184.0 / 15.2)
    assert {gain(printed_times(), "alexnet", size) for size in published.SIZES} == {1.0}
    assert gain({}, "alexnet", (224, 224)) is None


def test_the_printed_figures_give_about_the_printed_factor():
    for size in published.SIZES:
        assert table8.time_factor(printed_times(), size) == pytest.approx(2.6, abs=0.3)


def test_measured_and_printed_times_stand_side_by_side():
    small, _, large = table(8, Results(speed=PROPORTIONAL)).written()
    assert small[0] == ["ShuffleNet 0.5× (g = 3)", "224×224", "43.2", "38M", "15.2", "1.91", "18.9×", "12.1×", "18.9×"]
    assert large[1][:2] == ["ShuffleNet 1× (g = 3)", "720×1280"]
    assert large[1][4:6] == ["684.5", "129.02"]
    assert len(table8.scaling_lines(PROPORTIONAL)) == 4


def test_the_record_is_what_paper_table_8_reads(monkeypatch):
    small = tuple(row for row in published.TABLE8 if row.variant in ("shufflenet_x0_5_g3", "shufflenet_x1_0_g3"))
    monkeypatch.setattr(published, "TABLE8", small)
    monkeypatch.setattr(published, "SIZES", ((64, 64), (96, 80)))
    measured = table8.measure(RUNTIMES["onnx"], threads=1, rounds=2, progress=lambda _: None)
    assert len(measured["rows"]) == 4
    for row in small:
        for size in published.SIZES:
            assert measured_times(measured)[row.variant, size] > 0
    assert measured["runtime"].startswith("ONNX Runtime 1.")
    assert measured["host"]


def test_the_whole_record_makes_the_papers_table(tmp_path):
    view = table(8, Results(speed=PROPORTIONAL))
    assert view.notes == ("Measured: compiled C 1.2.3 on a machine, 1 thread.", COMPILED_ALEXNET)
    another = table(8, Results(speed={**PROPORTIONAL, "runtime": "ONNX Runtime 1.2.3"}))
    assert another.notes == ("Measured: ONNX Runtime 1.2.3 on a machine, 1 thread.",)
    table8.plot(PROPORTIONAL, tmp_path / "table8.png")
    assert (tmp_path / "table8.png").read_bytes().startswith(b"\x89PNG")
