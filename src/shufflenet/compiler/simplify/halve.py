"""Float32 → float16: a network's weights, and its tensors if asked."""

from dataclasses import replace

import numpy as np

from shufflenet.compiler.errors import CompileError
from shufflenet.compiler.graph.ir import Graph


def halve(graph: Graph, *, tensors: bool) -> Graph:
    """The simplified graph with float16 weights, rounded to the nearest; with `tensors` all that it computes is float16 too.

    Raises CompileError for a quantized network, and for a weight that float16 cannot hold.
    """
    if any(tensor.quantization for tensor in graph.tensors.values()):
        raise CompileError("the network is quantized, with weights of 8 bits; float16 is for networks of float32.")
    constants = {}
    with np.errstate(over="ignore"):
        for name, array in graph.constants.items():
            constants[name] = array.astype(np.float16)
            if (np.isinf(constants[name]) & np.isfinite(array)).any():
                used = next(
                    o.name for o in graph.operations if name in (getattr(o, "weight", ""), getattr(o, "bias", ""))
                )
                largest = np.abs(array[np.isfinite(array)]).max()
                raise CompileError(
                    f"{used} has a weight of {largest:.6g}, and the largest float16 is 65504; compile the network in float32."
                )
    halved = {name: replace(tensor, dtype="float16") for name, tensor in graph.tensors.items()}
    return replace(graph, constants=constants, tensors=halved if tensors else graph.tensors)
