"""Two processes over gloo train what one does, and count what one counts."""

import json
import socket

import torch

from shufflenet.training.checkpoint_files import read_checkpoint

# Rates at which float32's noise does not grow: what is compared is the arithmetic, not the chaos of training.
RECIPE = {
    "iterations": 10,
    "batch_size": 32,
    "warmup_iterations": 2,
    "log_iterations": 1,
    "learning_rate": 0.01,
    "learning_rate_batch_size": None,
    "sync_batch_norm": True,
    "checkpoint_iterations": 5,
    "keep_checkpoints": 9,
}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def run(start_run, folder, processes, **recipe):
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": str(processes),
        "ACCELERATE_USE_CPU": "true",
    }
    ranks = [
        start_run(
            recipe={**RECIPE, **recipe},
            folder=str(folder),
            environment={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {},
        )
        for rank in range(processes)
    ]
    for process in ranks:
        process.join(200)
        assert process.exitcode == 0


def results(folder, rank=0):
    weights = torch.load(folder / f"weights-{rank}.pt")
    return weights, json.loads((folder / f"evaluation-{rank}.json").read_text())


def curve(folder, iteration=10):
    progress = read_checkpoint(folder / "checkpoints" / f"iteration-{iteration:09d}.pt")["progress"]
    return torch.tensor([point["loss"] for point in progress["curve"]], dtype=torch.float64)


def test_two_processes_train_what_one_does(start_run, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    run(start_run, one, 1)
    run(start_run, two, 2)
    weights, evaluation = results(two)
    other_weights, other_evaluation = results(two, rank=1)
    for name, tensor in weights.items():
        assert torch.equal(tensor, other_weights[name]), f"{name} differs between the ranks"
    # 101 test pictures over 2 processes: each is counted once, and both know the sum.
    assert evaluation == other_evaluation
    assert evaluation["pictures"] == sum(map(sum, evaluation["confusion"])) == 101
    assert [sum(row) for row in evaluation["confusion"]] == [11] + [10] * 9
    # The loss curve is that of one process with the same global batches.
    assert torch.allclose(curve(one), curve(two), rtol=2e-4)
    single_weights, _ = results(one)
    for name, tensor in weights.items():
        assert torch.allclose(tensor.float(), single_weights[name].float(), rtol=1e-2, atol=1e-3), name


def test_without_sync_batch_norm_the_ranks_still_end_alike(start_run, tmp_path):
    run(
        start_run,
        tmp_path,
        2,
        sync_batch_norm=False,
        accumulation=2,
        iterations=4,
        gradient_clip=1.0,
        bn_reestimation_iterations=2,
    )
    weights, evaluation = results(tmp_path)
    other_weights, other_evaluation = results(tmp_path, rank=1)
    assert evaluation == other_evaluation
    for name, tensor in weights.items():
        assert torch.equal(tensor, other_weights[name]), f"{name} differs between the ranks"


def test_resumed_by_one_process_a_run_of_two_goes_on(start_run, tmp_path):
    two = tmp_path / "two"
    run(start_run, two, 2)
    _, before = results(two)
    (two / "checkpoints" / "iteration-000000010.pt").unlink()
    first = curve(two, 5)
    run(start_run, two, 1)
    assert torch.equal(curve(two)[:5], first)
    _, after = results(two)
    assert abs(after["loss"] - before["loss"]) < 1e-3
