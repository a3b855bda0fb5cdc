"""What is said before a scan: counted exactly, and timed on pieces of it that are added up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retroscope.network import Network
from retroscope.results.layers import Layer
from retroscope.results.projections import Pixels
from retroscope.scanning import estimate as estimate_module
from retroscope.scanning.estimate import ScanEstimate, estimate_scan
from retroscope.scanning.illustrate import Ranks
from retroscope.scanning.job import scan
from retroscope.scanning.sources import ImageList, list_images
from retroscope.unit import Unit
from tests.conftest import no_trace
from tests.scanning.scans import OF_TINY, tiny, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 12)


def layers_of(net: Network) -> list[Layer]:
    return [layer for layer in net.layers if layer.name in OF_TINY]


def estimate_tiny(net: Network, listed: ImageList, **options: Any) -> ScanEstimate:
    return estimate_scan(net, layers_of(net), listed, **options)


@pytest.fixture
def layer_costs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every layer that is tried; its projections cost as many seconds as it has channels."""
    tried: list[str] = []

    def price(_net: Network, layer: Layer, _images: object) -> object:
        tried.append(layer.name)
        return estimate_module._ProjectionCost(layer.channels, 100 * layer.channels)

    monkeypatch.setattr(estimate_module, "_layer_cost", price)
    monkeypatch.setattr(estimate_module, "_time_sweep", lambda *_, **__: 2.0)
    monkeypatch.setattr(estimate_module, "_NEGLIGIBLE", 0.0)
    return tried


@pytest.mark.parametrize(("top", "ranks"), [(9, None), (3, None), (9, 2), (3, 9), (20, None)])
def test_the_estimate_of_projections_is_an_upper_limit(
    folder: Path, tmp_path: Path, top: int, ranks: int | None
) -> None:
    said = estimate_tiny(tiny(), list_images(folder), top=top, ranks=Ranks(ranks))
    wish = "all" if ranks is None else ranks
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=OF_TINY, top=top, projections=wish)
    ((made,),) = atlas.sql("SELECT count(*) FROM projections")
    shown = min(top, 12, ranks or 99)
    assert (said.images, said.channels) == (12, len(atlas))
    assert said.projections == 2 * shown * len(atlas)
    assert 0 < int(str(made)) <= said.projections
    assert min(said.disk_bytes, said.memory_bytes) > 0


def test_projections_that_take_little_time_are_not_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_module, "deconv_many", lambda *_: pytest.fail("tried"))
    monkeypatch.setattr(estimate_module, "_time_sweep", lambda *_, **__: 0.005)
    said = estimate_tiny(tiny(), list_images(folder), ranks=Ranks(1))
    assert said.pass_seconds > 0
    assert said.projection_seconds > 0
    none = estimate_tiny(tiny(), list_images(folder), ranks=Ranks(0))
    assert none.projections == 0
    assert none.projection_seconds < said.projection_seconds


def test_the_projections_of_all_layers_are_added_up(folder: Path, layer_costs: list[str]) -> None:
    """Layers that are not tried lie between their neighbours that are."""
    net, listed = tiny(), list_images(folder)
    layers = layers_of(net)
    said = estimate_tiny(net, listed, ranks=Ranks(2))
    places = [0, 1, 2, 4, 5]
    assert layer_costs == [layers[place].name for place in places]
    channels = [layer.channels for layer in layers]
    prices = np.interp(range(len(layers)), places, [channels[place] for place in places])
    total = 4 * float(np.dot(channels, prices))
    assert said.projection_seconds == pytest.approx(total, rel=0.01)
    assert said.projection_seconds > total, "the pictures are read again"
    less = estimate_tiny(net, listed, ranks=Ranks(0))
    assert said.disk_bytes - less.disk_bytes == pytest.approx(100 * total, rel=1e-9)


@dataclass(frozen=True)
class Blank:
    """A projection without signal."""

    pixels: Pixels


class Clock:
    """A clock that only projections move: the first of a layer, each image and each unit cost."""

    FIRST, IMAGE, UNIT = 1.0, 0.05, 0.01

    def __init__(self) -> None:
        self.seconds = 0.0
        self.layers: set[str] = set()

    def __call__(self) -> float:
        return self.seconds

    def project(self, _net: Network, requests: Sequence[tuple[Unit, object]]) -> Iterator[Blank]:
        layer = requests[0][0].layer
        images = len({id(image) for _, image in requests})
        self.seconds += self.IMAGE * images + (0 if layer in self.layers else self.FIRST)
        self.layers.add(layer)
        for _ in requests:
            self.seconds += self.UNIT
            yield Blank(np.zeros((4, 4, 3), np.float32))


def test_the_time_of_projections_is_that_of_many_units_that_share_their_images(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(estimate_module, "perf_counter", clock)
    monkeypatch.setattr(estimate_module, "deconv_many", clock.project)
    monkeypatch.setattr(estimate_module, "_NEGLIGIBLE", 0.0)
    said = estimate_tiny(tiny(), list_images(folder))
    hits_of_a_channel = said.projections // said.channels
    real = said.projections * clock.UNIT + hits_of_a_channel * said.images * clock.IMAGE
    assert real <= said.projection_seconds <= 1.25 * real


def test_a_forward_pass_is_counted_once_for_each_image_and_rank(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def price(_net: Network, layer: Layer, _images: object) -> object:
        forward = 1000.0 if layer.name == "head" else 0.0
        return estimate_module._ProjectionCost(1.0, 100, forward)

    monkeypatch.setattr(estimate_module, "_layer_cost", price)
    monkeypatch.setattr(estimate_module, "_NEGLIGIBLE", 0.0)
    said = estimate_tiny(tiny(), list_images(folder), ranks=Ranks(2))
    expected = said.projections + 4 * said.images * 1000
    assert said.projection_seconds == pytest.approx(expected, rel=0.01)


def test_the_pass_takes_longer_the_more_images_there_are_and_the_slower_they_are_read(
    folder: Path, layer_costs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not layer_costs
    listed = list_images(folder)
    some, _ = estimate_module._read_inputs(tiny(), listed)

    def seconds(count: int, reading: float) -> float:
        monkeypatch.setattr(estimate_module, "_read_inputs", lambda *_: (some, reading))
        many = replace(listed, keys=list(listed.keys) * count, labels=list(listed.labels) * count)
        return estimate_tiny(tiny(), many, ranks=Ranks(0), workers=1).pass_seconds

    assert seconds(10, 0.1) == pytest.approx(10 * seconds(1, 0.1))
    assert seconds(1, 0.0) >= 12 * 2.0 * (1 - 1e-9)
    assert seconds(1, 5.0) >= 12 * 5.0
    assert seconds(1, 50.0) > seconds(1, 5.0)


def test_there_are_no_more_hits_than_images(folder: Path) -> None:
    listed = list_images(folder)
    for precision in ("full", "bf16"):
        many = estimate_tiny(tiny(), listed, top=10**8, precision=precision)
        every = estimate_tiny(tiny(), listed, top=len(listed.keys), precision=precision)
        assert (many.memory_bytes, many.projections) == (every.memory_bytes, every.projections)


def test_images_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    images = write_images(tmp_path / "photos", 5)
    for number in (0, 1, 2):
        (images / f"{number:02}.png").write_bytes(b"broken")
    assert estimate_tiny(tiny(), list_images(images)).pass_seconds > 0
    for file in images.iterdir():
        file.write_bytes(b"broken")
    said = estimate_tiny(tiny(), list_images(images))
    assert (said.images, said.projections) == (5, 2 * 5 * said.channels)


def test_estimating_leaves_no_trace_on_the_network(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate_module, "_NEGLIGIBLE", 0.0)
    net = tiny()
    with no_trace(net.module):
        said = estimate_tiny(net, list_images(folder))
    assert said.projection_seconds > 0
