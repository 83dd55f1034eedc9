"""What each setting of a recipe does to training."""

import copy
import html.parser
import json

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from shufflenet.checkpoints import load
from shufflenet.data import ArrayDataset
from shufflenet.errors import UserError
from shufflenet.training import RECIPES, evaluate, train
from shufflenet.training.averaging import reestimate_batch_norm
from shufflenet.training.loop import make_accelerator
from shufflenet.training.sync_batch_norm import SyncBatchNorm, synchronize


@pytest.fixture
def run(make_net, make_recipe, training_set, test_set, tmp_path):
    """Train the small network with changes of the recipe; runs of one test have folders of their own."""
    count = 0

    def start(net=None, observers=(), **overrides):
        nonlocal count
        count += 1
        return train(
            make_recipe(**overrides),
            training_set,
            test_set,
            net or make_net(),
            tmp_path / str(count),
            trackers=(),
            observers=observers,
        )

    return start


def weights(training):
    return training.net.state_dict()


def largest_difference(one, other):
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


def test_it_learns(run):
    training = run(iterations=60, learning_rate=0.05, learning_rate_batch_size=None)
    assert training.evaluation.top1_error < 60
    assert training.record["top1_error"] == training.evaluation.top1_error


def test_what_is_saved_is_what_was_evaluated(run, test_set):
    training = run(ema_decay=0.8, bn_reestimation_iterations=2)
    again = evaluate(load(training.folder), test_set)
    assert (again.confusion == training.evaluation.confusion).all()
    record = json.loads((training.folder / "result.json").read_text())
    assert record["top1_error"] == training.evaluation.top1_error
    assert record["environment"]["torch"] == torch.__version__
    assert load(training.folder).metadata.training == record


def test_the_best_network_is_kept(run, test_set):
    errors = []

    class Watch:
        def logged(self, progress, figures): ...

        def evaluated(self, progress, figures):
            errors.append(figures["top1_error"])

    training = run(iterations=32, evaluate_epochs=1, learning_rate=0.2, observers=(Watch(),))
    assert len(errors) == 4
    assert evaluate(load(training.folder / "best"), test_set).top1_error == min(errors)


def test_accumulated_parts_make_the_same_step(make_net, run):
    # With BN's statistics fixed, the gradient of a batch is the mean of its parts' gradients.
    settings = {"freeze_batch_norm": True, "iterations": 3, "learning_rate": 0.01}
    whole, parts = run(**settings), run(**settings, accumulation=4)
    assert largest_difference(weights(whole), weights(parts)) < 1e-5
    assert largest_difference(weights(whole), make_net().state_dict()) > 1e-4


def test_frozen_modules_stay_as_they_are(make_net, run):
    before = make_net().state_dict()
    after = weights(run(freeze=("stem", "stage2")))
    for name, tensor in after.items():
        if name.startswith(("stem", "stage2")):
            assert torch.equal(tensor, before[name]), name
        elif tensor.ndim > 1:
            assert not torch.equal(tensor, before[name]), name
    with pytest.raises(UserError, match="freeze names 'stage9', which the network does not have; its modules are stem"):
        run(freeze=("stage9",))
    with pytest.raises(UserError, match="leaves nothing to learn"):
        run(freeze=("stem", "stage2", "stage3", "stage4", "classifier"))


def test_frozen_batch_norm_keeps_its_statistics(make_net, run):
    before, after = make_net().state_dict(), weights(run(freeze_batch_norm=True))
    for name, tensor in after.items():
        if "running" in name:
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(after["stem.1.weight"], before["stem.1.weight"])


def test_the_average_is_what_a_loop_over_the_iterations_gives(run, make_net):
    # Runs of a constant rate share their beginning, so the weights after 1, 2, 3 iterations are runs of that length.
    settings = {"schedule": "constant", "warmup_iterations": 0, "learning_rate": 0.05}
    states = [weights(run(iterations=count, **settings)) for count in (1, 2, 3)]
    expected = states[0]  # the average begins with the first weights that it sees
    for count, state in enumerate(states[1:], start=1):
        decay = min(0.19, (1 + count) / (10 + count))  # 2/11, then 0.19 for 3/12
        expected = {name: decay * expected[name] + (1 - decay) * tensor for name, tensor in state.items()}
    averaged = weights(run(iterations=3, ema_decay=0.19, **settings))
    expected = {name: tensor for name, tensor in expected.items() if "num_batches" not in name}
    assert largest_difference(expected, averaged) < 1e-6


def test_gradients_are_clipped_to_a_norm(make_net, run):
    settings = {
        "iterations": 1,
        "warmup_iterations": 0,
        "learning_rate": 1.0,
        "learning_rate_batch_size": None,
        "weight_decay": 0,
        "momentum": 0,
    }
    before, after = make_net().state_dict(), run(**settings, gradient_clip=0.01).net
    steps = [parameter.detach() - before[name] for name, parameter in after.named_parameters()]
    assert torch.cat([step.flatten() for step in steps]).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    "settings", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1}]
)
def test_mixed_pictures_train(run, settings):
    training = run(**settings)
    assert training.evaluation.loss == pytest.approx(training.record["loss"])
    assert all(tensor.isfinite().all() for tensor in weights(training).values())


def test_bf16_trains_near_float32(run):
    exact = weights(run(iterations=2))
    AcceleratorState._reset_state()  # which keeps the first precision of a process
    rounded = weights(run(iterations=2, mixed_precision="bf16"))
    assert 0 < largest_difference(exact, rounded) < 0.05


def test_fp16_trains_with_a_scaled_loss(make_net, run):
    """The scale begins so high that gradients overflow: such steps change nothing, and halve it."""
    before, trained = make_net().state_dict(), run(iterations=24, mixed_precision="fp16")
    assert all(tensor.isfinite().all() for tensor in weights(trained).values())
    assert not torch.equal(weights(trained)["classifier.weight"], before["classifier.weight"])


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_mixed_precision_ends_with_a_network_like_any_other(run, ema_decay):
    ended = run(iterations=2, mixed_precision="bf16", ema_decay=ema_decay)
    assert {type(layer) for layer in ended.net.modules() if isinstance(layer, nn.Conv2d)} == {nn.Conv2d}


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(make_net, run, tmp_path):
    with pytest.raises(
        UserError,
        match=r"not finite at iteration \d+, with learning rate .*; the last good checkpoint is .*iteration-0000\d+.pt",
    ) as stop:
        run(iterations=200, learning_rate=1e8, warmup_iterations=0, checkpoint_iterations=1, log_iterations=1)
    assert all(
        tensor.isfinite().all()
        for tensor in torch.load(stop.value.args[0].split("checkpoint is ")[1].split(";")[0])["net"].values()
    )
    net = make_net()
    nn.init.constant_(net.classifier.bias, float("nan"))
    with pytest.raises(UserError, match=r"not finite at iteration 1, .*is none yet; try a lower learning_rate"):
        run(net, log_iterations=5)


def test_batch_norm_is_re_estimated_over_batches(make_net):
    net = make_net()
    expected = copy.deepcopy(net)
    batches = [torch.randn(8, 1, 28, 28) + i for i in range(3)]
    reestimate_batch_norm(net, batches, make_accelerator(RECIPES["quickstart"]))
    # The stem sees the batches themselves: its statistics are plain means over them.
    outputs = [expected.stem[0](batch) for batch in batches]
    means = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    variances = torch.stack([output.transpose(0, 1).flatten(1).var(1) for output in outputs]).mean(0)
    assert torch.allclose(net.stem[1].running_mean, means, atol=1e-5)
    assert torch.allclose(net.stem[1].running_var, variances, rtol=1e-4)
    assert net.stem[1].momentum == expected.stem[1].momentum


def test_sync_batch_norm_comes_and_goes(make_net):
    net = make_net()
    names = list(net.state_dict())
    synchronize(net)
    assert {type(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d)} == {SyncBatchNorm}
    assert list(net.state_dict()) == names
    synchronize(net, wanted=False)
    assert {type(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d)} == {nn.BatchNorm2d}


def test_a_trained_network_goes_on_to_other_classes(run, make_recipe, test_set, training_set, tmp_path):
    first = run(iterations=4).net
    pairs = [
        ArrayDataset(dataset.images, dataset.labels % 2, ("even", "odd"), dataset.preprocessing)
        for dataset in (training_set, test_set)
    ]
    training = train(make_recipe(iterations=1, freeze=("stem",)), *pairs, first, tmp_path / "pairs", trackers=())
    assert training.net.metadata.classes == ("even", "odd")
    assert training.net.classifier.out_features == 2
    assert torch.equal(training.net.stem[0].weight, first.stem[0].weight)


def test_a_classifier_s_rows_go_by_the_classes_names(run, make_recipe, training_set, test_set, tmp_path):
    first = run(iterations=2).net
    order = [3, 0, 9, 1]
    names = (*(training_set.classes[row] for row in order), "umbrella")
    datasets = [
        ArrayDataset(part.images, part.labels % 5, names, part.preprocessing) for part in (training_set, test_set)
    ]
    still = make_recipe(iterations=1, learning_rate=0.0, freeze_batch_norm=True)
    net = train(still, *datasets, first, tmp_path / "others", trackers=()).net
    assert net.metadata.classes == names
    assert torch.equal(net.classifier.weight[:4], first.classifier.weight[order])
    assert torch.equal(net.classifier.bias[:4], first.classifier.bias[order])
    assert torch.equal(net.stage4[0].expand[0].weight, first.stage4[0].expand[0].weight)


def test_batches_that_cannot_be_made_are_refused(run):
    with pytest.raises(
        UserError, match="batch_size is 512 and the data set has 256 pictures; give --set batch_size=256"
    ):
        run(batch_size=512)
    with pytest.raises(UserError, match="batch_size 32 cannot be dealt evenly to 1 processes in 3 parts"):
        run(accumulation=3)


def test_the_report_stands_alone(make_net, make_recipe, training_set, test_set, tmp_path):
    training = train(make_recipe(), training_set, test_set, make_net(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    outside = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            for name, value in attributes:
                if name in ("src", "href", "xlink:href") and not value.startswith(("data:", "#")):
                    outside.append(value)

    Links().feed(page)
    assert outside == []
    assert page.count("<svg") == 2
    assert page.count('<img src="data:image/png;base64,') == len(training.evaluation.mistakes)
    assert f"{training.evaluation.top1_error:.2f}%" in page
    assert "learning_rate_batch_size" in page
    assert torch.__version__ in page
    assert list((tmp_path / "logs").glob("events*"))
