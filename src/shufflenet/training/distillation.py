"""Learning from a larger network's probabilities beside the labels (Hinton, Vinyals, Dean: arXiv 1503.02531)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.data import class_keys, listed
from shufflenet.errors import UserError
from shufflenet.training.teachers import TeacherNetwork


class Teacher(nn.Module):
    """A trained network that sees a student's inputs and answers for the student's classes. It does not learn.

    [n, channels, h, w], normalised as the student takes it → logits [n, student's classes]. Raises UserError if the teacher does
    not know one of the classes, or takes other channels.
    """

    def __init__(self, teacher: TeacherNetwork, student: Metadata) -> None:
        super().__init__()
        own = teacher.metadata
        row_of = {key: row for row, key in enumerate(class_keys(own.classes))}
        keys = class_keys(student.classes)
        unknown = [name for name, key in zip(student.classes, keys, strict=True) if key not in row_of]
        if unknown:
            raise UserError(
                f"the teacher does not know {listed(unknown)}; take one that was trained on the student's classes"
            )
        if own.preprocessing.channel_order != student.preprocessing.channel_order:
            raise UserError(
                f"the teacher takes {own.preprocessing.channel_order} pictures and the student "
                f"{student.preprocessing.channel_order}; take a teacher with the same channels"
            )
        self.net = teacher.net.eval().requires_grad_(False)
        self.rows: Tensor
        self.register_buffer("rows", torch.tensor([row_of[key] for key in keys]))
        scale, shift = _renormalization(student.preprocessing, own.preprocessing)
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def train(self, mode: bool = True) -> "Teacher":
        """Always in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return self.net(x * self.scale + self.shift)[:, self.rows]


def _renormalization(given: Preprocessing, wanted: Preprocessing) -> tuple[Tensor, Tensor]:
    """Scale and shift, [channels, 1, 1] each, from values normalised in one way to values normalised in the other."""
    mean, std = (torch.tensor(values)[:, None, None] for values in (given.mean, given.std))
    wanted_mean, wanted_std = (torch.tensor(values)[:, None, None] for values in (wanted.mean, wanted.std))
    return std / wanted_std, (mean - wanted_mean) / wanted_std


def distillation_loss(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy with the teacher's softened probabilities, less their entropy: 0 where the two agree.

    Times the temperature squared, so that its gradient keeps its size whatever the temperature.
    """
    wanted = functional.log_softmax(teacher_logits.float() / temperature, dim=1)
    found = functional.log_softmax(logits.float() / temperature, dim=1)
    return temperature**2 * functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
