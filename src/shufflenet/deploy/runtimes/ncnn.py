"""ncnn: a .param of layers and a .bin of weights, made from ONNX by pnnx, ncnn's own converter."""

import importlib
import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shufflenet.deploy.runtime import Classify, Runtime, call_converter, one_by_one

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable


def write(source: "Exportable", folder: Path) -> list[Path]:
    from shufflenet.deploy.write_onnx import shared_onnx

    spec = importlib.util.find_spec("pnnx")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "pnnx"
    param, weights = (folder / f"{source.name}.ncnn.{kind}" for kind in ("param", "bin"))
    shape = ",".join(map(str, (1, *source.input_shape)))
    with TemporaryDirectory() as scratch:
        (Path(scratch) / "net.onnx").write_bytes(shared_onnx(source).SerializeToString())
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
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def run(picture: np.ndarray) -> np.ndarray:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(np.ascontiguousarray(picture[0])))
            return np.array(extractor.extract("out0")[1])[None]

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
    load=load,
    float_pictures=True,
)
