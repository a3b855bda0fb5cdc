"""An image of many channels in the viewer: uploaded, or one of the atlas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import retroscope as rs
from retroscope.network import Network
from retroscope.web.live.live_routes import live_routes
from retroscope.web.live.scanned_images import ScannedImages, ScannedSource
from retroscope.web.server import make_app
from retroscope.web.site.site import Site, make_site
from tests.imaging.channel_files import numbers, write_chunky, write_npy_channels_first
from tests.test_channels import network
from tests.web.test_image_analyses import shown

CHANNELS = 5


@pytest.fixture(scope="module")
def net() -> Network:
    return network(CHANNELS, bands=(5, 1, 3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scans")
    for seed in range(4):
        write_npy_channels_first(path / f"{seed}", numbers(CHANNELS, 20, 24, seed=seed))
    return path


@pytest.fixture(scope="module")
def site(net: Network, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    to = tmp_path_factory.mktemp("atlas") / "bands.atlas"
    with rs.scan(net, folder, to=to, layers="second", top=2) as atlas:
        yield make_site(atlas)


@pytest.fixture(scope="module")
def client(site: Site, net: Network) -> TestClient:
    return TestClient(make_app(site, routes=live_routes(site, net)), base_url="http://localhost")


def analyze(client: TestClient, data: bytes, **params: str) -> list[dict[str, Any]]:
    answer = client.post("/analyze", params=params, content=data)
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize("write", [write_npy_channels_first, write_chunky])
def test_an_uploaded_file_is_looked_at_as_on_the_disk(
    client: TestClient, net: Network, tmp_path: Path, write: Any
) -> None:
    path = write(tmp_path / "mine", numbers(CHANNELS, 30, 30, seed=9))
    found = analyze(client, path.read_bytes(), analysis="overview")
    image = net.prepare(path)
    np.testing.assert_array_equal(shown(found[0]["image"]), image.rgb)
    assert found[0]["notes"] == list(image.caveats)
    (unit,) = analyze(client, path.read_bytes(), analysis="unit", unit="second:2")
    assert unit["activation"] == pytest.approx(rs.deconv(net, "second:2", path).activation)
    (heat,) = analyze(client, path.read_bytes(), analysis="cam")
    assert heat["title"]


def test_an_image_of_the_atlas_is_read_from_its_file(
    client: TestClient, net: Network, folder: Path, site: Site
) -> None:
    images = ScannedImages(ScannedSource(site.atlas, net))
    for image in site.atlas.images:
        expected = net.prepare(folder / image.key)
        np.testing.assert_array_equal(images.read(image.id).tensor, expected.tensor)
        found = analyze(client, b"", analysis="overview", image=str(image.id))
        np.testing.assert_array_equal(shown(found[0]["image"]), expected.rgb)


def test_an_image_of_the_atlas_whose_file_is_gone_is_refused(net: Network, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    write_npy_channels_first(folder / "0", numbers(CHANNELS, 20, 24))
    with rs.scan(net, folder, to=tmp_path / "a.atlas", layers="second", top=1) as atlas:
        folder.rename(tmp_path / "moved")
        with pytest.raises(rs.RetroscopeError, match="no longer at"):
            ScannedImages(ScannedSource(atlas, net)).read(0)
        moved = ScannedImages(ScannedSource(atlas, net, tmp_path / "moved"))
        assert moved.read(0).tensor.shape[0] == CHANNELS


def test_uploads_of_other_channels_are_refused_in_one_line(
    client: TestClient, tmp_path: Path
) -> None:
    path = write_chunky(tmp_path / "a", numbers(4))
    answer = client.post("/analyze", params={"analysis": "overview"}, content=path.read_bytes())
    assert answer.status_code == 400
    assert "has 4 channels, and the network takes 5" in answer.json()["error"]
