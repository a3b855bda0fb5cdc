"""`Atlas.hits` agrees with the plate of a channel and the top of a layer."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import UnitError
from retroscope.unit import Unit
from tests.atlas import small_atlas


@pytest.fixture
def atlas(tmp_path: Path) -> Iterator[Atlas]:
    small_atlas.write(tmp_path / "a.atlas")
    with open_atlas(tmp_path / "a.atlas") as opened:
        yield opened


@pytest.mark.parametrize("ranked_by", ["max", "mean"])
def test_hits_of_a_channel_are_those_of_its_plate(atlas: Atlas, ranked_by: str) -> None:
    for unit in atlas:
        plate = atlas.plate(unit, ranked_by=ranked_by)
        hits = atlas.hits(unit, ranked_by=ranked_by)
        assert [(hit.score, hit.key) for hit in hits] == [
            (patch.score, patch.source) for patch in plate.patches
        ]
        for hit, patch in zip(hits, plate.patches, strict=True):
            assert hit.unit == Unit(unit.layer, unit.channel, patch.position)
            image = atlas.images[hit.image]
            assert (image.key, image.label) == (hit.key, hit.label)


@pytest.mark.parametrize("ranked_by", ["max", "mean"])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_hits_of_a_layer_are_its_strongest(atlas: Atlas, ranked_by: str, count: int) -> None:
    for layer in atlas.layers:
        hits = atlas.hits(layer.name, count, ranked_by=ranked_by)
        top = atlas.top(layer.name, count, ranked_by=ranked_by)
        assert [(hit.unit, hit.score) for hit in hits] == [
            (unit, patch.score) for unit, patch in top
        ]


def test_aliases_are_accepted_and_unknown_addresses_refused(atlas: Atlas) -> None:
    assert atlas.hits("conv1:1") == atlas.hits("features.0:1")
    assert [hit.label for hit in atlas.hits("conv1:0")] == ["katze", "katze", "hund"]
    for unit, message in {
        "conv1:3": "0 to 2",
        "conv9": "did you mean",
        "conv1:1@2,2": "write",
    }.items():
        with pytest.raises(UnitError, match=message):
            atlas.hits(unit)
    with pytest.raises(UnitError, match="no ranking 'median'"):
        atlas.hits("conv1", ranked_by="median")
