"""The page in Chromium: what it says of pictures is what `shufflenet predict` says, and nothing leaves it."""

import base64
import json
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from shufflenet.data.predict import predict

AXE = Path(__file__).with_name("node_modules") / "axe-core" / "axe.min.js"


def ready(page, address):
    page.goto(address)
    page.wait_for_selector("body[data-ready]")


def results(page):
    """Each card's title, and its classes and probabilities in order; the newest card first."""
    return page.eval_on_selector_all(
        "article",
        """cards => cards.map(card => [card.querySelector("h2").textContent,
           [...card.querySelectorAll("li")].map(row => [Number(row.dataset.index), Number(row.dataset.probability)])])""",
    )


def same(found, net, files):
    """The classes of `predict` in its order, and its probabilities, within 1e-3."""
    wanted = predict(net, net.metadata, files, top=len(net.metadata.classes))
    for (_, ours), prediction in zip(found, wanted, strict=True):
        probability = {entry.index: entry.probability for entry in prediction.classes}
        assert ours[0][0] == prediction.classes[0].index
        assert [p for _, p in ours] == pytest.approx([entry.probability for entry in prediction.classes[:5]], abs=1e-3)
        assert [p for _, p in ours] == pytest.approx([probability[index] for index, _ in ours], abs=1e-3)


def test_the_samples_are_what_predict_says(page, address, site, net):
    ready(page, address)
    buttons = page.locator("#samples button")
    for i in range(buttons.count()):
        buttons.nth(i).click()
        expect(page.locator("article")).to_have_count(i + 1)
    same(results(page)[::-1], net, [site / "samples" / f"{i}.png" for i in range(buttons.count())])
    assert "of 10 runs" in page.text_content("#times")
    assert page.locator("#histogram rect").count() > 0


def test_the_single_file_from_disk_says_the_same(page, site, net):
    ready(page, (site.parent / "single.html").as_uri())
    page.locator("#samples button").nth(3).click()
    expect(page.locator("article")).to_have_count(1)
    same(results(page), net, [site / "samples" / "3.png"])


def odd_pictures(folder):
    """A JPEG that lies on its side, a PNG with transparency."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).resize(
        (300, 200), Image.Resampling.BICUBIC
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth.save(folder / "turned.jpg", exif=exif, quality=95)
    clear = np.dstack([np.asarray(smooth), np.linspace(0, 255, 300, dtype=np.uint8)[None].repeat(200, 0)])
    Image.fromarray(clear).save(folder / "clear.png")
    return [folder / "turned.jpg", folder / "clear.png"]


def drop(page, files):
    data = [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in files]
    page.evaluate(
        """files => {
          const transfer = new DataTransfer();
          for (const [name, text] of files)
            transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
          document.getElementById("drop").dispatchEvent(new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: transfer}));
        }""",
        data,
    )


def test_dropped_files_are_seen_as_python_sees_them(page, address, net, tmp_path):
    files = odd_pictures(tmp_path)
    (tmp_path / "notes.jpg").write_text("no picture")
    ready(page, address)
    drop(page, [files[0], tmp_path / "notes.jpg", files[1]])
    expect(page.locator("article")).to_have_count(2)
    same(results(page)[::-1], net, files)
    assert page.text_content("#error").startswith("notes.jpg is not a picture that this browser can read")


def test_chosen_files(page, address, net, site):
    ready(page, address)
    files = [site / "samples" / "1.png", site / "samples" / "8.png"]
    page.set_input_files("#files", files)
    expect(page.locator("article")).to_have_count(2)
    same(results(page)[::-1], net, files)


def test_the_camera_runs(page, address):
    ready(page, address)
    page.click("#camera")
    frames, end = 0, time.monotonic() + 20
    while frames < 100 and time.monotonic() < end:
        page.wait_for_timeout(100)
        frames = int(page.get_attribute("#live", "data-frames") or 0)
    assert frames >= 100
    counted = page.text_content("#times").split(" of ")[1]
    assert int(counted.split()[0]) >= frames
    assert float(page.text_content("#last").split()[0]) > 0
    page.click("#camera")
    expect(page.locator("#live")).to_have_count(0)


def test_a_refused_camera_is_said(page, address):
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); }"
    )
    ready(page, address)
    page.click("#camera")
    expect(page.locator("#error")).to_have_text(
        "The camera was refused; allow it in the browser's settings of this page."
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nobody_is_shut_out(page, address, scheme, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    ready(page, address)
    page.locator("#samples button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("article")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run().then(found => found.violations.map(v => [v.id, v.nodes.map(n => n.html)]))")
    assert violations == []


def test_the_module_from_npm_pack_runs_in_node(site, net, tmp_path):
    packed = subprocess.run(["npm", "pack", "--silent", site], cwd=tmp_path, capture_output=True, text=True, check=True)
    subprocess.run(["tar", "xzf", packed.stdout.strip()], cwd=tmp_path, check=True)
    file = site / "samples" / "5.png"
    grey = np.asarray(Image.open(file))
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    (tmp_path / "picture").write_bytes(rgba.tobytes())
    (tmp_path / "example.mjs").write_text("""
import { readFileSync } from "node:fs";
import { load } from "./package/shufflenet.js";

const net = await load();
const scores = net.run({ data: new Uint8Array(readFileSync("picture")), width: 28, height: 28 });
console.log(JSON.stringify([...scores]));
""")
    done = subprocess.run(["node", "example.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True)
    scores = json.loads(done.stdout)
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    prediction = next(predict(net, net.metadata, [file]))
    for entry in prediction.classes:
        assert scores[entry.index] == pytest.approx(entry.probability, abs=1e-3)
