import json
import subprocess
import sys
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import jsonschema
import matplotlib
import numpy as np
import pytest
import torch

import shufflenet
from shufflenet.deploy import bench as bench_module
from shufflenet.deploy.bench import bench, select
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.plot import plot_bench
from shufflenet.deploy.runtime import Runtime
from shufflenet.deploy.runtimes import RUNTIMES
from shufflenet.deploy.worker import _receive, start
from shufflenet.errors import UserError

SIZE = (64, 64)
SCHEMA = Path(__file__).parents[2] / "docs" / "bench.schema.json"


@pytest.fixture(scope="module")
def done(network):
    absent = replace(RUNTIMES["ncnn"], runs=("no_such_module",))
    failing = replace(RUNTIMES["openvino"], write=_refuse)
    runtimes = [RUNTIMES["torch"], absent, RUNTIMES["onnx"], failing, RUNTIMES["compiled"], RUNTIMES["mnn"]]
    return bench(network("shufflenet_x0_25_g8"), runtimes, size=SIZE, rounds=3)


def _refuse(source, folder):
    raise RuntimeError("a converter's own error")


def test_the_record_keeps_to_its_schema(done):
    record = json.loads(json.dumps(done.to_json()))
    jsonschema.validate(record, json.loads(SCHEMA.read_text()), format_checker=jsonschema.FormatChecker())
    assert {row["runtime"] for row in record["rows"]} == {"torch", "onnx", "compiled", "mnn"}


def test_the_fastest_comes_first_and_all_agree_with_torch(done):
    medians = [row.median_ms for row in done.rows]
    assert medians == sorted(medians)
    for row in done.rows:
        assert row.minimum_ms <= row.p10_ms <= row.median_ms <= row.p90_ms
        assert row.runs >= 3
        assert row.parity.max_relative_difference < 1e-4
        assert row.file_bytes / 4 < row.network_memory_bytes < row.peak_memory_bytes < 2**31


def test_processes_of_other_runtimes_do_not_hold_torch(done):
    memory = {row.runtime: row.peak_memory_bytes for row in done.rows}
    assert 2 * memory["onnx"] < memory["torch"]
    code = "import sys, shufflenet.deploy.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_missing_and_failing_runtimes_are_a_line_each(done):
    reasons = {absent.runtime: absent.reason for absent in done.absent}
    assert reasons == {
        "ncnn": "ncnn needs no_such_module: pip install 'shufflenet[ncnn]'",
        "openvino": "a converter's own error",
    }


def test_the_plot_is_written(done, tmp_path):
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text
        plot_bench(done, tmp_path / "bench.svg")
    text = (tmp_path / "bench.svg").read_text()
    places = [text.index(f">{done.label(row)}<") for row in done.rows]
    assert places == sorted(places)  # the fastest first
    for row in done.rows:
        assert f"{row.median_ms:.2f} ms" in text
    assert f">{done.title}<" in text
    plot_bench(done, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


class Recorder:
    """In place of a worker: notes who ran when."""

    def __init__(self, name, ms, calls):
        self.name, self.ms, self.calls = name, ms, calls

    def times_ms(self, runs):
        self.calls.append((self.name, runs))
        return [self.ms] * runs


def test_rounds_are_interleaved_and_slow_runtimes_run_less_often():
    calls = []
    workers = [Recorder("fast", 1.0, calls), Recorder("slow", 60.0, calls), Recorder("slowest", 500.0, calls)]
    times = bench_module._interleaved(workers, 2, lambda _: None)
    one_round = [("fast", 10), ("slow", 2), ("slowest", 1)]
    assert calls == [("fast", 1), ("slow", 1), ("slowest", 1), *one_round, *one_round]
    assert [len(ms) for ms in times] == [20, 4, 2]


@pytest.mark.parametrize("name", ["torch", "onnx", "openvino", "ncnn", "mnn", "compiled"])
def test_one_thread_does_all_the_work(network, name, tmp_path):
    source = Exportable(network("shufflenet_x0_25_g8"), SIZE)
    path = RUNTIMES[name].write(source, tmp_path)[0]
    np.save(tmp_path / "x.npy", np.ones((1, *source.input_shape), np.float32))
    code = (
        "import sys, time, numpy as np; from pathlib import Path; from shufflenet.deploy.runtimes import RUNTIMES\n"
        "run, x = RUNTIMES[sys.argv[1]].load(Path(sys.argv[2]), 1), np.load(sys.argv[3])\n"
        "run(x); process, thread = time.process_time(), time.thread_time()\n"
        "for _ in range(100): run(x)\n"
        "print(); print((time.thread_time() - thread) / (time.process_time() - process))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, name, path, tmp_path / "x.npy"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.splitlines()[-1]) > 0.9


def test_runtimes_are_chosen_by_name():
    assert [runtime.name for runtime in select("onnx, torch")] == ["onnx", "torch"]
    assert [runtime.name for runtime in select("all")] == list(RUNTIMES)
    with pytest.raises(UserError, match="there is no runtime 'tensorrt'"):
        select("onnx,tensorrt")


def test_a_runtime_that_fails_or_crashes_says_why(tmp_path):
    x = np.zeros((1, 3, 8, 8), np.float32)
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    with (
        pytest.raises(UserError, match=r"ONNX Runtime failed: .*broken\.onnx"),
        start(RUNTIMES["onnx"], tmp_path / "broken.onnx", x),
    ):
        pass
    unknown = Runtime(name="unknown", title="Unknown", package="", write=_refuse, load=_refuse)
    with pytest.raises(UserError, match="Unknown failed: KeyError"), start(unknown, tmp_path / "none", x):
        pass


def test_a_process_that_ends_without_an_answer_leaves_its_last_words(tmp_path):
    ours, theirs = Pipe()
    theirs.close()
    (tmp_path / "log").write_text("loading\nillegal instruction\n")
    with pytest.raises(UserError, match="Runtime crashed; its last words were 'illegal instruction'"):
        _receive(ours, "Runtime", tmp_path / "log")


def test_integers_stand_beside_the_float32_network_with_the_error_of_both(network, tmp_path):
    net = shufflenet.load("fashion-mnist/shufflenet_x0_25_g8")
    int8 = shufflenet.quantize(net, "fashion-mnist-7k", pictures=64)
    tested = bench_module.test_pictures(int8, "fashion-mnist-7k", (28, 28), 100)
    runtimes = [RUNTIMES[name] for name in ("compiled", "onnx", "openvino", "ncnn", "mnn", "torch")]
    done = bench(int8, runtimes, size=(28, 28), rounds=1, tested=tested)
    measured = {(row.runtime, row.element): row for row in done.rows}
    expected = {(runtime.name, element) for runtime in runtimes for element in ("int8", "float32")}
    assert measured.keys() == expected - {("torch", "int8")}
    (absent,) = done.absent
    assert (absent.runtime, absent.reason) == ("torch", "PyTorch gets no int8 network from here")
    with torch.inference_mode():
        found = int8(torch.from_numpy(tested.inputs)).argmax(1).numpy()
    assert measured["compiled", "int8"].top1_error == 100 * float((found != tested.labels).mean())
    assert measured["compiled", "int8"].parity.max_relative_difference == 0
    assert measured["onnx", "int8"].parity.max_relative_difference > 0
    ncnn = measured["ncnn", "int8"]  # with ranges of its own, and one scale for the weights of a group
    assert ncnn.top1_error <= measured["torch", "float32"].top1_error + 10
    assert ncnn.file_bytes < 0.6 * measured["ncnn", "float32"].file_bytes
    assert measured["compiled", "float32"].top1_error == measured["torch", "float32"].top1_error
    assert done.label(done.rows[0]).endswith(", int8") or done.label(done.rows[0]).endswith(", float32")
    record = json.loads(json.dumps(done.to_json()))
    jsonschema.validate(record, json.loads(SCHEMA.read_text()), format_checker=jsonschema.FormatChecker())
    assert record["test_pictures"] == 100


def test_half_precision_has_rows_of_its_own(tmp_path, monkeypatch):
    net = shufflenet.create("shufflenet_x0_25_g8", num_classes=10, stem="small").eval()
    done = bench(net, [RUNTIMES["compiled"], RUNTIMES["torch"]], size=(28, 28), rounds=1, element="float16")
    measured = {(row.runtime, row.element): row for row in done.rows}
    assert measured.keys() == {("compiled", "float16"), ("compiled", "float32"), ("torch", "float32")}
    assert [absent.reason for absent in done.absent] == ["PyTorch gets no float16 network from here"]
    apart = measured["compiled", "float16"].parity.max_relative_difference
    assert measured["compiled", "float32"].parity.max_relative_difference < apart <= 5e-3
    assert done.label(measured["compiled", "float16"]) == "compiled C, float16"
