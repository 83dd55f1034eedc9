"""ImageNet's 1000 classes (ILSVRC 2012), in the order in which every published network has them: by WordNet id."""

from functools import cache
from importlib.resources import files


def imagenet_classes() -> tuple[str, ...]:
    """Their names in English."""
    # Not above: it is slow to import, and few need it.
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.IMAGENET1K_V1.meta["categories"])


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """Their WordNet ids, sorted."""
    return tuple(files("shufflenet.checkpoints").joinpath("imagenet_synsets.txt").read_text(encoding="ascii").split())
