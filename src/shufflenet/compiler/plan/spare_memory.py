"""How much memory a step may take for itself: what is free anyway, beside the tensors that are alive."""

from shufflenet.compiler.graph.ir import Graph, Quantize
from shufflenet.compiler.plan.arena import Lifetime, alive, lower_bound, spans
from shufflenet.compiler.plan.stems import FoundStem
from shufflenet.compiler.plan.steps import Buffer


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
    found = spans(
        [[Buffer(view.tensor) for view in views] for views in touched],
        [Buffer(port.view.tensor) for port in graph.outputs],
    )
    lifetimes = [Lifetime(buffer, graph.tensors[buffer.name].bytes, *span) for buffer, span in found.items()]
    arena = lower_bound(lifetimes) * 12 // 11
    return {operation.name: arena - alive(lifetimes, i) for i, operation in enumerate(operations)}
