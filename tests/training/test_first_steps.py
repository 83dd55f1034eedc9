"""Training from random weights begins calmly: no network of the paper's tables starts with an explosion."""

import pytest
import torch
from torch.nn import functional

from shufflenet.data import open_dataset
from shufflenet.nets import create, variants
from shufflenet.paper.published import printed

NAMES = [name for name in variants() if {2, 3, 4, 5} & set(printed(name).tables)]
STEPS = 12
LARGE = 100  # millions of multiply-adds


@pytest.fixture(scope="module")
def batch():
    """32 pictures as colour photographs of 48×48, with labels at random: only the first steps count."""
    pictures = open_dataset("fashion-mnist-7k", "train").images[:32].float()
    pictures = functional.interpolate(pictures, (48, 48), mode="bilinear").expand(-1, 3, -1, -1)
    labels = torch.randint(5, (32,), generator=torch.Generator().manual_seed(0))
    return (pictures - pictures.mean()) / pictures.std(), labels


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.long] if printed(name).multiply_adds >= LARGE else []) for name in NAMES],
)
def test_no_loss_is_above_twice_the_first(name, batch):
    pictures, labels = batch
    torch.manual_seed(0)
    net = create(name, num_classes=5)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        loss = functional.cross_entropy(net(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert max(losses) <= 2 * losses[0], losses
    assert losses[-1] < losses[0], losses
