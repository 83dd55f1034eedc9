"""Post-training quantization: a trained network and some hundred pictures → a network of integers."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from torch import Tensor
from torch.utils.data import DataLoader, Subset

from shufflenet.checkpoints.folder import metadata_of
from shufflenet.data import PictureDataset, open_dataset, prepare, reading_processes
from shufflenet.errors import UserError
from shufflenet.nets import Network
from shufflenet.nets.integers import ELEMENTS
from shufflenet.nets.quantized import QuantizedNetwork
from shufflenet.quantization.bias_correction import correct_biases
from shufflenet.quantization.calibration import CALIBRATIONS, calibrate
from shufflenet.quantization.equalization import equalize

PICTURES = 512
CALIBRATION = "percentile"  # docs/decisions.md says why
BATCH_SIZE = 64
CORRECTING_PICTURES = 128


def quantize(
    net: Network,
    data: PictureDataset | str | Path,
    *,
    activations: str = "u8",
    calibration: str = CALIBRATION,
    equalization: bool = True,
    bias_correction: bool = True,
    pictures: int = PICTURES,
    seed: int = 0,
) -> QuantizedNetwork:
    """`net` with 8-bit weights and activations, in eval mode; `save` writes it as a folder that `load` reads.

    `data` are the pictures to calibrate on, or a data set by name or place, whose training part is taken: `pictures` of them, chosen by
    `seed`; labels are not read. Weights are s8 for each output channel, activations `activations` ("u8" or "s8") for each tensor,
    biases int32. `calibration` chooses the range of each tensor: "minmax", "percentile" or "mse"; `equalization` scales channels to
    fill it before, and `bias_correction` moves biases after, so that each channel keeps its mean. Raises UserError for an unknown element
    or method, a network that is int8 already, and no pictures.
    """
    dataset = data if isinstance(data, PictureDataset) else open_dataset(data, "train")
    return calibrated(
        net,
        dataset,
        activations=activations,
        calibration=calibration,
        equalization=equalization,
        bias_correction=bias_correction,
        pictures=pictures,
        seed=seed,
    ).integers()


def calibrated(
    net: Network,
    dataset: PictureDataset,
    *,
    activations: str = "u8",
    calibration: str = CALIBRATION,
    equalization: bool = True,
    bias_correction: bool = True,
    pictures: int = PICTURES,
    seed: int = 0,
    workers: int = 0,
) -> QuantizedNetwork:
    """As `quantize`, in the form that still learns: float weights beside the scales."""
    if isinstance(net, QuantizedNetwork):
        raise UserError(f"{net.spec['name']} is int8 already; give the float32 network that it was made of")
    check_calibration(activations, calibration, min(pictures, len(dataset)))
    metadata = metadata_of(net)
    quantized = QuantizedNetwork(net, activations)
    quantized.metadata = metadata
    batches = CalibrationInputs(dataset, quantized, pictures, seed, workers)
    quantized.eval()
    if equalization:
        equalize(quantized, batches)
    calibrate(quantized, batches, metadata.preprocessing, calibration)
    if bias_correction:
        correct_biases(quantized, batches, CORRECTING_PICTURES)
    return quantized


def check_calibration(activations: str, calibration: str, pictures: int) -> None:
    """Raises UserError for an unknown element or method, and for no pictures."""
    if activations not in ELEMENTS:
        raise UserError(f"there is no element type {activations!r} for activations; it is one of {', '.join(ELEMENTS)}")
    if calibration not in CALIBRATIONS:
        raise UserError(f"there is no calibration {calibration!r}; it is one of {', '.join(CALIBRATIONS)}")
    if pictures < 1:
        raise UserError(
            f"there are {pictures} pictures to calibrate on; give some hundred of the kind that the network will see"
        )


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
