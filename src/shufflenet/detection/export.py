"""A detector as ONNX: picture in, boxes, labels and scores out, non-maximum suppression and all; or its backbone alone."""

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.onnx import TensorProtoDataType, symbolic_helper

from shufflenet import atomic
from shufflenet.detection.detector import Detector
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.detection.quantized import QuantizedDetector
from shufflenet.detection.two_stage import PYRAMID_STRIDES, TwoStageDetector
from shufflenet.errors import UserError
from shufflenet.nets import Size, height_width

OPSET = 17


class OnePicture(nn.Module):
    """A detector for ONNX: one picture [3, h, w] → boxes [d, 4], labels [d], scores [d]."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (output,) = self.detector([picture])
        return output["boxes"], output["labels"], output["scores"]


class Backbone(nn.Module):
    """A detector's network for ONNX: normalized picture [1, 3, h, w] → the maps that the detector taps."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.backbone = detector.backbone

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone.features(picture).values())


class ProposalsAndRegions(nn.Module):
    """The two networks of a Faster R-CNN with a feature pyramid for ONNX.

    Normalized picture [1, 3, h, w] → objectness and offsets of each level, then the maps that regions are cut out of; and regions
    [1, features, 1, n], a pixel each, features bin by bin, → logits [1, classes, 1, n] and offsets [1, 4 · classes, 1, n].
    """

    def __init__(self, detector: TwoStageDetector) -> None:
        super().__init__()
        self.backbone = detector.backbone
        self.rpn = detector.get_submodule("rpn.head")
        bins = detector.config.pool_size**2
        head, predictor = (
            detector.get_submodule("roi_heads.box_head"),
            detector.get_submodule("roi_heads.box_predictor"),
        )
        first = _pointwise(head.get_submodule("fc6"))
        by_bin = first.weight.reshape(len(first.weight), -1, bins).transpose(1, 2)  # [out, bins, channels]
        first.weight = nn.Parameter(by_bin.reshape(first.weight.shape))
        self.head = nn.Sequential(first, nn.ReLU(), _pointwise(head.get_submodule("fc7")), nn.ReLU())
        self.logits = _pointwise(predictor.get_submodule("cls_score"))
        self.offsets = _pointwise(predictor.get_submodule("bbox_pred"))

    def forward(self, picture: Tensor, regions: Tensor) -> tuple[Tensor, ...]:
        maps = list(self.backbone(picture).values())
        levels = zip(*self.rpn(maps), strict=True)
        hidden = self.head(regions)
        # The last map is for proposals only.
        return *(output for level in levels for output in level), *maps[:-1], self.logits(hidden), self.offsets(hidden)


def _pointwise(linear: nn.Module) -> nn.Conv2d:
    """A linear layer as a 1×1 convolution."""
    assert isinstance(linear, nn.Linear)
    convolution = nn.Conv2d(linear.in_features, linear.out_features, 1)
    convolution.weight, convolution.bias = nn.Parameter(linear.weight.detach()[:, :, None, None]), linear.bias
    return convolution


def export_onnx(detector: Detector, path: str | os.PathLike[str], *, size: Size = (480, 640)) -> Path:
    """Write `detector` for ONNX Runtime, through torchvision's export, and return the path.

    The input `picture` is RGB, float32 [3, h, w] from 0 to 1, of any size: the model resizes and normalizes it. The outputs are
    `boxes` (x1, y1, x2, y2 in its pixels), `labels` (an index into the config's categories, from 1 up) and `scores`. `size` is of the
    example that export traces. Raises UserError without the package onnx, or if the file is there.
    """
    if isinstance(detector, QuantizedDetector):
        detector = detector.in_real_numbers()
    return _write(
        OnePicture(detector).eval(),
        ((3, *height_width(size)),),
        Path(path),
        input_names=["picture"],
        output_names=["boxes", "labels", "scores"],
        dynamic_axes={
            "picture": {1: "height", 2: "width"},
            "boxes": {0: "detections"},
            "labels": {0: "detections"},
            "scores": {0: "detections"},
        },
    )


def export_backbone_onnx(detector: Detector, path: str | os.PathLike[str], *, size: Size) -> Path:
    """Write the backbone of `detector` alone, at one size, for `shufflenet compile`, and return the path.

    The input `picture` is float32 [1, 3, height, width], normalized as the detector's config says. The outputs are the network's maps
    that the detector taps, by their names: `stage3` in the paper's layout, `stage2`, `stage3` and `stage4` with an FPN (which is not
    in it). Raises UserError for a quantized detector, without the package onnx, or if the file is there.
    """
    if isinstance(detector, QuantizedDetector):
        raise UserError(
            "a quantized detector has no backbone apart; export that of the float32 detector it was made of"
        )
    backbone = Backbone(detector).eval()
    return _write(
        backbone,
        ((1, 3, *height_width(size)),),
        Path(path),
        input_names=["picture"],
        output_names=list(detector.backbone.taps),
    )


@symbolic_helper.parse_args("v", "i")  # pyright: ignore[reportPrivateImportUsage]
def _channel_shuffle(graph: Any, x: Any, groups: int) -> Any:
    """The exporter knows no size of `x`, [n, c, h, w], so the shapes do without."""

    def reshape(value: Any, *shape: int) -> Any:
        return graph.op("Reshape", value, graph.op("Constant", value_t=torch.tensor(shape)))

    pixels = graph.op("Transpose", reshape(x, 0, 0, -1), perm_i=[0, 2, 1])
    dealt = graph.op("Transpose", reshape(pixels, 0, 0, groups, -1), perm_i=[0, 1, 3, 2])
    channels = graph.op("Transpose", reshape(dealt, 0, 0, -1), perm_i=[0, 2, 1])
    return graph.op("Reshape", channels, graph.op("Shape", x))


@symbolic_helper.parse_args("v", "v", "v", "i", "i")  # pyright: ignore[reportPrivateImportUsage]
def _fake_quantize(graph: Any, x: Any, scale: Any, zero_point: Any, low: int, high: int) -> Any:
    """The element is told by the zero point's type."""
    zero_point = graph.op("Cast", zero_point, to_i=TensorProtoDataType.UINT8 if low == 0 else TensorProtoDataType.INT8)
    codes = graph.op("QuantizeLinear", x, scale, zero_point)
    return graph.op("DequantizeLinear", codes, scale, zero_point)


@symbolic_helper.parse_args("v", "v")  # pyright: ignore[reportPrivateImportUsage]
def _dequantize(graph: Any, codes: Any, scale: Any) -> Any:
    return graph.op("DequantizeLinear", codes, scale, axis_i=0)


# Operators that the exporter which traces lacks, by the names that torch knows them by.
OPERATORS = {
    "aten::channel_shuffle": _channel_shuffle,
    "shufflenet::fake_quantize": _fake_quantize,
    "shufflenet::dequantize": _dequantize,
}


def export_heads_onnx(detector: OneStageDetector, path: str | os.PathLike[str]) -> Path:
    """Write a one-stage detector without its post-processing, for the compiler and for runtimes that lack it; return the path.

    The input `picture` is float32 [1, 3, height, width] of the config's padded size, normalized. The outputs are for each level, finest
    first, `logits_STRIDE` [1, anchors · classes, rows, columns], the background's first, and `offsets_STRIDE`
    [1, anchors · 4, rows, columns]. Raises UserError without the package onnx, or if the file is there.
    """
    names = [f"{kind}_{stride}" for stride in detector.config.strides for kind in ("logits", "offsets")]
    shape = (1, 3, *detector.config.padded_size)
    return _write(detector.heads().eval(), (shape,), Path(path), input_names=["picture"], output_names=names)


def export_proposals_onnx(
    detector: TwoStageDetector, path: str | os.PathLike[str], *, padded_size: tuple[int, int], regions: int
) -> Path:
    """Write the two networks of a Faster R-CNN with a feature pyramid as one graph, for the compiler; return the path.

    The inputs are `picture`, float32 [1, 3, height, width] of `padded_size`, normalized, and `regions`, float32 [1, features, 1, regions].
    The outputs are for each level, finest first, `objectness_STRIDE` [1, anchors, rows, columns] and `offsets_STRIDE`
    [1, 4 · anchors, rows, columns]; `map_STRIDE` of each map that regions are cut out of; and `logits` and `offsets` of the regions.
    Raises UserError without the package onnx, or if the file is there.
    """
    names = [f"{kind}_{stride}" for stride in PYRAMID_STRIDES for kind in ("objectness", "offsets")]
    names += [f"map_{stride}" for stride in PYRAMID_STRIDES[:-1]]
    features = detector.config.pyramid_channels * detector.config.pool_size**2
    shapes = (1, 3, *padded_size), (1, features, 1, regions)
    return _write(
        ProposalsAndRegions(detector).eval(), shapes, Path(path),
        input_names=["picture", "regions"], output_names=[*names, "logits", "offsets"],
    )  # fmt: skip


def _write(model: nn.Module, input_shapes: tuple[tuple[int, ...], ...], path: Path, **names: Any) -> Path:
    if path.exists():
        raise UserError(f"{path} is there already; choose another name, or remove it")
    generator = torch.Generator().manual_seed(0)
    examples = tuple(torch.rand(shape, generator=generator) for shape in input_shapes)
    with atomic.writing(path) as temporary, warnings.catch_warnings():
        # Tracing warns of every Python number; the test with other sizes shows that none of them was wrongly frozen.
        warnings.simplefilter("ignore")
        try:
            # torchvision registers its operators with the exporter that traces.
            register = torch.onnx.register_custom_op_symbolic  # pyright: ignore[reportPrivateImportUsage]
            for name, symbolic in OPERATORS.items():
                register(name, symbolic, OPSET)
            torch.onnx.export(model, examples, temporary, dynamo=False, opset_version=OPSET, **names)
        except ModuleNotFoundError as error:
            raise UserError("the export needs onnx; pip install 'shufflenet[compile]'") from error
    return path
