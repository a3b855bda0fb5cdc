"""Names of units from a CSV file, and what is wrong with one."""

from math import isnan
from pathlib import Path

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.errors import RetroscopeError
from retroscope.scanning.scoring.unit_names import name_units
from tests.atlas import small_atlas


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small_atlas.write(tmp_path / "a.atlas")
    return tmp_path / "a.atlas"


def names_after(path: Path, table: str) -> dict[str, tuple[str, float]]:
    """The names from a file, after these were added."""
    (path.parent / "names.csv").write_text(table, "utf-8")
    name_units(path, path.parent / "names.csv")
    with open_atlas(path) as atlas:
        return {
            str(name.unit): (name.name, name.score)
            for layer in atlas.layers
            for name in atlas.names(layer.name)
            if name.source == "file"
        }


def test_names_are_stored_under_the_layer_of_the_atlas(path: Path) -> None:
    names = names_after(path, "unit,name\nconv1:2,  runde  Ecken \nhead:1,größer\n")
    assert names["features.0:2"][0] == "runde Ecken"
    assert names["head:1"][0] == "größer"
    assert names["features.0:0"][0] == "räder"
    assert isnan(names["head:1"][1])


def test_a_name_replaces_the_earlier_one_and_leaves_that_by_dissection(path: Path) -> None:
    names = names_after(path, "unit,name,score\nconv1:0,neu,0.5\n")
    assert names == {"features.0:0": ("neu", 0.5)}
    with open_atlas(path) as atlas:
        assert [name.name for name in atlas.names("conv1:0")] == ["neu", "Rad"]


def test_the_table_of_clip_dissect_is_understood(path: Path) -> None:
    table = "layer,unit,description,similarity\nconv1,1,polka dots,0.31\nhead,0,sea,\n"
    names = names_after(path, table)
    assert names["features.0:1"] == ("polka dots", 0.31)
    assert names["head:0"][0] == "sea"


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("unit,title\nconv1:0,a\n", "has no column 'name'"),
        ("unit,name\n", "has no rows"),
        ("", "has no column 'name'"),
        ("unit,name\nconv1:0,\n", "no name of 1 to 200 letters in line 2"),
        ("unit,name\n,a\n", "has no unit in line 2"),
        ("unit,name\nconv1:0,a\nconv1:9,b\n", r"line 3: .*conv1:9|line 3: no channel 9"),
        ("unit,name\nconv2:0,a\n", r"line 2: no layer 'conv2'.*did you mean 'conv1'"),
        ("unit,name\nconv1,a\n", "line 2: .*is a whole layer"),
        ("unit,name,score\nconv1:0,a,much\n", "score 'much' in line 2"),
        ("unit,name,score\nconv1:0,a,inf\n", "score 'inf' in line 2"),
    ],
)
def test_a_table_that_is_wrong_is_refused_as_a_whole(path: Path, table: str, reason: str) -> None:
    before = names_after(path, "unit,name\nhead:0,old\n")
    with pytest.raises(RetroscopeError, match=reason):
        names_after(path, table)
    after = names_after(path, "unit,name\nhead:0,old\n")
    assert str(after) == str(before)


def test_a_file_that_cannot_be_read_is_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RetroscopeError, match=r"cannot read the names .*no\.csv' \(No such file"):
        name_units(path, tmp_path / "no.csv")
    (tmp_path / "latin.csv").write_bytes(b"unit,name\nconv1:0,gr\xf6\xdfer\n")
    with pytest.raises(RetroscopeError, match=r"cannot read the names .*utf-8"):
        name_units(path, tmp_path / "latin.csv")


def test_an_atlas_that_does_not_exist_is_not_created(tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("unit,name\nconv1:0,a\n")
    with pytest.raises(RetroscopeError, match="no atlas"):
        name_units(tmp_path / "b.atlas", tmp_path / "names.csv")
    assert not (tmp_path / "b.atlas").exists()
