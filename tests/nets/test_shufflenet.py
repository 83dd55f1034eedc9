"""The channel shuffle against an index loop, and the unit and network against their definition in the paper."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from shufflenet.nets import ShuffleNetConfig, VariantError, channel_shuffle, create
from shufflenet.nets.shufflenet import Unit

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))


@given(shapes)
def test_channel_shuffle_is_the_index_loop(shape):
    batch, groups, per_group, height, width = shape
    x = torch.arange(batch * groups * per_group * height * width).reshape(batch, -1, height, width)
    y = channel_shuffle(x, groups)
    for group in range(groups):
        for index in range(per_group):
            assert torch.equal(y[:, index * groups + group], x[:, group * per_group + index])


@given(shapes)
def test_channel_shuffle_is_undone_by_the_other_factor(shape):
    batch, groups, per_group, height, width = shape
    x = torch.randn(batch, groups * per_group, height, width)
    assert torch.equal(channel_shuffle(channel_shuffle(x, groups), per_group), x)


@given(shapes)
def test_channel_shuffle_passes_gradients_back_to_their_channels(shape):
    batch, groups, per_group, height, width = shape
    x = torch.randn(batch, groups * per_group, height, width, requires_grad=True)
    weight = torch.randn(batch, groups * per_group, height, width)
    (channel_shuffle(x, groups) * weight).sum().backward()
    assert torch.equal(x.grad, channel_shuffle(weight, per_group))


def test_channel_shuffle_refuses_groups_that_do_not_divide():
    with pytest.raises(VariantError, match="10 channels cannot be shuffled in 3 groups"):
        channel_shuffle(torch.zeros(1, 10, 2, 2), 3)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 3])
def test_unit_is_figure_2(stride, groups):
    torch.manual_seed(0)
    in_channels = 24 if stride == 2 else 48
    config = ShuffleNetConfig(groups=groups, stage_channels=(48, 96, 192), stem_channels=24)
    unit = Unit(in_channels, 48, stride=stride, first_groups=groups, config=config)
    for parameter in unit.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, in_channels, 9, 11).relu()

    def layer(sequence, y, **options):
        convolution, normalization = sequence
        y = F.conv2d(y, convolution.weight, **options)
        return F.batch_norm(y, None, None, normalization.weight, normalization.bias, training=True)

    y = layer(unit.compress, x, groups=groups).relu()
    y = y[:, [group * 12 // groups + index for index in range(12 // groups) for group in range(groups)]]
    y = layer(unit.depthwise, y, stride=stride, padding=1, groups=12)
    y = layer(unit.expand, y, groups=groups)
    expected = (x + y if stride == 1 else torch.cat((F.avg_pool2d(x, 3, 2, padding=1), y), 1)).relu()
    torch.testing.assert_close(unit(x), expected, rtol=1e-5, atol=1e-5)


def test_first_pointwise_of_stage_2_is_not_grouped():
    net = create("shufflenet_x1_0_g8")
    assert net.stage2[0].compress[0].groups == 1
    assert {unit.compress[0].groups for unit in [*net.stage2[1:], *net.stage3, *net.stage4]} == {8}
    assert {unit.expand[0].groups for unit in [*net.stage2, *net.stage3, *net.stage4]} == {8}


@pytest.mark.parametrize("order", ["paper", "inverse"])
@pytest.mark.parametrize("shortcut_first", [True, False])
def test_fields_for_other_implementations_change_the_order_only(order, shortcut_first):
    torch.manual_seed(0)
    unit_of = {}
    for fields in ({}, {"shuffle_order": order, "shortcut_first": shortcut_first}):
        config = ShuffleNetConfig(groups=3, **fields)
        torch.manual_seed(1)
        unit_of[bool(fields)] = Unit(24, 240, stride=2, first_groups=1, config=config).eval()
    x = torch.rand(1, 24, 8, 8)
    plain, other = unit_of[False](x), unit_of[True](x)
    pooled = F.avg_pool2d(x, 3, 2, padding=1)
    assert torch.equal(other[:, :24] if shortcut_first else other[:, -24:], pooled)
    assert torch.equal(plain, other) == (shortcut_first and order == "paper")


@pytest.mark.parametrize("name", ["shufflenet_x1_0_g3", "shufflenet_x0_25_g8", "resnext_like_38m", "mobilenet_x0_5"])
@pytest.mark.parametrize("stem", ["imagenet", "small"])
def test_features_have_the_channels_and_strides_they_announce(name, stem):
    net = create(name, stem=stem).eval()
    features = net.features(torch.randn(1, 3, 65, 97))
    assert list(features) == ["stem", "stage2", "stage3", "stage4"]
    for key, feature in features.items():
        stride = net.feature_strides[key]
        assert feature.shape == (1, net.feature_channels[key], -(-65 // stride), -(-97 // stride))


def test_squeeze_excitation_scales_the_branch_before_the_addition():
    torch.manual_seed(0)
    config = ShuffleNetConfig(squeeze_reduction=16)
    unit = Unit(240, 240, stride=1, first_groups=3, config=config).eval()
    torch.nn.init.constant_(unit.squeeze_excitation.excite.bias, -100.0)  # the branch is switched off
    x = torch.rand(1, 240, 5, 5)
    torch.testing.assert_close(unit(x), x)
