"""What a user may call a network by, resolved in one place for all verbs."""

from pathlib import Path

from shufflenet.checkpoints import load
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.deploy.parity import untrained
from shufflenet.errors import UserError
from shufflenet.nets import Network, variants


def is_onnx(what: str | Path) -> bool:
    """Whether a name is that of an ONNX file, in small letters or capitals."""
    return Path(what).suffix.lower() == ".onnx"


def is_variant(what: str | Path) -> bool:
    """Whether a name is a variant's, whose weights are random; a folder of that name comes first."""
    return str(what) in variants() and not Path(what).is_dir()


def resolve(what: str | Path, size: tuple[int, int] | None = None) -> Network | Path:
    """The network that `what` names: a checkpoint's folder, a variant, a shipped checkpoint or a Hub id; an ONNX file as its path.

    A variant's weights are random, of a size as if it had been trained on pictures of `size`. Raises UserError for what is none.
    """
    if is_onnx(what):
        path = Path(what)
        if not path.is_file():
            raise UserError(f"there is no file {path}")
        return path
    return resolve_network(what, size)


def resolve_network(what: str | Path, size: tuple[int, int] | None = None) -> Network:
    """`resolve` for what takes no ONNX file."""
    if is_onnx(what):
        raise UserError(
            f"{what} is an ONNX file, which is a network's end; give a folder, a variant, a shipped name or a Hub id"
        )
    if not is_variant(what):
        return load(what)
    net = untrained(str(what), size or variants()[str(what)].size)
    net.metadata = metadata_of(net)
    return net


RANDOM = "its weights are random: {} is a variant, which nobody has trained yet"
