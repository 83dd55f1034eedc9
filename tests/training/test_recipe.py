"""Recipes: their fields, what may override them, and what they make of the learning rate."""

import pytest
import torch

from shufflenet.errors import UserError
from shufflenet.training import RECIPES, Recipe, read_recipe
from shufflenet.training.optimizer import LearningRate, make_optimizer
from shufflenet.training.recipe import for_network, merge, override, parse_setting, to_dict


def test_the_paper_s_recipe():
    paper = read_recipe("paper")
    assert paper == Recipe(small_network_augmentation=paper.small_network_augmentation)
    assert (paper.iterations, paper.batch_size, paper.momentum, paper.weight_decay) == (300_000, 1024, 0.9, 4e-5)
    rate = LearningRate(paper.peak_learning_rate, paper.schedule, paper.warmup_iterations, 300_000)
    assert [rate.at(iteration) for iteration in (0, 150_000, 299_999)] == pytest.approx([0.5, 0.25, 0.5 / 300_000])


def test_small_networks_get_less_aggressive_crops():
    paper = read_recipe("paper")
    assert for_network(paper, 38_000_000).augmentation.area == (0.49, 1.0)
    assert for_network(paper, 137_000_000).augmentation.area == (0.08, 1.0)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_yaml(name, tmp_path):
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(to_dict(RECIPES[name])))
    assert read_recipe(path) == RECIPES[name]


def test_a_file_changes_fields_of_the_recipe_it_names_and_settings_change_them_last(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: megvii\nepochs: 3\nlearning_rate: 1e-2\naugmentation: {flip: 0}\nfreeze: [stem]\n")
    settings = merge(*map(parse_setting, ["augmentation.erase=0.5", "batch_size=64", "mixed_precision=no"]))
    recipe = read_recipe(path, settings)
    assert (recipe.epochs, recipe.iterations, recipe.learning_rate, recipe.batch_size) == (3, None, 0.01, 64)
    assert (recipe.augmentation.flip, recipe.augmentation.erase) == (0, 0.5)
    assert (recipe.augmentation.color_jitter, recipe.label_smoothing) == (0.4, 0.1)
    assert (recipe.freeze, recipe.mixed_precision) == (("stem",), "no")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("learning_rte=1", "no field 'learning_rte'; did you mean learning_rate"),
        ("augmentation.flp=1", r"no field 'augmentation.flp'; did you mean flip"),
        ("batch_size=many", "batch_size is 'many'; it must be `int`"),
        ("batch_size=1.5", "batch_size is 1.5; it must be `int`"),
        ("batch_size=0", "batch_size is 0; it must be above 0"),
        ("channels_last=1", "channels_last is 1; it must be `bool`"),
        ("schedule=step", "schedule is 'step'; it is one of linear, cosine, constant"),
        ("augmentation.area=[0.1]", r"augmentation.area is \[0.1\]; it must be"),
        ("augmentation.flip=2", "augmentation flip is 2.0; it is a probability"),
        ("ema_decay=1", "ema_decay is 1.0; it is between 0 and 1"),
        ("epochs", "'epochs' sets nothing; write field=value"),
    ],
)
def test_what_will_not_do_is_refused_by_name(setting, complaint):
    with pytest.raises(UserError, match=complaint):
        read_recipe("paper", parse_setting(setting))


def test_unknown_recipes_and_files(tmp_path):
    with pytest.raises(
        UserError,
        match="no recipe 'papr'; take paper, megvii, finetune, scratch, scratch-small, quickstart or a YAML file",
    ):
        read_recipe("papr")
    with pytest.raises(UserError, match=r"recipe .*none.yaml cannot be read: No such file"):
        read_recipe(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UserError, match="is not YAML"):
        read_recipe(tmp_path / "bad.yaml")
    (tmp_path / "odd.yaml").write_text("bach_size: 3")
    with pytest.raises(UserError, match=r"odd.yaml: a recipe has no field 'bach_size'; did you mean batch_size"):
        read_recipe(tmp_path / "odd.yaml")


def test_epochs_and_iterations_exclude_each_other():
    assert override(RECIPES["paper"], {"epochs": 2}).iterations is None
    assert override(RECIPES["finetune"], {"iterations": 2}).epochs is None
    with pytest.raises(UserError, match="set one of them"):
        override(RECIPES["paper"], {"epochs": 2, "iterations": 3})


def test_the_learning_rate_scales_with_the_batch_unless_told_otherwise():
    assert read_recipe("paper", {"batch_size": 256}).peak_learning_rate == 0.125
    assert read_recipe("paper", {"batch_size": 256, "learning_rate_batch_size": None}).peak_learning_rate == 0.5


def test_warm_up_rises_and_cosine_falls():
    rate = LearningRate(1.0, "cosine", warmup_iterations=4, iterations=104)
    rates = [rate.at(iteration) for iteration in range(104)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[54] == pytest.approx(0.5)
    assert rates == [*sorted(rates[:5]), *sorted(rates[5:], reverse=True)]


def test_weight_decay_spares_biases_and_bn(make_net):
    net = make_net()
    decayed, spared = make_optimizer(net, 0.1, momentum=0.9, weight_decay=0.1).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert decayed["nesterov"]
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    layers = dict(net.named_modules())
    for parameter in spared["params"]:
        module, _, kind = names[id(parameter)].rpartition(".")
        assert kind == "bias" or isinstance(layers[module], torch.nn.BatchNorm2d)
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
