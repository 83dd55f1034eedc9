"""The runtimes: one file each, all of one form (`deploy.runtime.Runtime`)."""

from shufflenet.deploy.runtime import Runtime
from shufflenet.deploy.runtimes.compiled import COMPILED_C
from shufflenet.deploy.runtimes.executorch import EXECUTORCH
from shufflenet.deploy.runtimes.litert import LITERT
from shufflenet.deploy.runtimes.mnn import MNN
from shufflenet.deploy.runtimes.ncnn import NCNN
from shufflenet.deploy.runtimes.onnxruntime import ONNX_RUNTIME
from shufflenet.deploy.runtimes.openvino import OPENVINO
from shufflenet.deploy.runtimes.pytorch import COMPILED, EAGER, TORCHSCRIPT

# What `shufflenet export` writes, by the name of the format.
FORMATS: dict[str, Runtime] = {
    runtime.name: runtime for runtime in (ONNX_RUNTIME, OPENVINO, NCNN, MNN, LITERT, EXECUTORCH, TORCHSCRIPT)
}
# What `shufflenet bench` runs, by name.
RUNTIMES: dict[str, Runtime] = {COMPILED_C.name: COMPILED_C, **FORMATS, EAGER.name: EAGER, COMPILED.name: COMPILED}
