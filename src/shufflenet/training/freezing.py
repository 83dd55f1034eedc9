"""Modules that stay as they are while the rest learns."""

from torch import nn

from shufflenet.errors import UserError
from shufflenet.training.recipe import Recipe

BatchNorm = nn.modules.batchnorm._BatchNorm


def freeze(net: nn.Module, recipe: Recipe) -> None:
    """Take the gradients from the modules that the recipe freezes. Raises UserError for a name that the network does not have."""
    for name in recipe.freeze:
        try:
            module = net.get_submodule(name)
        except AttributeError as error:
            known = ", ".join(child for child, _ in net.named_children())
            raise UserError(
                f"freeze names {name!r}, which the network does not have; its modules are {known}"
            ) from error
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserError(f"freeze={list(recipe.freeze)} leaves nothing to learn; freeze less")


def training_mode(net: nn.Module, recipe: Recipe) -> None:
    """Training mode, but for what keeps its BN statistics: frozen modules, and all BN if the recipe says so."""
    net.train()
    for name in recipe.freeze:
        net.get_submodule(name).eval()
    if recipe.freeze_batch_norm:
        for module in net.modules():
            if isinstance(module, BatchNorm):
                module.eval()
