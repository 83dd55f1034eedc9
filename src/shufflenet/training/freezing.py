"""Modules that stay as they are while the rest learns."""

from collections.abc import Sequence

from torch import nn

from shufflenet.errors import UserError

BatchNorm = nn.modules.batchnorm._BatchNorm


def freeze(net: nn.Module, names: Sequence[str]) -> None:
    """Take the gradients from the modules of these names. Raises UserError for a name that the network does not have."""
    for name in names:
        try:
            module = net.get_submodule(name)
        except AttributeError as error:
            known = ", ".join(child for child, _ in net.named_children())
            raise UserError(
                f"freeze names {name!r}, which the network does not have; its modules are {known}"
            ) from error
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in net.parameters()):
        raise UserError(f"freeze={list(names)} leaves nothing to learn; freeze less")


def training_mode(net: nn.Module, frozen: Sequence[str] = (), *, freeze_batch_norm: bool = False) -> None:
    """Training mode, but for what keeps its BN statistics: the modules of these names, and with `freeze_batch_norm` all BN."""
    net.train()
    for name in frozen:
        net.get_submodule(name).eval()
    if freeze_batch_norm:
        for module in net.modules():
            if isinstance(module, BatchNorm):
                module.eval()
