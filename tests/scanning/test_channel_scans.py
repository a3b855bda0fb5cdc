"""Scans of images with many channels: what a loop over the files finds, shown in three bands."""

import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

import retroscope as rs
from retroscope.atlas.image_blobs import decode_projection
from retroscope.atlas.reader import Atlas
from retroscope.atlas.row_encoding import projection_row
from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.network import Network
from retroscope.results.projections import Projection
from retroscope.scanning.sources import list_images
from retroscope.unit import Unit
from tests.imaging.channel_files import Numbers, numbers, write_chunky, write_npy_channels_first
from tests.scanning.same_atlas import assert_same_atlas
from tests.test_channels import SIDE, network

IMAGES, CHANNELS, BANDS = 9, 5, (5, 1, 3)
WRITERS = {"npy": write_npy_channels_first, "tif": write_chunky}


@pytest.fixture(scope="module")
def net() -> Network:
    return network(CHANNELS, bands=BANDS)


@pytest.fixture(scope="module", params=WRITERS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(request.param)
    for seed in range(IMAGES):
        WRITERS[request.param](path / f"{seed}", numbers(CHANNELS, 20, 24, seed=seed))
    return path


@pytest.fixture(scope="module")
def atlas(net: Network, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    to = tmp_path_factory.mktemp("atlas") / "bands.atlas"
    return rs.scan(net, folder, to=to, layers="second", top=3, projections="all", batch_size=4)


def test_the_best_images_are_those_of_a_loop(net: Network, folder: Path, atlas: Atlas) -> None:
    paths = sorted(folder.iterdir())
    maps = np.stack([rs.activations(net, "second", path).maps for path in paths])
    best = np.argsort(-maps.max((2, 3)), axis=0, kind="stable")[:3]
    for channel in range(maps.shape[1]):
        keys = [patch.source for patch in atlas.plate(f"second:{channel}").patches]
        assert keys == [paths[image].name for image in best[:, channel]]


def test_the_atlas_stores_the_bands_that_are_shown_and_names_them(
    net: Network, folder: Path, atlas: Atlas
) -> None:
    preprocessing = atlas.meta["preprocessing"]
    assert isinstance(preprocessing, dict)
    assert preprocessing["bands"] == list(BANDS)
    assert "65535 of uint16" in str(preprocessing["value_range"])
    hit = atlas.hits("second:0", 1)[0]
    shown = net.prepare(folder / hit.key).rgb
    np.testing.assert_array_equal(atlas.image_pixels(hit.image), shown)  # small ones are lossless


def test_projections_of_a_plate_have_all_channels_and_show_the_bands(
    net: Network, folder: Path, atlas: Atlas
) -> None:
    patch = atlas.plate("second:0").patches[0]
    assert patch.projection is not None
    assert patch.projection.bands == BANDS
    exact = rs.deconv(net, patch.projection.unit, folder / patch.source).pixels
    peak = np.abs(exact).max()
    np.testing.assert_allclose(patch.projection.pixels, exact, atol=peak / 100)
    assert not patch.projection.notes
    assert atlas.plate("second:0").patches[0].projection is not None


def test_a_scan_goes_on_with_the_same_bands_alone(
    net: Network, folder: Path, tmp_path: Path
) -> None:
    to = tmp_path / "a.atlas"
    rs.scan(net, folder, to=to, layers="second", top=2, projections="none").close()
    with pytest.raises(RetroscopeError, match="the preprocessing changed"):
        rs.scan(network(CHANNELS), folder, to=to, layers="second", top=2)
    rs.illustrate(to, net, projections=1)
    with closing(rs.open_atlas(to)) as illustrated:
        assert illustrated.plate("second:1").patches[0].projection is not None


def test_images_that_cannot_be_read_are_counted_with_the_reason(
    net: Network, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        write_npy_channels_first(folder / f"{seed}", numbers(CHANNELS, 20, 24, seed=seed))
    np.save(folder / "other.npy", numbers(4, 20, 24))
    broken = numbers(CHANNELS, 20, 24, dtype="float32")
    broken[0, 0, 0] = np.nan
    np.save(folder / "nan.npy", broken)
    with closing(rs.scan(net, folder, to=tmp_path / "a.atlas", layers="second", top=2)) as atlas:
        reasons = {image.key: image.error for image in atlas.images if image.error}
    assert set(reasons) == {"nan.npy", "other.npy"}
    assert "NaN" in reasons["nan.npy"]
    assert "takes 5 channels" in reasons["other.npy"]


def test_lots_are_swept_with_the_bands_and_the_range_of_the_plan(
    folder: Path, tmp_path: Path
) -> None:
    net = network(CHANNELS, bands=BANDS, mean=[9000] * 5, std=[7000] * 5, value_range=(0, 30_000))
    net.module.float()
    options: dict[str, Any] = {"layers": "second", "top": 3, "batch_size": 4}
    rs.scan(net, folder, to=tmp_path / "a.atlas", projections="none", **options).close()
    rs.make_plan(net, folder, to=tmp_path / "p.plan", threads=1, **options)
    assert not rs.sweep(tmp_path / "p.plan").missing
    rs.merge(tmp_path / "p.plan", to=tmp_path / "b.atlas").close()
    assert_same_atlas(tmp_path / "a.atlas", tmp_path / "b.atlas")


def test_a_projection_of_too_many_channels_is_stored_in_its_bands() -> None:
    y = np.arange(120)[:, None, None]
    pixels = np.sin(y / 20 + np.arange(160)).repeat(120, axis=1).astype(np.float32)
    box = Box(0, 0, 120, 120)
    projection = Projection(
        Unit("a", 1, (0, 0)), 1.0, box, pixels, "deconvnet", (120, 120), bands=(160, 2, 7)
    )
    row = projection_row(1, 2, projection)
    assert (row.height, row.width, row.depth) == (120, 120, 3)
    assert row.note == "only the bands that are shown are stored"
    stored = decode_projection(row.blob, row.peak, size=(120, 120), depth=3)
    shown = pixels[..., [159, 1, 6]]
    for band in range(3):
        assert np.corrcoef(stored[..., band].ravel(), shown[..., band].ravel())[0, 1] > 0.99


# Which files are images


def test_arrays_are_images_where_a_folder_has_no_others(tmp_path: Path) -> None:
    (tmp_path / "b.npy").touch()
    (tmp_path / "a.npy").touch()
    assert list_images(tmp_path).keys == ["a.npy", "b.npy"]
    (tmp_path / "c.png").touch()
    found = list_images(tmp_path)
    assert found.keys == ["c.png"]
    assert [note.text for note in found.notes if "array" in note.text] == [
        "left out 2 arrays, such as 'a.npy'"
    ]
    assert list_images(tmp_path, glob="*.npy").keys == ["a.npy", "b.npy"]


def test_an_image_of_another_size_is_resized_in_floating_point(net: Network) -> None:
    values = numbers(CHANNELS, 2 * SIDE, 2 * SIDE, dtype="float32")
    found = net.prepare(values).tensor
    rounded = net.prepare(np.rint(values * 20).astype(np.float32) / 20).tensor
    assert not torch.equal(found, rounded)


class Arrays(Dataset[tuple[Numbers, int]]):
    """What a data set of torch may return of images with many channels."""

    def __getitem__(self, index: int) -> tuple[Numbers, int]:
        return np.moveaxis(numbers(CHANNELS, 20, 24, seed=index), 2, 0), 0

    def __len__(self) -> int:
        return IMAGES


def test_a_tar_and_a_data_set_are_scanned_as_a_folder(net: Network, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for seed in range(IMAGES):
        write_npy_channels_first(folder / f"{seed}", numbers(CHANNELS, 20, 24, seed=seed))
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    options: dict[str, Any] = {"layers": "second", "top": 2, "projections": 1}
    plates = []
    sources: list[tuple[Any, str | None]] = [
        *((folder, None), (tmp_path / "all.tar", "*.npy"), (Arrays(), None))
    ]
    for number, (source, glob) in enumerate(sources):
        saved = rs.scan(net, source, to=tmp_path / f"{number}.atlas", glob=glob, **options)
        with closing(saved) as atlas:
            plates.append(atlas.plate("second:1").patches)
    for patches in plates[1:]:
        for first, second in zip(plates[0], patches, strict=True):
            assert first.score == second.score
            np.testing.assert_array_equal(first.pixels, second.pixels)
    assert plates[1][0].projection is not None
