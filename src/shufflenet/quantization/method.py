"""What turns a trained network into 8-bit integers: the choices, and the steps in their order."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from shufflenet.checkpoints import Preprocessing
from shufflenet.errors import UserError
from shufflenet.nets.integers import ELEMENTS
from shufflenet.nets.quantized import QuantizedModule
from shufflenet.quantization.bias_correction import correct_biases
from shufflenet.quantization.calibration import CALIBRATIONS, calibrate
from shufflenet.quantization.equalization import equalize


@dataclass(frozen=True)
class Method:
    """`activations` are "u8" or "s8" for each tensor; `calibration` chooses a tensor's range: "pictures", "minmax",
    "percentile" or "mse".

    `equalization` scales channels to fill that range before, and `bias_correction` moves biases after, so that each channel keeps its
    mean. `pictures` calibrate, chosen by `seed`. docs/decisions.md says why these are the defaults.
    """

    activations: str = "u8"
    calibration: str = "pictures"
    equalization: bool = True
    bias_correction: bool = True
    pictures: int = 512
    seed: int = 0

    def check(self, pictures: int) -> None:
        """Raises UserError for an unknown element or calibration, and if none of a data set's `pictures` is to calibrate."""
        if self.activations not in ELEMENTS:
            raise UserError(
                f"there is no element type {self.activations!r} for activations; it is one of {', '.join(ELEMENTS)}"
            )
        if self.calibration not in CALIBRATIONS:
            raise UserError(f"there is no calibration {self.calibration!r}; it is one of {', '.join(CALIBRATIONS)}")
        if min(self.pictures, pictures) < 1:
            raise UserError(
                f"there are {min(self.pictures, pictures)} pictures to calibrate on; "
                "give some hundred of the kind that the network will see"
            )

    def record(self, pictures: int) -> dict[str, Any]:
        """JSON-ready, for a data set of `pictures`."""
        choices = ("activations", "calibration", "equalization", "bias_correction")
        return {name: getattr(self, name) for name in choices} | {"calibration_pictures": min(self.pictures, pictures)}

    def apply(
        self, net: QuantizedModule, inputs: Iterable[Tensor], preprocessing: Preprocessing, correcting_pictures: int
    ) -> None:
        """Set the scales, zero points and biases of a network in learning form. `inputs` are walked several times.

        The first `correcting_pictures` of them correct biases; they are in memory at once.
        """
        if self.equalization:
            equalize(net, inputs)
        calibrate(net, inputs, preprocessing, self.calibration)
        if self.bias_correction:
            correct_biases(net, inputs, correcting_pictures)


USUAL = Method()
