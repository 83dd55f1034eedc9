"""A one-stage detector whose network computes with 8-bit integers. Its logits and offsets, and what makes boxes of them, are numbers."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shufflenet.detection.config import OneStageConfig
from shufflenet.detection.one_stage import OneStageDetector
from shufflenet.nets.quantized import QuantizedModule


class QuantizedHead(nn.Module):
    """A list of one batch of normalized pictures → what torchvision's SSDHead gives: each anchor's offsets and logits."""

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, pictures: list[Tensor]) -> dict[str, Tensor]:
        maps = self.network(pictures[0])
        return {"bbox_regression": _by_anchor(maps[1::2], 4), "cls_logits": _by_anchor(maps[::2], self.classes)}


def _by_anchor(maps: Sequence[Tensor], numbers: int) -> Tensor:
    """[n, anchors · numbers, rows, columns] of each level → [n, anchors of all levels, numbers], by row, column and anchor."""
    levels = [x.reshape(len(x), -1, numbers, *x.shape[2:]).permute(0, 3, 4, 1, 2) for x in maps]
    return torch.cat([level.reshape(len(level), -1, numbers) for level in levels], dim=1)


class QuantizedDetector(OneStageDetector):
    """As the detector that it is made of; `network` gives its logits and offsets, in `learning` form or with integers."""

    head: QuantizedHead

    def __init__(self, detector: OneStageDetector, activations: str = "u8", *, learning: bool = True) -> None:
        config = detector.config
        super().__init__(config)
        name, classes = config.backbone["name"], len(config.categories) + 1
        self.head = QuantizedHead(QuantizedModule(detector.heads(), name, 3, activations, learning=learning), classes)
        # Pictures come to the head as they are.
        self.backbone = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
        self.training_record = detector.training_record

    @property
    def network(self) -> QuantizedModule:
        assert isinstance(self.head.network, QuantizedModule)
        return self.head.network

    def heads(self) -> nn.Module:
        return self.network.in_real_numbers

    def integers(self) -> "QuantizedDetector":
        """The same detector with its integers instead of the float weights."""
        twin = empty(self.config, self.network.activations)
        twin.network.load_state_dict(self.network.integer_state(), assign=True)
        twin.training_record = self.training_record
        return twin.eval()

    def in_real_numbers(self) -> OneStageDetector:
        """A copy that computes what an exported file says (`QuantizedModule.in_real_numbers`)."""
        twin = copy.deepcopy(self)
        twin.head.network = twin.network.in_real_numbers
        return twin


def empty(config: OneStageConfig, activations: str) -> QuantizedDetector:
    """A detector of integers whose tensors are to be assigned. Raises VariantError for an unknown element."""
    with torch.device("meta"):
        return QuantizedDetector(OneStageDetector(config), activations, learning=False)
