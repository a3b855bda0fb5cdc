"""A site as it is served and as it is exported, and a real browser to look at it with."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from torch import nn

import retroscope as rs
from retroscope.web.export import write_site
from retroscope.web.live.live_routes import live_routes
from retroscope.web.server import make_app, open_socket
from retroscope.web.site.notes import Note, notes_of
from retroscope.web.site.site import Site, make_site
from tests.conftest import built
from tests.scanning.scans import smooth_image, write_images
from tests.web.sample_atlases import odd_atlas

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

SIDE = 24
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 120_000
"""Milliseconds that a busy machine may take for a step."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """An atlas beside another one, all oddities in it; a star and a note that can be read only."""
    folder = tmp_path_factory.mktemp("atlases")
    notes = notes_of(folder / "one.atlas", writable=True)
    notes.put("features.0:3", Note(star=True, text="a <b>disc</b>"))
    notes.put("features.0:5", Note(text="an edge"))
    notes.put("gone:1", Note(star=True))
    with odd_atlas(folder / "one.atlas") as one, odd_atlas(folder / "two.atlas", seed=1) as two:
        yield replace(make_site(one, two), notes=notes_of(one.path))


@pytest.fixture(scope="session")
def written(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as files, in a folder below what a host shows."""
    folder = tmp_path_factory.mktemp("exports") / "some where" / "site"
    write_site(site, folder)
    return folder


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of a server that runs meanwhile."""
    with open_socket("127.0.0.1", 0) as listening:
        config = uvicorn.Config(app, log_level="error", lifespan="off", server_header=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=partial(server.run, sockets=[listening]))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(timeout=20)


@contextmanager
def hosting(folder: Path) -> Iterator[str]:
    """The address of a plain file server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_said: object) -> None:
            pass

    class Host(ThreadingHTTPServer):
        def handle_error(self, *_request: object) -> None:
            """A browser that goes to another page hangs up on what it had asked for."""

    with Host(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join(timeout=20)


@pytest.fixture(scope="session")
def served(site: Site) -> Iterator[str]:
    with running(make_app(site)) as address:
        yield address


@pytest.fixture(scope="session")
def hosted(written: Path) -> Iterator[str]:
    with hosting(written.parent.parent) as address:
        yield f"{address}some%20where/site/"


@pytest.fixture(params=["served", "hosted", "folder"])
def address(request: pytest.FixtureRequest, written: Path) -> str:
    """Where the site is looked at: from our server, from any host, from a folder."""
    if request.param == "folder":
        return f"{written.as_uri()}/"
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    with playwright.sync_playwright() as running_playwright:
        browser = running_playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


Looks = Callable[..., "Page"]
Serves = Callable[[Any], str]


@pytest.fixture
def serve() -> Iterator[Serves]:
    """Serves an application until the test has ended and its pages are closed: a page whose server
    is gone complains of whatever it still wanted.
    """
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(running(app))


@pytest.fixture
def look(chromium: "Browser", serve: Serves) -> Iterator[Looks]:
    """Opens a page; at the end nothing was asked from elsewhere, and nothing was complained of."""
    del serve  # which ends after the pages
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(url: str, **options: Any) -> "Page":
        context = chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: _keep(complaints, message.type, message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _keep_strangers(complaints, request.url))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def wait_for_pictures(page: "Page") -> None:
    """Until those are there that the page has asked for."""
    page.evaluate(
        """Promise.all([...document.images]
        .filter((one) => one.src && !one.complete && one.loading !== "lazy")
        .map((one) => new Promise((done) => (one.onload = one.onerror = done))))"""
    )


def _keep(complaints: list[str], kind: str, text: str) -> None:
    if kind in {"error", "warning"}:
        complaints.append(text)


def _keep_strangers(complaints: list[str], url: str) -> None:
    if not url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:", "about:blank")):
        complaints.append(f"asked for {url}")


def classifier() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 7),
    )


@pytest.fixture(scope="module")
def net() -> rs.Network:
    labels = [f"kind {n}" for n in range(7)]
    return rs.Network(built(classifier), input_size=(SIDE, SIDE), labels=labels, name="small")


@pytest.fixture(scope="module")
def own(net: rs.Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("mine")
    images, path = write_images(folder / "photos", 12), folder / "own.atlas"
    with rs.scan(net, images, to=path, layers="conv") as atlas:
        yield make_site(atlas)


@pytest.fixture
def live(own: Site, net: rs.Network, serve: Serves) -> str:
    """The address of a server with the network."""
    return serve(make_app(own, routes=live_routes(own, net)))


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that the scan has not seen."""
    file = tmp_path_factory.mktemp("pictures") / "mine.png"
    smooth_image(99, SIDE).save(file)
    return file
