"""Sites of small networks, served from one place, and Debian's Chromium."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from playwright.sync_api import sync_playwright

from shufflenet.checkpoints import Metadata, load
from shufflenet.data import prepare
from shufflenet.data.fashion_mnist import CLASSES, PREPROCESSING, open_bundled
from shufflenet.deploy.resolve import resolve_network
from shufflenet.detection import Category, OneStageConfig, build_detector, open_split
from shufflenet.detection.scenes import make_scenes
from shufflenet.nets import create
from shufflenet.quantization import calibrated_detector, quantize
from shufflenet.web.build import site_files, write_single_file, write_site
from shufflenet.web.serve import server

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
FAKE_CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
NAME = "fashion-mnist/shufflenet_x0_25_g8"


def make_detector():
    """Untrained, with heads drawn so that some of its scores are high; its classes are the garments, so that it has samples."""
    torch.manual_seed(3)
    config = OneStageConfig(
        backbone={"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"},
        categories=tuple(Category(i, name) for i, name in enumerate(CLASSES, 1)),
        size=(96, 96),
        strides=(16, 32),
        anchors=(((24.0, 32.0), (40.0, 30.0)), ((70.0, 60.0),)),
        neck_channels=16,
    )
    detector = build_detector(config).eval()
    for name, parameter in detector.named_parameters():
        if name.startswith("head."):
            torch.nn.init.normal_(parameter, std=0.4)
    detector.training_record = {"average_precision": 0.125}
    return detector


def make_int8_detector():
    """The same in integers, calibrated on scenes of its garments."""
    with TemporaryDirectory() as folder:
        scenes = Path(folder) / "scenes"
        make_scenes(scenes, lambda _: open_bundled("train"), train=16, test=1, size=96)
        return calibrated_detector(make_detector(), open_split(scenes, "train")).integers()


def make_wide(variant):
    """Untrained, with statistics of its own, and as sure of its answers as a trained network is; for garments, so it has samples."""
    torch.manual_seed(0)
    net = create(variant, num_classes=len(CLASSES), in_channels=1)
    net.metadata = Metadata(replace(PREPROCESSING, size=(64, 64)), CLASSES)
    garments = prepare(open_bundled("test"), net.metadata.preprocessing)
    pictures = torch.stack([garments[i][0] for i in range(64)])
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.3)
                module.momentum = None
        net.train()(pictures)
        net.get_parameter("classifier.weight").mul_(6 / net.eval()(pictures).std())
    return net


MODELS: dict[str, Callable[[], Any]] = {
    "classifier": lambda: load(NAME),
    "wider": lambda: load("fashion-mnist/shufflenet_x0_5_g3"),
    "int8": lambda: quantize(load(NAME), open_bundled("train"), pictures=64),
    "detector": make_detector,
    "int8_detector": make_int8_detector,
    "1×": lambda: make_wide("shufflenet_x1_0_g3"),
    "2×": lambda: make_wide("shufflenet_x2_0_g3"),
    "at_224": lambda: resolve_network("shufflenet_x0_5_g3"),
    "small_at_224": lambda: resolve_network("shufflenet_x0_25_g3"),
}


@dataclass(frozen=True)
class Site:
    """A network's site: what runs on it, its files, and where it is served; `single_file` is the same as one HTML file."""

    model: Any
    files: dict[str, bytes]
    folder: Path
    single_file: Path
    address: str

    @property
    def samples(self) -> list[Path]:
        return sorted((self.folder / "samples").iterdir(), key=lambda path: int(path.stem))


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A function: one of MODELS → its Site, made at the first call."""
    root = tmp_path_factory.mktemp("web")

    @cache
    def make(name: str) -> Site:
        model = MODELS[name]()
        files = site_files(model)
        write_site(files, root / name)
        write_single_file(files, root / f"{name}.html")
        return Site(model, files, root / name, root / f"{name}.html", f"{origin}{name}/")

    with server(root) as running:
        origin = f"http://127.0.0.1:{running.server_port}/"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield make
        running.shutdown()


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright):
    chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=[*FLAGS, *FAKE_CAMERA])
    yield chromium
    chromium.close()


@pytest.fixture
def page(browser, site):
    """A page whose console stayed empty and which asked only its own origin, as is asserted at the end."""
    page = browser.new_page()
    page.set_default_timeout(30_000)
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    page.close()
    assert messages == []
    allowed = ("http://127.0.0.1:", "blob:http://127.0.0.1:", "blob:null", "data:", "file:")
    assert [url for url in requests if not url.startswith(allowed)] == []


def ready(page, address):
    """Open a page and wait until its network can run."""
    page.goto(address)
    page.wait_for_selector("body[data-ready]")


@pytest.fixture(scope="session")
def axe():
    """A function: what axe-core finds wrong with a page."""
    script = (Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js").read_text(encoding="utf-8")

    def violations(page):
        page.evaluate(script)
        return page.evaluate("axe.run().then(found => found.violations.map(v => [v.id, v.nodes.map(n => n.html)]))")

    return violations
