"""The training loop: any task, any number of processes, any device that Accelerate knows, and no branch for any of them."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from shufflenet.data.draws import item_seeds
from shufflenet.errors import UserError
from shufflenet.training.averaging import make_average, reestimate_batch_norm
from shufflenet.training.batches import BatchStream
from shufflenet.training.freezing import freeze, training_mode
from shufflenet.training.metrics import Window
from shufflenet.training.optimizer import learning_rate, make_optimizer
from shufflenet.training.recipe import Recipe
from shufflenet.training.checkpoint_files import list_checkpoints, read_checkpoint, write_checkpoint
from shufflenet.training.stopping import StopRequest
from shufflenet.training.sync_batch_norm import synchronize


class LearningInputs(Protocol):
    """A map-style data set whose item depends on (seed, epoch, index) alone, as `shufflenet.data.inputs.Inputs` does."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Any: ...
    def set_epoch(self, epoch: int) -> None: ...
    def order(self, epoch: int) -> np.ndarray: ...
    def check(self) -> None: ...


class Task(Protocol):
    """What the loop trains. `collate` makes a batch of items (None: torch's own); the best network is that of the best `best_figure`."""

    net: nn.Module
    inputs: Any
    collate: Callable[[list[Any]], Any] | None
    best_figure: str
    higher_is_better: bool

    def loss(self, net: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of this process's part of a batch, by a call of `net`, and scalar figures to show beside it."""
        ...

    def evaluate(self, net: nn.Module, accelerator: Accelerator) -> dict[str, float]: ...

    def save(self, net: nn.Module, folder: Path) -> None: ...


@dataclass
class Progress:
    """How far a run is, and what it has seen: the part of a checkpoint that is not tensors.

    `curve` has {iteration, learning_rate, loss, …} for every `log_iterations`; `evaluations` {iteration, epoch, …} for each evaluation.
    """

    iteration: int = 0
    batch_size: int = 0
    seconds: float = 0.0  # of training, without evaluation
    waiting_seconds: float = 0.0  # of these, for the next batch to be read
    curve: list[dict[str, float]] = field(default_factory=list)
    evaluations: list[dict[str, float]] = field(default_factory=list)

    @property
    def images_per_second(self) -> float:
        return self.iteration * self.batch_size / max(self.seconds, 1e-9)


class Observer(Protocol):
    """What watches a run on the main process: the progress bar, the trackers."""

    def logged(self, progress: Progress, figures: Mapping[str, float]) -> None: ...
    def evaluated(self, progress: Progress, figures: Mapping[str, float]) -> None: ...


@dataclass(frozen=True)
class Fit:
    """What the loop ends with: the weights to keep (the average's, if there is one), how far it came, and whether that was the end."""

    net: nn.Module
    progress: Progress
    finished: bool


def make_accelerator(recipe: Recipe, **options: Any) -> Accelerator:
    """Accelerate's engine with the recipe's precision, accumulation and compilation. Call it before any other use of Accelerate."""
    return Accelerator(
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.accumulation,
        dynamo_backend="inductor" if recipe.compile else "no",
        step_scheduler_with_optimizer=False,
        **options,
    )


def count_iterations(recipe: Recipe, pictures: int, processes: int) -> int:
    """How many iterations the recipe takes on so many pictures. Raises UserError if its batch cannot be made."""
    if recipe.batch_size > pictures:
        raise UserError(
            f"batch_size is {recipe.batch_size} and the data set has {pictures} pictures; set batch_size to that or less"
        )
    parts = recipe.accumulation * processes
    if recipe.batch_size % parts:
        raise UserError(
            f"batch_size {recipe.batch_size} cannot be dealt evenly to {processes} processes in {recipe.accumulation} parts; make it a multiple of {parts}"
        )
    if recipe.iterations is not None:
        return recipe.iterations
    assert recipe.epochs is not None
    return max(1, round(recipe.epochs * (pictures // recipe.batch_size)))


def fit(
    task: Task,
    recipe: Recipe,
    folder: Path,
    accelerator: Accelerator,
    *,
    resume: bool = False,
    observers: tuple[Observer, ...] = (),
) -> Fit:
    """Train `task.net` by the recipe, with checkpoints in `folder`/checkpoints and the best network in `folder`/best.

    Nothing random depends on what was before: the order of pictures, their augmentation and every other draw are functions of the seed
    and the position. So a checkpoint needs no state of any generator, and a run that was killed and resumed ends bit for bit with the
    weights of one that was not. SIGTERM and Ctrl-C end the run after the iteration under way, with a checkpoint (`finished` is false).
    Raises UserError for a batch that cannot be made, a loss that is not finite, or a disk that is full.
    """
    checkpoints = folder / "checkpoints"
    iterations = count_iterations(recipe, len(task.inputs), accelerator.num_processes)
    torch.set_flush_denormal(
        True
    )  # where BN has silenced a channel, its weights' momentum lingers there for long, at ten times the cost
    net = task.net
    freeze(net, recipe)
    if recipe.sync_batch_norm:
        synchronize(net)
    net = net.to(
        accelerator.device, memory_format=torch.channels_last if recipe.channels_last else torch.contiguous_format
    )
    model, optimizer = accelerator.prepare(net, make_optimizer(recipe, net))
    average = make_average(net, recipe.ema_decay)
    progress = Progress()
    if resume:
        progress = _restore(checkpoints, net, optimizer, average, accelerator)
    progress.batch_size = recipe.batch_size

    def kept() -> nn.Module:
        return net if average is None else average.module

    def checkpoint() -> None:
        if accelerator.is_main_process:
            state = {
                "net": net.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average and average.state_dict(),
                "scaler": accelerator.scaler and accelerator.scaler.state_dict(),
                "progress": asdict(progress),
                "processes": accelerator.num_processes,
            }
            write_checkpoint(checkpoints, progress.iteration, state, keep=recipe.keep_checkpoints)
        accelerator.wait_for_everyone()

    batches = BatchStream(task.inputs, recipe, accelerator, collate=task.collate)
    evaluate_every = max(1, round(recipe.evaluate_epochs * (len(task.inputs) // recipe.batch_size)))
    window = Window(accelerator)
    with StopRequest() as stop:
        stream = batches.start(progress.iteration)
        began = time.monotonic()
        while progress.iteration < iterations:
            rate = learning_rate(recipe, progress.iteration, iterations)
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(int(item_seeds(recipe.seed, progress.iteration, [accelerator.process_index])[0]))
            training_mode(net, recipe)
            for _ in range(recipe.accumulation):
                asked = time.monotonic()
                batch = next(stream)
                progress.waiting_seconds += time.monotonic() - asked
                with accelerator.accumulate(model):
                    with accelerator.autocast():
                        loss, figures = task.loss(model, batch)
                    accelerator.backward(loss)
                    if recipe.gradient_clip and accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
                    optimizer.step()
                    optimizer.zero_grad()
                window.add(loss, figures)
            if average is not None:
                average.update_parameters(net)
            progress.iteration += 1
            last = progress.iteration == iterations
            evaluate_now = last or progress.iteration % evaluate_every == 0
            if (
                progress.iteration % recipe.log_iterations == 0
                or evaluate_now
                or progress.iteration % recipe.checkpoint_iterations == 0
            ):
                task.inputs.check()
                progress.seconds += time.monotonic() - began
                _refuse_nan(window, recipe, progress.iteration, iterations, checkpoints)
                shown = window.close()
                progress.curve.append({"iteration": progress.iteration, "learning_rate": rate, **shown})
                for observer in observers:
                    observer.logged(progress, shown)
                if last and recipe.bn_reestimation_iterations:
                    reestimate_batch_norm(kept(), _images(batches.start(iterations), recipe), accelerator)
                if evaluate_now:
                    _agree_on_buffers(kept())
                    figures = task.evaluate(kept(), accelerator)
                    epoch = progress.iteration * recipe.batch_size / len(task.inputs)
                    progress.evaluations.append({"iteration": progress.iteration, "epoch": epoch, **figures})
                    _keep_best(task, kept(), folder, progress, accelerator)
                    for observer in observers:
                        observer.evaluated(progress, figures)
                began = time.monotonic()
            # Processes get the signal at different moments; they ask each other only now and then, for it takes a round trip.
            asking = accelerator.num_processes == 1 or progress.iteration % recipe.log_iterations == 0
            stopping = asking and _any_process(stop.requested, accelerator)
            if evaluate_now or stopping or progress.iteration % recipe.checkpoint_iterations == 0:
                checkpoint()
            if stopping and not last:
                break
    synchronize(kept(), wanted=False)  # what is kept is a network like any other
    return Fit(kept(), progress, finished=progress.iteration >= iterations)


def _refuse_nan(window: Window, recipe: Recipe, iteration: int, iterations: int, checkpoints: Path) -> None:
    backwards_ago = window.first_not_finite()
    if backwards_ago is None:
        return
    bad = iteration - backwards_ago // recipe.accumulation
    good = list_checkpoints(checkpoints)
    rate = learning_rate(recipe, bad - 1, iterations)
    raise UserError(
        f"the loss is not finite at iteration {bad}, with learning rate {rate:.4g}; "
        f"the last good checkpoint is {good[-1] if good else 'none yet'}; try a lower learning_rate, a longer warm-up or gradient_clip"
    )


def _images(stream: Iterator[Any], recipe: Recipe) -> Iterator[Tensor]:
    """The images of `bn_reestimation_iterations` further iterations, for a task whose batches are (images, labels)."""
    for _ in range(recipe.bn_reestimation_iterations * recipe.accumulation):
        images, _labels = next(stream)
        yield images


def _any_process(flag: bool, accelerator: Accelerator) -> bool:
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), reduction="sum"))


def _agree_on_buffers(net: nn.Module) -> None:
    """Give every process the first one's BN statistics, which without SyncBN come from its own batches."""
    for buffer in net.buffers():
        buffer.copy_(broadcast(buffer))


def _keep_best(task: Task, net: nn.Module, folder: Path, progress: Progress, accelerator: Accelerator) -> None:
    """Save the network in `folder`/best if its figure is the best so far; the first of equals stays."""
    figures = [evaluation[task.best_figure] for evaluation in progress.evaluations]
    best = max(figures) if task.higher_is_better else min(figures)
    if figures.index(best) == len(figures) - 1 and accelerator.is_main_process:
        task.save(net, folder / "best")


def _restore(folder: Path, net: nn.Module, optimizer: Any, average: Any, accelerator: Accelerator) -> Progress:
    """Take up the last checkpoint in `folder`; without one the run begins."""
    found = list_checkpoints(folder)
    if not found:
        return Progress()
    state = read_checkpoint(found[-1])
    try:
        net.load_state_dict(state["net"])
        optimizer.load_state_dict(state["optimizer"])
        if average is not None:
            average.load_state_dict(state["average"])
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state["scaler"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"checkpoint {found[-1]} is of another network or recipe ({' '.join(str(error).split())[:200]}); resume with those it was begun with"
        ) from error
    if state["processes"] != accelerator.num_processes:
        accelerator.print(
            f"begun with {state['processes']} processes and resumed with {accelerator.num_processes}: every batch holds the same pictures, but sums are "
            "rounded in another order, and without sync_batch_norm BN sees parts of another size, so the weights are no longer bit for bit those of the first"
        )
    return Progress(**state["progress"])
