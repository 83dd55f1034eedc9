"""Our networks through timm's front door, held against ours."""

import pytest
import timm
import torch
from timm.data import resolve_model_data_config

import shufflenet
import shufflenet.nets.timm_models

torch.set_num_threads(1)
X = torch.randn(2, 3, 96, 65, generator=torch.Generator().manual_seed(0))


def test_timm_lists_them():
    names = timm.list_models("shufflenet_x*")
    assert set(names) == {name for name in shufflenet.variants() if name.startswith("shufflenet_")}
    assert timm.is_model("resnext_like_38m")
    assert not timm.is_model("pvanet")
    assert not timm.is_model_pretrained("shufflenet_x1_0_g3")


@pytest.mark.parametrize("name", shufflenet.nets.timm_models.NAMES)
@torch.inference_mode()
def test_every_variant_computes_what_ours_does(name):
    theirs = timm.create_model(name, num_classes=5).eval()
    ours = shufflenet.create(name, num_classes=5).eval()
    ours.load_state_dict(theirs.state_dict())
    x = X[:1, :, :64, :64]
    torch.testing.assert_close(theirs(x), ours(x))


@torch.inference_mode()
def test_features_only():
    net = timm.create_model("shufflenet_x0_5_g3", features_only=True).eval()
    ours = shufflenet.create("shufflenet_x0_5_g3").eval()
    ours.load_state_dict(net.state_dict(), strict=False)
    assert net.feature_info.channels() == [12, 120, 240, 480]
    assert net.feature_info.reduction() == [4, 8, 16, 32]
    assert net.feature_info.module_name() == ["stem", "stage2", "stage3", "stage4"]
    for map_, expected in zip(net(X), ours.features(X).values(), strict=True):
        torch.testing.assert_close(map_, expected)


@torch.inference_mode()
def test_features_of_chosen_stages_and_other_channels():
    net = timm.create_model(
        "shufflenet_x1_0_g8", features_only=True, out_indices=(1, 3), in_chans=1, stem="small"
    ).eval()
    assert net.feature_info.channels() == [384, 1536]
    assert net.feature_info.reduction() == [2, 8]
    assert [tuple(map_.shape) for map_ in net(X[:, :1])] == [(2, 384, 48, 33), (2, 1536, 12, 9)]
    last = timm.create_model("shufflenet_x0_25_g1", features_only=True, out_indices=(-1,))
    assert last.feature_info.channels() == [144]


@torch.inference_mode()
def test_classifier_as_timm_handles_it():
    net = timm.create_model("shufflenet_x0_5_g4", num_classes=0).eval()
    pooled = net(X)
    assert pooled.shape == (2, net.num_features)
    torch.testing.assert_close(net.forward_head(net.forward_features(X), pre_logits=True), pooled)
    net.reset_classifier(7)
    assert net(X).shape == (2, 7)
    assert net.get_classifier().out_features == 7
    net.reset_classifier(0, "max")
    torch.testing.assert_close(net(X), net.forward_features(X).amax((2, 3)))


def test_drop_rate_drops_in_training_only():
    net = timm.create_model("shufflenet_x0_25_g8", num_classes=3, drop_rate=0.5).eval()
    assert torch.equal(net(X), net(X))
    features = net.forward_features(X)
    net.train()
    assert (net.forward_head(features, pre_logits=True) == 0).float().mean() > 0.4


def test_data_configuration_is_the_papers():
    data = resolve_model_data_config(timm.create_model("shufflenet_x0_25_g1"))
    assert data["input_size"] == (3, 224, 224)
    assert data["crop_pct"] * 256 == 224
    assert data["interpolation"] == "bilinear"


@torch.inference_mode()
def test_reads_a_folder_that_we_saved(tmp_path):
    ours = shufflenet.create("shufflenet_x0_25_g8", num_classes=4).eval()
    shufflenet.save(ours, tmp_path / "folder")
    weights = tmp_path / "folder" / "model.safetensors"
    net = timm.create_model("shufflenet_x0_25_g8", num_classes=4, checkpoint_path=weights).eval()
    torch.testing.assert_close(net(X), ours(X))


def test_there_are_no_weights_to_download():
    with pytest.raises(RuntimeError):
        timm.create_model("shufflenet_x1_0_g3", pretrained=True)
