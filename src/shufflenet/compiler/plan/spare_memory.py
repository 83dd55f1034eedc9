"""How much memory a step may take for itself: what is free anyway, beside the tensors that are alive."""

from shufflenet.compiler.graph.integers import holds_codes
from shufflenet.compiler.graph.ir import Convolution, Graph, Operation, Quantize
from shufflenet.compiler.plan.arena import Lifetime, alive, lower_bound, spans
from shufflenet.compiler.plan.operands import Buffer
from shufflenet.compiler.plan.stems import FoundStem


def spare_bytes(graph: Graph, stems: dict[str, FoundStem]) -> dict[str, int]:
    """By operation, what is free if the arena is an eleventh larger than it must be. `stems` are those of `find_stems`.

    A stem and a quantization read a network's input where it is; a stem makes its pool's output; what is fused is no operation then.
    """
    pools = {name: stem.pool for name, stem in stems.items() if stem.pool}
    fused = {name for stem in stems.values() for name in stem.fused}
    operations = [operation for operation in graph.operations if operation.name not in fused]
    touched = [
        [
            pools.get(operation.name, operation).output,
            *(() if operation.name in stems or isinstance(operation, Quantize) else operation.inputs),
        ]
        for operation in operations
    ]
    results = [port.view.tensor for port in graph.outputs]
    last = {view.tensor: i for i, views in enumerate(touched) for view in views}
    home: dict[str, str] = {}
    for i, operation in enumerate(operations):
        under = _tensor_under(graph, operation)
        if under is not None and last[under] == i and under not in results:
            home[operation.output.tensor] = home.get(under, under)
    found = spans(
        [[Buffer(home.get(view.tensor, view.tensor)) for view in views] for views in touched],
        [Buffer(home.get(tensor, tensor)) for tensor in results],
    )
    lifetimes = [Lifetime(buffer, graph.tensors[buffer.name].bytes, *span) for buffer, span in found.items()]
    arena = lower_bound(lifetimes) * 12 // 11
    return {operation.name: arena - alive(lifetimes, i) for i, operation in enumerate(operations)}


def _tensor_under(graph: Graph, operation: Operation) -> str | None:
    """The tensor whose place a residual sum of codes can take, if that is read no more."""
    if not isinstance(operation, Convolution) or operation.addend is None or not holds_codes(graph, operation.output):
        return None
    addend, output = (graph.tensors[view.tensor] for view in (operation.addend, operation.output))
    pointwise = graph.constants[operation.weight].shape[2:] == (1, 1)
    fits = pointwise and addend.shape == output.shape and operation.addend.planes == operation.output.planes
    return addend.name if fits else None
