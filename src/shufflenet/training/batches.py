"""Which pictures make up which batch: a pure function of the seed and the position, so any process can start anywhere."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Sampler

from shufflenet.data import batches, reading_processes


class EpochBatches(Sampler[list[int]]):
    """The batches of an epoch for one of `processes`, from any position on.

    Every epoch is the permutation `order(epoch)`, cut into global batches of `batch_size`; what does not fill one is left for other
    epochs to draw. A global batch is cut into `accumulation` parts, and each part is dealt to the processes in turn. So the
    pictures of a global batch depend neither on the number of processes nor on where a run was interrupted.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        order: Callable[[int], np.ndarray],
        accumulation: int,
        process: int,
        processes: int,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.order = order
        self.accumulation = accumulation
        self.process = process
        self.processes = processes
        self.epoch = 0
        self.first = 0

    @property
    def batches_per_epoch(self) -> int:
        return self.length // self.batch_size

    def seek(self, iteration: int) -> None:
        """The next iterator begins with this iteration, counted from the first epoch's start, and ends with its epoch."""
        self.epoch, self.first = divmod(iteration, self.batches_per_epoch)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order(self.epoch)
        for batch in range(self.first, self.batches_per_epoch):
            pictures = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            for part in np.split(pictures, self.accumulation):
                yield part[self.process :: self.processes].tolist()


class BatchStream:
    """The training batches of this process from any iteration on, without end, on its device."""

    def __init__(
        self,
        inputs: Any,
        accelerator: Accelerator,
        *,
        batch_size: int,
        accumulation: int,
        workers: int,
        collate: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        self.inputs = inputs
        self.device = accelerator.device
        self.sampler = EpochBatches(
            len(inputs),
            batch_size,
            order=inputs.order,
            accumulation=accumulation,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
        workers = reading_processes(workers)
        self.loader = DataLoader(
            inputs,
            batch_sampler=self.sampler,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            pin_memory=self.device.type == "cuda",
            # Its iterators draw a seed, which from torch's own would shift the draws of the loop.
            generator=torch.Generator(),
        )

    def start(self, iteration: int) -> Iterator[Any]:
        """One part of an iteration after the other, `accumulation` of them for each."""
        while True:
            self.sampler.seek(iteration)
            self.inputs.set_epoch(self.sampler.epoch)
            for batch in batches(self.loader):
                yield send_to_device(batch, self.device, non_blocking=True)
            iteration = (self.sampler.epoch + 1) * self.sampler.batches_per_epoch
