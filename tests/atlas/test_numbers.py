"""Numbers and names of units: what is stored is what is read, and older atlases have none."""

import sqlite3
from contextlib import closing
from dataclasses import astuple, replace
from pathlib import Path

import pytest

from retroscope.atlas.excerpt import write_excerpt
from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import AtlasError
from retroscope.atlas.writer import AtlasWriter
from retroscope.results.as_json import as_json, plate_json
from retroscope.results.unit_numbers import UnitNumber
from tests.atlas import small_atlas

TABLES = ("numbers", "names")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small_atlas.write(tmp_path / "a.atlas")
    return tmp_path / "a.atlas"


def texts(numbers: tuple[UnitNumber, ...]) -> list[tuple[str, ...]]:
    """NaN is not equal to itself, but its text is."""
    return [tuple(map(str, astuple(number))) for number in numbers]


def test_numbers_come_back_by_channel_and_name(path: Path) -> None:
    with open_atlas(path) as atlas:
        assert texts(atlas.numbers("conv1")) == texts(small_atlas.NUMBERS)
        assert texts(atlas.numbers("conv1:0")) == texts(small_atlas.NUMBERS[:2])
        assert atlas.numbers("conv1:1") == atlas.numbers("head") == ()


def test_a_name_from_a_file_goes_first(path: Path) -> None:
    dissected, given = small_atlas.UNIT_NAMES
    with open_atlas(path) as atlas:
        assert [name.name for name in atlas.names("conv1:0")] == [given.name, dissected.name]
        assert list(map(str, atlas.names("conv1"))) == list(map(str, atlas["conv1:0"].names))
        assert atlas.names("features.0:1") == ()


def test_the_json_of_a_plate_has_names_and_numbers(path: Path) -> None:
    with open_atlas(path) as atlas:
        facts = plate_json(atlas["conv1:0"])
        nothing = plate_json(atlas["conv1:2"])
    assert [name["name"] for name in facts["names"]] == ["räder", "Rad"]
    assert [name["score"] for name in facts["names"]] == [None, 0.25]
    assert facts["numbers"][1] == {
        "unit": "features.0:0",
        "number": "mis",
        "value": 0.75,
        "interval": [0.5, 1.0],
        "chance": 0.5,
        "subject": "unit",
        "basis": "maps",
    }
    assert nothing["numbers"][0]["value"] is nothing["numbers"][0]["interval"] is None
    assert as_json(small_atlas.NUMBERS[0])["unit"] == "features.0:0"  # type: ignore[call-overload]


def test_a_number_replaces_one_of_the_same_name(path: Path) -> None:
    new = replace(small_atlas.NUMBERS[1], value=0.875, basis="other maps")
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_numbers([new])
        assert writer.channels_with_number("features.0", "mis", "other maps") == {0}
        assert writer.channels_with_number("features.0", "mis", "maps") == {2}
    with open_atlas(path) as atlas:
        assert atlas.numbers("conv1:0") == (small_atlas.NUMBERS[0], new)


def test_names_of_one_source_are_deleted(path: Path) -> None:
    with AtlasWriter(path) as writer, writer.transaction():
        writer.delete_names("dissection", "head")
        writer.delete_names("file")
    with open_atlas(path) as atlas:
        assert [name.source for name in atlas.names("conv1")] == ["dissection"]


def test_an_atlas_without_the_tables_has_neither_numbers_nor_names(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        for table in TABLES:
            file.execute(f"DROP TABLE {table}")
    with open_atlas(path) as atlas:
        assert atlas.numbers("conv1") == ()
        assert atlas.names("conv1") == ()
        assert atlas["conv1:0"].numbers == ()
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_numbers(small_atlas.NUMBERS)
    with open_atlas(path) as atlas:
        assert len(atlas.numbers("conv1")) == len(small_atlas.NUMBERS)


def test_an_excerpt_keeps_the_numbers_of_its_channels(path: Path, tmp_path: Path) -> None:
    with open_atlas(path) as atlas:
        layer = atlas.layer("conv1")
        for count, channels in ((1, {0}), (0, set[int]())):
            copy = tmp_path / f"{count}.atlas"
            write_excerpt(atlas, copy, layers=[layer], top_channels=count)
            with open_atlas(copy) as excerpt:
                assert {number.unit.channel for number in excerpt.numbers("conv1")} == channels
                assert {name.unit.channel for name in excerpt.names("conv1")} == channels


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE numbers SET value = 9e999",
        "UPDATE numbers SET basis = x'00'",
        "UPDATE names SET name = x'ff'",
        "UPDATE names SET score = 'much'",
    ],
)
def test_a_crafted_cell_is_refused(path: Path, change: str) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(change)
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="damaged"):
        atlas.plate("conv1:0")
