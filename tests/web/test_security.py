"""What a local server refuses, and what it never does."""

import random
import socket
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from retroscope.web.security import allowed_hosts
from retroscope.web.server import make_app
from retroscope.web.site.routes import list_paths
from retroscope.web.site.site import Site
from tests.web.conftest import running

HOSTILE = (
    "../../../../etc/passwd",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd",
    "/etc/passwd",
    "//etc/passwd",
    "file:///etc/passwd",
    "static/../../../pyproject.toml",
    "static/%2e%2e/pages.py",
    "static/..%5c..%5cpages.py",
    "static/tokens.css%00.js",
    "unit/features.0/99999999999999999999.html",
    "unit/features.0/-1.html",
    "unit/features.0/007.html",
    "unit/features.0/%D9%A3.html",
    "unit/../../one.atlas",
    "layer/' OR 1=1 --.html",
    "layer/features.0/1.html",
    "layer/features.0/99999.html",
    "image/999999999.webp",
    "plate/features.0/11.max.patches.webp",
    "plate/features.0/3.min.patches.webp",
    "class/none.html",
    "image/100000.html",
    "other/other/index.html",
    "analyze",
    "index.html/",
    "index.php",
    "names.js.map",
    "con",
    "%F0%9F%92%A3",
    "%ff%fe",
    "a" * 5000,
)


@pytest.fixture(scope="module")
def client(site: Site) -> TestClient:
    return TestClient(make_app(site), base_url="http://127.0.0.1:8000")


@pytest.mark.parametrize("path", HOSTILE)
def test_a_hostile_address_is_not_there(client: TestClient, path: str) -> None:
    answer = client.get(f"/{path}")
    assert answer.status_code == 404
    assert b"root:" not in answer.content
    assert b"Traceback" not in answer.content


def test_an_answer_that_is_an_error_tells_nothing_of_the_machine(
    site: Site, client: TestClient
) -> None:
    for path in ("unit/features.0/999.html", "image/99999.webp", "nothing"):
        text = client.get(f"/{path}").text
        assert str(site.atlas.path.parent) not in text
        assert "retroscope/web" not in text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "127.0.0.2"],
)
def test_another_host_name_is_refused(client: TestClient, host: str) -> None:
    """A page of somebody else's, whose name is made to lead to this machine, gets nothing."""
    answer = client.get("/index.json", headers={"host": host})
    assert answer.status_code == 421
    assert b"layers" not in answer.content


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8000", "[::1]:8000"])
def test_our_own_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/index.json", headers={"host": host}).status_code == 200


def test_a_host_that_was_asked_for_is_a_name_of_ours() -> None:
    assert "192.168.0.7" in allowed_hosts("192.168.0.7")
    assert "[fe80::1]" in allowed_hosts("fe80::1")


def test_what_computes_is_not_for_other_sites(client: TestClient) -> None:
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert client.post("/analyze", headers=headers).status_code == 403
    assert client.post("/analyze", headers={"origin": "http://127.0.0.1:8000"}).status_code != 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_pages_are_only_read(client: TestClient, method: str) -> None:
    assert client.request(method, "/index.html").status_code == 405


def test_every_answer_binds_the_browser(client: TestClient) -> None:
    for path in ("/", "/nothing", "/static/app.js", "/names.js"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_a_page_that_has_not_changed_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/index.html")
    again = client.get("/index.html", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


def test_two_thousand_random_addresses_are_not_there(client: TestClient, site: Site) -> None:
    chance = random.Random(0)  # noqa: S311 - no secret
    known = list(list_paths(site))
    signs = string.printable + "é猫\x00"
    for number in range(2_000):
        if number % 2:
            path = "".join(chance.choices(signs, k=chance.randrange(1, 60)))
        else:
            path = _damaged(chance, chance.choice(known), signs)
        quoted = "".join(f"%{byte:02x}" for byte in path.encode())
        assert client.get(f"/{quoted}").status_code in {200, 404}, path


def _damaged(chance: random.Random, path: str, signs: str) -> str:
    at = chance.randrange(len(path))
    return path[:at] + chance.choice(signs) + path[at + chance.randrange(2) :]


CLOSE = b"Host: localhost\r\nConnection: close\r\n"
RAW = (
    b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n" + CLOSE + b"\r\n",
    b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n",
    b"GET / HTTP/1.1\r\n" + CLOSE + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\n" + CLOSE + b"\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
    b"GET /../../../etc/passwd HTTP/1.1\r\n" + CLOSE + b"\r\n",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + CLOSE + b"\r\n",
    b"GET //etc/passwd HTTP/1.1\r\n" + CLOSE + b"\r\n",
    b"POST /analyze HTTP/1.1\r\n" + CLOSE + b"Content-Length: -5\r\n\r\n",
    b"POST /analyze HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"GET /analyze HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"\x00" * 1000 + b"\r\n\r\n",
)


def test_bytes_that_are_no_request_are_refused(served: str) -> None:
    """Aloud; of a very long one the server may hang up while it is still sent."""
    for raw in RAW:
        answer = _sent(served, raw)
        refused = {b"HTTP/1.1 4", b""} if len(raw) > 100_000 else {b"HTTP/1.1 4"}
        assert answer[:10] in refused, (raw[:60], answer[:60])
        assert b"root:" not in answer


def test_absolute_addresses_of_ours_hold_no_other_file(served: str) -> None:
    answer = _sent(served, b"GET http://localhost/etc/passwd HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")


def _sent(address: str, raw: bytes) -> bytes:
    where = urlparse(address)
    assert where.hostname is not None
    with socket.create_connection((where.hostname, where.port or 80), timeout=120) as connection:
        answer = b""
        try:
            connection.sendall(raw)
            while piece := connection.recv(65536):
                answer += piece
        except TimeoutError:
            raise
        except OSError:
            return answer  # the server hung up on what it had read of it
    return answer


def test_only_the_atlas_and_our_own_folder_are_read(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/index.html")
    client.get("/static/app.js")
    opened: list[str] = []
    original = Path.open

    def watched(self: Path, *args: object, **options: object) -> object:
        opened.append(str(self))
        return original(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", watched)
    monkeypatch.setattr("builtins.open", lambda file, *_args, **_options: opened.append(file))
    for path in HOSTILE:
        client.get(f"/{path}")
    assert not opened


def test_fifty_readers_at_once_get_what_one_gets(site: Site) -> None:
    paths = ["index.html", "unit/features.0/3.html", "layer/features.0.html", "names.js"]
    paths += [f"plate/features.0/{n}.max.patches.webp" for n in range(8)]
    with running(make_app(site)) as address:
        alone = {path: _get(address + path) for path in paths}
        start = threading.Barrier(50)

        def read(reader: int) -> bool:
            start.wait()
            return all(
                _get(address + path) == alone[path] for path in paths[reader % 4 :] + paths[:3]
            )

        with ThreadPoolExecutor(50) as readers:
            assert all(readers.map(read, range(50)))


def _get(url: str) -> bytes:
    with urlopen(url, timeout=60) as answer:  # noqa: S310 - our own server
        assert answer.status == 200
        found: bytes = answer.read()
        return found
