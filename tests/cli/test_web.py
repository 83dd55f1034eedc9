"""`shufflenet web`: what it writes and serves, and how it refuses."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from shufflenet.checkpoints import Metadata, Preprocessing, save
from shufflenet.cli import app
from shufflenet.deploy.exportable import Exportable
from shufflenet.deploy.write_onnx import to_onnx
from shufflenet.errors import UserError
from shufflenet.nets import create

runner = CliRunner()


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = create("shufflenet_x0_25_g3", num_classes=3, stem="small").eval()
    net.metadata = Metadata(Preprocessing(size=(32, 32), short_side=36), ("ant", "bee", "cat"))
    return net


@pytest.fixture(scope="module")
def checkpoint(net, tmp_path_factory):
    return save(net, tmp_path_factory.mktemp("cli") / "net")


def run(*arguments):
    return runner.invoke(app, ["web", *map(str, arguments)], catch_exceptions=False)


def test_a_folder_becomes_a_site_with_its_samples(checkpoint, tmp_path):
    for name in ("ant", "bee"):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{name}.png")
    arguments = ["--samples", tmp_path / "ant.png", "--samples", tmp_path / "bee.png"]
    done = run(checkpoint, "-o", tmp_path / "site", *arguments)
    written = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in written)
    assert done.stdout == f"wrote {tmp_path / 'site'}: {len(written)} files, {size:,} bytes\n"
    assert {"index.html", "bench.html", "0.png", "1.png"} <= {path.name for path in written}


def test_an_onnx_file_becomes_a_page_with_a_word_on_its_pictures(net, tmp_path):
    onnx.save(to_onnx(Exportable(net, (32, 32))), tmp_path / "mine.onnx")
    done = run(tmp_path / "mine.onnx", "-o", tmp_path / "page.html", "--single-file")
    assert "does not say how its pictures are prepared" in done.stderr
    assert done.stdout == f"wrote {tmp_path / 'page.html'}, {(tmp_path / 'page.html').stat().st_size:,} bytes\n"
    assert "<title>mine</title>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--single-file", "--serve"], "leave out --serve, or --single-file"),
        (["--single-file"], r"site is no name of an HTML file, .* give -o site\.html"),
        (["-o", "taken"], "taken is there already"),
        (["--samples", "nothing.png"], r"nothing\.png cannot be read"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_compiled(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("mine")
    with pytest.raises(UserError, match=message):
        run("no such network", "-o", "site", *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_source_that_is_none(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        run(tmp_path / "none.onnx", "-o", tmp_path / "site")


def test_it_serves_on_this_machine_until_it_is_interrupted(checkpoint, tmp_path):
    command = [sys.executable, "-m", "shufflenet", "web", checkpoint, "-o", tmp_path / "site", "--serve"]
    with ExitStack() as stack:
        # What a shell starts in the background ignores SIGINT, and so do all its children.
        process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        stack.enter_context(process)
        stack.callback(process.kill)
        assert process.stdout
        lines = [process.stdout.readline(), process.stdout.readline()]
        address = re.match(r"(http://127\.0\.0\.1:\d+/) \(Ctrl-C ends it\)", lines[1])
        assert address, lines
        answers = [urllib.request.urlopen(address[1] + name) for name in ("", "network.wasm", "shufflenet.js")]
        types = [answer.headers.get_content_type() for answer in answers]
        assert types == ["text/html", "application/wasm", "text/javascript"]
        for answer in answers:
            answer.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_said(checkpoint, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 cannot be had: Address already in use"):
            run(checkpoint, "-o", tmp_path / "site", "--serve", "--port", port)
