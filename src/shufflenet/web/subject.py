"""What a page runs: a classifier, a detector or an ONNX file, compiled, with what the page says of it."""

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from shufflenet.checkpoints.folder import metadata_of
from shufflenet.checkpoints.metadata import Preprocessing, usual_preprocessing
from shufflenet.compiler import Compiled, Pixels, compile_onnx
from shufflenet.compiler.c.boxes import detect_arena_bytes
from shufflenet.compiler.c.prepare import with_preparation
from shufflenet.compiler.c.source import CSource, Preparation
from shufflenet.compiler.read import load_model
from shufflenet.deploy.compile import preparation_of
from shufflenet.deploy.detector import compile_detector_source
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.resolve import resolve
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.detection import Detector
from shufflenet.detection.cost import detector_cost
from shufflenet.detection.export import export_heads_onnx
from shufflenet.detection.folder import is_detector, load_detector
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.errors import UserError
from shufflenet.nets import Network, cost

PageTask = Literal["classify", "detect"]
# The share of a picture's short side that a centre crop keeps, where nobody says: ImageNet's 224 of 256.
USUAL_CROP = 224 / 256


@dataclass(frozen=True)
class Subject:
    """A network and its C source with NAME_prepare, for detectors with NAME_detect_rgb8 too; `weights` are as the page stores them.

    `model` is the same network as ONNX, `facts` are what network.json says of it.
    """

    name: str
    task: PageTask
    classes: tuple[str, ...]
    source: CSource
    weights: bytes
    model: onnx.ModelProto
    facts: dict[str, Any]


def subject_of(what: str | Path | Network | Detector) -> Subject:
    """A detector's folder, an ONNX file, or whatever else names a classifier.

    Raises UserError for what takes no pictures or is a detector of two stages, CompileError for what cannot be compiled.
    """
    if isinstance(what, Detector):
        return _of_detector(what)
    if isinstance(what, Network):
        return _of_classifier(what)
    if is_detector(what):
        return _of_detector(load_detector(what))
    found = resolve(what)
    return _of_onnx(found) if isinstance(found, Path) else _of_classifier(found)


def _of_classifier(net: Network) -> Subject:
    metadata = metadata_of(net)
    size = metadata.preprocessing.size
    price = cost(net, size)
    model = to_onnx(Exportable(net.eval(), size))
    return _classifier(
        net.spec["name"],
        model,
        compile_onnx(model, name="network", title=net.spec["name"], embed=False),
        metadata.preprocessing,
        metadata.classes,
        {
            "multiply_adds": price.multiply_adds,
            "parameters": price.parameters,
            "top1_error": metadata.training.get("top1_error"),
        },
    )


def _of_onnx(path: Path) -> Subject:
    """Nobody says how the pictures of an ONNX file were prepared: as ImageNet's usually are."""
    model = load_model(path)
    compiled = compile_onnx(model, name="network", title=path.name, embed=False)
    inputs = compiled.source.signature.input_shapes
    if len(inputs) != 1 or len(inputs[0]) != 3 or inputs[0][0] not in (1, 3):
        shapes = ", ".join("×".join(map(str, shape)) for shape in inputs)
        raise UserError(f"{path} takes {shapes}; a page needs one picture of 1 or 3 channels")
    channels, height, width = inputs[0]
    usual = usual_preprocessing(channels)
    preprocessing = replace(usual, size=(height, width), short_side=round(max(height, width) / USUAL_CROP))
    parameters = sum(int(np.prod(constant.dims)) for constant in model.graph.initializer)
    facts = {"multiply_adds": compiled.plan.multiply_adds, "parameters": parameters, "top1_error": None}
    return _classifier(path.stem, model, compiled, preprocessing, (), facts)


def _classifier(
    name: str,
    model: onnx.ModelProto,
    compiled: Compiled,
    preprocessing: Preprocessing,
    classes: tuple[str, ...],
    facts: dict[str, Any],
) -> Subject:
    outputs = compiled.source.signature.outputs
    if len(outputs) != 1:
        raise UserError(f"{name} has {len(outputs)} outputs; a classifier has one, a number for each class")
    source = with_preparation(compiled.source, preparation_of(preprocessing))
    classes = classes or tuple(map(str, range(outputs[0].floats)))
    return _subject(name, "classify", classes, source, model, {"average_precision": None, "most_boxes": 0, **facts})


def _of_detector(detector: Detector) -> Subject:
    if not isinstance(detector, OneStageDetector):
        raise UserError(
            f"a page runs no detector of the layout {detector.config.layout}; train one with --layout ssdlite"
        )
    config = detector.config
    _, source, decoder = compile_detector_source(detector, name="network", embed=False)
    # Not what the page looks at: bench.html compares the network alone, on the same numbers for both runtimes.
    scale = tuple(1 / (255 * std) for std in config.std)
    shift = tuple(-mean / std for mean, std in zip(config.mean, config.std, strict=True))
    source = with_preparation(source, Preparation(Pixels((0, 1, 2), scale, shift), None, antialias=False))
    price = detector_cost(detector)
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(export_heads_onnx(detector, Path(folder) / "heads.onnx"))
    facts = {
        "multiply_adds": price.multiply_adds,
        "parameters": price.parameters,
        "top1_error": None,
        "average_precision": detector.training_record.get("average_precision"),
        "most_boxes": decoder.detections_per_picture,
        "max_width": decoder.max_width,
        "arena_bytes": detect_arena_bytes(decoder, source.signature.arena_bytes),
    }
    return _subject(f"{config.backbone['name']} {config.layout}", "detect", decoder.class_names, source, model, facts)


def _subject(
    name: str, task: PageTask, classes: tuple[str, ...], source: CSource, model: onnx.ModelProto, facts: dict[str, Any]
) -> Subject:
    storage, weights = _stored(source.weights or b"", model)
    signature = source.signature
    common = {
        "task": task,
        "name": name,
        "classes": list(classes),
        "input": list(signature.input_shapes[0]),
        "outputs": [output.floats for output in signature.outputs],
        "arena_bytes": signature.arena_bytes,
        **storage,
        "weights_bytes": len(weights),
    }
    return Subject(name, task, classes, source, weights, model, {**common, **facts})


def _stored(weights: bytes, model: onnx.ModelProto) -> tuple[dict[str, Any], bytes]:
    """How the page stores the weights, for network.json, and their bytes.

    float32 numbers become float24, which is float32 without its lowest byte, and those of the classifier at their end float16: its errors
    go through no other layer. All stay float32 if one is too large for that.
    """
    if any(constant.data_type == onnx.TensorProto.INT8 for constant in model.graph.initializer):
        return {"weights": "int8"}, weights
    numbers = np.frombuffer(weights, "<f4")
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0) > np.finfo(np.float16).max:
        return {"weights": "float32"}, weights
    precise, rest = np.split(numbers, [len(numbers) - classifier_numbers(model)])
    rounded = (precise.view("<u4") + np.uint32(0x80)).view(np.uint8).reshape(-1, 4)[:, 1:]
    return {"weights": "float24", "float24_numbers": len(precise)}, rounded.tobytes() + rest.astype("<f2").tobytes()


def classifier_numbers(model: onnx.ModelProto) -> int:
    """How many weights the fully connected layer has that a network ends with; 0 if it ends with another."""
    sizes = {constant.name: math.prod(constant.dims) for constant in model.graph.initializer if len(constant.dims) > 1}
    for node in reversed(model.graph.node):
        weights = [sizes[name] for name in node.input if name in sizes]
        if weights:
            return weights[0] if node.op_type in ("Gemm", "MatMul") else 0
    return 0
