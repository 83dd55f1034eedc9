"""Weights that an ONNX file keeps in files beside it."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import onnx
from onnx import TensorProto

from shufflenet.compiler.errors import CompileError


def load_external_weights(model: onnx.ModelProto, path: Path) -> None:
    """Put into `model`, read from `path`, what lies in files of the same folder; symbolic links are followed, as in the Hub's cache.

    Raises CompileError for a file that is missing, too short or elsewhere.
    """
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        where = {entry.key: entry.value for entry in tensor.external_data}
        tensor.raw_data = _read(path, where.get("location", ""), int(where.get("offset", 0)), where.get("length"))
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield attribute.t


def _read(path: Path, location: str, offset: int, length: str | None) -> bytes:
    parts = PurePosixPath(location)
    if not location or parts.is_absolute() or ".." in parts.parts:
        raise CompileError(
            f"{path} keeps weights in {location!r}, outside of its folder; save it again with them beside it."
        )
    try:
        with (path.parent / location).open("rb") as file:
            file.seek(offset)
            data = file.read() if length is None else file.read(int(length))
    except OSError as error:
        raise CompileError(
            f"{path} keeps its weights in {location}, which cannot be read ({error.strerror}); put both into one folder."
        ) from error
    if length is not None and len(data) < int(length):
        raise CompileError(
            f"{path.parent / location} is cut short: it should have {int(length):,} bytes from {offset:,} on and has "
            f"{len(data):,}; copy or download it again."
        )
    return data
