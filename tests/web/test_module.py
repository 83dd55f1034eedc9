"""The package that `npm pack` makes: types, the README's example, and numbers that are Python's."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shufflenet.data.pictures import open_picture
from shufflenet.data.predict import predict
from shufflenet.data.transforms import evaluation_transform
from shufflenet.detection.predict import predict as find

TSC = Path(__file__).with_name("node_modules") / "typescript" / "bin" / "tsc"
TSC_FLAGS = ["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext"]


@pytest.fixture(scope="session")
def package(site, tmp_path_factory):
    """A function: a site → a folder in which its package is installed, the package's name, and the README's example."""

    def install(name):
        folder = tmp_path_factory.mktemp(f"{name}-package")
        run("npm", "pack", "--silent", site(name).folder, cwd=folder)
        archive = next(folder.glob("*.tgz"))
        run("npm", "install", "--silent", "--no-audit", "--no-fund", "--offline", archive, cwd=folder)
        package = json.loads(site(name).files["package.json"])["name"]
        readme = site(name).files["README.md"].decode()
        example = re.search(r"```js\n(.*?)```", readme, re.DOTALL)
        return folder, package, example[1]

    return install


def run(*command, cwd):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_package_holds_what_runs_and_no_more(package):
    folder, name, _ = package("classifier")
    assert sorted(path.name for path in (folder / "node_modules" / name).iterdir()) == sorted(
        [
            *("README.md", "package.json", "shufflenet.js", "shufflenet.d.ts"),
            *("network.json", "network.weights", "network.wasm", "network.relaxed.wasm"),
        ]
    )


@pytest.mark.parametrize("kind", ["classifier", "detector"])
def test_the_readmes_example_has_types_and_runs(browser, site, package, tmp_path, kind):
    folder, name, example = package(kind)
    assert len(example.strip().splitlines()) <= 10
    (folder / "example.mts").write_text(example)
    run("node", TSC, *TSC_FLAGS, "example.mts", cwd=folder)
    wrong = example.replace("net.run(pixels(picture))", "net.run(3)")
    (folder / "wrong.mts").write_text(wrong)
    with pytest.raises(AssertionError, match="not assignable to parameter of type 'Picture'"):
        run("node", TSC, *TSC_FLAGS, "wrong.mts", cwd=folder)

    page = browser.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    imports = json.dumps({"imports": {name: f"/{name}/shufflenet.js"}})
    html = f'<script type="importmap">{imports}</script><script type="module">{example}</script>'
    picture = site(kind).samples[2]
    page.route("http://example.test/", lambda route: route.fulfill(body=html, content_type="text/html"))
    page.route("http://example.test/picture.jpg", lambda route: route.fulfill(path=picture))
    page.route(f"http://example.test/{name}/*", lambda route: serve(route, folder / "node_modules"))
    page.goto("http://example.test/")
    while not (said and said[-1].endswith(" ms")):
        page.wait_for_timeout(50)
    page.close()
    net = site(kind).model
    if kind == "classifier":
        best = next(predict(net, net.metadata, [picture])).classes[0]
        assert said[0].split(" ")[0] == best.name
        assert float(said[0].split(" ")[-1]) == pytest.approx(best.probability, abs=1e-3)
    else:
        best = find(net, picture, threshold=0.0).detections[0]
        score, *corners = map(float, said[0].split(" ")[-5:])
        assert said[0].startswith(best.label)
        assert score == pytest.approx(best.score, abs=1e-3)
        x, y, width, height = best.box
        assert corners == pytest.approx([x, y, x + width, y + height], abs=0.5)


def serve(route, folder):
    path = folder / route.request.url.removeprefix("http://example.test/")
    route.fulfill(path=path, content_type="text/javascript" if path.suffix == ".js" else "application/octet-stream")


SIZES = [(1, 1), (28, 28), (224, 224), (200, 300), (513, 129), (97, 1024)]


@pytest.mark.parametrize("name", ["classifier", "at_224"])
def test_node_prepares_pictures_as_python_does(site, tmp_path, name):
    """To within one grey level, whatever the size, with and without transparency."""
    here = site(name)
    preprocessing = here.model.metadata.preprocessing
    rng = np.random.default_rng(0)
    for i, (height, width) in enumerate(SIZES):
        picture = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
        if i % 2:
            picture[..., 3] = 255
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        (tmp_path / f"{i}.rgba").write_bytes(picture.tobytes())
    (tmp_path / "prepare.mjs").write_text("""
import { readFileSync, writeFileSync } from "node:fs";
const [module, place, sizes] = process.argv.slice(2);
const { load } = await import(module);
const net = await load(place);
for (const [i, [height, width]] of JSON.parse(sizes).entries())
  writeFileSync(`${i}.input`, net.prepare({ data: new Uint8Array(readFileSync(`${i}.rgba`)), width, height }));
""")
    (tmp_path / "here").symlink_to(here.folder)
    module = (here.folder / "shufflenet.js").as_uri()
    run("node", "prepare.mjs", module, "here/network.wasm", json.dumps(SIZES), cwd=tmp_path)
    for i in range(len(SIZES)):
        expected = evaluation_transform(preprocessing)(open_picture(tmp_path / f"{i}.png")).numpy()
        found = np.frombuffer((tmp_path / f"{i}.input").read_bytes(), np.float32).reshape(expected.shape)
        levels = np.abs(found - expected) * np.array(preprocessing.std)[:, None, None] * 255
        assert levels.max() <= 1.001


def test_node_gives_the_probabilities_of_predict(site, tmp_path):
    here = site("classifier")
    file = here.samples[5]
    grey = np.asarray(Image.open(file))
    (tmp_path / "picture").write_bytes(np.dstack([grey, grey, grey, np.full_like(grey, 255)]).tobytes())
    (tmp_path / "run.mjs").write_text("""
import { readFileSync } from "node:fs";
const { load } = await import(process.argv[2]);
const net = await load();
console.log(JSON.stringify([...net.run({ data: new Uint8Array(readFileSync("picture")), width: 28, height: 28 })]));
""")
    scores = json.loads(run("node", "run.mjs", (here.folder / "shufflenet.js").as_uri(), cwd=tmp_path))
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    for entry in next(predict(here.model, here.model.metadata, [file])).classes:
        assert scores[entry.index] == pytest.approx(entry.probability, abs=1e-3)
