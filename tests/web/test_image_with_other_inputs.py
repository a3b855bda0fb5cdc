"""An image of the reader's own for a network of several inputs: the form asks for the others."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from torch import Tensor, nn

import retroscope as rs
from retroscope.web.live.image_analyses import ANALYSES
from retroscope.web.live.live_routes import live_routes
from retroscope.web.live.uploads import _read_form
from retroscope.web.server import make_app
from retroscope.web.site.site import Site, make_site
from tests.conftest import built
from tests.scanning.pairs import write_partners, write_table
from tests.scanning.scans import smooth_image, write_images
from tests.web.conftest import SIDE, Looks, Serves

UNIT = "compare:1"


class Changes(nn.Module):
    """A pair, two numbers and a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.compare = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.of_numbers, self.head = nn.Linear(2, 5), nn.Linear(5, 3)

    def forward(self, before: Tensor, after: Tensor, numbers: Tensor, mask: Tensor) -> Tensor:
        maps = (self.encoder(after) - 2 * self.encoder(before)).relu()
        maps = self.compare(maps).relu() * mask[..., 2:-2, 2:-2]
        scores: Tensor = self.head(maps.mean((2, 3)) + self.of_numbers(numbers))
        return scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changes")
    write_partners(write_images(folder / "after", 6), folder / "before")
    write_table(folder / "after", folder / "numbers.csv")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4:, 3:] = 255
    PIL.Image.fromarray(mask).save(folder / "mask.png")
    smooth_image(200, SIDE).save(folder / "mine.png")
    smooth_image(201, SIDE).save(folder / "mine-before.png")
    return folder


@pytest.fixture(scope="module")
def net(folder: Path) -> rs.Network:
    inputs = {
        "before": "image",
        "after": "image",
        "numbers": rs.NumberInput(2),
        "mask": rs.ImageInput(mean=(0.0,), std=(1.0,)),
    }
    net = rs.Network(
        built(Changes), input_size=(SIDE, SIDE), inputs=inputs, look_at="after", name="changes"
    )
    return net.hold(mask=folder / "mask.png")


@pytest.fixture(scope="module")
def site(net: rs.Network, folder: Path) -> Iterator[Site]:
    inputs = {"before": folder / "before", "numbers": folder / "numbers.csv"}
    to = folder / "changes.atlas"
    layers = ["encoder", "compare"]
    with rs.scan(
        net, folder / "after", to=to, inputs=inputs, layers=layers, projections=False
    ) as atlas:
        yield make_site(atlas)


@pytest.fixture(scope="module")
def client(site: Site, net: rs.Network) -> TestClient:
    return TestClient(make_app(site, routes=live_routes(site, net)), base_url="http://localhost")


@pytest.fixture
def served_with_net(site: Site, net: rs.Network, serve: Serves) -> str:
    return serve(make_app(site, routes=live_routes(site, net)))


@pytest.fixture
def mine(folder: Path) -> dict[str, Any]:
    """What the library takes as the image."""
    return {
        "after": folder / "mine.png",
        "before": folder / "mine-before.png",
        "numbers": [0.5, 2.0],
    }


def post(client: TestClient, fields: dict[str, Any], **params: str) -> Any:
    """A form as browsers send it: paths as files, and texts."""
    files = {
        name: (value.name, value.read_bytes()) if isinstance(value, Path) else ("a.png", value)
        for name, value in fields.items()
        if not isinstance(value, str)
    }
    texts = {name: value for name, value in fields.items() if isinstance(value, str)}
    return client.post("/analyze", params=params, files=files, data=texts)


def analyze(client: TestClient, mine: dict[str, Any], **params: str) -> list[dict[str, Any]]:
    answer = post(client, {**mine, "numbers": "0.5, 2"}, **params)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def shown(url: str) -> Any:
    return np.asarray(PIL.Image.open(BytesIO(b64decode(url.partition(",")[2]))))


def test_every_analysis_uses_the_other_inputs(
    client: TestClient, net: rs.Network, mine: dict[str, Any]
) -> None:
    overview = analyze(client, mine, analysis="overview")
    prepared = net.prepare(mine)
    np.testing.assert_array_equal(shown(overview[0]["image"]), prepared.rgb)
    before, numbers = overview[0]["others"]
    assert (before["name"], before["size"]) == ("before", [SIDE, SIDE])
    np.testing.assert_array_equal(
        shown(before["image"]), np.asarray(PIL.Image.open(mine["before"]))
    )
    assert numbers == {"name": "numbers", "text": "0.5, 2"}
    with torch.no_grad():
        scores = net.for_images([prepared]).module(prepared.tensor[None]).softmax(1)
    best = overview[1]["predictions"][0]
    assert best["probability"] == pytest.approx(float(scores.max()), rel=1e-5)
    (cam,) = analyze(client, mine, analysis="cam", target="1")
    assert cam["score"] == pytest.approx(rs.cam(net, mine, target=1).score, rel=1e-5)
    (unit,) = analyze(client, mine, analysis="unit", unit=UNIT)
    expected = rs.deconv(net, UNIT, mine)
    assert unit["activation"] == pytest.approx(expected.activation, rel=1e-5)
    assert [note for note in unit["notes"] if note.startswith("mask is held at ")]
    (occluded,) = analyze(client, mine, analysis="occlusion", target="1")
    size = SIDE // 7
    covered = rs.occlusion(net, mine, target=1, size=size, stride=1)
    assert occluded["title"].startswith(f"{covered.target}: drop in {covered.measure}")
    (other,) = analyze(client, {**mine, "before": mine["after"]}, analysis="unit", unit=UNIT)
    assert other["activation"] != unit["activation"]


def test_an_image_of_the_atlas_comes_with_its_own(client: TestClient, folder: Path) -> None:
    answer = client.post("/analyze", params={"analysis": "overview", "image": "3"})
    found = [json.loads(line) for line in answer.text.splitlines()]
    before, numbers = found[0]["others"]
    expected = np.asarray(PIL.Image.open(folder / "before" / "03.bmp"))
    np.testing.assert_array_equal(shown(before["image"]), expected)
    assert numbers["text"] == f"{3 / 7:g}, -3"


INVALID = "'a.png' is not a valid JPEG, PNG, WEBP, GIF, BMP, TIFF or NPY file"
MISTAKES: list[tuple[dict[str, Any], str]] = [
    (
        {"before": b"", "numbers": ""},
        "changes takes after, before and numbers; add before (an image, fitted to 24x24) and "
        "numbers (2 numbers)",
    ),
    ({"numbers": "0.5"}, "numbers is 2 numbers, not 1 number"),
    ({"numbers": "old, new"}, "numbers is 'old, new'; write 2 numbers, as in 0.5,1"),
    ({"before": b"no image"}, f"before: {INVALID}"),
    ({"after": b"no image"}, f"after: {INVALID}"),
    ({"befor": b"x"}, "'befor' is not an input of changes; did you mean 'before' or 'numbers'?"),
    ({"mask": b"x"}, "'mask' is not an input of changes; it takes after, before and numbers"),
]


@pytest.mark.parametrize(("change", "line"), MISTAKES, ids=range(len(MISTAKES)))
def test_what_is_missing_or_wrong_is_said_in_one_line(
    client: TestClient, mine: dict[str, Any], change: dict[str, Any], line: str
) -> None:
    answer = post(client, {**mine, "numbers": "0.5, 2", **change}, analysis="overview")
    assert (answer.status_code, answer.json()["error"]) == (400, line)


def test_an_error_of_the_network_names_the_inputs(
    site: Site, net: rs.Network, mine: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> Iterator[dict[str, Any]]:
        raise IndexError("index out of range in self")
        yield {}

    monkeypatch.setitem(ANALYSES, "overview", fail)
    app = make_app(site, routes=live_routes(site, net))
    client = TestClient(app, base_url="http://localhost")
    answer = post(client, {**mine, "numbers": "0.5, 2"}, analysis="overview")
    assert answer.json()["error"] == (
        "changes cannot run mine.png with before of shape (3, 24, 24) and numbers 0.5, 2: "
        "IndexError: index out of range in self; correct them"
    )


def test_an_image_alone_is_answered_with_what_is_missing(
    client: TestClient, mine: dict[str, Any]
) -> None:
    answer = client.post("/analyze", params={"analysis": "cam"}, content=mine["after"].read_bytes())
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(
        "add before (an image, fitted to 24x24) and numbers (2 numbers)"
    )


@pytest.mark.parametrize("body", [b"", b"--x\r\n", b"--x\r\n\r\n--x", b"nothing"])
def test_a_damaged_form_is_refused(client: TestClient, body: bytes) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/analyze?analysis=cam", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "the form of the request is damaged; send it again",
    )


@given(st.dictionaries(st.text("abcé \"'-_1", min_size=1), st.binary(), min_size=1, max_size=4))
def test_a_form_is_read_as_it_was_written(client: TestClient, fields: dict[str, bytes]) -> None:
    """Quotes in names are escaped, as browsers do it."""
    files = {name: ("image", content) for name, content in fields.items()}
    request = client.build_request("POST", "/analyze", files=files)
    form = _read_form(request.read(), request.headers["content-type"])
    assert {re.sub("%22", '"', name): field.content for name, field in form.items()} == fields
    assert {field.file_name for field in form.values()} == {"image"}


def test_the_form_knows_what_to_ask_for_and_what_is_held(client: TestClient) -> None:
    script = client.get("/model.js").text
    facts = json.loads(script.partition("=")[2].rstrip(";\n"))
    assert facts["inputs"]["image"] == "after"
    assert facts["inputs"]["others"] == [
        {
            "name": "before",
            "kind": "image",
            "description": "an image, fitted to 24x24",
            "example": "FILE",
        },
        {"name": "numbers", "kind": "numbers", "description": "2 numbers", "example": "0.5,1"},
    ]
    (held,) = facts["inputs"]["held"]
    assert held["name"] == "mask"
    assert shown(held["image"])[10, 10].tolist() == [255, 255, 255]


def test_the_page_asks_for_the_others_and_uses_them(
    served_with_net: str, mine: dict[str, Any], look: Looks
) -> None:
    page = look(f"{served_with_net}mine.html", viewport={"width": 390, "height": 844})
    assert page.locator(".is-held").inner_text().split("\n")[:2] == ["mask", "held for all images"]
    page.set_input_files("#file", mine["after"])
    status = page.locator("#upload-status")
    status.filter(has_text="Now add before (an image, fitted to 24x24) and numbers").wait_for()
    page.set_input_files("[data-input=before] input", mine["before"])
    status.filter(has_text="Now add numbers (2 numbers).").wait_for()
    page.fill("[data-input=numbers] input", "0.5 2")
    page.press("[data-input=numbers] input", "Enter")
    page.wait_for_selector("#predictions li")
    assert page.locator("#others figcaption").all_inner_texts() == ["before", "numbers: 0.5, 2"]
    page.locator("#predictions button").nth(1).click()
    page.locator("#caption").filter(has_text="Grad-CAM").wait_for()
    page.fill("[data-input=numbers] input", "3, 2")
    page.press("[data-input=numbers] input", "Enter")
    page.locator("#others figcaption").filter(has_text="numbers: 3, 2").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_page_of_an_image_shows_what_came_with_it(served_with_net: str, look: Looks) -> None:
    page = look(f"{served_with_net}image/2.html")
    page.wait_for_selector("#predictions li")
    said = page.locator("#others figcaption").all_inner_texts()
    assert said == ["before", f"numbers: {2 / 7:g}, -2"]


def test_several_files_are_dropped_at_once(
    served_with_net: str, mine: dict[str, Any], look: Looks
) -> None:
    page = look(f"{served_with_net}mine.html")
    page.fill("[data-input=numbers] input", "1, 1")
    contents = [list(mine[name].read_bytes()) for name in ("after", "before")]
    page.evaluate(
        """(contents) => {
        const data = new DataTransfer();
        for (const [number, bytes] of contents.entries()) {
            const file = new File([new Uint8Array(bytes)], `${number}.png`, { type: "image/png" });
            data.items.add(file);
        }
        const drop = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(drop);
    }""",
        contents,
    )
    page.wait_for_selector("#predictions li")
    assert page.locator("[data-input=before] .preview").is_visible()


def test_the_form_has_no_serious_barrier(
    served_with_net: str, mine: dict[str, Any], look: Looks
) -> None:
    page = look(f"{served_with_net}mine.html", bypass_csp=True)
    page.set_input_files("[data-input=before] input", mine["before"])
    page.add_script_tag(path=Path(__file__).parent.parent / "vendor" / "axe.min.js")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert [
        one["id"] for one in found["violations"] if one["impact"] in {"serious", "critical"}
    ] == []
