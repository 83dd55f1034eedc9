"""A site of a network that ships, served, and Debian's Chromium."""

import threading

import pytest
from playwright.sync_api import sync_playwright

from shufflenet.checkpoints import load
from shufflenet.web.build import site_files, write_single_file, write_site
from shufflenet.web.serve import server

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
NAME = "fashion-mnist/shufflenet_x0_25_g8"


@pytest.fixture(scope="session")
def net():
    return load(NAME)


@pytest.fixture(scope="session")
def site(net, tmp_path_factory):
    """The folder, with the same as one file beside it."""
    files = site_files(net)
    folder = tmp_path_factory.mktemp("web") / "site"
    write_site(files, folder)
    write_single_file(files, folder.parent / "single.html")
    return folder


@pytest.fixture(scope="session")
def address(site):
    with server(site) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/"
        running.shutdown()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, address):
    """A page whose console stayed empty and which asked only its own origin, as is asserted at the end."""
    page = browser.new_page()
    page.set_default_timeout(10_000)
    messages, requests = [], []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    yield page
    page.close()
    assert messages == []
    allowed = (address, f"blob:{address}", "blob:null", "data:", "file:")
    assert [url for url in requests if not url.startswith(allowed)] == []
