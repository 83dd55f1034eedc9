"""pytorchcv's eleven ShuffleNets, against pytorchcv itself."""

import pytest
import torch
from pytorchcv.model_provider import get_model

import shufflenet
from shufflenet.errors import UserError

NAMES = [
    *(f"shufflenet_g{groups}_w1" for groups in (1, 2, 3, 4, 8)),
    *(f"shufflenet_g{groups}_{scale}" for groups in (1, 3) for scale in ("w3d4", "wd2", "wd4")),
]


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_computes_what_pytorchcv_does(name, randomize, tmp_path):
    theirs = randomize(get_model(name))
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = shufflenet.convert(tmp_path / "weights.pth", "pytorchcv", name)
    pictures = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    expected = theirs(pictures)
    assert expected.std() > 0.01  # not a network that says the same of everything
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    assert (ours(pictures) - expected).abs().max() / expected.abs().max() <= 1e-5
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    rebuilt = shufflenet.load(shufflenet.save(ours, tmp_path / "folder"))
    torch.testing.assert_close(rebuilt(pictures), ours(pictures))
    assert rebuilt.metadata == ours.metadata


def test_knows_what_the_source_fed_its_networks():
    net = shufflenet.convert(get_model("shufflenet_g3_wd4").state_dict(), "pytorchcv", "shufflenet_g3_wd4")
    assert net.spec["name"] == "shufflenet_x0_25_g3"
    assert net.spec["stem_channels"] == 6
    assert net.metadata.preprocessing.channel_order == "RGB"
    assert net.metadata.classes[0] == "tench"
    assert len(net.metadata.classes) == 1000
    assert net.metadata.training["source"] == "pytorchcv shufflenet_g3_wd4"


def test_our_names_and_other_class_counts_will_do():
    theirs = get_model("shufflenet_g2_w1", num_classes=7, in_channels=1)
    net = shufflenet.convert(theirs.state_dict(), "pytorchcv", "shufflenet_x1_0_g2")
    assert (net.spec["num_classes"], net.spec["in_channels"]) == (7, 1)
    assert net.metadata.preprocessing.channel_order == "grey"
    assert net.metadata.classes == ()


def test_every_key_counts():
    weights = get_model("shufflenet_g1_wd4").state_dict()
    left_over = {**weights, "features.extra.weight": torch.zeros(3)}
    with pytest.raises(UserError, match=r"no place for features\.extra\.weight"):
        shufflenet.convert(left_over, "pytorchcv", "shufflenet_g1_wd4")
    lacking = {key: value for key, value in weights.items() if not key.startswith("features.stage2.unit3.dw_bn2")}
    with pytest.raises(UserError, match=r"lacks features\.stage2\.unit3\.dw_bn2\.weight, .* and 1 more"):
        shufflenet.convert(lacking, "pytorchcv", "shufflenet_g1_wd4")
    with pytest.raises(
        UserError, match=r"another shape for features\.init_block\.conv\.weight \(6×3×3×3 for 12×3×3×3\)"
    ):
        shufflenet.convert(weights, "pytorchcv", "shufflenet_g1_wd2")


def test_file_without_batch_counts_is_complete():
    weights = get_model("shufflenet_g1_wd4").state_dict()
    older = {key: value for key, value in weights.items() if not key.endswith("num_batches_tracked")}
    shufflenet.convert(older, "pytorchcv", "shufflenet_g1_wd4")
