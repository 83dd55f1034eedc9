"""The site's files: their sizes, the samples, what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import shufflenet
from shufflenet.checkpoints import Metadata, Preprocessing
from shufflenet.detection import Category, build_detector, detector_config
from shufflenet.errors import UserError
from shufflenet.web.build import site_files, write_single_file, write_site
from shufflenet.web.samples import read_sample
from shufflenet.web.subject import subject_of

# What a visit loads, with the larger of the two builds; samples come on top.
LOADED = ("index.html", "shufflenet.js", "network.json", "network.weights")


@pytest.mark.parametrize(("name", "most"), [("at_224", 2_000_000), ("small_at_224", 1_200_000)])
def test_the_whole_page_is_small(site, name, most):
    files = site(name).files
    build = max(len(files["network.wasm"]), len(files["network.relaxed.wasm"]))
    # The module is read twice, by the page and by its worker.
    assert sum(len(files[name]) for name in LOADED) + build + len(files["shufflenet.js"]) <= most
    assert json.loads(files["network.json"])["weights"] == "float24"


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    net = shufflenet.create("shufflenet_x0_25_g3", num_classes=2, stem="small").eval()
    net.metadata = Metadata(Preprocessing(size=(32, 32), short_side=None), ("<b>", "&"))
    return net


def test_weights_too_large_to_be_narrowed_stay_as_they_are(tiny):
    assert subject_of(tiny).facts["weights"] == "float24"
    tiny.get_parameter("classifier.bias").data[0] = 70_000
    try:
        subject = subject_of(tiny)
    finally:
        tiny.get_parameter("classifier.bias").data[0] = 0
    assert subject.facts["weights"] == "float32"
    assert 70_000 in np.frombuffer(subject.weights, np.float32)


def test_samples_of_one_name_are_all_there(tiny, tmp_path):
    subject = subject_of(tiny)
    paths = [tmp_path / place / "a b#.png" for place in ("one", "two")]
    for i, path in enumerate(paths):
        path.parent.mkdir()
        Image.new("RGB", (8, 8), (i, i, i)).save(path)
    files = site_files(subject, paths)
    listed = json.loads(files["network.json"])["samples"]
    assert listed == [{"file": f"samples/{i}.png", "name": "a b#"} for i in (0, 1)]
    assert [files[sample["file"]] for sample in listed] == [path.read_bytes() for path in paths]
    assert b"<b>" not in files["index.html"]


def test_a_sample_that_browsers_do_not_show_becomes_png(tmp_path):
    Image.new("RGB", (5, 4), (9, 8, 7)).save(tmp_path / "scan.tif")
    sample = read_sample(tmp_path / "scan.tif")
    assert (sample.name, sample.suffix) == ("scan", ".png")
    assert sample.content.startswith(b"\x89PNG")


def test_a_sample_that_is_no_picture_is_refused_before_anything_is_compiled(tmp_path):
    (tmp_path / "text.jpg").write_text("words")
    with pytest.raises(UserError, match=r"text\.jpg is not a picture"):
        site_files("no such network", [tmp_path / "text.jpg"])


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine").write_text("mine")
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(UserError, match="site is there already"):
        write_site({}, tmp_path / "site")
    with pytest.raises(UserError, match=r"page\.html is there already"):
        write_single_file({}, tmp_path / "page.html")


def test_what_takes_no_pictures_is_refused():
    net = shufflenet.create("shufflenet_x0_25_g3", num_classes=2, in_channels=5)
    with pytest.raises(UserError, match="5 channels that are not a picture's"):
        subject_of(net)


def test_a_detector_of_two_stages_is_refused():
    backbone = {"name": "shufflenet_x0_25_g3", "num_classes": 1, "in_channels": 3, "stem": "imagenet"}
    detector = build_detector(detector_config(backbone, (Category(1, "cat"),), short_side=64))
    with pytest.raises(UserError, match="runs no detector of the layout paper"):
        subject_of(detector)
