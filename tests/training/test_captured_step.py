"""A recorded step, by a recorder that needs no GPU: what it records runs again at each replay, from the same tensors."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from shufflenet.errors import UserError
from shufflenet.training import loop
from shufflenet.training.captured_step import WARM_UP_STEPS, CapturedStep, check_capturable


class Recorder:
    """Records nothing and runs the call at each replay, but gives its result in the tensors of the first, as a graph does."""

    def __init__(self) -> None:
        self.recordings = 0

    def __call__(self, call):
        self.recordings += 1
        kept: list = []

        def replay():
            loss, figures = call()
            if not kept:
                kept.extend((loss.clone(), {name: value.clone() for name, value in figures.items()}))
            kept[0].copy_(loss)
            for name, value in figures.items():
                kept[1][name].copy_(value)
            return tuple(kept)

        return replay


def test_replays_read_the_new_batch_and_give_results_of_their_own():
    recorder = Recorder()
    step = CapturedStep(lambda batch: (batch[0].sum(), {"labels": batch[1].sum()}), recorder)
    batches = [(torch.full((2, 3), float(i)), torch.tensor([i, i])) for i in range(WARM_UP_STEPS + 4)]
    results = [step(batch) for batch in batches]
    assert [float(loss) for loss, _ in results] == [6.0 * i for i in range(len(batches))]
    assert [int(figures["labels"]) for _, figures in results] == [2 * i for i in range(len(batches))]
    assert recorder.recordings == 1


def test_a_batch_of_another_shape_is_refused():
    step = CapturedStep(lambda batch: (batch.sum(), {}), Recorder())
    for _ in range(WARM_UP_STEPS + 1):
        step(torch.zeros(4, 2))
    with pytest.raises(UserError, match=r"a batch of \(3, 2\) torch.float32 came where \(4, 2\)"):
        step(torch.zeros(3, 2))


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.2, "cutmix": 1.0, "ema_decay": 0.9}])
def test_a_run_that_records_its_step_learns_what_another_learns(
    mixing, make_net, make_recipe, training_set, test_set, tmp_path, monkeypatch
):
    from shufflenet.training import train

    recorder = Recorder()
    monkeypatch.setattr(loop, "check_capturable", lambda *_, **__: None)
    monkeypatch.setattr(loop, "CapturedStep", lambda step: CapturedStep(step, recorder))
    weights: list[dict[str, Tensor]] = []
    for recorded in (False, True):
        recipe = make_recipe(iterations=8, cuda_graphs=recorded, **mixing)
        run = train(recipe, training_set, test_set, make_net(), tmp_path / str(recorded), trackers=())
        weights.append(run.net.state_dict())
    assert recorder.recordings == 1
    # The optimizer's fused kernel rounds otherwise than its loop over tensors.
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_a_resumed_run_goes_on_with_its_learning_rate_where_it_was(
    make_net, make_recipe, training_set, test_set, tmp_path, monkeypatch
):
    from shufflenet.training import train

    monkeypatch.setattr(loop, "check_capturable", lambda *_, **__: None)
    monkeypatch.setattr(loop, "CapturedStep", lambda step: CapturedStep(step, Recorder()))
    recipe = make_recipe(iterations=8, cuda_graphs=True, checkpoint_iterations=4, keep_checkpoints=5)
    whole = train(recipe, training_set, test_set, make_net(), tmp_path / "run", trackers=())
    for path in sorted((tmp_path / "run" / "checkpoints").iterdir())[1:]:
        path.unlink()
    again = train(recipe, training_set, test_set, make_net(), tmp_path / "run", trackers=(), resume=True)
    for name, value in whole.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("engine", "settings", "reason"),
    [
        ({}, {}, "the run is on cpu"),
        ({"gradient_accumulation_steps": 2}, {}, "accumulation is 2"),
        ({"num_processes": 2}, {}, "there are 2 processes"),
        ({"mixed_precision": "fp16"}, {}, "fp16"),
        ({}, {"gradient_clip": 1.0}, "gradient_clip is set"),
        ({}, {"compiled": True}, "graphs of its own"),
        ({}, {"same_shapes": False}, "another number each time"),
    ],
)
def test_what_cannot_be_recorded_is_refused_in_a_sentence(engine, settings, reason):
    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gradient_accumulation_steps=1, num_processes=1, mixed_precision="no"
    )
    vars(accelerator).update(engine)
    with pytest.raises(UserError, match=reason):
        check_capturable(accelerator, **{"gradient_clip": None, "compiled": False, "same_shapes": True, **settings})


def test_without_a_gpu_a_run_says_why_it_cannot_record(make_net, make_recipe, training_set, test_set, tmp_path):
    from shufflenet.training import train

    with pytest.raises(UserError, match="cuda_graphs cannot record this run's step: the run is on cpu"):
        train(make_recipe(cuda_graphs=True), training_set, test_set, make_net(), tmp_path / "run", trackers=())
