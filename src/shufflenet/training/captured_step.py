"""A training step as one CUDA graph: recorded once, then replayed. A small network then does not wait for its kernels' launches."""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.utils._pytree import tree_map

from shufflenet.errors import UserError

# What torch asks for before a capture: libraries choose their algorithms, the optimizer makes its state.
WARM_UP_STEPS = 3

LearningStep = Callable[[Any], Any]
# Records a call without arguments; what it returns runs the recording and gives the call's result, in the same tensors each time.
Capture = Callable[[Callable[[], Any]], Callable[[], Any]]


def check_capturable(
    accelerator: Accelerator, *, gradient_clip: float | None, compiled: bool, same_shapes: bool
) -> None:
    """Raises UserError, saying what stands in the way, if a step of this run cannot be one graph."""
    obstacles = {
        f"the run is on {accelerator.device.type}, and graphs are CUDA's": accelerator.device.type != "cuda",
        f"accumulation is {accelerator.gradient_accumulation_steps}": accelerator.gradient_accumulation_steps > 1,
        f"there are {accelerator.num_processes} processes": accelerator.num_processes > 1,
        "gradient_clip is set": gradient_clip is not None,
        "mixed_precision is fp16, whose loss scale is looked at each step (bf16 has none)": (
            accelerator.mixed_precision == "fp16"
        ),
        "compile is true, which makes graphs of its own": compiled,
        "a batch's boxes are of another number each time": not same_shapes,
    }
    found = [text for text, holds in obstacles.items() if holds]
    if found:
        raise UserError(f"cuda_graphs cannot record this run's step: {'; '.join(found)}. Leave cuda_graphs false")


def capture_cuda(call: Callable[[], Any]) -> Callable[[], Any]:
    graph = torch.cuda.CUDAGraph()
    # The thread that pins the next batch's memory may go on meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = call()

    def replay() -> Any:
        graph.replay()
        return result

    return replay


class CapturedStep:
    """`step` of a batch of tensors: computed as it is a few times, then recorded, then replayed on each batch's values.

    The step must neither look at a value on the device nor draw a number on the host. Raises UserError for a batch of another shape.
    """

    def __init__(self, step: LearningStep, capture: Capture = capture_cuda) -> None:
        self.step = step
        self.capture = capture
        self.steps = 0
        self.batch: Any = None
        self.replay: Callable[[], Any] | None = None

    def __call__(self, batch: Any) -> Any:
        self.steps += 1
        if self.steps <= WARM_UP_STEPS:
            return self.step(batch)
        if self.replay is None:
            self.batch = tree_map(_clone, batch)
            self.replay = self.capture(lambda: self.step(self.batch))
        tree_map(_fill, self.batch, batch)
        return tree_map(_clone, self.replay())


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _fill(place: Any, value: Any) -> None:
    if isinstance(place, Tensor):
        if place.shape != value.shape or place.dtype != value.dtype:
            raise UserError(
                f"a batch of {tuple(value.shape)} {value.dtype} came where {tuple(place.shape)} {place.dtype} was recorded; "
                "leave cuda_graphs false"
            )
        place.copy_(value, non_blocking=True)
