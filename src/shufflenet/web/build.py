"""From a network to a static site: the page, the module, two WebAssembly builds, their weights, and a page that compares."""

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from shufflenet import __version__
from shufflenet.atomic import write_text, writing_folder
from shufflenet.compiler.run.build import build
from shufflenet.detection import Detector
from shufflenet.errors import UserError
from shufflenet.nets import Network
from shufflenet.web.samples import bundled_samples, read_sample
from shufflenet.web.subject import PageTask, Subject, subject_of

TARGETS = {"network.wasm": "wasm32", "network.relaxed.wasm": "wasm32-relaxed"}
TYPES: dict[PageTask, str] = {"classify": "Classifier", "detect": "Detector"}
BENCH_LINK = '<p><a href="bench.html">Compare with onnxruntime-web on this device</a></p>'


def site_files(
    what: str | Path | Network | Detector | Subject, samples: Sequence[Path] | None = None
) -> dict[str, bytes]:
    """Every file of the site by its name. `samples` default to pictures of the data set where the package has them.

    Raises what `subject_of` raises, and UserError for a sample that is no picture.
    """
    # What is said of the pictures comes before what takes seconds.
    shown = None if samples is None else [read_sample(path) for path in samples]
    subject = what if isinstance(what, Subject) else subject_of(what)
    shown = bundled_samples(subject) if shown is None else shown
    pictures = {f"samples/{i}{sample.suffix}": sample for i, sample in enumerate(shown)}
    listed = [{"file": file, "name": sample.name} for file, sample in pictures.items()]
    words = {"TITLE": html.escape(subject.name), "NETWORK": TYPES[subject.task], "STYLE": _text("page.css")}
    return {
        "index.html": _page({**words, "DATA": "", "BENCH": BENCH_LINK}),
        "bench.html": _filled("bench.html", {**words, "SCRIPT": _text("bench.js")}),
        "bench.onnx": subject.model.SerializeToString(),
        "network.json": json.dumps({**subject.facts, "samples": listed}, ensure_ascii=False).encode(),
        "network.weights": subject.weights,
        **{name: build(subject.source, target).read_bytes() for name, target in TARGETS.items()},
        **{file: sample.content for file, sample in pictures.items()},
        "shufflenet.js": _text("shufflenet.js").encode(),
        "shufflenet.d.ts": _filled("shufflenet.d.ts", words),
        "README.md": _filled(f"{subject.task}.md", {**words, "PACKAGE": _package_name(subject)}),
        "package.json": _package(subject),
    }


def write_site(files: Mapping[str, bytes], folder: Path) -> None:
    """Write the site into a folder that is missing or empty; it appears whole or not at all."""
    check_free(folder)
    with writing_folder(folder) as temporary:
        for name, content in files.items():
            (temporary / name).parent.mkdir(exist_ok=True)
            (temporary / name).write_bytes(content)


def write_single_file(files: Mapping[str, bytes], path: Path) -> None:
    """Write the site as one HTML file, which works when it is opened from disk."""
    check_free(path)
    inside = {
        name: base64.b64encode(content).decode()
        for name, content in files.items()
        if name.startswith(("network.", "samples/")) or name == "shufflenet.js"
    }
    name = json.loads(files["network.json"])["name"]
    data = f'<script type="application/json" id="data">{json.dumps(inside)}</script>'
    page = _page({"TITLE": html.escape(name), "STYLE": _text("page.css"), "DATA": data, "BENCH": ""})
    write_text(path, page.decode())


def check_free(place: Path) -> None:
    """Raises UserError where something is already; an empty folder is nothing."""
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UserError(f"{place} is there already; give another place, or remove it first")


def _page(words: Mapping[str, str]) -> bytes:
    return _filled("page.html", {**words, "SCRIPT": _text("page.js")})


def _filled(file: str, words: Mapping[str, str]) -> bytes:
    """A file of the page, each @WORD@ in it replaced."""
    return re.sub(r"@([A-Z]+)@", lambda match: words[match[1]], _text(file)).encode()


def _package_name(subject: Subject) -> str:
    return re.sub(r"[^a-z0-9]+", "-", subject.name.lower()).strip("-") or "network"


def _package(subject: Subject) -> bytes:
    package = {
        "name": _package_name(subject),
        "version": __version__,
        "description": f"{subject.name}, compiled to WebAssembly",
        "type": "module",
        "exports": {
            ".": {"types": "./shufflenet.d.ts", "default": "./shufflenet.js"},
            "./network.wasm": "./network.wasm",
        },
        "types": "./shufflenet.d.ts",
        "files": ["shufflenet.js", "shufflenet.d.ts", "network.*"],
    }
    return (json.dumps(package, indent=2) + "\n").encode()


def _text(name: str) -> str:
    return (resources.files("shufflenet.web") / "page" / name).read_text(encoding="utf-8")
