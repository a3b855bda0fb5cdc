"""Requests for analyses, one after another, many at once, slow, stalled and dropped.

The garbage collector stands still meanwhile: what a request holds is given back without it.
"""

import asyncio
import gc
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from urllib.parse import urlparse

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.web.live import live_routes as live_module
from retroscope.web.live import uploads
from retroscope.web.live.image_analyses import ANALYSES, Results
from retroscope.web.live.live_routes import live_routes
from retroscope.web.server import make_app
from retroscope.web.site.site import Site
from tests.web.conftest import Serves

SLOTS = live_module._MAX_REQUESTS
CLASSIFY = "/analyze?analysis=classify"
PATIENCE = 60
"""Seconds that a busy machine may take for a step."""

Analyze = Callable[[http.client.HTTPConnection], bytes]
Upload = Callable[[], socket.socket]


@pytest.fixture(autouse=True)
def _no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def connect(address: str) -> http.client.HTTPConnection:
    where = urlparse(address)
    return http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE)


def open_request(address: str, body: bytes, *, length: int | None = None) -> socket.socket:
    """A connection that has sent the head of a request and this much of its body."""
    where = urlparse(address)
    connection = socket.create_connection((where.hostname or "", where.port), timeout=PATIENCE)
    length = len(body) if length is None else length
    head = f"POST {CLASSIFY} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def reset(connection: socket.socket) -> None:
    """Drops a connection at once, without a word to the server."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def analyze(mine: Path) -> Analyze:
    """The answer to an image sent over a connection, which stays open."""
    data = mine.read_bytes()

    def answer(connection: http.client.HTTPConnection) -> bytes:
        connection.request("POST", CLASSIFY, data)
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return body

    return answer


@pytest.fixture
def upload(live: str, mine: Path) -> Upload:
    """Opens a connection that has sent an image and awaits its answer."""
    return partial(open_request, live, mine.read_bytes())


@pytest.fixture
def wait_for_all_slots(live: str, mine: Path) -> Callable[[], None]:
    """Waits until no request holds a slot."""

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not _all_slots_are_free(live, mine.read_bytes()):
            assert time.monotonic() < deadline, "slots are lost"
            time.sleep(0.05)

    return wait


def _all_slots_are_free(address: str, data: bytes) -> bool:
    """Whether the server accepts `SLOTS` uploads that are all unfinished at the same time."""
    with ExitStack() as stack:
        uploads = [
            stack.enter_context(open_request(address, data[:-1], length=len(data)))
            for _ in range(SLOTS)
        ]
        time.sleep(0.1)  # all of them are begun before the first is finished
        for upload in uploads:
            upload.sendall(data[-1:])
        return all(upload.recv(12) == b"HTTP/1.1 200" for upload in uploads)


def _endless(*_arguments: object) -> Results:
    while True:
        yield {"line": "x" * 2**18}


def _failing_late(*_arguments: object) -> Results:
    yield {"line": 1}
    raise RetroscopeError("no second line")


def _broken_at_once(*_arguments: object) -> Results:
    raise RuntimeError("a mistake of ours")
    yield {}


def _broken_late(*_arguments: object) -> Results:
    yield {"line": 1}
    raise RuntimeError("a mistake of ours")


def _lingering(app: ASGIApp) -> ASGIApp:
    """The application, held up when it has sent the end of a response."""

    async def linger(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_wait(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                await asyncio.sleep(0.02)

        await app(scope, receive, send_and_wait)

    return linger


def test_hundreds_of_requests_follow_each_other_on_one_connection(
    live: str, analyze: Analyze
) -> None:
    with closing(connect(live)) as connection:
        first = analyze(connection)
        opened = connection.sock
        assert all(analyze(connection) == first for _ in range(300))
        assert connection.sock is opened


def test_eight_clients_at_once_get_what_one_gets(
    own: Site, net: rs.Network, serve: Serves, analyze: Analyze
) -> None:
    """Each sends its next request before the server has cleared away the one it has read."""
    live = serve(_lingering(make_app(own, routes=live_routes(own, net))))
    with closing(connect(live)) as connection:
        alone = analyze(connection)
    start = threading.Barrier(SLOTS)

    def read(_client: int) -> bool:
        with closing(connect(live)) as connection:
            start.wait()
            return all(analyze(connection) == alone for _ in range(40))

    with ThreadPoolExecutor(SLOTS) as clients:
        assert all(clients.map(read, range(SLOTS)))


def test_a_ninth_request_at_a_time_is_refused_until_one_is_dropped(
    upload: Upload, wait_for_all_slots: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endless answers end only because their readers are gone."""
    monkeypatch.setitem(ANALYSES, "classify", _endless)
    readers = [upload() for _ in range(SLOTS)]
    for reader in readers:
        assert reader.recv(12) == b"HTTP/1.1 200"
    with upload() as ninth:
        assert ninth.recv(12) == b"HTTP/1.1 429"
    for reader in readers:
        reset(reader)
    monkeypatch.undo()
    wait_for_all_slots()


@pytest.mark.parametrize("read_bytes", [0, 1, 400_000])
def test_dropped_connections_give_their_slots_back(
    upload: Upload,
    wait_for_all_slots: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    read_bytes: int,
) -> None:
    """Before the answer, at its start, and in the middle of it."""
    monkeypatch.setitem(ANALYSES, "classify", _endless)
    for _ in range(3 * SLOTS):
        connection = upload()
        missing = read_bytes
        while missing > 0 and (piece := connection.recv(min(missing, 65536))):
            missing -= len(piece)
        reset(connection)
    monkeypatch.undo()
    wait_for_all_slots()


@pytest.mark.parametrize("analysis", [_failing_late, _broken_at_once, _broken_late])
def test_analyses_that_fail_give_their_slots_back(
    upload: Upload,
    wait_for_all_slots: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    analysis: Callable[..., Results],
) -> None:
    monkeypatch.setitem(ANALYSES, "classify", analysis)
    for _ in range(2 * SLOTS):
        with upload() as connection:
            connection.recv(65536)
    monkeypatch.undo()
    wait_for_all_slots()


def test_a_body_that_arrives_slowly_is_cut_off_with_one_clear_line(
    live: str, wait_for_all_slots: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not prolong it, and all may be slow at the same time."""
    monkeypatch.setattr(uploads, "_UPLOAD_SECONDS", 0.5)
    with ThreadPoolExecutor(SLOTS) as clients:
        answers = list(clients.map(lambda _client: _trickle(live), range(SLOTS)))
    for answer in answers:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408")
        assert json.loads(body) == {"error": "the upload takes more than 0.5 seconds"}
    monkeypatch.undo()
    wait_for_all_slots()


def _trickle(address: str) -> bytes:
    """All that a server sends to a client that uploads a byte every 20 ms, until it hangs up."""
    answer = b""
    with open_request(address, b"\x89PNG", length=20_000) as connection:
        connection.settimeout(0.02)
        for _ in range(50 * PATIENCE):
            try:
                connection.sendall(b"x")
                piece = connection.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                return answer  # the server hung up
            if not piece:
                return answer
            answer += piece
    raise AssertionError("the server waits for ever")


def test_readers_that_stop_reading_are_given_up(
    upload: Upload, wait_for_all_slots: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ANALYSES, "classify", _endless)
    monkeypatch.setattr(live_module, "_STALLED_SECONDS", 0.5)
    with ExitStack() as stack:
        for _ in range(SLOTS):
            reader = stack.enter_context(upload())
            assert reader.recv(12) == b"HTTP/1.1 200"
        monkeypatch.undo()
        monkeypatch.setattr(live_module, "_STALLED_SECONDS", 0.5)
        wait_for_all_slots()
