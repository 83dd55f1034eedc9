"""What the paper compares: the networks, as data and as torch modules, and what they cost. Open shufflenet.py first."""

from shufflenet.nets.cost import Cost, LayerCost, StageCost, cost
from shufflenet.nets.errors import VariantError
from shufflenet.nets.network import Network
from shufflenet.nets.shufflenet import ShuffleNet, ShuffleNetConfig, channel_shuffle
from shufflenet.nets.size import Size, height_width
from shufflenet.nets.variants import Variant, create, variants

__all__ = [
    "Cost",
    "LayerCost",
    "Network",
    "ShuffleNet",
    "ShuffleNetConfig",
    "Size",
    "StageCost",
    "Variant",
    "VariantError",
    "channel_shuffle",
    "cost",
    "create",
    "height_width",
    "variants",
]
