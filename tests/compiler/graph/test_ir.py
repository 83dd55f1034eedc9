from dataclasses import replace

import numpy as np
import pytest

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import (
    RELU,
    Activate,
    Activation,
    Convolution,
    Copy,
    Elementwise,
    Graph,
    Pool,
    Port,
    Tensor,
    View,
    every_window_touches,
    output_size,
)
from shufflenet.compiler.graph.verify import verify


def graph() -> Graph:
    """A grouped convolution of stride 2 that writes its rows shuffled, and a ReLU."""
    x, y, z = Tensor("x", 6, 8, 7), Tensor("y", 6, 4, 4), Tensor("z", 6, 4, 4)
    convolution = Convolution(
        name="y",
        output=View("y", (0, 3, 1, 4, 2, 5)),
        input=x.whole,
        weight="w",
        bias="b",
        stride=(2, 2),
        padding=(1, 1, 1, 1),
        groups=3,
    )
    activate = Activate(name="z", output=z.whole, input=y.whole, activation=RELU)
    return Graph(
        (Port("x", x.whole, (1, 6, 8, 7)),),
        (Port("z", z.whole, (1, 6, 4, 4)),),
        (convolution, activate),
        {"x": x, "y": y, "z": z},
        {"w": np.zeros((6, 2, 3, 3), np.float32), "b": np.zeros(6, np.float32)},
    )


def with_operation(index: int, **changes: object) -> Graph:
    sound = graph()
    operations = list(sound.operations)
    operations[index] = replace(operations[index], **changes)
    return replace(sound, operations=tuple(operations))


def test_a_sound_graph_passes_unchanged():
    sound = graph()
    assert verify(sound) is sound


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda: with_operation(0, output=View("y", (0, 3, 1, 4, 2, 2))), "Convolution 'y' writes y.* a second time"),
        (lambda: with_operation(0, output=View("x", (0, 1, 2, 3, 4, 5))), "a second time"),
        (lambda: with_operation(0, input=View("x", (0, 1, 2, 3, 4, 6))), r"uses x\[0:5, 6\] of Tensor"),
        (lambda: with_operation(0, input=View("q", (0,))), "uses 'q' which is no tensor"),
        (lambda: with_operation(0, input=View("z", (0, 1, 2, 3, 4, 5))), "reads z.* before all of it is written"),
        (lambda: with_operation(0, stride=(1, 2)), r"makes \[8, 7\] into \(8, 4\) not \[4, 4\]"),
        (lambda: with_operation(0, groups=2), r"weights \(6, 2, 3, 3\) in 2 groups for 6 to 6"),
        (lambda: with_operation(0, weight="v"), "'v' which is no constant"),
        (lambda: with_operation(0, bias="w"), "bias 'w' for 6 channels"),
        (lambda: with_operation(0, addend=View("x", (0, 1, 2, 3, 4, 5))), "adds"),
        (lambda: with_operation(1, name="y"), "shares its name"),
        (lambda: with_operation(1, output=View("x", (0,))), "a second time"),
        (lambda: replace(graph(), operations=graph().operations[:1]), "output 'z' is z.*not all written"),
        (lambda: replace(graph(), outputs=(Port("z", View("x", (0,)), (1, 1, 8, 7)),)), "output 'z' is an input"),
        (
            lambda: replace(graph(), outputs=(Port("z", View("z", (0,)), (1, 2, 4, 4)),)),
            r"\[1, 2, 4, 4\] does not fit \(1, 4, 4\)",
        ),
        (lambda: replace(graph(), constants={"w": np.zeros((6, 2, 3, 3), int)}), "constant 'w'"),
        (lambda: replace(graph(), tensors={**graph().tensors, "z": Tensor("z", 0, 4, 4)}), "tensor 'z'"),
    ],
)
def test_a_broken_rule_is_named(broken, message):
    with pytest.raises(CompileError, match=message):
        verify(broken())


def test_pool_windows_must_hold_input():
    x, y = Tensor("x", 1, 4, 4), Tensor("y", 1, 3, 3)
    pool = Pool(name="y", output=y.whole, kind="max", input=x.whole, kernel=(2, 2), stride=(2, 2), padding=(0, 0, 2, 2))
    ports = (Port("x", x.whole, (1, 1, 4, 4)),), (Port("y", y.whole, (1, 1, 3, 3)),)
    with pytest.raises(CompileError, match="holds only padding"):
        verify(Graph(*ports, (pool,), {"x": x, "y": y}))


@pytest.mark.parametrize(
    "right", [Tensor("r", 3, 4, 5), Tensor("r", 3, 1, 1), Tensor("r", 3, 4, 1), Tensor("r", 1, 1, 1)]
)
def test_right_operand_is_a_plane_or_a_number_a_channel(right):
    left, out = Tensor("l", 3, 4, 5), Tensor("o", 3, 4, 5)
    add = Elementwise(name="o", output=out.whole, kind="add", left=left.whole, right=right.whole)
    inputs = Port("l", left.whole, (1, *left.shape)), Port("r", right.whole, (1, *right.shape))
    candidate = Graph(inputs, (Port("o", out.whole, (1, *out.shape)),), (add,), {"l": left, "r": right, "o": out})
    if right.channels == 3 and (right.height, right.width) in ((4, 5), (1, 1)):
        verify(candidate)
    else:
        with pytest.raises(CompileError, match=r"\(3, 4, 5\) and"):
            verify(candidate)


def test_constants_and_tensors_cannot_be_changed():
    sound = graph()
    with pytest.raises(ValueError, match="read-only"):
        sound.constants["w"][0] = 1
    with pytest.raises(TypeError):
        sound.tensors["x"] = Tensor("x", 1, 1, 1)  # type: ignore[index]


def test_text_shows_planes_as_runs_and_only_what_is_not_default():
    lines = str(graph()).splitlines()
    assert lines[0] == "input x [1, 6, 8, 7] = x[0:6]"
    assert (
        "y[0, 3, 1, 4, 2, 5] = Convolution 'y': input=x[0:6], weight=w, bias=b, stride=(2, 2), padding=(1, 1, 1, 1), groups=3"
        in lines
    )
    assert "z[0:6] = Activate 'z': input=y[0:6], activation=relu" in lines
    assert str(Activation("clip", 0.0, 6.0)) == "clip 0 6"
    copy = Copy(name="c", output=View("c", (0, 1)), pieces=(View("a", (4,)), View("b", (0,))))
    assert copy.inputs == copy.pieces


def test_views_select():
    view = View("x", (5, 3, 4))
    assert view.select(range(1, 3)) == View("x", (3, 4))
    assert view.select((1,)).is_contiguous
    assert view.select((1, 2)).is_contiguous
    assert not view.is_contiguous


def test_sizes_of_windows():
    assert output_size((224, 97), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)) == (112, 49)
    assert output_size((5, 9), (2, 3), (1, 2), (0, 1, 2, 0), (2, 3)) == (5, 2)
    assert every_window_touches((4, 4), (3, 3), (3, 3), (2, 2), (1, 1, 1, 1), (1, 1))
    assert not every_window_touches((4, 4), (4, 3), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1))
    # Dilated, a window may straddle the whole input and touch none of it.
    assert not every_window_touches((1, 1), (1, 1), (2, 1), (1, 1), (1, 0, 1, 0), (2, 1))
