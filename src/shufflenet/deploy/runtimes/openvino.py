"""OpenVINO's intermediate representation, an .xml of operators and a .bin of weights, float32 in both."""

from pathlib import Path
from typing import TYPE_CHECKING

from shufflenet.deploy.runtime import Classify, Runtime

if TYPE_CHECKING:
    from shufflenet.deploy.exportable import Exportable


def write(source: "Exportable", folder: Path) -> list[Path]:
    import openvino

    # Core.read_model, not convert_model: the latter reports its use over the network.
    from shufflenet.deploy.write_onnx import shared_onnx

    model = openvino.Core().read_model(shared_onnx(source).SerializeToString())
    path = folder / f"{source.name}.xml"
    openvino.save_model(model, path, compress_to_fp16=False)
    return [path, path.with_suffix(".bin")]


def load(path: Path, threads: int) -> Classify:
    import openvino

    config = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    compiled = {}

    def run(batch):
        # Compiled once for each shape: with a fixed shape OpenVINO fuses more than with an open one.
        if batch.shape not in compiled:
            model = core.read_model(path)
            model.reshape(list(batch.shape))
            compiled[batch.shape] = core.compile_model(model, "CPU", config).create_infer_request()
        request = compiled[batch.shape]
        return next(iter(request.infer([batch], share_inputs=True).values())).copy()

    return run


OPENVINO = Runtime(
    name="openvino",
    title="OpenVINO",
    package="openvino",
    extra="openvino",
    suffix=".xml",
    writes=("onnx",),
    runs=("openvino",),
    write=write,
    load=load,
    write_integers=write,
    open_size=True,
)
