"""What watches a run: a progress bar on the terminal, and Accelerate's trackers."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shufflenet.training.checkpoint_files import iteration_of, list_checkpoints
from shufflenet.training.loop import RunProgress


class Terminal:
    """A bar with epoch, figures, images/s and time left; a line above it for each evaluation. Used as a context."""

    def __init__(self, batch_size: int, pictures: int, iterations: int, console: Console) -> None:
        self.batch_size = batch_size
        self.epochs = iterations * batch_size / pictures
        self.pictures = pictures
        self.iterations = iterations
        self.said_time = False
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]:.2f}/{task.fields[epochs]:.4g}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            console=console,
            speed_estimate_period=120,
        )
        self.task = self.bar.add_task("train", total=iterations, epoch=0.0, epochs=self.epochs, figures="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bar.stop()

    def logged(self, progress: RunProgress, figures: Mapping[str, float]) -> None:
        if not self.said_time:
            self.said_time = True
            left = (self.iterations - progress.iteration) * self.batch_size / max(progress.images_per_second, 1e-9)
            self.bar.console.print(
                f"{progress.images_per_second:.0f} images/s: about {_duration(left)} to go, evaluations apart",
                highlight=False,
            )
        # A line has 80 columns: a loss's parts are the trackers' affair.
        shown = " ".join(f"{name} {value:.4g}" for name, value in figures.items() if name in ("loss", "error"))
        self.bar.update(
            self.task,
            completed=progress.iteration,
            epoch=progress.iteration * self.batch_size / self.pictures,
            figures=f"{shown} {progress.images_per_second:.0f} images/s",
        )

    def evaluated(self, progress: RunProgress, figures: Mapping[str, float]) -> None:
        epoch = progress.evaluations[-1]["epoch"]
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items())
        self.bar.console.print(f"epoch {epoch:.4g}: {shown}", highlight=False)


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} seconds" if minutes < 2 else f"{minutes:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"


class Trackers:
    """Everything to the trackers that the accelerator was made with (TensorBoard by default). Used as a context."""

    def __init__(self, accelerator: Accelerator, folder: Path, recipe: Mapping[str, object]) -> None:
        self.accelerator = accelerator
        flat = {name: value if isinstance(value, int | float | str) else str(value) for name, value in recipe.items()}
        # A resumed run logs some iterations again, and TensorBoard then drops what it had of them.
        found = list_checkpoints(folder / "checkpoints")
        resumed = {"purge_step": iteration_of(found[-1]) + 1} if found else {}
        accelerator.init_trackers("logs", config=flat, init_kwargs={"tensorboard": resumed})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Not accelerator.end_training(): it would also tear down the process group, which the caller may go on with.
        for tracker in self.accelerator.trackers:
            tracker.finish()

    def logged(self, progress: RunProgress, figures: Mapping[str, float]) -> None:
        rates = {"learning_rate": progress.curve[-1]["learning_rate"], "images_per_second": progress.images_per_second}
        self._log({**figures, **rates}, "train", progress.iteration)

    def evaluated(self, progress: RunProgress, figures: Mapping[str, float]) -> None:
        self._log(figures, "test", progress.iteration)

    def _log(self, figures: Mapping[str, float], group: str, iteration: int) -> None:
        self.accelerator.log({f"{group}/{name}": value for name, value in figures.items()}, step=iteration)
