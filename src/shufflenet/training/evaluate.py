"""How often a network is wrong: every picture counted exactly once, over any number of processes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from shufflenet.data import BROKEN, Inputs, PictureDataset, batches, class_map, prepare, reading_processes
from shufflenet.errors import UserError
from shufflenet.nets import Network

MISTAKES_KEPT = 24


@dataclass(frozen=True)
class Mistake:
    """A picture taken for what it is not: its place in the data set, and how sure the network was (0 to 1)."""

    index: int
    label: int
    predicted: int
    confidence: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network makes of a data set. `confusion[label, predicted]` counts pictures; errors are in %.

    `mistakes` are the most confident ones, the worst first. `loss` is the mean cross-entropy, in nats. `broken` names the pictures
    that could not be read, which no figure counts.
    """

    classes: tuple[str, ...]
    confusion: np.ndarray
    top5_correct: np.ndarray  # of each class
    loss: float
    mistakes: tuple[Mistake, ...]
    broken: tuple[str, ...] = ()

    @property
    def pictures(self) -> int:
        return int(self.confusion.sum())

    @property
    def top1_error(self) -> float:
        return 100 - 100 * float(self.confusion.trace()) / self.pictures

    @property
    def top5_error(self) -> float:
        """A label counts as found among the five likeliest classes, or among all if there are fewer."""
        return 100 - 100 * float(self.top5_correct.sum()) / self.pictures

    @property
    def says_top5(self) -> bool:
        """Whether the top-5 error says anything: among five classes or fewer the label always is."""
        return len(self.classes) > 5

    def to_json(self) -> dict[str, Any]:
        """Figures as JSON's types; classes that the data set has no picture of are left out of `per_class`.

        Top-5 errors are left out where they say nothing.
        """
        totals = self.confusion.sum(1)
        predicted = self.confusion.sum(0)
        per_class = [
            {
                "class": name,
                "pictures": int(totals[i]),
                "top1_error": 100 - 100 * float(self.confusion[i, i]) / int(totals[i]),
                **({"top5_error": 100 - 100 * float(self.top5_correct[i]) / int(totals[i])} if self.says_top5 else {}),
                "precision": 100 * float(self.confusion[i, i]) / int(predicted[i]) if predicted[i] else None,
            }
            for i, name in enumerate(self.classes)
            if totals[i]
        ]
        figures = {
            "pictures": self.pictures,
            "top1_error": self.top1_error,
            **({"top5_error": self.top5_error} if self.says_top5 else {}),
            "loss": self.loss,
            **({"broken_pictures": list(self.broken)} if self.broken else {}),
        }
        return {**figures, "per_class": per_class, "confusion": self.confusion.tolist()}


class _Share(Sampler[int]):
    """One process's share of a data set, dealt in turn: nothing is repeated to make shares equal."""

    def __init__(self, length: int, process: int, processes: int) -> None:
        self.indices = range(process, length, processes)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        return len(self.indices)


def labelled_for(dataset: PictureDataset, classes: tuple[str, ...]) -> PictureDataset:
    """The data set with its labels as numbers of the network's classes, by name or synset. Raises UserError where they do not meet."""
    return dataset.relabelled(class_map(dataset.classes, classes), classes)


def evaluate(
    net: Network,
    dataset: PictureDataset,
    *,
    batch_size: int = 128,
    workers: int = 0,
    max_broken_share: float = 0.01,
    accelerator: Accelerator | None = None,
) -> Evaluation:
    """Top-1 and top-5 error, and the confusion matrix, of a network with `metadata` (preprocessing, classes) on a data set.

    The classes of the data set are matched to the network's by name or synset, never by position. With several processes
    (`accelerate launch`) each takes its share, and all get the same Evaluation. `net` is left in the mode that it was in.
    Pictures that cannot be read are named and left out. Raises UserError if classes do not match, or more than `max_broken_share` of
    the pictures cannot be read.
    """
    metadata = net.metadata
    if metadata is None or not metadata.classes:
        raise UserError(
            "the network does not say what its classes are; save it with metadata, or name the classes in its config.json"
        )
    dataset = labelled_for(dataset, metadata.classes)
    inputs = prepare(dataset, metadata.preprocessing, max_broken_share=max_broken_share)
    return evaluate_inputs(
        net, inputs, batch_size=batch_size, workers=workers, accelerator=accelerator or Accelerator()
    )


@torch.no_grad()
def evaluate_inputs(
    net: nn.Module, inputs: Inputs, *, batch_size: int, workers: int, accelerator: Accelerator
) -> Evaluation:
    """As `evaluate`, with labels and inputs already as the network takes them."""
    share = _Share(len(inputs), accelerator.process_index, accelerator.num_processes)
    loader = DataLoader(
        inputs,
        batch_size,
        sampler=share,
        num_workers=reading_processes(workers),
        pin_memory=accelerator.device.type == "cuda",
    )
    classes = len(inputs.classes)
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=accelerator.device)
    top5_correct = torch.zeros(classes, dtype=torch.int64, device=accelerator.device)
    loss_sum = torch.zeros((), dtype=torch.float64)
    mistakes: list[Mistake] = []
    training, position = net.training, 0
    net.to(accelerator.device).eval()
    for images, labels in batches(loader):
        indices = torch.tensor(share.indices[position : position + len(labels)])
        position += len(labels)
        readable = labels != BROKEN
        if not readable.all():
            images, labels, indices = images[readable], labels[readable], indices[readable]
            if not len(labels):
                continue
        labels = labels.to(accelerator.device)
        with accelerator.autocast():
            logits = net(images.to(accelerator.device, non_blocking=True))
        logits = logits.float()
        likeliest = logits.topk(min(5, classes)).indices
        predicted = likeliest[:, 0]
        confusion += torch.bincount(labels * classes + predicted, minlength=classes**2).view(classes, classes)
        found = (likeliest == labels[:, None]).any(1)
        top5_correct += torch.bincount(labels[found], minlength=classes)
        loss_sum += nn.functional.cross_entropy(logits, labels, reduction="sum").double().cpu()
        mistakes = _worst(mistakes + _mistakes(logits, labels, predicted, indices))
    net.train(training)
    inputs.check()
    confusion, top5_correct, loss_sum = accelerator.reduce(
        (confusion, top5_correct, loss_sum.to(accelerator.device)), reduction="sum"
    )
    mistakes = _worst(gather_object(mistakes))
    broken = tuple(dict.fromkeys(gather_object([inputs.dataset.name(index) for index in inputs.broken()])))
    loss = float(loss_sum) / (len(inputs) - len(broken))
    return Evaluation(
        inputs.classes, confusion.cpu().numpy(), top5_correct.cpu().numpy(), loss, tuple(mistakes), broken
    )


def _mistakes(logits: Tensor, labels: Tensor, predicted: Tensor, indices: Tensor) -> list[Mistake]:
    confidences = logits.softmax(1).amax(1)
    wrong = (predicted != labels).nonzero().flatten()
    columns = (indices.to(wrong.device)[wrong], labels[wrong], predicted[wrong], confidences[wrong])
    return [Mistake(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _worst(mistakes: list[Mistake]) -> list[Mistake]:
    return sorted(mistakes, key=lambda mistake: (-mistake.confidence, mistake.index))[:MISTAKES_KEPT]
