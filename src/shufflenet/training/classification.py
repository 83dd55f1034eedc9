"""Telling pictures apart, as the training loop's task: the loss of a batch, and the evaluation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import v2

from shufflenet import checkpoints
from shufflenet.checkpoints import Preprocessing
from shufflenet.data import PictureDataset, augment, prepare
from shufflenet.nets import Network
from shufflenet.training.distillation import Teacher, distillation_loss
from shufflenet.training.evaluate import Evaluation, evaluate_inputs
from shufflenet.training.recipe import Recipe
from shufflenet.training.teachers import TeacherNetwork


class Classification:
    """A network that learns classes. `net.metadata` says what they are and how pictures enter it."""

    collate = None  # pictures of one size: torch's own
    best_figure = "top1_error"
    higher_is_better = False

    def __init__(
        self,
        net: Network,
        recipe: Recipe,
        training_set: PictureDataset,
        test_set: PictureDataset,
        teacher: TeacherNetwork | None = None,
    ) -> None:
        self.teacher = Teacher(teacher, net.metadata) if teacher else None
        self.net = net
        self.recipe = recipe
        preprocessing = net.metadata.preprocessing
        self.inputs = augment(
            training_set,
            for_training(preprocessing, recipe.training_side_share),
            recipe.augmentation,
            seed=recipe.seed,
            max_broken_share=recipe.max_broken_share,
        )
        self.test_inputs = prepare(test_set, preprocessing, max_broken_share=recipe.max_broken_share)
        self.mix = mixing(recipe.mixup, recipe.cutmix, net.spec["num_classes"])
        self.memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.evaluation: Evaluation | None = None

    def draw(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Images and labels → images, mixed where the recipe says so, their targets, and the labels."""
        images, labels = batch
        images, targets = self.mix(images, labels)
        return images.contiguous(memory_format=self.memory_format), targets, labels

    def loss(self, net: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss to minimise, and what to show beside it: the share of the batch's pictures that were wrong, in %."""
        images, targets, labels = batch
        logits = net(images)
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=self.recipe.label_smoothing)
        if self.teacher is not None:
            share = self.recipe.distillation_share
            wanted = self.teacher.to(images.device)(images)
            apart = distillation_loss(logits, wanted, self.recipe.distillation_temperature)
            loss = (1 - share) * loss + share * apart
        return loss, {"error": 100 * (logits.detach().argmax(1) != labels).float().mean()}

    def evaluate(self, net: nn.Module, accelerator: Accelerator) -> dict[str, float]:
        """Errors, in %, and loss on the test set; of the last evaluation `evaluation` keeps everything."""
        self.evaluation = evaluate_inputs(
            net, self.test_inputs, batch_size=256, workers=self.recipe.workers, accelerator=accelerator
        )
        figures = self.evaluation
        top5 = {"top5_error": figures.top5_error} if figures.says_top5 else {}
        return {"top1_error": figures.top1_error, **top5, "loss": figures.loss}

    def save(self, net: nn.Module, folder: Path) -> None:
        checkpoints.save(net, folder, overwrite=True)


def for_training(preprocessing: Preprocessing, side_share: float) -> Preprocessing:
    """The preprocessing of training crops, whose sides are a share of the input's."""
    if side_share == 1:
        return preprocessing
    height, width = (max(1, round(side * side_share)) for side in preprocessing.size)
    return replace(preprocessing, size=(height, width))


def mixing(mixup: float, cutmix: float, classes: int) -> Callable[[Tensor, Tensor], Any]:
    """mixup and cutmix of a batch, by their alphas (0: off): (images, labels) → (images, labels or, if mixed, distributions)."""
    kinds: list[Callable[..., Any]] = []
    if mixup:
        kinds.append(v2.MixUp(alpha=mixup, num_classes=classes))
    if cutmix:
        kinds.append(v2.CutMix(alpha=cutmix, num_classes=classes))
    return v2.RandomChoice(kinds) if kinds else lambda images, labels: (images, labels)
