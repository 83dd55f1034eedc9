"""Checkpoints of Megvii, mmpretrain and tensorpack, built by hand and held against a small network written only for this file.

`reference` computes what those implementations compute from their own tensors under their own names; nothing of ours takes part.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import shufflenet
from shufflenet.data.transforms import evaluation_transform
from shufflenet.errors import UserError

REPEATS = (4, 8, 4)


@dataclass(frozen=True)
class Layout:
    """One foreign network: its names, its widths, its order of things."""

    stem: tuple[str, str]  # convolution, batch normalization
    unit: object  # (stage 0–2, number) → compress, compress BN, depthwise, depthwise BN, expand, expand BN
    classifier: str
    groups: int
    stem_channels: int
    stages: tuple[int, int, int]
    shuffle: object
    shuffle_last: bool  # after the depthwise layer
    bias: bool = True
    same: bool = False


def index_shuffle(x: Tensor, groups: int, first: str) -> Tensor:
    """By an index loop: reshape to (groups, n) or (n, groups), transpose, flatten."""
    rows = groups if first == "groups" else x.shape[1] // groups
    columns = x.shape[1] // rows
    return x[:, [row * columns + column for column in range(columns) for row in range(rows)]]


def paper_order(x: Tensor, groups: int) -> Tensor:
    return index_shuffle(x, groups, "groups")


def inverse_order(x: Tensor, groups: int) -> Tensor:
    return index_shuffle(x, groups, "channels")


def megvii(groups, stem_channels, stages):
    def unit(stage, number):
        at = f"features.{sum(REPEATS[:stage]) + number}.branch_main"
        return f"{at}_1.0", f"{at}_1.1", f"{at}_1.3", f"{at}_1.4", f"{at}_2.0", f"{at}_2.1"

    stem = ("first_conv.0", "first_conv.1")
    return Layout(stem, unit, "classifier.0", groups, stem_channels, stages, inverse_order, True, bias=False)


def mmpretrain(groups, stem_channels, stages):
    def unit(stage, number):
        at = f"backbone.layers.{stage}.{number}"
        parts = ("g_conv_1x1_compress", "depthwise_conv3x3_bn", "g_conv_1x1_expand")
        return [f"{at}.{part}.{kind}" for part in parts for kind in ("conv", "bn")]

    stem = ("backbone.conv1.conv", "backbone.conv1.bn")
    return Layout(stem, unit, "head.fc", groups, stem_channels, stages, paper_order, True)


def tensorpack(groups, stem_channels, stages):
    def unit(stage, number):
        at = f"stage{stage + 2}/block{number}"
        return [f"{at}/{layer}" for layer in ("conv1", "conv1/bn", "dconv", "dconv_bn", "conv2", "conv2_bn")]

    return Layout(("conv1", "conv1/bn"), unit, "linear", groups, stem_channels, stages, inverse_order, False, same=True)


def random_weights(layout: Layout, classes: int = 11) -> dict[str, Tensor]:
    """A state dict in torch's layout under the source's names, every statistic of its own."""
    generator = torch.Generator().manual_seed(3)
    weights = {}

    def convolution(names, out_channels, in_channels, kernel):
        spread = math.sqrt(3 / (in_channels * kernel * kernel))
        shape = (out_channels, in_channels, kernel, kernel)
        weights[f"{names[0]}.weight"] = (torch.rand(shape, generator=generator) * 2 - 1) * spread
        for tensor, low, high in (
            ("weight", 0.5, 1.5),
            ("bias", -0.5, 0.5),
            ("running_mean", -0.5, 0.5),
            ("running_var", 0.5, 2.0),
        ):
            weights[f"{names[1]}.{tensor}"] = torch.rand(out_channels, generator=generator) * (high - low) + low

    convolution(layout.stem, layout.stem_channels, 3, 3)
    channels = layout.stem_channels
    for stage, width in enumerate(layout.stages):
        for number in range(REPEATS[stage]):
            compress, compress_bn, depthwise, depthwise_bn, expand, expand_bn = layout.unit(stage, number)
            first_groups = 1 if stage == number == 0 else layout.groups
            convolution((compress, compress_bn), width // 4, channels // first_groups, 1)
            convolution((depthwise, depthwise_bn), width // 4, 1, 3)
            out_channels = width - channels if number == 0 else width
            convolution((expand, expand_bn), out_channels, width // 4 // layout.groups, 1)
            channels = width
    weights[f"{layout.classifier}.weight"] = torch.randn(classes, channels, generator=generator) / math.sqrt(channels)
    if layout.bias:
        weights[f"{layout.classifier}.bias"] = torch.randn(classes, generator=generator)
    return weights


def padded(x: Tensor, same: bool, value: float = 0.0) -> Tensor:
    """Around 3×3 windows at stride 2: one pixel on every side, or TensorFlow's SAME, whose odd pixel goes to the end."""
    if not same:
        return F.pad(x, (1, 1, 1, 1), value=value)
    pads = []
    for length in (x.shape[3], x.shape[2]):
        total = max((math.ceil(length / 2) - 1) * 2 + 3 - length, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def reference(weights: dict[str, Tensor], layout: Layout, x: Tensor) -> Tensor:
    """Logits in float64, so that the difference measured is ours."""
    weights = {name: value.double() for name, value in weights.items()}

    def normalized(x, name):
        scale = weights[f"{name}.weight"] / torch.sqrt(weights[f"{name}.running_var"] + 1e-5)
        shift = weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def strided(x, name, groups):
        return F.conv2d(padded(x, layout.same), weights[f"{name}.weight"], stride=2, groups=groups)

    x = normalized(strided(x.double(), layout.stem[0], 1), layout.stem[1]).clamp(min=0)
    x = F.max_pool2d(padded(x, layout.same, value=-math.inf), 3, stride=2)
    for stage, width in enumerate(layout.stages):
        for number in range(REPEATS[stage]):
            compress, compress_bn, depthwise, depthwise_bn, expand, expand_bn = layout.unit(stage, number)
            first_groups = 1 if stage == number == 0 else layout.groups
            y = normalized(F.conv2d(x, weights[f"{compress}.weight"], groups=first_groups), compress_bn).clamp(min=0)
            if not layout.shuffle_last:
                y = layout.shuffle(y, layout.groups)
            if number == 0:
                y = strided(y, depthwise, width // 4)
            else:
                y = F.conv2d(y, weights[f"{depthwise}.weight"], padding=1, groups=width // 4)
            y = normalized(y, depthwise_bn)
            if layout.shuffle_last:
                y = layout.shuffle(y, layout.groups)
            y = normalized(F.conv2d(y, weights[f"{expand}.weight"], groups=layout.groups), expand_bn)
            if number > 0:
                x = (x + y).clamp(min=0)
            else:
                ones = torch.ones_like(x) if layout.same else F.pad(torch.ones_like(x), (1, 1, 1, 1), value=1.0)
                count = F.avg_pool2d(padded(ones, True) if layout.same else ones, 3, stride=2)
                x = torch.cat((F.avg_pool2d(padded(x, layout.same), 3, stride=2) / count, y.clamp(min=0)), dim=1)
    logits = x.mean((2, 3)) @ weights[f"{layout.classifier}.weight"].T
    return logits + weights[f"{layout.classifier}.bias"] if layout.bias else logits


def relative_error(ours: Tensor, expected: Tensor) -> float:
    assert expected.std(dim=0).max() > 1e-3  # the pictures are told apart
    return ((ours.double() - expected).abs().max() / expected.abs().max()).item()


def pixels(size: int, seed: int = 5) -> Tensor:
    return torch.randint(0, 256, (2, 3, size, size), generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.parametrize(
    ("variant", "groups", "stem_channels", "stages"),
    [
        ("ShuffleNetV1 0.5x (group=3)", 3, 12, (120, 240, 480)),
        ("ShuffleNetV1 0.5x (group=8)", 8, 16, (192, 384, 768)),
        ("shufflenet_x1_0_g8", 8, 24, (384, 768, 1536)),
        ("shufflenet_x2_0_g3", 3, 48, (480, 960, 1920)),
    ],
)
@torch.inference_mode()
def test_megvii(variant, groups, stem_channels, stages, tmp_path):
    layout = megvii(groups, stem_channels, stages)
    weights = random_weights(layout)
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "model.pth.tar")
    net = shufflenet.convert(tmp_path / "model.pth.tar", "megvii", variant)
    x = pixels(96) / 64 - 2
    assert relative_error(net(x), reference(weights, layout, x)) <= 1e-5
    assert net.spec["shuffle_order"] == "inverse"


# Published parameters of all eight; with 1000 classes.
MEGVII_PARAMETERS = {
    3: {"0.5": 717_324, "1.0": 1_864_728, "1.5": 3_441_168, "2.0": 5_449_776},
    8: {"0.5": 1_010_448, "1.0": 2_433_768, "1.5": 4_268_952, "2.0": 6_521_232},
}
MEGVII_WIDTHS = {
    (3, "0.5"): (12, 120),
    (3, "1.0"): (24, 240),
    (3, "1.5"): (24, 360),
    (3, "2.0"): (48, 480),
    (8, "0.5"): (16, 192),
    (8, "1.0"): (24, 384),
    (8, "1.5"): (24, 576),
    (8, "2.0"): (48, 768),
}


@pytest.mark.parametrize(("groups", "scale"), MEGVII_WIDTHS)
def test_megvii_has_its_published_parameters(groups, scale):
    stem_channels, stage2 = MEGVII_WIDTHS[groups, scale]
    weights = random_weights(megvii(groups, stem_channels, (stage2, 2 * stage2, 4 * stage2)), classes=1000)
    net = shufflenet.convert(weights, "megvii", f"ShuffleNetV1 {scale}x (group={groups})")
    assert sum(p.numel() for p in net.parameters()) == MEGVII_PARAMETERS[groups][scale]
    assert net.metadata.classes[999] == "toilet tissue"


@torch.inference_mode()
def test_megvii_gets_pixels_in_blue_green_red_as_they_are():
    """The preprocessing that comes with the network gives it what Megvii's own code gives: BGR, 0–255, nothing subtracted."""
    layout = megvii(3, 12, (120, 240, 480))
    weights = random_weights(layout)
    net = shufflenet.convert(weights, "megvii", "shufflenet_x0_5_g3")
    rgb = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    prepared = evaluation_transform(net.metadata.preprocessing)(Image.fromarray(rgb))[None]
    bgr = torch.from_numpy(rgb[16:240, 16:240, ::-1].copy()).permute(2, 0, 1)[None].float()
    torch.testing.assert_close(prepared, bgr)
    difference = (net(prepared).double() - reference(weights, layout, bgr)).abs().max()
    assert difference / reference(weights, layout, bgr).abs().max() <= 1e-5


@torch.inference_mode()
def test_mmpretrain(tmp_path):
    layout = mmpretrain(3, 24, (240, 480, 960))
    weights = random_weights(layout)
    torch.save({"meta": {"epoch": 300}, "state_dict": weights}, tmp_path / "shufflenet_v1.pth")
    net = shufflenet.convert(tmp_path / "shufflenet_v1.pth", "mmpretrain", "shufflenet-v1-1x_16xb64_in1k")
    x = pixels(96) / 64 - 2
    assert relative_error(net(x), reference(weights, layout, x)) <= 1e-5
    assert net.spec == {"name": "shufflenet_x1_0_g3", "num_classes": 11, "in_channels": 3, "stem": "imagenet"}
    assert net.metadata.preprocessing.channel_order == "RGB"


def as_tensorpack_saves(weights: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Names and layouts of a tensorpack .npz."""
    renamed = {"weight": "gamma", "bias": "beta", "running_mean": "mean/EMA", "running_var": "variance/EMA"}
    arrays = {"global_step:0": np.array(300_000), "learning_rate:0": np.array(0.0)}
    for name, value in weights.items():
        layer, tensor = name.rsplit(".", 1)
        array = value.numpy()
        if re.search(r"bn$", layer):
            arrays[f"{layer}/{renamed[tensor]}:0"] = array
        elif layer == "linear":
            arrays[f"linear/{'W' if tensor == 'weight' else 'b'}:0"] = array.T
        elif layer.endswith("dconv"):  # [channels, 1, 3, 3] → [3, 3, channels, 1]
            arrays[f"{layer}/W:0"] = array.transpose(2, 3, 0, 1)
        else:  # [out, in, h, w] → [h, w, in, out]
            arrays[f"{layer}/W:0"] = array.transpose(2, 3, 1, 0)
    return arrays


@pytest.mark.parametrize("size", [96, 97, 119])
@pytest.mark.parametrize(
    ("variant", "groups", "stem_channels", "stages"),
    [
        ("ShuffleNetV1-0.5x-g8", 8, 16, (192, 384, 768)),
        ("ShuffleNetV1-0.5x-g4", 4, 12, (144, 272, 544)),
    ],
)
@torch.inference_mode()
def test_tensorpack(variant, groups, stem_channels, stages, size, tmp_path):
    layout = tensorpack(groups, stem_channels, stages)
    weights = random_weights(layout)
    np.savez(tmp_path / "model.npz", **as_tensorpack_saves(weights))
    net = shufflenet.convert(tmp_path / "model.npz", "tensorpack", variant)
    x = pixels(size) / 64 - 2
    assert relative_error(net(x), reference(weights, layout, x)) <= 1e-5
    again = shufflenet.create(**net.spec)
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.eval()(x), net(x))
    assert net.metadata.preprocessing.channel_order == "BGR"
    assert net.metadata.preprocessing.mean == (0.406, 0.456, 0.485)


def test_tensorpack_names_what_is_missing():
    arrays = {
        name: torch.from_numpy(array)
        for name, array in as_tensorpack_saves(random_weights(tensorpack(8, 24, (384, 768, 1536)))).items()
    }
    del arrays["stage3/block2/dconv_bn/variance/EMA:0"]
    with pytest.raises(UserError, match="it lacks stage3/block2/dconv_bn/variance/EMA"):
        shufflenet.convert(arrays, "tensorpack", "ShuffleNetV1-1x-g8")
