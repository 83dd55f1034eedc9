"""Steps on planes as C: the calls of kernels/planes.c, pool.c, resample.c and channels.c, every number a constant."""

from collections.abc import Iterator

from shufflenet.compiler.c.addresses import scratch, window
from shufflenet.compiler.c.calls import body, limits, planes, through
from shufflenet.compiler.c.definitions import Definitions, activation_kind, number
from shufflenet.compiler.c.units import count_planes
from shufflenet.compiler.plan import plane_steps as steps


@body.register
def _(step: steps.PoolPlanes, definitions: Definitions) -> Iterator[str]:
    w, kind = step.window, activation_kind(step.activation)
    scales = "NULL, NULL"
    if not step.largest:
        scales = f"{definitions.table('float', step.row_scale)}, {definitions.table('float', step.column_scale)}"
    operands = f"{planes(step.input, definitions, step)}, {planes(step.output, definitions, step)}"
    yield f"pool_planes({int(step.largest)}, {window(w, 0, 0)}, {w.output_height}, {kind}, {count_planes(step)},"
    yield f"            {operands}, {scales}, {limits(step)}, (scalar *)({scratch(step)}));"


@body.register
def _(step: steps.Reduce, definitions: Definitions) -> Iterator[str]:
    kind = activation_kind(step.activation)
    yield f"reduce_planes({int(step.largest)}, {step.size}, {kind}, {through(step, step.input, definitions)}, {limits(step)});"


@body.register
def _(step: steps.ResamplePlanes, definitions: Definitions) -> Iterator[str]:
    bands = definitions.table("int32_t", step.bands)
    sizes = f"{int(step.from_left)}, {step.rows}, {step.inner}, {step.columns}, {bands}"
    yield f"resample_planes({sizes}, {definitions.weights(step.weights)}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.RepeatPlanes, definitions: Definitions) -> Iterator[str]:
    sizes = f"{step.rows}, {step.columns}, {step.down}, {step.across}"
    yield f"repeat_planes({sizes}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.Combine, definitions: Definitions) -> Iterator[str]:
    how = f"{int(step.multiply)}, {int(step.right_is_number)}, {step.size}, {activation_kind(step.activation)}"
    operands = ", ".join(planes(p, definitions, step) for p in (step.left, step.right, step.addend, step.output))
    yield f"combine_planes({how}, {count_planes(step)},"
    yield f"               {operands}, {limits(step)});"


@body.register
def _(step: steps.ActivatePlanes, definitions: Definitions) -> Iterator[str]:
    kind = activation_kind(step.activation)
    yield f"activate_planes({step.size}, {kind}, {through(step, step.input, definitions)}, {limits(step)});"


@body.register
def _(step: steps.LocalResponse, definitions: Definitions) -> Iterator[str]:
    numbers = ", ".join(map(number, (step.scale, step.beta, step.bias)))
    yield f"local_response({step.before}, {step.after}, {step.size}, {numbers}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.SoftmaxPlanes, definitions: Definitions) -> Iterator[str]:
    yield f"softmax({step.size}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.PadPlanes, definitions: Definitions) -> Iterator[str]:
    sizes = ", ".join(map(str, (*step.size, *step.padding)))
    yield f"pad_planes({sizes}, {number(step.value)}, {through(step, step.input, definitions)});"


@body.register
def _(step: steps.CopyPlanes, definitions: Definitions) -> Iterator[str]:
    copy = "copy_planes" if step.input.element == step.output.element else "narrow_planes"
    yield f"{copy}({step.size}, {through(step, step.input, definitions)});"
