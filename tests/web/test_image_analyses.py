"""An image of the reader's own, looked at with the network."""

import gc
import json
import socket
import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import Request, urlopen

import numpy as np
import PIL.Image
import pytest
import torch
from starlette.testclient import TestClient
from torch import nn

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.web.live import live_routes as live_module
from retroscope.web.live import uploads
from retroscope.web.live.live_routes import live_routes
from retroscope.web.server import make_app
from retroscope.web.site.site import Site
from tests.conftest import built, no_trace
from tests.scanning.scans import smooth_image
from tests.web.conftest import SIDE, classifier


@pytest.fixture(scope="module")
def client(own: Site, net: rs.Network) -> TestClient:
    app = make_app(own, routes=live_routes(own, net))
    return TestClient(app, base_url="http://localhost")


def analyze(
    client: TestClient, data: bytes, analysis: str, **params: object
) -> list[dict[str, Any]]:
    query = {"analysis": analysis} | {key: str(value) for key, value in params.items()}
    answer = client.post("/analyze", params=query, content=data)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def shown(source: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from base64 import b64decode

    head, _, data = source.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(PIL.Image.open(BytesIO(b64decode(data))).convert("RGB"))


def test_it_is_taken_for_what_the_network_says(
    client: TestClient, net: rs.Network, mine: Path
) -> None:
    found = analyze(client, mine.read_bytes(), "overview")
    (predictions,) = (one["predictions"] for one in found if "predictions" in one)
    with torch.no_grad():
        shares = net.module(net.prepare(mine).tensor[None]).softmax(1)[0]
    expected = sorted(range(7), key=lambda index: -float(shares[index]))[:5]
    assert [one["index"] for one in predictions] == expected
    for one in predictions:
        assert one["probability"] == pytest.approx(float(shares[one["index"]]), rel=1e-5)
        assert one["target"] == f"kind {one['index']}"


def test_the_picture_is_shown_as_the_network_takes_it(
    client: TestClient, net: rs.Network, mine: Path
) -> None:
    first = analyze(client, mine.read_bytes(), "overview")[0]
    np.testing.assert_array_equal(shown(first["image"]), net.prepare(mine).rgb)


def test_a_large_photograph_is_seen_as_the_library_sees_its_file(
    client: TestClient, net: rs.Network, tmp_path: Path
) -> None:
    """Of a JPEG no more is decoded than the network takes: the same, whoever reads it."""
    photo = tmp_path / "large.jpg"
    smooth_image(7, 40 * SIDE).save(photo, quality=90)
    first = analyze(client, photo.read_bytes(), "overview")[0]
    np.testing.assert_array_equal(shown(first["image"]), net.prepare(photo).rgb)


def test_unusual_units_are_those_that_few_images_excite_as_much(
    client: TestClient, own: Site, net: rs.Network, mine: Path
) -> None:
    layers = {
        one["layer"]: one["units"] for one in analyze(client, mine.read_bytes(), "overview")[2:]
    }
    assert set(layers) == {"0", "3"}
    for name, units in layers.items():
        inner = rs.activations(net, name, mine).maps[:, 1:-1, 1:-1]
        peaks = inner.max(axis=(1, 2))
        for one in units:
            assert one["activation"] == pytest.approx(float(peaks[one["channel"]]), rel=1e-5)
            above = own.atlas.stats(f"{name}:{one['channel']}").maximum < one["activation"]
            assert above == (one["rarity"] == 0)
        rarities = [one["rarity"] for one in units]
        assert rarities == sorted(rarities)


def test_a_unit_is_projected_as_the_library_does(
    client: TestClient, net: rs.Network, mine: Path
) -> None:
    from retroscope.render.tone import apply_tone

    (found,) = analyze(client, mine.read_bytes(), "unit", unit="3:5@4,7")
    expected = rs.deconv(net, "3:5@4,7", mine)
    assert found["unit"] == "3:5@4,7"
    assert found["activation"] == pytest.approx(expected.activation, rel=1e-5)
    top, left, bottom, right = found["field"]
    assert (bottom - top, right - left) == (8, 8)
    box = expected.box
    inside = shown(found["projection"])[box.top - top : box.bottom - top]
    inside = inside[:, box.left - left : box.right - left]
    assert np.abs(inside.astype(int) - apply_tone(expected.pixels).astype(int)).max() <= 1
    lit = shown(found["lit"])[box.top - top : box.bottom - top, box.left - left : box.right - left]
    assert np.abs(lit.astype(int) - expected.lit().astype(int)).max() <= 1
    assert shown(found["contrast"]).shape == shown(found["projection"]).shape
    assert (shown(found["contrast"]) != shown(found["projection"])).any()


def test_without_a_position_a_unit_is_at_its_strongest(
    client: TestClient, net: rs.Network, mine: Path
) -> None:
    (found,) = analyze(client, mine.read_bytes(), "unit", unit="3:5")
    assert found["unit"] == str(rs.deconv(net, "3:5", mine).unit)
    assert found["map_size"] == list(net.layer("3").size)


@pytest.mark.parametrize("ask", ["cam", "occlusion"])
def test_a_class_has_a_map_over_the_picture(client: TestClient, mine: Path, ask: str) -> None:
    (best,) = analyze(client, mine.read_bytes(), ask)
    (other,) = analyze(client, mine.read_bytes(), ask, target=2)
    assert other["title"].startswith("kind 2")
    assert shown(best["image"]).shape == (SIDE, SIDE, 3)
    assert best["caveats"]


def test_a_camera_asks_for_the_classes_alone(client: TestClient, mine: Path) -> None:
    found = analyze(client, mine.read_bytes(), "classify")
    assert [list(one) for one in found] == [["predictions"]]


def test_looking_leaves_no_trace(client: TestClient, net: rs.Network, mine: Path) -> None:
    with no_trace(net.module):
        for ask in ("overview", "classify", "cam", "occlusion"):
            analyze(client, mine.read_bytes(), ask)


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it is a very large picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_pictures_that_are_none_are_refused(client: TestClient, mine: Path) -> None:
    good = mine.read_bytes()
    for data in (
        b"",
        b"no picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        good[: len(good) // 2],
        good[:40],
        bomb(100),
        b"GIF89a" + bytes(100),
        b"\xff\xd8\xff\xe0" + bytes(100),
    ):
        answer = client.post("/analyze?analysis=overview", content=data)
        assert answer.status_code == 400, data[:20]
        assert "not a valid JPEG" in answer.json()["error"]


@pytest.mark.parametrize("side", [8_000, 12_000, 60_000])
def test_bombs_are_refused_before_they_are_unpacked(client: TestClient, side: int) -> None:
    answer = client.post("/analyze?analysis=overview", content=bomb(side))
    assert answer.status_code in {400, 413}


def test_more_bytes_than_are_taken_are_not_kept(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_BYTES", 2**20)
    for upload, subject in (
        ({"content": bytes(2**21)}, "the image"),
        (form(bytes(2**21)), "'cat.jpg'"),
    ):
        answer = client.post("/analyze?analysis=overview", **upload)
        assert answer.status_code == 413
        assert answer.json()["error"] == f"{subject} is larger than 1 MB"


def form(content: bytes, *, name: str = "image") -> dict[str, Any]:
    """A form with a file, as browsers send it."""
    return {"files": {name: ("cat.jpg", content)}}


def test_an_image_in_a_form_is_the_same_and_errors_name_its_file(
    client: TestClient, mine: Path
) -> None:
    alone = client.post("/analyze?analysis=overview", content=mine.read_bytes())
    sent = client.post("/analyze?analysis=overview", **form(mine.read_bytes()))
    assert sent.status_code == 200, sent.text
    assert sent.text == alone.text
    for upload, line in (
        (
            form(b"no picture"),
            "'cat.jpg' is not a valid JPEG, PNG, WEBP, GIF, BMP, TIFF or NPY file",
        ),
        (form(b""), "'cat.jpg' is not a valid JPEG, PNG, WEBP, GIF, BMP, TIFF or NPY file"),
        (form(b"x", name="photo"), "'photo' is not an input of small; it takes image"),
    ):
        answer = client.post("/analyze?analysis=overview", **upload)
        assert (answer.status_code, answer.json()["error"]) == (400, line)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "analysis=nothing",
        "analysis=unit",
        "analysis=unit&unit=nolayer:1",
        "analysis=unit&unit=3:999",
        "analysis=unit&unit=3:1@99,99",
        "analysis=unit&unit=3:1@*",
        "analysis=unit&unit=../../etc/passwd",
        "analysis=cam&target=99",
        "analysis=cam&target=-1",
        "analysis=occlusion&target=cat",
    ],
)
def test_questions_that_have_no_answer_are_refused(
    client: TestClient, mine: Path, query: str
) -> None:
    answer = client.post(f"/analyze?{query}", content=mine.read_bytes())
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert str(mine.parent.parent) not in answer.text


def test_a_picture_that_is_broken_off_is_refused_and_makes_room(
    live: str, mine: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A reader who goes away meanwhile is no failure of ours."""
    where = urlparse(live)
    request_line = "POST /analyze?analysis=classify HTTP/1.1"
    head = f"{request_line}\r\nHost: {where.netloc}\r\nContent-Length: 9999\r\n\r\n"
    for _ in range(2 * live_module._MAX_REQUESTS):
        with socket.create_connection((where.hostname or "", where.port or 80)) as connection:
            connection.sendall(head.encode() + b"some of it")
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1000)
    request = Request(f"{live}analyze?analysis=classify", mine.read_bytes())  # noqa: S310 - our own server
    with urlopen(request) as answer:  # noqa: S310
        assert b"predictions" in answer.read()
    assert "Traceback" not in capfd.readouterr().err


def test_a_refused_look_makes_room_for_the_next(client: TestClient, mine: Path) -> None:
    for _ in range(3 * live_module._MAX_REQUESTS):
        client.post("/analyze?analysis=overview", content=b"no picture")
        client.post("/analyze?analysis=cam&target=99", content=mine.read_bytes())
    gc.collect()
    assert analyze(client, mine.read_bytes(), "classify")


def test_nothing_is_stored(
    client: TestClient, mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    data = mine.read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for ask in ("overview", "cam", "occlusion"):
        analyze(client, data, ask)
    assert not list(tmp_path.iterdir())


def test_the_network_of_another_atlas_is_refused(own: Site) -> None:
    other = rs.Network(nn.Conv2d(3, 4, 3), input_size=(SIDE, SIDE), name="other")
    with pytest.raises(RetroscopeError, match="the atlas is not of"):
        live_routes(own, other)


def test_the_same_network_with_other_weights_is_refused(own: Site) -> None:
    other = rs.Network(built(classifier, seed=1), input_size=(SIDE, SIDE), name="retrained")
    message = "scanned with small, and retrained has different weights"
    with pytest.raises(RetroscopeError, match=message):
        live_routes(own, other)


def test_a_unit_of_a_layer_that_is_not_in_the_atlas_is_refused(
    client: TestClient, own: Site, mine: Path
) -> None:
    assert "2" not in {layer.name for layer in own.atlas.layers}
    query = {"analysis": "unit", "unit": "2:0"}
    answer = client.post("/analyze", params=query, content=mine.read_bytes())
    assert answer.status_code == 400
    assert answer.json()["error"] == "the atlas does not have 2; scan this layer"


def test_an_image_of_the_atlas_is_taken_as_the_network_received_it(
    client: TestClient, own: Site, net: rs.Network
) -> None:
    """Its pixels are those that the atlas stores; they are not fitted a second time."""
    pixels = own.atlas.image_pixels(3)
    (answer,) = analyze(client, b"", "classify", image=3)
    with torch.no_grad():
        values = torch.from_numpy(net.preprocessing.to_input(pixels))
        shares = net.module(values[None]).softmax(1)[0]
    for one in answer["predictions"]:
        assert one["probability"] == pytest.approx(float(shares[one["index"]]), rel=1e-5)
    first = analyze(client, b"", "overview", image=3)[0]
    np.testing.assert_array_equal(shown(first["image"]), pixels)


@pytest.mark.parametrize("number", ["", "-1", "99999", "9" * 30, "1.5", "x", "٣"])
def test_an_image_that_the_atlas_lacks_is_refused(client: TestClient, number: str) -> None:
    answer = client.post("/analyze", params={"analysis": "classify", "image": number})
    assert answer.status_code == 400
    assert "image" in answer.json()["error"]
