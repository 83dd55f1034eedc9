"""The cost against sums done by hand, and the rows of Table 1."""

import pytest

from shufflenet.nets import VariantError, cost, create


def test_table_1_column_of_g3():
    counted = cost(create("shufflenet_x1_0_g3"))
    rows = [(row.name, row.output_shape, row.stride, row.repeat) for row in counted.stages]
    assert rows == [
        ("stem", (24, 112, 112), 2, 1),
        ("stem", (24, 56, 56), 2, 1),
        ("stage2", (240, 28, 28), 2, 1),
        ("stage2", (240, 28, 28), 1, 3),
        ("stage3", (480, 14, 14), 2, 1),
        ("stage3", (480, 14, 14), 1, 7),
        ("stage4", (960, 7, 7), 2, 1),
        ("stage4", (960, 7, 7), 1, 3),
        ("classifier", (1000,), 1, 1),
    ]
    assert round(counted.multiply_adds / 1e6) == 137


@pytest.mark.parametrize("size", [(224, 224), (97, 131)])
def test_a_unit_costs_what_section_3_2_says(size):
    """hw(2cm/g + 9m) for a unit of stride 1."""
    counted = cost(create("shufflenet_x1_0_g3"), size)
    layers = {layer.name: layer for layer in counted.layers}
    unit = [layer for name, layer in layers.items() if name.startswith("stage3.4.")]
    height, width = unit[0].output_shape[1:]
    assert sum(layer.multiply_adds for layer in unit) == height * width * (2 * 480 * 120 // 3 + 9 * 120)


def test_stages_and_layers_add_up_and_the_network_is_left_alone():
    net = create("mobilenet_x0_5", num_classes=10, in_channels=1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    counted = cost(net, (64, 48))
    assert sum(row.multiply_adds for row in counted.stages) == counted.multiply_adds
    assert sum(layer.multiply_adds for layer in counted.layers) == counted.multiply_adds
    assert counted.parameters == sum(parameter.numel() for parameter in net.parameters())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


def test_published_parameter_counts_of_megvii_and_pytorchcv_are_ours():
    assert cost(create("shufflenet_x1_0_g3")).parameters == 1_865_728
    assert cost(create("shufflenet_x1_0_g3", classifier_bias=False)).parameters == 1_864_728
    assert cost(create("shufflenet_x2_0_g8", classifier_bias=False)).parameters == 6_521_232
    assert cost(create("shufflenet_x0_5_g8", classifier_bias=False, stem_channels=16)).parameters == 1_010_448


def test_a_whole_number_is_a_square():
    net = create("mobilenet_x0_25")
    assert cost(net, 96) == cost(net, (96, 96))
    assert cost(net, [64, 96]).size == (64, 96)


@pytest.mark.parametrize("size", [0, -3, (224,), (1, 2, 3), 2.5, "224", (0, 5), None])
def test_what_is_no_size(size):
    with pytest.raises(VariantError, match="is no picture size; give height and width in whole pixels, or one number"):
        cost(create("mobilenet_x0_25"), size)
