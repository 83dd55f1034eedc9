"""Whether a runtime says what torch says: real pictures, run through both."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shufflenet.checkpoints import Preprocessing
from shufflenet.data import open_dataset
from shufflenet.data.transforms import evaluation_transform
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.runtime import Runtime
from shufflenet.errors import UserError
from shufflenet.nets import Network, Size, create

LARGEST_DIFFERENCE = 1e-3  # of float32 results, relative to the largest of a picture's
# Of integers: sums in another order tip a tie here and there, a step of one code, which the layers behind it pass on.
LARGEST_INTEGER_DIFFERENCE = 0.1
# A runtime may be so much further from float64 than torch: an ill-conditioned network is off in every float32 engine.
TIMES_TORCH = 3


@dataclass(frozen=True)
class Parity:
    """`max_relative_difference` is the largest |result - torch's| of any class, over the largest |torch's| for that picture;
    `top1_agreement` the share of pictures with the same best class."""

    pictures: int
    max_relative_difference: float
    top1_agreement: float


def compare(result: np.ndarray, reference: np.ndarray) -> Parity:
    """Both are [pictures, classes]. NaN anywhere counts as an infinite difference."""
    difference = np.abs(result - reference).max(axis=1) / np.abs(reference).max(axis=1)
    worst = float(difference.max())
    return Parity(
        pictures=len(reference),
        max_relative_difference=worst if np.isfinite(worst) else float("inf"),
        top1_agreement=float((result.argmax(axis=1) == reference.argmax(axis=1)).mean()),
    )


def require_parity(runtime: Runtime, apart: float, torchs_apart: float, *, integers: bool = False) -> None:
    """Raises UserError if a runtime's results are too far from the exact ones; `torchs_apart` is how far torch's float32 is."""
    allowed = LARGEST_INTEGER_DIFFERENCE if integers else max(LARGEST_DIFFERENCE, TIMES_TORCH * torchs_apart)
    if not apart <= allowed:
        raise UserError(
            f"{runtime.title} {runtime.version} differs from {'torch' if integers else 'float64'} by {apart:.2g} of the largest result "
            f"and torch by {torchs_apart:.2g}, so more than {allowed:.2g}; nothing was written"
        )


def sample_pictures(preprocessing: Preprocessing, count: int) -> Tensor:
    """The first test pictures of the bundled Fashion-MNIST, resized and cropped: uint8 [count, channels, height, width]."""
    dataset = open_dataset("fashion-mnist-7k", "test")
    *crop, _ = evaluation_transform(preprocessing).children()
    return torch.stack([nn.Sequential(*crop)(dataset[i][0]) for i in range(count)])


def sample_inputs(source: Exportable, count: int) -> np.ndarray:
    """Real pictures as `source` takes them; noise for inputs that are not a picture's colours."""
    preprocessing = source.metadata.preprocessing
    if preprocessing.channel_order == "other":
        noise = np.random.default_rng(0).standard_normal((count, *source.input_shape))
        return noise.astype(np.float32)
    at_size = Preprocessing(**{**vars(preprocessing), "size": source.size, "short_side": None})
    pictures = sample_pictures(at_size, count)
    if source.with_preprocessing:
        return pictures.permute(0, 2, 3, 1).to(source.dtype).contiguous().numpy()
    *_, normalize = evaluation_transform(at_size).children()
    return torch.stack([normalize(picture) for picture in pictures]).numpy()


def untrained(name: str, size: Size = 224) -> Network:
    """A network of random weights whose batch normalization has seen pictures, so that its values are of a trained one's size.

    Every normalization gets a random scale and shift; then one batch sets its mean and variance.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = create(name)
        norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
            norm.momentum = None  # the mean of all batches, of which there is one
        with torch.no_grad():
            net.train()(torch.from_numpy(sample_inputs(Exportable(net, size), 8)))
        for norm in norms:
            norm.momentum = 0.1
    return net.eval()
