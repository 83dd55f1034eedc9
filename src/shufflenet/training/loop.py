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
from shufflenet.training.captured_step import CapturedStep, check_capturable
from shufflenet.training.checkpoint_files import list_checkpoints, read_checkpoint, write_checkpoint
from shufflenet.training.freezing import freeze, training_mode
from shufflenet.training.grouped_products import use_grouped_products
from shufflenet.training.metrics import RunningMeans
from shufflenet.training.mixed_precision import keep_strided_depthwise
from shufflenet.training.optimizer import LearningRate, make_optimizer, restore_optimizer, set_learning_rate
from shufflenet.training.recipe import Recipe
from shufflenet.training.stopping import Interrupted, StopRequest
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

    @property
    def net(self) -> nn.Module: ...
    @property
    def inputs(self) -> LearningInputs: ...
    @property
    def collate(self) -> Callable[[list[Any]], Any] | None: ...
    @property
    def best_figure(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...

    def draw(self, batch: Any) -> Any:
        """What `loss` takes of a batch as it was read: whatever is drawn at random is drawn here, on the host."""
        ...

    def loss(self, net: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss of this process's part of a drawn batch, by a call of `net`, and scalar figures to show beside it."""
        ...

    def evaluate(self, net: nn.Module, accelerator: Accelerator) -> dict[str, float]: ...

    def save(self, net: nn.Module, folder: Path) -> None: ...


@dataclass
class RunProgress:
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

    def logged(self, progress: RunProgress, figures: Mapping[str, float]) -> None: ...
    def evaluated(self, progress: RunProgress, figures: Mapping[str, float]) -> None: ...


@dataclass(frozen=True)
class Fit:
    """What the loop ends with: the weights to keep (the average's, if there is one), how far it came, and whether that was the end."""

    net: nn.Module
    progress: RunProgress
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
            f"batch_size is {recipe.batch_size} and the data set has {pictures} pictures; "
            f"give --set batch_size={pictures} or less, or another --recipe"
        )
    parts = recipe.accumulation * processes
    if recipe.batch_size % parts:
        raise UserError(
            f"batch_size {recipe.batch_size} cannot be dealt evenly to {processes} processes in {recipe.accumulation} parts; "
            f"make it a multiple of {parts}"
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
    weights of one that was not. SIGTERM and Ctrl-C end the run after the iteration under way, with a checkpoint, or break off an
    evaluation, before which one is always written (`finished` is false).
    Raises UserError for a batch that cannot be made, a loss that is not finite, or a disk that is full.
    """
    iterations = count_iterations(recipe, len(task.inputs), accelerator.num_processes)
    rates = LearningRate(recipe.peak_learning_rate, recipe.schedule, recipe.warmup_iterations, iterations)
    run = _Run(task, recipe, rates, folder, accelerator, observers)
    if resume:
        run.restore()
    progress = run.progress
    batches_per_epoch = len(task.inputs) // recipe.batch_size
    evaluate_every = max(1, round(recipe.evaluate_epochs * batches_per_epoch))
    with StopRequest() as stop:
        stream = run.batches.start(progress.iteration)
        evaluated = not run.owes_evaluation(evaluate_every, iterations) or run.evaluate(stop)
        while evaluated and progress.iteration < iterations:
            run.step(stream)
            last = progress.iteration == iterations
            evaluating = last or progress.iteration % evaluate_every == 0
            # Processes get the signal at different moments; they ask each other only now and then, for it takes a round trip.
            logging = progress.iteration % recipe.log_iterations == 0
            stopping = (logging or accelerator.num_processes == 1) and _any_process(stop.requested, accelerator)
            writing = evaluating or stopping or progress.iteration % recipe.checkpoint_iterations == 0
            if logging or writing:  # what is written has been looked at: no checkpoint holds a NaN
                run.look()
            if last:
                run.reestimate_batch_norm()
            if writing:
                run.checkpoint()
            if stopping:
                break
            if evaluating:
                evaluated = run.evaluate(stop)
    synchronize(run.kept, wanted=False)  # what is kept is a network like any other
    keep_strided_depthwise(run.kept, wanted=False)
    use_grouped_products(run.kept, wanted=False)
    return Fit(
        run.kept,
        progress,
        finished=not run.owes_evaluation(evaluate_every, iterations) and progress.iteration >= iterations,
    )


class _Run:
    """The state of a run, and what can be done with it."""

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        rates: LearningRate,
        folder: Path,
        accelerator: Accelerator,
        observers: tuple[Observer, ...],
    ) -> None:
        # Where BN has silenced a channel, its weights' momentum lingers among the denormals, at ten times the cost of a step.
        torch.set_flush_denormal(True)
        self.task, self.recipe, self.rates = task, recipe, rates
        self.folder, self.accelerator, self.observers = folder, accelerator, observers
        self.checkpoints = folder / "checkpoints"
        net = task.net
        freeze(net, recipe.freeze)
        if recipe.sync_batch_norm:
            synchronize(net)
        if recipe.mixed_precision != "no":
            keep_strided_depthwise(net)
        if recipe.grouped_convolutions == "matrix_products":
            use_grouped_products(net)
        memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.net = net.to(device=accelerator.device).to(memory_format=memory_format)
        optimizer = make_optimizer(
            self.net,
            rates.peak,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            recorded=recipe.cuda_graphs,
        )
        self.model, self.optimizer = accelerator.prepare(self.net, optimizer)
        self.average = make_average(self.net, recipe.ema_decay)
        self.kept = self.net if self.average is None else self.average.module
        self.batches = BatchStream(
            task.inputs,
            accelerator,
            batch_size=recipe.batch_size,
            accumulation=recipe.accumulation,
            workers=recipe.workers,
            collate=task.collate,
        )
        self.window = RunningMeans(accelerator)
        self.learn = _learning_step(task, accelerator, self.model, self.optimizer, recipe.gradient_clip)
        if recipe.cuda_graphs:
            check_capturable(
                accelerator,
                gradient_clip=recipe.gradient_clip,
                compiled=recipe.compile,
                same_shapes=task.collate is None,
            )
            self.learn = CapturedStep(self.learn)
        self.progress = RunProgress(batch_size=recipe.batch_size)
        self.looked = time.monotonic()

    def step(self, stream: Iterator[Any]) -> None:
        """One iteration: `accumulation` parts of a batch, one step of the optimizer."""
        progress = self.progress
        set_learning_rate(self.optimizer, self.rates.at(progress.iteration))
        torch.manual_seed(int(item_seeds(self.recipe.seed, progress.iteration, [self.accelerator.process_index])[0]))
        training_mode(self.net, self.recipe.freeze, freeze_batch_norm=self.recipe.freeze_batch_norm)
        for _ in range(self.recipe.accumulation):
            asked = time.monotonic()
            batch = next(stream)
            progress.waiting_seconds += time.monotonic() - asked
            with self.accelerator.accumulate(self.model):
                loss, figures = self.learn(self.task.draw(batch))
            self.window.add(loss, figures)
        if self.average is not None:
            self.average.update_parameters(self.net)
        progress.iteration += 1

    def look(self) -> None:
        """Fetch the figures of the iterations since the last look. Raises UserError if a loss is not finite."""
        self.task.inputs.check()
        iteration, backwards_ago = self.progress.iteration, self.window.first_not_finite()
        if backwards_ago is not None:
            raise self._not_finite("the loss is", iteration - backwards_ago // self.recipe.accumulation)
        figures = self.window.close()
        self.progress.seconds += time.monotonic() - self.looked
        self.progress.curve.append({"iteration": iteration, "learning_rate": self.rates.at(iteration - 1), **figures})
        for observer in self.observers:
            observer.logged(self.progress, figures)
        self.looked = time.monotonic()

    def reestimate_batch_norm(self) -> None:
        parts = self.recipe.bn_reestimation_iterations * self.recipe.accumulation
        if parts:
            stream = self.batches.start(self.progress.iteration)
            reestimate_batch_norm(self.kept, (next(stream)[0] for _ in range(parts)), self.accelerator)

    def owes_evaluation(self, evaluate_every: int, iterations: int) -> bool:
        """Whether the iteration that was reached is one to evaluate after, and has not been: a signal came before."""
        iteration, evaluations = self.progress.iteration, self.progress.evaluations
        due = iteration == iterations or (iteration > 0 and iteration % evaluate_every == 0)
        return due and not (evaluations and evaluations[-1]["iteration"] == iteration)

    def evaluate(self, stop: StopRequest) -> bool:
        """Evaluate what would be kept, and keep the best. False if a signal to stop came first.

        The checkpoint of this iteration is written by now. One of several processes waits for the others, signal or not.
        """
        _agree_on_buffers(self.kept)
        try:
            with stop.interrupting(self.accelerator.num_processes == 1):
                figures = self.task.evaluate(self.kept, self.accelerator)
        except Interrupted:
            return False
        evaluations = self.progress.evaluations
        epoch = self.progress.iteration * self.recipe.batch_size / len(self.task.inputs)
        evaluations.append({"iteration": self.progress.iteration, "epoch": epoch, **figures})
        sign = -1 if self.task.higher_is_better else 1
        scores = [sign * evaluation[self.task.best_figure] for evaluation in evaluations]
        if min(scores[:-1], default=float("inf")) > scores[-1] and self.accelerator.is_main_process:
            self.task.save(self.kept, self.folder / "best")
        for observer in self.observers:
            observer.evaluated(self.progress, figures)
        self.looked = time.monotonic()
        return True

    def checkpoint(self) -> None:
        """Raises UserError for weights that are not finite: a last step can overflow them after a loss that still was."""
        finite = all(tensor.isfinite().all() for tensor in self.net.state_dict().values())
        if _any_process(not finite, self.accelerator):
            raise self._not_finite("the weights are", self.progress.iteration)
        if self.accelerator.is_main_process:
            state = {
                "net": self.net.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": self.average and self.average.state_dict(),
                "scaler": self.accelerator.scaler and self.accelerator.scaler.state_dict(),
                "progress": asdict(self.progress),
                "processes": self.accelerator.num_processes,
            }
            write_checkpoint(self.checkpoints, self.progress.iteration, state, keep=self.recipe.keep_checkpoints)
        self.accelerator.wait_for_everyone()

    def _not_finite(self, what: str, iteration: int) -> UserError:
        good = list_checkpoints(self.checkpoints)
        return UserError(
            f"{what} not finite at iteration {iteration}, with learning rate {self.rates.at(iteration - 1):.4g}; "
            f"the last good checkpoint is {good[-1] if good else 'none yet'}; "
            "try a lower learning_rate, a longer warm-up or gradient_clip"
        )

    def restore(self) -> None:
        """Take up the last checkpoint; without one the run begins."""
        found = list_checkpoints(self.checkpoints)
        if not found:
            return
        state = read_checkpoint(found[-1])
        try:
            self.net.load_state_dict(state["net"])
            restore_optimizer(self.optimizer, state["optimizer"])
            if self.average is not None:
                self.average.load_state_dict(state["average"])
            if self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"checkpoint {found[-1]} is of another network or recipe ({reason}); resume with those it was begun with"
            ) from error
        self.progress = RunProgress(**{**state["progress"], "batch_size": self.recipe.batch_size})
        processes = self.accelerator.num_processes
        if state["processes"] != processes:
            self.accelerator.print(
                f"begun with {state['processes']} processes and resumed with {processes}: every batch holds the same pictures, but "
                "sums are rounded in another order, and without sync_batch_norm BN sees parts of another size, so the weights "
                "will not be bit for bit those of a run that kept its processes"
            )


def _learning_step(
    task: Task, accelerator: Accelerator, model: nn.Module, optimizer: Any, gradient_clip: float | None
) -> Callable[[Any], tuple[Tensor, dict[str, Tensor]]]:
    """Gradients of a part of a batch, and the optimizer's step where it is the last part.

    Not a method: a run that held one of its own would be in a circle, and its reading processes would outlive it.
    """

    def learn(batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        with accelerator.autocast():
            loss, figures = task.loss(model, batch)
        accelerator.backward(loss)
        if gradient_clip and accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), gradient_clip)
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach(), figures

    return learn


def _any_process(flag: bool, accelerator: Accelerator) -> bool:
    return bool(accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), reduction="sum"))


def _agree_on_buffers(net: nn.Module) -> None:
    """Give every process the first one's BN statistics, which without SyncBN come from its own batches."""
    for buffer in net.buffers():
        buffer.copy_(broadcast(buffer))
