"""ncnn's int8 files, from its float32 ones and some inputs.

The tools that make them (ncnn2table, ncnn2int8) are not in ncnn's wheels, but its wheels run what these tools write. A layer with 8-bit
weights says so in the .param. In the .bin, the scales of its weights and that of its input stand behind its bias. A code is the nearest
whole number to scale · number, from -127 to 127. Each channel has a scale, but of a grouped convolution only each group.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from shufflenet.errors import UserError

LARGEST = 127
INTEGERS = 0x000D4B38  # stands before 8-bit weights; 0 before float32
OUTPUTS, BIAS_OF_LINEAR, BIAS, WEIGHTS_OF_LINEAR, WEIGHTS, GROUPS, INTEGER_FORM = 0, 1, 5, 2, 6, 7, 8
A_SCALE_FOR_EACH_GROUP, A_SCALE_FOR_EACH_CHANNEL = 1, 2


@dataclass(frozen=True)
class _Layer:
    """A line of the .param; `weight` and `bias` are its floats in the .bin."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: dict[int, str]
    weight: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def scale_count(self) -> int:
        return int(self.settings[GROUPS if self.kind == "ConvolutionDepthWise" else OUTPUTS])

    def line(self) -> str:
        counts = str(len(self.inputs)), str(len(self.outputs))
        settings = (f"{key}={value}" for key, value in sorted(self.settings.items()))
        return " ".join([self.kind, self.name, *counts, *self.inputs, *self.outputs, *settings])


# Where a kind of layer says how many weights it has, and whether a bias.
WEIGHTED = {
    "Convolution": (WEIGHTS, BIAS),
    "ConvolutionDepthWise": (WEIGHTS, BIAS),
    "InnerProduct": (WEIGHTS_OF_LINEAR, BIAS_OF_LINEAR),
}


def to_integers(param: Path, inputs: Iterable[np.ndarray]) -> None:
    """Give every layer of a .param and of the .bin beside it 8-bit weights and inputs, in place.

    `inputs`, each [channels, height, width], show how large a layer's input is. Raises UserError where other layers have weights, too.
    """
    heading, layers = _read(param)
    largest = _largest(param, [layer.inputs[0] for layer in layers if layer.weight.size], inputs)
    written, weights = [], b""
    for layer in layers:
        if layer.weight.size:
            form = A_SCALE_FOR_EACH_GROUP if layer.kind == "ConvolutionDepthWise" else A_SCALE_FOR_EACH_CHANNEL
            weights += _integers(layer, largest[layer.inputs[0]])
            layer = replace(layer, settings={**layer.settings, INTEGER_FORM: str(form)})
        written.append(layer.line())
    param.write_text("\n".join([*heading, *written]) + "\n")
    param.with_suffix(".bin").write_bytes(weights)


def holds_integers(param: Path) -> bool:
    """Whether a layer of a .param has 8-bit weights."""
    return any(setting.startswith(f"{INTEGER_FORM}=") for line in _weighted_lines(param) for setting in line.split())


def _weighted_lines(param: Path) -> list[str]:
    return [line for line in param.read_text().splitlines() if line.split()[0] in WEIGHTED]


def _read(param: Path) -> tuple[list[str], list[_Layer]]:
    """The two lines before the layers, and these."""
    lines = param.read_text().splitlines()
    numbers = np.frombuffer(param.with_suffix(".bin").read_bytes(), np.float32)
    layers, read = [], 0
    for line in lines[2:]:
        kind, name, entering, leaving, *rest = line.split()
        tensors, settings = rest[: int(entering) + int(leaving)], rest[int(entering) + int(leaving) :]
        layer = _Layer(
            kind,
            name,
            tuple(tensors[: int(entering)]),
            tuple(tensors[int(entering) :]),
            {int(key): value for key, value in (setting.split("=", 1) for setting in settings)},
        )
        if kind in WEIGHTED:
            count, has_bias = (int(layer.settings.get(key, "0")) for key in WEIGHTED[kind])
            first = read + 1  # behind the mark of float32
            read = first + count + has_bias * int(layer.settings[OUTPUTS])
            layer = replace(layer, weight=numbers[first : first + count], bias=numbers[first + count : read])
        layers.append(layer)
    if read != len(numbers):
        raise UserError("ncnn's int8 file is not written: layers other than convolutions and linear ones have weights")
    return lines[:2], layers


def _largest(param: Path, names: list[str], inputs: Iterable[np.ndarray]) -> dict[str, float]:
    """The largest size of any number in each of these tensors, from running the float32 file."""
    ncnn: Any = importlib.import_module("ncnn")  # an extension without types
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.lightmode = False  # keeps what lies between layers
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.load_param(str(param))
    net.load_model(str(param.with_suffix(".bin")))
    largest = dict.fromkeys(names, 0.0)
    for x in inputs:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(np.ascontiguousarray(x)))
            for name in largest:
                largest[name] = max(largest[name], float(np.abs(np.array(extractor.extract(name)[1])).max()))
    return largest


def _integers(layer: _Layer, largest_input: float) -> bytes:
    rows = layer.weight.reshape(layer.scale_count, -1)
    scales = np.float32(LARGEST) / np.maximum(np.abs(rows).max(1), np.float32(1e-20))
    codes = np.rint(rows * scales[:, None]).clip(-LARGEST, LARGEST).astype(np.int8).tobytes()
    padded = codes + bytes(-len(codes) % 4)
    input_scale = np.float32(LARGEST / max(largest_input, 1e-20))
    return b"".join(
        [np.uint32(INTEGERS).tobytes(), padded, layer.bias.tobytes(), scales.tobytes(), input_scale.tobytes()]
    )
