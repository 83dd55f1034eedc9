"""ShuffleNet (arXiv 1707.01083): networks, recipe, tables, and a compiler to one fast C file."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shufflenet.checkpoints import convert, load, push_to_hub, save
    from shufflenet.deploy.compile import compile
    from shufflenet.nets import cost, create, variants
    from shufflenet.quantization import quantize

__version__ = "0.1.0"
__all__ = ["compile", "convert", "cost", "create", "load", "push_to_hub", "quantize", "save", "variants"]

_HOMES = {
    "variants": "nets",
    "create": "nets",
    "cost": "nets",
    "save": "checkpoints",
    "load": "checkpoints",
    "push_to_hub": "checkpoints",
    "convert": "checkpoints",
    "quantize": "quantization",
    "compile": "deploy.compile",
}


def __getattr__(name: str) -> Any:
    # Loaded at first use, so that `shufflenet --help` does not wait for torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'shufflenet' has no attribute {name!r}")
    return getattr(import_module(f"shufflenet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
