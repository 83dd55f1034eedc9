"""Pictures as a network takes them, each transformed by random draws that depend on nothing but (seed, epoch, index)."""

import logging
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info

from shufflenet.data.datasets import PictureDataset
from shufflenet.data.draws import item_seeds, torch_seed
from shufflenet.data.pictures import BrokenPictureError
from shufflenet.errors import UserError

log = logging.getLogger(__name__)

# The label of a picture that could not be read, where none takes its place.
BROKEN = -1
NAMES_SHOWN = 20


class Inputs(Dataset[tuple[Tensor, int]]):
    """Item i is (float32 [channels, height, width], label), the same in every process: a pure function of (seed, epoch, i).

    So a resumed run has only to know how far it was, and neither the number of workers nor that of ranks changes what a picture
    looks like. `set_epoch` reaches DataLoader workers that are running already.
    """

    def __init__(self, dataset: PictureDataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.dataset.classes

    @property
    def labels(self) -> np.ndarray:
        return self.dataset.labels

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Call before the DataLoader's iterator of that epoch is made: what workers have begun stays as it is."""
        self._epoch.fill_(epoch)

    def order(self, epoch: int) -> np.ndarray:
        """The indices in the random order of an epoch, which shards choose with an eye on the disk."""
        return self.dataset.order(self.seed, epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def broken(self) -> list[int]:
        """Indices of the pictures found broken so far, by any worker of this process."""
        return []

    def check(self) -> None:
        """Log the pictures found broken since the last call. Raises UserError with their names if they are more than allowed.

        For the main process, now and then while it iterates a DataLoader: its workers can only take note.
        """


class PictureInputs(Inputs):
    """`transform`, any torchvision v2 transform of `open_picture`'s pictures to tensors, over a data set, picture by picture.

    What the transform draws from torch's generator starts from a seed of the item's own. A picture that cannot be read is replaced by
    the next one that can, or without `replace` is zeros with the label BROKEN; once more than `max_broken_share` of the set is
    broken, `check` ends the run.
    """

    def __init__(
        self,
        dataset: PictureDataset,
        transform: nn.Module,
        *,
        seed: int = 0,
        max_broken_share: float = 0.01,
        replace: bool = True,
    ) -> None:
        super().__init__(dataset, seed)
        self.replace = replace
        self.transform = transform
        self.max_broken_share = max_broken_share
        # One flag a picture, set by any worker.
        self._broken = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()
        self._logged: set[int] = set()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        # So a plain for loop ends.
        if not 0 <= index < len(self):
            raise IndexError(f"there is no picture {index}: there are {len(self)}")
        seed = int(item_seeds(self.seed, self.epoch, [index])[0])
        for candidate in chain(range(index, len(self)), range(index)):
            try:
                item, _ = found = self._item(candidate, seed)
                return found if self.replace or candidate == index else (torch.zeros_like(item), BROKEN)
            except BrokenPictureError:
                self._broken[candidate] = True
                if get_worker_info() is None:
                    self.check()
        raise UserError(f"none of the {len(self)} pictures can be read, {self.dataset.name(index)} among them")

    def _item(self, index: int, seed: int) -> tuple[Tensor, int]:
        picture, label = self.dataset[index]
        with torch_seed(seed):
            return self.transform(picture), label

    def broken(self) -> list[int]:
        return self._broken.nonzero().flatten().tolist()

    def check(self) -> None:
        broken = self.broken()
        for index in broken:
            if index not in self._logged:
                self._logged.add(index)
                instead = "another takes its place" if self.replace else "it is not counted"
                log.warning("%s; %s (%d of %d are broken)", self._reason(index), instead, len(broken), len(self))
        # One may be broken where the set is so small that the share is less than a picture.
        allowed = max(1, self.max_broken_share * len(self)) if self.max_broken_share else 0
        if len(broken) > allowed:
            names = ", ".join(self.dataset.name(index) for index in broken[:NAMES_SHOWN])
            more = f" and {len(broken) - NAMES_SHOWN} more" if len(broken) > NAMES_SHOWN else ""
            raise UserError(
                f"{len(broken)} of {len(self)} pictures are broken, "
                f"more than max_broken_share={self.max_broken_share:g} allows: {names}{more}; mend or remove them, "
                "or allow more (--set max_broken_share=… in training)"
            )

    def _reason(self, index: int) -> str:
        # Read again, for a rare message: the flags that workers share have no room for words.
        try:
            self._item(index, seed=0)
        except BrokenPictureError as error:
            return str(error)
        return f"{self.dataset.name(index)} could not be read at first"
