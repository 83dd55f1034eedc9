"""ncnn: a .param of layers and a .bin of weights, made from ONNX by pnnx, ncnn's own converter."""

import importlib
import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shufflenet.deploy.ncnn_integers import holds_integers, to_integers
from shufflenet.deploy.runtime import Classify, Runtime, call_converter, one_by_one

if TYPE_CHECKING:
    from onnx import ModelProto

    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.exportable_heads import ExportableHeads

CALIBRATION_PICTURES = 32


def write(source: "Exportable", folder: Path) -> list[Path]:
    from shufflenet.deploy.write_onnx import shared_onnx

    return _convert(shared_onnx(source), source.name, source.input_shape, folder)


def write_integers(source: "Exportable", folder: Path) -> list[Path]:
    """pnnx reads no integers of ours. The float32 network gets ncnn's own, whose ranges are those of the sample pictures."""
    from shufflenet.deploy.exportable import Exportable
    from shufflenet.deploy.parity import sample_inputs
    from shufflenet.nets.quantized import QuantizedNetwork

    assert isinstance(source.net, QuantizedNetwork)
    before = Exportable(source.net.dequantized(), source.height_width)
    files = write(before, folder)
    to_integers(files[0], sample_inputs(before, CALIBRATION_PICTURES))
    return files


def write_heads(heads: "ExportableHeads", folder: Path) -> list[Path]:
    return _convert(heads.onnx(), heads.name, heads.input_shape, folder)


def _convert(model: "ModelProto", name: str, input_shape: tuple[int, ...], folder: Path) -> list[Path]:
    spec = importlib.util.find_spec("pnnx")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pnnx"
    param, weights = (folder / f"{name}.ncnn.{kind}" for kind in ("param", "bin"))
    shape = ",".join(map(str, (1, *input_shape)))
    with TemporaryDirectory() as scratch:
        (Path(scratch) / "net.onnx").write_bytes(model.SerializeToString())
        outputs = [f"ncnnparam={param.resolve()}", f"ncnnbin={weights.resolve()}"]
        command = [str(program), "net.onnx", f"inputshape=[{shape}]", "fp16=0", *outputs]
        call_converter("ncnn", command, Path(scratch), param)
    return [param, weights]


def load(path: Path, threads: int) -> Classify:
    ncnn: Any = importlib.import_module("ncnn")  # an extension without types
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    # With packing, grouped convolutions of 8 bits give other numbers (Tencent/ncnn, issue 4157).
    net.opt.use_packing_layout = not holds_integers(path)
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))
    outputs = [f"out{i}" for i in range(len(net.output_names()))]

    def run(picture: np.ndarray) -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(np.ascontiguousarray(picture[0])))
            return np.concatenate([np.array(extractor.extract(name)[1]).ravel() for name in outputs])[None]

    return one_by_one(run)


NCNN = Runtime(
    name="ncnn",
    title="ncnn",
    package="ncnn",
    extra="ncnn",
    suffix=".ncnn.param",
    writes=("onnx", "pnnx"),
    runs=("ncnn",),
    write=write,
    write_integers=write_integers,
    write_heads=write_heads,
    output_name="out{}",
    load=load,
    float_pictures=True,
)
