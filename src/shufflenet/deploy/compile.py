"""From a network, a checkpoint or an ONNX file to a compiled callable: the bridge to the compiler."""

from pathlib import Path

from shufflenet.checkpoints import Preprocessing, load
from shufflenet.compiler import Compiled, Network, Pixels, compile_onnx
from shufflenet.deploy.source import Source
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import Network as Net


def compile(net_or_folder_or_onnx: Net | str | Path, size: tuple[int, int] | None = None) -> Network:
    """A network of ours, its checkpoint (folder or Hub id) or an ONNX file, as one C function called from Python.

    `size` is (height, width); the default is the checkpoint's own, or what the ONNX file says. Call the result with float32
    (channels, height, width); it has `.arena_bytes` and `.source`. Raises CompileError for what cannot be compiled.
    """
    return compile_source(net_or_folder_or_onnx, size).load()


def compile_source(
    what: Net | str | Path, size: tuple[int, int] | None = None, *, name: str | None = None, dump: Path | None = None
) -> Compiled:
    """The C source of a network, with NAME_run_rgb8 where its preprocessing is known. `name` defaults to the network's."""
    if isinstance(what, str | Path) and str(what).endswith(".onnx"):
        if not Path(what).is_file():
            raise UserError(f"there is no file {what}")
        stem = "".join(c if c.isalnum() else "_" for c in Path(what).stem)
        return compile_onnx(
            what, size, name=name or f"n{stem}" * (not stem.isidentifier()) or stem, title=Path(what).name, dump=dump
        )
    net = load(what) if isinstance(what, str | Path) else what
    preprocessing = Source(net, (1, 1)).metadata.preprocessing
    size = size or preprocessing.size
    model = to_onnx(Source(net.eval(), size))
    variant = net.spec["name"]
    title = f"{variant}, {net.spec['num_classes']} classes, pictures of {size[0]}×{size[1]}"
    return compile_onnx(model, size, name=name or variant, title=title, pixels=pixels_of(preprocessing), dump=dump)


def pixels_of(preprocessing: Preprocessing) -> Pixels | None:
    """(byte / 255 − mean) / std of each channel as a factor and a term; None where the network takes no RGB pictures."""
    if preprocessing.channel_order not in ("RGB", "BGR"):
        return None
    return Pixels(
        order=(0, 1, 2) if preprocessing.channel_order == "RGB" else (2, 1, 0),
        scale=tuple(1 / (255 * std) for std in preprocessing.std),
        shift=tuple(-mean / std for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True)),
    )
