"""Which convolutions of a network's picture kernels/stem.c can make in one pass, each with its max-pool."""

from shufflenet.compiler.ir import Convolution, Graph, Operation, Pool, View

MOST_CHANNELS = 4


def find_stems(graph: Graph) -> dict[str, Pool | None]:
    """The 3×3/2 convolutions of a network input, by name, each with the 3×3/2 max-pool that alone reads it, if one does."""
    readers: dict[str, list[Operation]] = {}
    for operation in graph.operations:
        for view in operation.inputs:
            readers.setdefault(view.tensor, []).append(operation)
    inputs, results = ({port.view.tensor for port in ports} for ports in (graph.inputs, graph.outputs))
    stems: dict[str, Pool | None] = {}
    for operation in graph.operations:
        match operation:
            case Convolution(stride=(2, 2), padding=(1, 1, 1, 1), dilation=(1, 1), groups=1, addend=None) if (
                operation.input.tensor in inputs
                and operation.input.channels <= MOST_CHANNELS
                and graph.constants[operation.weight].shape[2:] == (3, 3)
            ):
                output = operation.output
                kept = output.tensor in results
                stems[operation.name] = None if kept else _pool(output, readers.get(output.tensor, []))
    return stems


def _pool(output: View, readers: list[Operation]) -> Pool | None:
    match readers:
        case [
            Pool(
                kind="max", kernel=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1), dilation=(1, 1), activation=None
            ) as pool
        ] if pool.input == output:
            return pool
    return None
