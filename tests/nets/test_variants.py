"""Every network of the paper: its complexity against the printed one, and its shapes at ordinary and odd sizes."""

from functools import cache

import pytest
import torch

from shufflenet.nets import VariantError, cost, create, variants
from shufflenet.nets.variants import STAGE2_CHANNELS, stage_widths
from shufflenet.paper.published import NOTES, printed


def blueprint(name, **options):
    """The network without weights, for what shapes alone tell."""
    with torch.device("meta"):
        return create(name, **options).eval()


@cache
def counted(name):
    return cost(blueprint(name), variants()[name].size)


# Printed millions, and how far ours may be from them: 1.5 for Table 2, 4% for Table 4, 2% for Table 6, 1 elsewhere.
BOUNDS = {
    **{f"shufflenet_x1_0_g{g}": (printed, 1.5) for g, printed in {1: 143, 2: 140, 3: 137, 4: 133, 8: 137}.items()},
    **{f"shufflenet_x0_5_g{g}": (38, 1.5) for g in (1, 2, 3, 4, 8)},
    **{f"shufflenet_x0_25_g{g}": (13, 1.5) for g in (1, 2, 3, 4, 8)},
    "shufflenet_x1_5_g3": (292, 1),
    "shufflenet_x2_0_g3": (524, 1),
    "shufflenet_x2_0_g3_se": (527, 1),
    "shufflenet_x0_5_g3_shallow": (40, 1),
    "mobilenet_x1_0": (569, 1),
    "mobilenet_x0_75": (325, 1),
    "mobilenet_x0_5": (149, 1),
    "mobilenet_x0_25": (41, 1),
    **{f"{unit}_like_140m": (140, 5.6) for unit in ("vgg", "resnet", "resnext", "xception")},
    **{f"{unit}_like_38m": (38, 1.52) for unit in ("vgg", "resnet", "resnext", "xception")},
    **{f"{unit}_like_13m": (13, 0.52) for unit in ("resnet", "resnext", "xception")},
    "alexnet": (720, 14.4),
    "vgg16": (15300, 306),
    "squeezenet": (833, 16.66),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_complexity_is_within_the_promised_bound(name):
    expected, bound = BOUNDS[name]
    assert printed(name).multiply_adds == expected
    assert abs(counted(name).multiply_adds / 1e6 - expected) <= bound


def test_every_printed_complexity_has_a_bound_or_is_explained():
    complexities = {name for name in variants() if printed(name).multiply_adds is not None}
    shuffles = {name for name in complexities if name.endswith("_noshuffle")}
    assert complexities - shuffles - NOTES.keys() == set(BOUNDS)
    assert set(NOTES) == {"googlenet", "pvanet"}
    for name in shuffles:
        assert counted(name).multiply_adds == counted(name.removesuffix("_noshuffle")).multiply_adds


@pytest.mark.parametrize("name", variants())
def test_every_variant_has_logits_at_224_and_at_odd_sizes(name):
    # A pass at 224×224 (SqueezeNet: 227×227) ended in 1000 logits.
    assert counted(name).layers[-1].output_shape[0] == 1000
    torch.manual_seed(0)
    net = create(name, num_classes=7, in_channels=4).eval()
    with torch.no_grad():
        sizes = [(97, 131)] if name == "alexnet" else [(97, 131), (32, 32)]
        for size in sizes:
            logits = net(torch.randn(1, 4, *size))
            assert logits.shape == (1, 7)
            assert logits.isfinite().all()


@pytest.mark.parametrize("name", variants())
def test_every_variant_runs_on_small_grey_pictures(name):
    torch.manual_seed(0)
    net = create(name, num_classes=5, in_channels=1, stem="small").eval()
    with torch.no_grad():
        logits = net(torch.randn(1, 1, 32, 32))
    assert logits.shape == (1, 5)
    assert logits.isfinite().all()


def test_alexnet_names_its_smallest_picture():
    with pytest.raises(VariantError, match="32×32 is too small; this network takes 63×63"):
        blueprint("alexnet")(torch.zeros(1, 3, 32, 32, device="meta"))


@pytest.mark.parametrize("name", variants())
def test_spec_rebuilds_the_network(name):
    net = blueprint(name, num_classes=3, in_channels=2, stem="small")
    twin = blueprint(**net.spec)
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in net.state_dict().items()}


def test_overrides_are_kept_in_the_spec():
    net = create("shufflenet_x1_0_g3", stem_channels=18, stage_channels=[180, 360, 720], classifier_bias=False)
    assert net.classifier.bias is None
    assert net.feature_channels == {"stem": 18, "stage2": 180, "stage3": 360, "stage4": 720}
    assert create(**net.spec).feature_channels == net.feature_channels


@pytest.mark.parametrize("groups", STAGE2_CHANNELS)
@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 1.5, 2.0])
def test_stage_widths_are_divisible_and_near_the_plain_product(scale, groups):
    for factor, channels in zip((1, 2, 4), stage_widths(scale, groups), strict=True):
        assert channels % (4 * groups) == 0
        assert abs(channels - STAGE2_CHANNELS[groups] * scale * factor) <= 2 * groups


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "shufflenet_x1_g3"}, "no variant 'shufflenet_x1_g3'; did you mean shufflenet_x1_"),
        ({"name": "zzz"}, "`shufflenet list` shows all"),
        ({"name": "shufflenet_x1_0_g3", "width": 3}, "no field 'width'; its fields are groups, stage_channels"),
        ({"name": "shufflenet_x1_0_g3", "groups": 7}, "240 stage channels have 60 bottleneck channels, which 7 groups"),
        ({"name": "shufflenet_x1_0_g8", "stem_channels": 12}, "12 stem channels leave 372"),
        ({"name": "shufflenet_x1_0_g3", "shuffle_order": "mine"}, "'mine'; it is 'paper' or 'inverse'"),
        ({"name": "alexnet", "num_classes": 0}, "num_classes is 0"),
        ({"name": "alexnet", "stem": "tiny"}, "'tiny'; it is 'imagenet'"),
    ],
)
def test_what_cannot_be_built_is_said_in_a_sentence(arguments, message):
    with pytest.raises(VariantError) as error:
        create(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
