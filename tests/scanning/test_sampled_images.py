"""The sample of a scan: which images it holds, their maxima, and what an atlas shows of them."""

from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.scanning.job import scan
from retroscope.scanning.statistics import image_sample
from tests.scanning.scans import OF_TINY, Maps, maps_of, tiny, write_images

COUNT, SAMPLE = 20, 8
QUANTILES = (0.99, 0.95, 0.9, 0.75, 0.5)


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_sample, "SAMPLE_IMAGES", SAMPLE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), COUNT)


def lowest_hashes(keys: list[str]) -> list[tuple[int, int]]:
    """Hash and number of the images of the sample, in order."""
    digests = [blake2b(key.encode(), digest_size=8).digest() for key in keys]
    hashes = [int.from_bytes(digest, "big", signed=True) for digest in digests]
    return sorted(zip(hashes, range(len(keys)), strict=True))[:SAMPLE]


def test_the_sample_is_of_the_readable_images_with_the_lowest_hashes(
    folder: Path, tmp_path: Path
) -> None:
    keys = sorted(path.name for path in folder.iterdir())
    broken = lowest_hashes(keys)[0][1]
    for key in keys:
        content = b"broken" if key == keys[broken] else (folder / key).read_bytes()
        (tmp_path / key).write_bytes(content)
    with scan(tiny(), tmp_path, to=tmp_path / "a.atlas", glob="*.png", projections=False) as atlas:
        found = atlas.sql("SELECT hash, image FROM sample_images ORDER BY hash, image")
        stored = {image for (image,) in atlas.sql("SELECT image FROM winner_pictures")}
    readable = [*keys[:broken], *keys[broken + 1 :]]
    expected = [(hash_, keys.index(readable[number])) for hash_, number in lowest_hashes(readable)]
    assert [tuple(row) for row in found] == expected
    assert stored >= {image for _, image in expected}, "also those that are no hits"


def test_each_channel_has_its_maxima_and_its_hits(folder: Path, tmp_path: Path) -> None:
    net, files = tiny(), sorted(folder.iterdir())
    sampled = [number for _, number in lowest_hashes([file.name for file in files])]
    maps_by_layer = maps_of(net, OF_TINY, files)
    with scan(net, folder, to=tmp_path / "a.atlas", layers=OF_TINY, projections=False) as atlas:
        for name, maps in maps_by_layer.items():
            for channel in range(maps.shape[1]):
                check_sample(atlas, f"{name}:{channel}", maps[sampled, channel], sampled)


def check_sample(atlas: Atlas, unit: str, maps: Maps, sampled: list[int]) -> None:
    """`maps` are those of the sampled images."""
    layer, channel = unit.split(":", maxsplit=1)[0], int(unit.split(":")[1])
    number = atlas.sql("SELECT id FROM layers WHERE name = ?", atlas.layer(layer).name)[0][0]
    ((scores, positions),) = atlas.sql(
        "SELECT scores, positions FROM samples WHERE layer = ? AND channel = ?", number, channel
    )
    assert isinstance(scores, bytes)
    assert isinstance(positions, bytes)
    finite = np.where(np.isfinite(maps), maps, -np.inf).reshape(len(maps), -1)
    maxima, places = finite.max(1), finite.argmax(1)
    known = maxima > -np.inf
    np.testing.assert_array_equal(
        np.frombuffer(scores, "<f4"), np.where(known, maxima, np.nan).astype(np.float32)
    )
    np.testing.assert_array_equal(np.frombuffer(positions, "<i4"), np.where(known, places, -1))
    order = sorted(np.flatnonzero(known), key=lambda place: np.float32(maxima[place]))
    chosen = [order[round(share * (len(order) - 1))] for share in QUANTILES] if order else []
    if order:
        finite_places = np.flatnonzero(known)
        chosen.append(finite_places[channel * 2654435761 % 2**32 % len(finite_places)])
    hits = atlas.sql(
        "SELECT image, y, x FROM hits WHERE layer = ? AND channel = ? AND ranked_by = 'sample' "
        "ORDER BY rank",
        number,
        channel,
    )
    width = maps.shape[2]
    assert [tuple(hit) for hit in hits] == [
        (sampled[place], *divmod(int(places[place]), width)) for place in chosen
    ]


def test_no_more_is_projected_than_before(folder: Path, tmp_path: Path) -> None:
    """The hits by maximum and by mean have projections, and what happens to be among them."""
    scan(tiny(), folder, to=tmp_path / "a.atlas", layers="last_act", top=1).close()
    columns = "SELECT layer, channel, image, y, x FROM"
    with open_atlas(tmp_path / "a.atlas") as atlas:
        ranked = set(atlas.sql(f"{columns} hits WHERE ranked_by IN ('max', 'mean')"))
        assert set(atlas.sql(f"{columns} projections")) == ranked
