"""Which convolutions of a network's picture kernels/stem.c can make in one pass, each with its max-pool."""

from shufflenet.compiler.graph.ir import Convolution, Graph, Operation, Pool, output_size

MOST_CHANNELS = 4  # of a picture: a panel of so few rows takes as long to pack as to multiply


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
                tensor = operation.output.tensor
                stems[operation.name] = None if tensor in results else _pool(graph, operation, readers.get(tensor, []))
    return stems


def _pool(graph: Graph, convolution: Convolution, readers: list[Operation]) -> Pool | None:
    match readers:
        case [
            Pool(
                kind="max",
                kernel=(3, 3) as kernel,
                stride=(2, 2) as stride,
                padding=(1, 1, 1, 1) as padding,
                dilation=(1, 1) as dilation,
                activation=None,
            ) as pool
        ] if pool.input == convolution.output:
            _, *size = graph.shape(pool.input)
            within = output_size((size[0], size[1]), kernel, stride, padding, dilation)
            return pool if graph.shape(pool.output)[1:] == within else None  # in ceil mode, windows may overhang
    return None
