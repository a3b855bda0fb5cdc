"""A sweep in narrow numbers ends with the winners, places and scores of the full ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retroscope.engine.batching import NetworkInput
from retroscope.errors import ModelError, RetroscopeError
from retroscope.network import Network
from retroscope.scanning import image_pass
from retroscope.scanning.job import scan
from retroscope.scanning.one_pass import LayerSweeps, sweep_batch
from tests.conftest import no_trace
from tests.scanning.scans import OF_TINY, SIDE, network, tiny, write_images

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 40)


HITS = "SELECT layer, channel, ranked_by, rank, image, y, x, score FROM named_hits"


@pytest.mark.parametrize("top", [1, 9])
def test_hits_are_those_of_the_full_scan(folder: Path, tmp_path: Path, top: int) -> None:
    net = tiny()
    full, narrow = (
        scan(net, folder, to=tmp_path / name, layers=OF_TINY, top=top, precision=name, batch_size=8)
        for name in ("full", "bf16")
    )
    assert narrow.sql(HITS) == full.sql(HITS)
    assert (narrow.meta["precision"], full.meta["precision"]) == ("bf16", "full")
    assert narrow.meta["readable"] == full.meta["readable"] == 40
    for unit in ("first:0", "second:0"):
        wide, slim = full.stats(unit), narrow.stats(unit)
        assert slim.maximum == wide.maximum, "the highest value is that of the best hit"
        assert slim.mean == pytest.approx(wide.mean, rel=0.02)
        assert slim.images == wide.images


def test_batches_of_candidates_are_as_large_in_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16, twice as many images; the images that are scored again are in float32."""
    sizes = list[tuple[torch.dtype, int]]()

    def record(
        net: Network, sweeps: LayerSweeps, images: Sequence[NetworkInput], **rest: Any
    ) -> object:
        sizes.append((net.dtype, len(images)))
        return sweep_batch(net, sweeps, images, **rest)

    monkeypatch.setattr(image_pass, "sweep_batch", record)
    scan(tiny(), folder, to=tmp_path / "a.atlas", layers=OF_TINY, precision="bf16", batch_size=8)
    narrow = [size for dtype, size in sizes if dtype == torch.bfloat16]
    assert narrow == [16, 16, 8]
    assert {size for dtype, size in sizes if dtype == torch.float32} <= set(range(1, 9))
    assert len(sizes) > len(narrow)


def test_classes_are_counted_once_and_for_all_images(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "photos" / name, 6)
    full, narrow = (
        scan(tiny(), tmp_path / "photos", to=tmp_path / f"{name}.atlas", precision=name)
        for name in ("full", "bf16")
    )
    assert narrow.sql(HITS) == full.sql(HITS)
    for wide, slim in zip(
        full.stats("second:0").classes, narrow.stats("second:0").classes, strict=True
    ):
        assert (wide.label, wide.images) == (slim.label, slim.images)
        assert slim.mean_maximum == pytest.approx(wide.mean_maximum, rel=0.02)


def test_the_network_itself_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    net = tiny(torch.float32)
    with no_trace(net.module):
        scan(net, folder, to=tmp_path / "a", precision="bf16", projections=False)
    assert net.dtype == torch.float32


class Stubborn(nn.Module):
    """Adds numbers of its own kind, which narrow ones are widened by."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.last = nn.Conv2d(2, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.conv(x) + torch.ones(1, dtype=torch.float32))
        return out


class Choosy(nn.Module):
    """Takes another way for narrow numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x)
        return out.tanh() if out.dtype == torch.bfloat16 else out.relu()


@pytest.mark.parametrize("make", [Stubborn, Choosy])
def test_a_network_that_does_not_run_so_is_refused_in_one_line(
    make: type[nn.Module], folder: Path, tmp_path: Path
) -> None:
    net = network(make, SIDE, dtype=torch.float32)
    with pytest.raises(ModelError, match="in bf16; scan in full precision") as caught:
        scan(net, folder, to=tmp_path / "a", precision="bf16")
    assert "\n" not in str(caught.value)


def test_an_unknown_precision_is_refused_with_the_choices(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match="no precision 'half'; choose from full, bf16"):
        scan(tiny(), folder, to=tmp_path / "a", precision="half")
    assert not (tmp_path / "a").exists()
