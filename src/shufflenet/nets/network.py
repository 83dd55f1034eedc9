"""What every network of this package carries besides its weights."""

from typing import Any

from torch import nn


class Network(nn.Module):
    """A classifier: [n, in_channels, h, w] → logits [n, num_classes].

    `spec` is the JSON-ready recipe of its architecture (`create(**net.spec)` builds it again); `metadata` is what its checkpoint knows:
    classes, preprocessing, training.
    """

    spec: dict[str, Any]
    metadata: Any = None
