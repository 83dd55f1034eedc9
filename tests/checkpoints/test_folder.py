"""Folders: what is saved comes back, and what cannot be right is refused in one sentence."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import shufflenet
from shufflenet.checkpoints import GREY, IMAGENET, Metadata, Preprocessing
from shufflenet.errors import UserError

CLASSES = ("shirt", "chaussure", "Stiefel", "ブーツ", 'with "quotes"', "café", "g", "h", "i", "j")
PREPROCESSING = Preprocessing((32, 48), None, (0.2,), (0.4,), "grey", "bicubic")


def small_net(**fields):
    fields = {"num_classes": 10, "in_channels": 1, "stem": "small", **fields}
    return shufflenet.create("shufflenet_x0_25_g8", **fields)


def sentence(raised) -> str:
    text = str(raised.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("shufflenet_x0_25_g8", {"num_classes": 10, "in_channels": 1, "stem": "small"}),
        ("shufflenet_x0_5_g3", {"stem_channels": 6, "shuffle_order": "inverse", "stage_channels": (180, 360, 720)}),
        ("shufflenet_x2_0_g3_se", {"num_classes": 3, "in_channels": 4}),
        ("resnext_like_13m", {"num_classes": 2}),
        ("mobilenet_x0_25", {}),
        ("squeezenet", {"num_classes": 5}),
        ("pvanet", {"num_classes": 5}),
    ],
)
@torch.inference_mode()
def test_comes_back_as_it_was(name, fields, randomize, tmp_path):
    net = randomize(shufflenet.create(name, **fields))
    x = torch.randn(2, net.spec["in_channels"], 64, 64)
    expected = net(x)
    again = shufflenet.load(shufflenet.save(net, tmp_path / "a" / "folder"))
    torch.testing.assert_close(again(x), expected)
    weights = again.state_dict()
    assert all(torch.equal(weights[key], value) for key, value in net.state_dict().items())
    assert not again.training
    assert json.dumps(again.spec) == json.dumps(net.spec)
    assert again.metadata.preprocessing.channels == net.spec["in_channels"]
    assert [path.name for path in sorted((tmp_path / "a").rglob("*"))] == ["folder", "config.json", "model.safetensors"]


def test_metadata_comes_back(tmp_path):
    net = small_net()
    net.metadata = Metadata(PREPROCESSING, CLASSES, {"recipe": "quickstart", "top1_error": 13.5, "seeds": [1, 2]})
    again = shufflenet.load(shufflenet.save(net, tmp_path / "folder"))
    assert again.metadata == net.metadata
    assert "ブーツ" in (tmp_path / "folder" / "config.json").read_text(encoding="utf-8")


def test_loaded_network_can_be_trained_and_saved_again(tmp_path):
    net = shufflenet.load(shufflenet.save(small_net(), tmp_path / "folder")).train()
    before = net.classifier.weight.detach().clone()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(torch.randn(4, 1, 28, 28)).square().mean().backward()
    optimizer.step()
    assert not torch.equal(net.classifier.weight, before)
    shufflenet.save(net.to(memory_format=torch.channels_last), tmp_path / "folder", overwrite=True)
    again = shufflenet.load(tmp_path / "folder")
    assert torch.equal(again.classifier.weight, net.classifier.weight)
    assert torch.equal(again.stem[0].weight, net.stem[0].weight)


@torch.inference_mode()
def test_half_precision_halves_the_file_and_computes_in_float32(randomize, tmp_path):
    net = randomize(small_net())
    full = shufflenet.save(net, tmp_path / "full") / "model.safetensors"
    half = shufflenet.save(net, tmp_path / "half", dtype="float16") / "model.safetensors"
    assert half.stat().st_size < 0.6 * full.stat().st_size
    again = shufflenet.load(tmp_path / "half")
    assert again.classifier.weight.dtype == torch.float32
    x = torch.randn(1, 1, 28, 28)
    assert (again(x) - net(x)).abs().max() < 0.02 * net(x).abs().max()
    net.classifier.weight[0, 0] = 1e5
    with pytest.raises(UserError, match=r"classifier\.weight holds 1e\+05, too large for float16"):
        shufflenet.save(net, tmp_path / "large", dtype="float16")
    assert not (tmp_path / "large").exists()


def test_existing_folders_are_not_overwritten_without_a_word(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    shufflenet.save(small_net(), folder)  # it is empty
    old = (folder / "config.json").read_text()
    (folder / "log.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        shufflenet.save(small_net(num_classes=4), folder)
    assert (folder / "config.json").read_text() == old
    shufflenet.save(small_net(num_classes=4), folder, overwrite=True)
    assert shufflenet.load(folder).spec["num_classes"] == 4
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "log.txt", "model.safetensors"]
    with pytest.raises(UserError, match="is a file"):
        shufflenet.save(small_net(), folder / "log.txt")


def test_the_weights_are_readable_by_whom_other_files_are(tmp_path):
    folder = shufflenet.save(small_net(), tmp_path / "folder")
    modes = {path.stat().st_mode for path in folder.iterdir()}
    assert len(modes) == 1


def test_failed_save_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shufflenet.checkpoints.folder.safetensors_bytes", full_disk)
    with pytest.raises(UserError, match="folder cannot be written: No space left on device"):
        shufflenet.save(small_net(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_saved(tmp_path):
    net = small_net()
    net.metadata = Metadata(GREY, ("a", "b"))
    with pytest.raises(UserError, match="it names 2 classes and its network tells 10 apart"):
        shufflenet.save(net, tmp_path / "folder")
    net.metadata = Metadata(GREY, ("a", "caf\udce9", *"bcdefghi"))
    with pytest.raises(UserError, match=r"1 of its class names are not UTF-8, such as b'caf\\xe9'"):
        shufflenet.save(net, tmp_path / "folder")
    net.metadata = Metadata(IMAGENET)
    with pytest.raises(UserError, match="its preprocessing gives 3 channels and its network takes 1"):
        shufflenet.save(net, tmp_path / "folder")
    with pytest.raises(UserError, match="a Linear cannot be saved"):
        shufflenet.save(torch.nn.Linear(1, 1), tmp_path / "folder")
    with pytest.raises(UserError, match="dtype is 'int8'"):
        shufflenet.save(small_net(), tmp_path / "folder", dtype="int8")


class TestDamagedFolders:
    @pytest.fixture
    def folder(self, tmp_path):
        net = small_net()
        net.metadata = Metadata(PREPROCESSING, CLASSES)
        return shufflenet.save(net, tmp_path / "folder")

    def edit(self, folder, change):
        path = folder / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    def refused(self, folder, match):
        with pytest.raises(UserError, match=match) as raised:
            shufflenet.load(folder)
        assert str(folder) in sentence(raised)

    def test_without_config(self, folder):
        (folder / "config.json").unlink()
        self.refused(folder, r"has no config\.json; it is not a checkpoint")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        self.refused(folder, r"has no model\.safetensors")

    @pytest.mark.parametrize("kept", [0, 5, 1000, -1])
    def test_truncated_weights(self, folder, kept):
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:kept])
        self.refused(folder, "is cut short or damaged")

    def test_config_that_is_no_json(self, folder):
        (folder / "config.json").write_text('{"architecture": ')
        self.refused(folder, r"config\.json cannot be read")

    @pytest.mark.parametrize("text", ["[]", "{}", '{"architecture": "resnet"}', '{"architecture": {"num_classes": 3}}'])
    def test_config_of_something_else(self, folder, text):
        (folder / "config.json").write_text(text)
        self.refused(folder, "names no architecture")

    def test_classes_that_do_not_match_the_network(self, folder):
        self.edit(folder, lambda config: config["classes"].pop())
        self.refused(folder, "it names 9 classes and its network tells 10 apart")

    def test_network_that_does_not_match_the_weights(self, folder):
        def fewer(config):
            config["architecture"]["num_classes"] = 9
            config["classes"] = []

        self.edit(folder, fewer)
        self.refused(
            folder, r"another shape for classifier\.weight \(10×384 for 9×384\), classifier\.bias \(10 for 9\)"
        )

    def test_another_variant(self, folder):
        self.edit(folder, lambda config: config["architecture"].update(name="shufflenet_x0_25_g1"))
        self.refused(folder, "does not fit shufflenet_x0_25_g1")
        self.edit(folder, lambda config: config["architecture"].update(name="shufflenet_x0_25_g9"))
        self.refused(folder, "there is no variant 'shufflenet_x0_25_g9'; did you mean")

    def test_impossible_values(self, folder):
        self.edit(folder, lambda config: config["preprocessing"].update(std=[0]))
        self.refused(folder, "every deviation must be above 0")
        self.edit(folder, lambda config: config["preprocessing"].update(std="wide"))
        self.refused(folder, "wrong value: .*preprocessing.std")
        self.edit(folder, lambda config: config["preprocessing"].pop("mean"))
        self.refused(folder, "missing or unknown fields: mean")
        self.edit(folder, lambda config: config.pop("preprocessing"))
        self.refused(folder, "no 'preprocessing' object")
        self.edit(folder, lambda config: config["architecture"].update(groups="three"))
        self.refused(folder, r"config\.json cannot be used")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"size": (0, 4)}, "is no picture size"),
        ({"short_side": 100}, "too small to crop 224×224"),
        ({"mean": (0.5,)}, "has 1 means and 3 deviations"),
        ({"channel_order": "grey"}, "grey input has 1 channels"),
        ({"channel_order": "HSV"}, "one of RGB, BGR, grey"),
        ({"interpolation": "area"}, "one of nearest"),
        ({"std": (1.0, -1.0, 1.0)}, "above 0"),
    ],
)
def test_preprocessing_that_cannot_be(fields, match):
    with pytest.raises(UserError, match=match):
        Preprocessing(**fields)


@settings(max_examples=50, deadline=None)
@given(
    size=st.tuples(st.integers(1, 600), st.integers(1, 600)),
    spare=st.none() | st.integers(0, 100),
    order=st.sampled_from(["RGB", "BGR", "grey"]),
    value=st.floats(1e-6, 255, allow_nan=False),
    classes=st.lists(st.text(), max_size=5),
)
def test_metadata_survives_json(size, spare, order, value, classes):
    channels = 1 if order == "grey" else 3
    short_side = None if spare is None else max(size) + spare
    preprocessing = Preprocessing(size, short_side, (value,) * channels, (value,) * channels, order)
    metadata = Metadata(preprocessing, tuple(classes), {"value": value})
    assert Metadata.from_json(json.loads(json.dumps(metadata.to_json()))) == metadata


def test_a_whole_number_is_a_square():
    assert Preprocessing(96, 112) == Preprocessing((96, 96), 112)
