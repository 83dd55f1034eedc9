"""What is exported: a network for pictures of one size, with or without its preprocessing."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.errors import UserError
from shufflenet.nets import Network, Size, height_width
from shufflenet.nets.quantized import QuantizedNetwork


class WithPreprocessing(nn.Module):
    """uint8 pictures [n, h, w, c], RGB or grey → probabilities [n, classes]. Resizing and cropping stay outside."""

    def __init__(self, net: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        if preprocessing.channel_order == "other":
            raise UserError(
                f"the network takes {preprocessing.channels} channels that are not a picture's; export it without preprocessing"
            )
        self.net = net
        # (v / 255 - mean) / std, and RGB → BGR: one 1×1 convolution, which every runtime has and runs in one pass.
        std, mean = torch.tensor(preprocessing.std), torch.tensor(preprocessing.mean)
        matrix = torch.diag(1 / (255 * std))
        if preprocessing.channel_order == "BGR":
            matrix = matrix.flip(1)
        self.normalization = nn.Conv2d(len(mean), len(mean), 1)
        self.normalization.weight = nn.Parameter(matrix[:, :, None, None])
        self.normalization.bias = nn.Parameter(-mean / std)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.normalization(pictures.permute(0, 3, 1, 2).to(self.normalization.weight.dtype))
        return torch.softmax(self.net(x), dim=1)


@dataclass(frozen=True)
class Exportable:
    """A network in eval mode and the form in which it leaves torch.

    `size` is height and width of its input, or one number for a square; `open_size` leaves both open in the file. `fold_batch_norm`
    merges batch normalization into the convolutions before it. With preprocessing, pictures are uint8, or with `float_pictures`
    the same whole numbers as float32.
    """

    net: Network
    size: Size
    with_preprocessing: bool = False
    open_size: bool = False
    fold_batch_norm: bool = True
    float_pictures: bool = False
    # Forms that several runtimes start from, each written once by whoever needs it first.
    written: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", height_width(self.size))

    @property
    def height_width(self) -> tuple[int, int]:
        return height_width(self.size)

    @property
    def name(self) -> str:
        return self.net.spec["name"]

    @property
    def metadata(self) -> Metadata:
        return metadata_of(self.net)

    @property
    def input_name(self) -> str:
        return "pictures" if self.with_preprocessing else "input"

    @property
    def output_name(self) -> str:
        return "probabilities" if self.with_preprocessing else "logits"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one picture."""
        channels = self.net.spec["in_channels"]
        return (*self.height_width, channels) if self.with_preprocessing else (channels, *self.height_width)

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8 if self.with_preprocessing and not self.float_pictures else torch.float32

    @cached_property
    def module(self) -> nn.Module:
        net = self.net.integers().in_real_numbers if isinstance(self.net, QuantizedNetwork) else self.net
        module = WithPreprocessing(net, self.metadata.preprocessing) if self.with_preprocessing else net
        return module.eval()

    @cached_property
    def example(self) -> Tensor:
        """An input of batch 1, for tracing."""
        return torch.zeros(1, *self.input_shape, dtype=self.dtype)

    def capture(self) -> ExportedProgram:
        """torch.export's graph, at batch 1 and at `size`."""
        with torch.no_grad():
            return torch.export.export(self.module, (self.example,))

    def run(self, batch: np.ndarray) -> np.ndarray:
        """What torch makes of `batch`, the reference for every runtime."""
        module = self.module  # made outside of inference mode, since it is captured too
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).numpy()

    def run_in_float64(self, batch: np.ndarray) -> np.ndarray:
        """The same in double precision: what rounding is measured from."""
        module = copy.deepcopy(self.module).double()
        numbers = torch.from_numpy(batch)
        with torch.inference_mode():
            return module(numbers.double() if numbers.is_floating_point() else numbers).numpy()
