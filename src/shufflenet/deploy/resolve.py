"""What a user may call a network by, resolved in one place for all verbs."""

from difflib import get_close_matches
from pathlib import Path

from shufflenet import pretrained
from shufflenet.checkpoints import load
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.deploy.parity import untrained
from shufflenet.errors import UserError
from shufflenet.nets import Network, Size, variants

RANDOM = "its weights are random: {} is a variant, which nobody has trained yet"


def is_onnx(what: str | Path) -> bool:
    """Whether a name is that of an ONNX file, in small letters or capitals."""
    return Path(what).suffix.lower() == ".onnx"


def is_variant(what: str | Path) -> bool:
    """Whether a name is a variant's, whose weights are random; a folder of that name comes first."""
    return str(what) in variants() and not Path(what).is_dir()


def resolve(what: str | Path, size: Size | None = None) -> Network | Path:
    """The network that `what` names: a checkpoint's folder, a variant, a shipped checkpoint or a Hub id; an ONNX file as its path.

    A variant's weights are random, of a size as if it had been trained on pictures of `size`. Raises UserError for anything else.
    """
    if is_onnx(what):
        path = Path(what).expanduser()
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        return path
    return resolve_network(what, size)


def resolve_network(what: str | Path, size: Size | None = None) -> Network:
    """`resolve` for what takes no ONNX file."""
    if not is_variant(what):
        return resolve_checkpoint(what)
    net = untrained(str(what), size or variants()[str(what)].size)
    net.metadata = metadata_of(net)
    return net


def resolve_trained(what: str | Path) -> Network:
    """`resolve` for what needs weights that were learned: neither an ONNX file nor a variant."""
    if is_variant(what):
        raise UserError(
            f"{what} is a variant, whose weights are random; give a trained network: a folder, a shipped name or a Hub id "
            f"(`shufflenet train DATA --variant {what} -o FOLDER` trains one)"
        )
    return resolve_checkpoint(what)


def resolve_checkpoint(what: str | Path) -> Network:
    """The trained network of a folder, a shipped name or a Hub id; what is none of them in words that name what would do."""
    name = str(what)
    if is_onnx(what):
        raise UserError(
            f"{what} is an ONNX file, which `shufflenet compile`, `web` and `bench --layers` take; "
            "give a folder, a variant, a shipped name or a Hub id"
        )
    if "/" not in name and not Path(name).expanduser().exists():
        near = get_close_matches(name, [*variants(), *pretrained.names()], n=3, cutoff=0.6)
        hint = (
            f"did you mean {' or '.join(near)}?" if near else f"`shufflenet list` shows the variants, and {_shipped()}"
        )
        raise UserError(f"there is no folder, variant or shipped network {name!r}; {hint}")
    return load(what)


def _shipped() -> str:
    names = pretrained.names()
    return f"{', '.join(names)} {'ships' if len(names) == 1 else 'ship'} with the package"
