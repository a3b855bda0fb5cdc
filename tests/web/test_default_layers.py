"""The viewer of a scan with the default layers: the outputs of convolutions."""

import json
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

import retroscope as rs
from retroscope.web.live.live_routes import live_routes
from retroscope.web.server import make_app
from retroscope.web.site.site import make_site
from tests.conftest import built
from tests.scanning.scans import write_images
from tests.web.conftest import SIDE, classifier


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("outputs")
    net = rs.Network(built(classifier), input_size=(SIDE, SIDE), name="small")
    images = write_images(folder / "photos", 12)
    with rs.scan(net, images, to=folder / "a.atlas", projections="none") as atlas:
        site = make_site(atlas)
        app = make_app(site, routes=live_routes(site, net))
        yield TestClient(app, base_url="http://localhost")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = write_images(tmp_path_factory.mktemp("mine"), 1)
    return next(folder.iterdir()).read_bytes()


NOTE = "3 (conv2) after its ReLU"


@pytest.mark.parametrize("path", ["/index.html", "/layer/4.html", "/unit/4/2.html"])
def test_every_page_says_which_convolution_a_layer_is_the_output_of(
    client: TestClient, path: str
) -> None:
    assert NOTE in client.get(path).text


def test_the_search_finds_a_layer_by_its_convolution(client: TestClient) -> None:
    script = client.get("/names.js").text
    layers = json.loads(script[script.index("{") : script.rindex(";")])["layers"]
    assert {"3", "conv2", "relu2"} <= set(layers[1]["aliases"])
    assert "conv2" in client.get("/names.html").text


def test_json_of_a_layer_names_the_convolution(client: TestClient) -> None:
    facts = client.get("/layer/4.json").json()
    assert (facts["convolution"], facts["note"]) == (["3", "conv2"], NOTE)


def test_an_image_is_inspected_in_the_outputs(client: TestClient, image: bytes) -> None:
    answer = client.post("/analyze", params={"analysis": "overview"}, content=image)
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert [result["layer"] for result in results if "layer" in result] == ["4", "1"]


def test_the_convolution_is_not_taken_for_its_output(client: TestClient, image: bytes) -> None:
    query = {"analysis": "unit", "unit": "conv2:1"}
    answer = client.post("/analyze", params=query, content=image)
    assert answer.status_code == 400
    assert "does not have 3" in answer.json()["error"]
