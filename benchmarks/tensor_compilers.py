"""IREE and Apache TVM in the form of the runtimes: both compile the same ONNX file for one processor, with their defaults, untuned.

    pip install 'shufflenet[tensor-compilers]'

They are here and not in `shufflenet bench` because neither writes a file that people ship from a network like these.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.runtime import Classify, Runtime, call_converter, one_by_one
from shufflenet.deploy.write_onnx import to_onnx


def write_batch_of_one(source: Exportable, folder: Path) -> Path:
    """The ONNX file that both read. Its batch is 1: with an open one they can plan little."""
    model = to_onnx(source)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    path = folder / f"{source.name}.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def iree(processor: str) -> Runtime:
    """For `processor` as LLVM calls it, or "host"."""

    def write(source: Exportable, folder: Path) -> list[Path]:
        from iree import compiler

        onnx, imported, program = write_batch_of_one(source, folder), folder / "net.mlir", folder / "net.vmfb"
        command = [sys.executable, "-m", "iree.compiler.tools.import_onnx", str(onnx), "-o", str(imported)]
        call_converter("IREE", command, folder, imported)
        compiler.compile_file(
            str(imported),
            output_file=str(program),
            target_backends=["llvm-cpu"],
            extra_args=[f"--iree-llvmcpu-target-cpu={processor}", "--iree-opt-level=O3"],
        )
        return [program]

    def load(path: Path, threads: int) -> Classify:
        from iree import runtime

        if threads == 1:  # the caller's thread computes
            device = runtime.get_device("local-sync")
        else:
            runtime.flags.parse_flags(f"--task_topology_group_count={threads}")
            device = runtime.get_device("local-task")
        config = runtime.Config(device=device)
        module = runtime.VmModule.copy_buffer(config.vm_instance, path.read_bytes())
        functions = runtime.load_vm_module(module, config)
        # Beside it there are its initializer and its asynchronous form.
        (name,) = (name for name in module.function_names if not name.startswith("__") and "$" not in name)
        return one_by_one(lambda picture: np.array(functions[name](picture).to_host()))

    return Runtime(
        name="iree",
        title="IREE",
        package="iree-base-runtime",
        extra="tensor-compilers",
        writes=("onnx", "iree"),
        runs=("iree",),
        write=write,
        load=load,
    )


def tvm(processor: str) -> Runtime:
    """For `processor` as LLVM calls it, or "host"."""

    def load(path: Path, threads: int) -> Classify:
        os.environ["TVM_NUM_THREADS"] = str(threads)
        import onnx

        # What types it has say otherwise than what it takes.
        tvm: Any = import_module("tvm")
        frontend: Any = import_module("tvm.relax.frontend.onnx")
        host = tvm.target.Target.from_device("cpu")
        target = host if processor == "host" else tvm.target.Target({"kind": "llvm", "mcpu": processor})
        with tvm.transform.PassContext(opt_level=3):
            built = tvm.compile(frontend.from_onnx(onnx.load(path)), target=target)
        classify = tvm.relax.VirtualMachine(built, tvm.cpu())["main"]
        return one_by_one(lambda picture: classify(tvm.runtime.tensor(picture)).numpy())

    return Runtime(
        name="tvm",
        title="Apache TVM",
        package="apache-tvm",
        extra="tensor-compilers",
        writes=("onnx", "tvm"),
        runs=("tvm",),
        write=lambda source, folder: [write_batch_of_one(source, folder)],
        load=load,
    )
