"""Post-training quantization: a trained network and some hundred pictures → a network of integers."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, Subset

from shufflenet.checkpoints.folder import metadata_of
from shufflenet.data import PictureDataset, open_dataset, prepare, reading_processes
from shufflenet.errors import UserError
from shufflenet.nets import Network
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.quantization.method import USUAL, Method

BATCH_SIZE = 64
CORRECTING_PICTURES = 128


def quantize(net: Network, data: PictureDataset | str | Path, **choices: Any) -> QuantizedNetwork:
    """`net` with 8-bit weights and activations, in eval mode; `save` writes it as a folder that `load` reads.

    `data` are the pictures to calibrate on, or a data set by name or place, whose training part is taken; labels are not read. Weights
    are s8 for each output channel, activations u8 or s8 for each tensor, biases int32. `choices` are fields of `Method`, as in
    `quantize(net, "pictures", activations="s8")`. Raises UserError for an unknown element or calibration, a network that is int8
    already, and no pictures.
    """
    dataset = data if isinstance(data, PictureDataset) else open_dataset(data, "train")
    return calibrated(net, dataset, Method(**choices)).integers()


def calibrated(net: Network, dataset: PictureDataset, method: Method = USUAL, workers: int = 0) -> QuantizedNetwork:
    """As `quantize`, in the form that still learns: float weights beside the scales."""
    if isinstance(net, QuantizedNetwork):
        raise UserError(f"{net.spec['name']} is int8 already; give the float32 network that it was made of")
    method.check(len(dataset))
    metadata = metadata_of(net)
    quantized = QuantizedNetwork(net, method.activations).eval()
    quantized.metadata = metadata
    inputs = CalibrationInputs(dataset, quantized, method.pictures, method.seed, workers)
    method.apply(quantized, inputs, metadata.preprocessing, CORRECTING_PICTURES)
    return quantized


class CalibrationInputs(Iterable[Tensor]):
    """Inputs of some pictures of a data set, the same in every walk."""

    def __init__(self, dataset: PictureDataset, net: Network, pictures: int, seed: int = 0, workers: int = 0) -> None:
        chosen = dataset.order(seed, 0)[:pictures].tolist()
        inputs = prepare(dataset, metadata_of(net).preprocessing)
        self.inputs = inputs
        self.loader = DataLoader(Subset(inputs, chosen), BATCH_SIZE, num_workers=reading_processes(workers))

    def __iter__(self) -> Iterator[Tensor]:
        for images, _ in self.loader:
            yield images
        self.inputs.check()
