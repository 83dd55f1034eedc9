"""From a network, a checkpoint or an ONNX file to a compiled callable: the bridge to the compiler."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import shufflenet
from shufflenet.checkpoints import Preprocessing
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.compiler import Compiled, CompiledNetwork, Pixels, build_once, compile_onnx
from shufflenet.compiler import load as load_library
from shufflenet.compiler.c.source import Preparation
from shufflenet.compiler.graph.elements import NumberType
from shufflenet.compiler.read import load_model
from shufflenet.compiler.run.build import digest
from shufflenet.data import open_dataset, prepare
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.parity import sample_inputs
from shufflenet.deploy.resolve import is_onnx, resolve, resolve_network
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import Network, Size, height_width

if TYPE_CHECKING:
    import onnx

CALIBRATION_PICTURES = 8  # that float16 is tried on


@dataclass(frozen=True)
class Numbers:
    """What a network computes with, what its weights are stored as, and the pictures that float16 is tried on."""

    element: NumberType = "float32"
    weights: NumberType | None = None
    calibration: Sequence[np.ndarray] | None = None

    @property
    def are_half(self) -> bool:
        return "float16" in (self.element, self.weights)

    @property
    def content(self) -> tuple[str | bytes, ...]:
        """Everything that the C source follows from; nothing where it is all float32."""
        if not self.are_half:
            return ()
        pictures = () if self.calibration is None else self.calibration
        return (self.element, str(self.weights), *(np.ascontiguousarray(picture).tobytes() for picture in pictures))


FLOAT32 = Numbers()


def compile(
    net_or_folder_or_onnx: Network | str | Path,
    size: Size | None = None,
    *,
    threads: int = 1,
    element: NumberType = "float32",
    weights: NumberType | None = None,
    calibration: Sequence[np.ndarray] | None = None,
) -> CompiledNetwork:
    """A network of ours, its checkpoint (folder, shipped name or Hub id), a variant (random weights) or an ONNX file, as one C
    function called from Python.

    `size` is (height, width), or one number for a square; the default is the checkpoint's own, or what the ONNX file says. Call the
    result with float32 (channels, height, width); it has `.arena_bytes` and `.source`. On several `threads` its numbers are the same to
    the bit: they share a picture, and the pictures of a batch are dealt to them. `element` float16 computes in half precision, where the
    machine can, and takes half the memory; `weights` float16 alone only stores them so. `calibration` are pictures as the network takes
    them, on which float16 must not overflow; by default some that the package has. What was compiled before, with the same
    weights, size and code of this package, comes from the cache. Raises CompileError for what cannot be compiled.
    """
    subject = _subject(net_or_folder_or_onnx, size)
    how = Numbers(element, weights, calibration)
    content = (*subject.content, *how.content)
    return load_library(build_once(subject.name, content, lambda: subject.compile(how).source), threads)


def compile_source(
    what: Network | str | Path,
    size: Size | None = None,
    *,
    name: str | None = None,
    timed: bool = False,
    dump: Path | None = None,
    numbers: Numbers = FLOAT32,
) -> Compiled:
    """The C source of a network, with NAME_run_rgb8 or NAME_run_gray8 where its preprocessing is known.

    `name` defaults to the network's.
    """
    return _subject(what, size).compile(numbers, name=name, timed=timed, dump=dump)


def calibration_pictures(what: str | Path, data: str, size: Size | None = None) -> list[np.ndarray]:
    """Training pictures of a data set as a network takes them, for `compile`'s `calibration`. Raises UserError for an ONNX file."""
    if is_onnx(what):
        raise UserError(
            f"{what} does not say how pictures become its input; leave --calibration out, and noise is tried"
        )
    net = resolve_network(what, None if size is None else height_width(size))
    preprocessing = metadata_of(net).preprocessing
    if size is not None:
        preprocessing = replace(preprocessing, size=height_width(size), short_side=None)
    dataset = open_dataset(data, "train")
    inputs = prepare(dataset, preprocessing)
    return [inputs[i][0].numpy() for i in dataset.order(0, 0)[:CALIBRATION_PICTURES].tolist()]


@dataclass(frozen=True)
class _Subject:
    """What is compiled. `model` makes its ONNX graph, which takes seconds; `weights` is the hash of what that would hold.

    `pictures`: some to try it on; None where there are none.
    """

    name: str
    title: str
    size: tuple[int, int] | None
    pixels: Pixels | None
    weights: str
    model: "Callable[[], onnx.ModelProto]"
    pictures: "Callable[[], Sequence[np.ndarray] | None]" = lambda: None

    @property
    def content(self) -> tuple[str, ...]:
        """Everything that the C source follows from."""
        return (self.name, self.title, repr(self.size), repr(self.pixels), self.weights, torch.__version__, _code())

    def compile(
        self, numbers: Numbers, *, name: str | None = None, timed: bool = False, dump: Path | None = None
    ) -> Compiled:
        calibration = self.pictures() if numbers.are_half and numbers.calibration is None else numbers.calibration
        return compile_onnx(
            self.model(),
            self.size,
            name=name or self.name,
            title=self.title,
            pixels=self.pixels,
            timed=timed,
            dump=dump,
            element=numbers.element,
            weights=numbers.weights,
            calibration=calibration,
        )


def _subject(what: Network | str | Path, asked: Size | None) -> _Subject:
    size = None if asked is None else height_width(asked)
    found = resolve(what, size) if isinstance(what, str | Path) else what
    return _onnx_subject(found, size) if isinstance(found, Path) else _net_subject(found, size)


def _onnx_subject(path: Path, size: tuple[int, int] | None) -> _Subject:
    model = load_model(path)
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return _Subject(
        name=f"n{name}" if name[0].isdigit() else name,
        title=path.name,
        size=size,
        pixels=None,
        weights=_digest(model),
        model=lambda: model,
    )


def _digest(model: "onnx.ModelProto") -> str:
    """Of a model whose weights may be more than the 2 GB that one message can hold: each part is serialized alone."""
    graph = model.graph
    parts = [*graph.node, *graph.input, *graph.output, *model.opset_import]
    weights = (part for tensor in graph.initializer for part in _tensor_parts(tensor))
    return digest(str(model.ir_version), *(part.SerializeToString(deterministic=True) for part in parts), *weights)


def _tensor_parts(tensor: "onnx.TensorProto") -> tuple[str | bytes, ...]:
    if not tensor.raw_data:
        return (tensor.SerializeToString(deterministic=True),)
    return f"{tensor.name} {tensor.data_type} {list(tensor.dims)}", tensor.raw_data


def _net_subject(net: Network, size: tuple[int, int] | None) -> _Subject:
    source = Exportable(net.eval(), size or Exportable(net, (1, 1)).metadata.preprocessing.size)
    height, width = source.height_width
    return _Subject(
        name=source.name,
        title=f"{source.name}, {net.spec['num_classes']} classes, pictures of {height}×{width}",
        size=source.height_width,
        pixels=pixels_of(source.metadata.preprocessing),
        weights=_hash(net),
        model=lambda: to_onnx(source),
        pictures=lambda: list(sample_inputs(source, CALIBRATION_PICTURES)),
    )


def _hash(net: Network) -> str:
    """Of a network's modules with their settings, and of all its tensors."""
    parts: list[str | bytes] = [json.dumps(net.spec, sort_keys=True), str(net)]
    for name, tensor in net.state_dict().items():
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        parts += [f"{name} {tensor.dtype} {tuple(tensor.shape)}", raw.tobytes()]
    return digest(*parts)


@cache
def _code() -> str:
    """The hash of the code that leads from a network to C."""
    package = Path(shufflenet.__file__).parent
    files = [path for room in ("nets", "deploy", "compiler") for path in sorted((package / room).rglob("*.[cp]*"))]
    return digest(*(path.read_bytes() for path in files if path.suffix in (".py", ".c")))


def pixels_of(preprocessing: Preprocessing) -> Pixels | None:
    """(byte / 255 − mean) / std of each channel as a factor and a term; None where its channels are not a picture's."""
    return None if preprocessing.channel_order == "other" else _normalization(preprocessing)


def preparation_of(preprocessing: Preprocessing) -> Preparation:
    """How the compiled network makes its input of any picture. Raises UserError where its input is not a picture's colours."""
    if preprocessing.channel_order == "other":
        raise UserError(
            f"the network takes {preprocessing.channels} channels that are not a picture's; no picture can be made its input"
        )
    if preprocessing.interpolation not in ("bilinear", "bicubic"):
        raise UserError(
            f"the network's pictures are resized by {preprocessing.interpolation} interpolation; in C there are bilinear and bicubic "
            "only, which its config.json could name instead"
        )
    return Preparation(_normalization(preprocessing), preprocessing.short_side, preprocessing.interpolation)


def _normalization(preprocessing: Preprocessing) -> Pixels:
    return Pixels(
        order={"RGB": (0, 1, 2), "BGR": (2, 1, 0), "grey": (0,)}[preprocessing.channel_order],
        scale=tuple(1 / (255 * std) for std in preprocessing.std),
        shift=tuple(-mean / std for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True)),
    )
