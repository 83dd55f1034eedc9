"""The Hub, played by a folder: huggingface_hub's own mixin runs, only its calls over the network are stood in for."""

import os
import shutil
import socket

import pytest
import torch
from huggingface_hub import HfApi, RepoUrl
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

import shufflenet
from shufflenet import pretrained, push_to_hub
from shufflenet.checkpoints import Metadata, hub
from shufflenet.errors import UserError


@pytest.fixture
def hub_folder(tmp_path, monkeypatch):
    """Where uploads go and downloads come from."""
    root = tmp_path / "hub"

    def create_repo(self, repo_id, **_):
        (root / repo_id).mkdir(parents=True, exist_ok=True)
        return RepoUrl(f"https://huggingface.co/{repo_id}")

    def upload_folder(self, *, repo_id, folder_path, **_):
        shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)
        return f"https://huggingface.co/{repo_id}/commit/0"

    def download(repo_id, filename, **_):
        path = root / repo_id / filename
        if not path.exists():
            raise LocalEntryNotFoundError(f"no {filename}")
        return str(path)

    def snapshot(repo_id, *, allow_patterns, revision, **_):
        assert allow_patterns == ["config.json", "model.safetensors"]
        return str(root / repo_id)

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", download)
    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    monkeypatch.setattr(hub, "get_hf_file_metadata", lambda url, **_: None)
    return root


def trained(randomize):
    net = randomize(shufflenet.create("shufflenet_x0_25_g8", num_classes=4))
    net.metadata = Metadata(
        classes=("cat", "dog", "hen", "owl"), training={"dataset": "pets", "top1_error": 12.25, "license": "cc0-1.0"}
    )
    return net


@torch.inference_mode()
def test_there_and_back(hub_folder, randomize):
    net = trained(randomize)
    assert push_to_hub(net, "somebody/pets") == "https://huggingface.co/somebody/pets/commit/0"
    names = sorted(path.name for path in (hub_folder / "somebody" / "pets").iterdir())
    assert names == ["README.md", "config.json", "model.safetensors"]
    again = shufflenet.load("somebody/pets")
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(again(x), net(x))
    assert again.metadata == net.metadata
    assert not again.training


def test_the_same_folder_loads_from_disk(hub_folder, randomize):
    push_to_hub(trained(randomize), "somebody/pets")
    assert shufflenet.load(hub_folder / "somebody" / "pets").metadata.classes[3] == "owl"
    assert hub.HubCheckpoint.from_pretrained(hub_folder / "somebody" / "pets").net.spec["num_classes"] == 4


def run_snippet(card, folder, monkeypatch):
    """Runs the card's code where a photo.jpg is, as a reader would."""
    Image.effect_noise((90, 70), 64).convert("RGB").save(folder / "photo.jpg")
    monkeypatch.chdir(folder)
    exec(compile(card.split("```python\n")[1].split("```")[0], "README.md", "exec"), {})


def test_card_tells_what_there_is_to_know_and_its_code_runs(hub_folder, randomize, capsys, tmp_path, monkeypatch):
    push_to_hub(trained(randomize), "somebody/pets")
    card = (hub_folder / "somebody" / "pets" / "README.md").read_text(encoding="utf-8")
    for part in (
        "license: cc0-1.0",
        "library_name: shufflenet",
        "| variant | `shufflenet_x0_25_g8` |",
        "| top-1 error | 12.25% |",
        "| data | pets |",
        "short side to 256, crop the centre 224×224",
        "minus 0.485, 0.456, 0.406",
    ):
        assert part in card
    # Of four classes the label is always among the five likeliest.
    assert "top-5" not in card
    multiply_adds = shufflenet.cost(shufflenet.create("shufflenet_x0_25_g8", num_classes=4)).multiply_adds
    assert f"| multiply-adds | {multiply_adds / 1e6:.1f}M at 224×224 |" in card
    run_snippet(card, tmp_path, monkeypatch)
    name, probability = capsys.readouterr().out.split()
    assert name in ("cat", "dog", "hen", "owl")
    assert 25 <= float(probability.rstrip("%")) <= 100


@pytest.mark.parametrize("in_channels", [1, 3, 5])
def test_card_of_a_network_that_nothing_is_known_of(in_channels, hub_folder, capsys, tmp_path, monkeypatch):
    push_to_hub(shufflenet.create("mobilenet_x0_25", num_classes=3, in_channels=in_channels), "somebody/new")
    card = (hub_folder / "somebody" / "new" / "README.md").read_text(encoding="utf-8")
    assert "| top-1 error | not measured |" in card
    assert "license: unknown" in card
    run_snippet(card, tmp_path, monkeypatch)
    assert capsys.readouterr().out.startswith("tensor([[" if in_channels == 5 else ("0 ", "1 ", "2 "))


def test_license_can_be_given(hub_folder, randomize):
    push_to_hub(trained(randomize), "somebody/pets", license="cc-by-4.0")
    card = (hub_folder / "somebody" / "pets" / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-4.0" in card
    assert "| licence | cc-by-4.0 |" in card


def test_damaged_repository(hub_folder, randomize):
    push_to_hub(trained(randomize), "somebody/pets")
    (hub_folder / "somebody" / "pets" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(UserError, match="is cut short or damaged"):
        shufflenet.load("somebody/pets")


def test_repository_that_is_not_there(hub_folder):
    with pytest.raises(
        UserError, match="no folder somebody/nothing, and the Hub repository of that name cannot be had"
    ):
        shufflenet.load("somebody/nothing")


def test_a_hub_that_does_not_answer_is_asked_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(
        UserError, match=r"no folder somebody/pets, and .*the Hub does not answer, and the cache has no copy"
    ):
        shufflenet.load("somebody/pets")
    assert not caplog.records


def test_names_that_cannot_be(tmp_path):
    (tmp_path / "file.txt").write_text("x")
    for name, match in (
        (tmp_path / "file.txt", "is a file; give the folder"),
        (tmp_path / "nowhere", "there is no folder .*nowhere"),
        ("nowhere", "there is no folder nowhere"),
        ("a/b/c", "there is no folder a/b/c"),
        ("a b/c", "no folder a b/c, and the Hub"),
    ):
        with pytest.raises(UserError, match=match) as raised:
            shufflenet.load(name)
        assert "\n" not in str(raised.value)


def test_checkpoints_that_ship_load_without_a_network(tmp_path, randomize, monkeypatch):
    net = trained(randomize)
    shufflenet.save(net, tmp_path / "pretrained" / "pets" / "shufflenet_x0_25_g8", dtype="float16")
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.chdir(tmp_path)
    assert pretrained.names() == ["pets/shufflenet_x0_25_g8"]
    assert shufflenet.load("pets/shufflenet_x0_25_g8").metadata == net.metadata
    with pytest.raises(UserError, match="or one of pets/shufflenet_x0_25_g8"):
        shufflenet.load("nowhere")


def test_all_that_ships_loads():
    for name in pretrained.names():
        assert os.path.getsize(pretrained.FOLDER / name / "model.safetensors") <= 2e6
        assert shufflenet.load(name).metadata.training["top1_error"] < 20
