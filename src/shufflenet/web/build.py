"""From a checkpoint to a static site: the page, the module, two WebAssembly builds and their weights in float16."""

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from shufflenet import __version__
from shufflenet.atomic import write_text, writing_folder
from shufflenet.checkpoints.folder import metadata_of
from shufflenet.compiler import compile_onnx
from shufflenet.compiler.c.prepare import with_preparation
from shufflenet.compiler.run.build import build
from shufflenet.data.fashion_mnist import CLASSES, open_bundled
from shufflenet.data.pictures import read_picture
from shufflenet.deploy.compile import preparation_of
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.resolve import resolve_network
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import Network, cost

TARGETS = {"network.wasm": "wasm32", "network.relaxed.wasm": "wasm32-relaxed"}
SHOWN_BY_BROWSERS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}


@dataclass(frozen=True)
class Sample:
    """A picture that visitors can try: its file's name, what it is called, and its bytes."""

    file: str
    name: str
    content: bytes


def site_files(source: str | Path | Network, samples: Sequence[Path] | None = None) -> dict[str, bytes]:
    """Every file of the site by its name. `samples` default to pictures of the data set where the package has them.

    Raises UserError for a network that takes no pictures, CompileError for one that cannot be compiled.
    """
    net = source if isinstance(source, Network) else resolve_network(source)
    net.eval()
    metadata = metadata_of(net)
    preparation = preparation_of(metadata.preprocessing)
    shown = _bundled(metadata.classes) if samples is None else [_sample(path) for path in samples]
    model = to_onnx(Exportable(net, metadata.preprocessing.size))
    title = f"{net.spec['name']}, {net.spec['num_classes']} classes"
    compiled = with_preparation(compile_onnx(model, name="network", title=title, embed=False).source, preparation)
    quantized = any(constant.data_type == onnx.TensorProto.INT8 for constant in model.graph.initializer)
    weights = compiled.weights or b""
    element, weights = ("float32", weights) if quantized else _narrowed(weights)
    price = cost(net, metadata.preprocessing.size)
    facts = {
        "task": "classify",
        "name": net.spec["name"],
        "classes": list(metadata.classes) or [str(index) for index in range(net.spec["num_classes"])],
        "input": list(compiled.signature.input_shapes[0]),
        "outputs": net.spec["num_classes"],
        "arena_bytes": compiled.signature.arena_bytes,
        "weights": element,
        "weights_bytes": len(weights),
        "multiply_adds": price.multiply_adds,
        "parameters": price.parameters,
        "top1_error": metadata.training.get("top1_error"),
        "samples": [{"file": sample.file, "name": sample.name} for sample in shown],
    }
    files = {
        "network.json": json.dumps(facts, ensure_ascii=False).encode(),
        "network.weights": weights,
        **{name: build(compiled, target).read_bytes() for name, target in TARGETS.items()},
        **{sample.file: sample.content for sample in shown},
        "shufflenet.js": _text("shufflenet.js").encode(),
        "shufflenet.d.ts": _text("shufflenet.d.ts").encode(),
        "package.json": _package(net.spec["name"]).encode(),
    }
    return {"index.html": _page(net.spec["name"]).encode(), **files}


def write_site(files: dict[str, bytes], folder: Path) -> None:
    """Write the site into a folder that is missing or empty; it appears whole or not at all."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already; give another place, or remove it first")
    with writing_folder(folder) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(content)


def write_single_file(files: dict[str, bytes], path: Path) -> None:
    """Write the site as one HTML file, which works when it is opened from disk."""
    if path.exists():
        raise UserError(f"{path} is there already; give another place, or remove it first")
    inside = {
        name: base64.b64encode(content).decode()
        for name, content in files.items()
        if name.startswith(("network.", "samples/")) or name == "shufflenet.js"
    }
    name = json.loads(files["network.json"])["name"]
    data = f'<script type="application/json" id="data">{json.dumps(inside)}</script>'
    write_text(path, _page(name, data))


def _page(name: str, data: str = "") -> str:
    page = _text("page.html").replace("@TITLE@", html.escape(name)).replace("@DATA@", data)
    return page.replace("@STYLE@", _text("page.css")).replace("@SCRIPT@", _text("page.js"))


def _package(name: str) -> str:
    package = {
        "name": name.replace("_", "-"),
        "version": __version__,
        "description": f"{name}, compiled to WebAssembly",
        "type": "module",
        "exports": {
            ".": {"types": "./shufflenet.d.ts", "default": "./shufflenet.js"},
            "./network.wasm": "./network.wasm",
        },
        "types": "./shufflenet.d.ts",
        "files": ["shufflenet.js", "shufflenet.d.ts", "network.*"],
    }
    return json.dumps(package, indent=2) + "\n"


def _narrowed(weights: bytes) -> tuple[str, bytes]:
    """float32 as float16, unless a number is too large for it."""
    numbers = np.frombuffer(weights, "<f4")
    if not np.isfinite(numbers).all() or np.abs(numbers).max(initial=0) > np.finfo(np.float16).max:
        return "float32", weights
    return "float16", numbers.astype("<f2").tobytes()


def _sample(path: Path) -> Sample:
    picture = read_picture(path)
    if path.suffix.lower() in SHOWN_BY_BROWSERS:
        return Sample(f"samples/{path.name}", path.stem, path.read_bytes())
    return Sample(f"samples/{path.stem}.png", path.stem, _png(picture))


def _bundled(classes: Sequence[str]) -> list[Sample]:
    if tuple(classes) != CLASSES:
        return []
    images = open_bundled("test").images
    return [
        Sample(f"samples/{index}.png", name, _png(Image.fromarray(images[index, 0].numpy())))
        for index, name in enumerate(CLASSES)
    ]


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _text(name: str) -> str:
    return (resources.files("shufflenet.web") / "page" / name).read_text(encoding="utf-8")
