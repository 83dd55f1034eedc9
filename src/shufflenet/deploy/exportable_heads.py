"""A one-stage detector's network as it is exported: without its post-processing, for pictures of the detector's own size."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from shufflenet.detection.export import export_heads_onnx
from shufflenet.detection.one_stage import OneStageDetector

if TYPE_CHECKING:
    from onnx import ModelProto


@dataclass(frozen=True)
class HeadMap:
    """One output: `values` is logits [1, anchors · classes, rows, columns] or offsets [1, anchors · 4, rows, columns]."""

    values: str
    stride: int
    shape: tuple[int, int, int, int]


@dataclass(frozen=True)
class ExportableHeads:
    """What is written: normalized pictures [1, 3, h, w] → for each level, finest first, its logits and its offsets."""

    detector: OneStageDetector
    name: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one picture."""
        return (3, *self.detector.config.padded_size)

    @property
    def maps(self) -> tuple[HeadMap, ...]:
        config = self.detector.config
        levels = zip(config.strides, config.grids, config.anchors, strict=True)
        channels = {"logits": len(config.categories) + 1, "offsets": 4}
        return tuple(
            HeadMap(values, stride, (1, len(anchors) * channels[values], *grid))
            for stride, grid, anchors in levels
            for values in channels
        )

    @property
    def example(self) -> Tensor:
        """An input of batch 1, for tracing."""
        return torch.zeros(1, *self.input_shape)

    def module(self) -> nn.Module:
        return self.detector.heads().eval()

    def capture(self) -> ExportedProgram:
        with torch.no_grad():
            return torch.export.export(self.module(), (self.example,))

    def onnx(self) -> "ModelProto":
        import onnx

        with tempfile.TemporaryDirectory() as folder:
            return onnx.load(export_heads_onnx(self.detector, Path(folder) / "heads.onnx"))
