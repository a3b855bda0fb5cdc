"""show with other rankings than by maximum: the lowest, a sample, the best images of a class."""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

import retroscope as rs
from retroscope.atlas.writer import AtlasWriter
from tests.cli.atlas.making import TINY, count
from tests.cli.terminal import Retroscope, check_is_drawing

Array = npt.NDArray[Any]
RANDOM, QUANTILES = 3, (0.99, 0.95, 0.9, 0.75, 0.5)


@pytest.fixture(scope="session")
def maps(made: Path) -> Array:
    """The maps of the first convolution in every readable image: (images, channels, y, x)."""
    net = rs.open_model(f"{made / 'nets.py'}:tiny", device="cpu")
    with rs.open_atlas(made / "bare.atlas") as atlas:
        keys = [image.key for image in atlas.images if image.status == "ok"]
    return np.stack([rs.activations(net, "conv1", made / "images" / key).maps for key in keys])


@pytest.fixture(scope="session")
def ranked_atlas(made: Path, maps: Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The atlas without projections, with all rankings of the first convolution."""
    path = tmp_path_factory.mktemp("ranked") / "ranked.atlas"
    shutil.copyfile(made / "bare.atlas", path)
    with rs.open_atlas(path) as atlas:
        numbers = np.array([image.id for image in atlas.images if image.status == "ok"])
        is_a = np.array([atlas.images[int(number)].label == "a" for number in numbers])
        labels = {label.name: label.id for label in atlas.labels}
    flat = maps.reshape(*maps.shape[:2], -1)
    with AtlasWriter(path) as writer, writer.transaction():
        lowest = flat.argmin(axis=2).T
        put(writer.put_hits, "min", numbers, places=lowest, scores=flat.min(axis=2).T, sign=1)
        highest, maxima = flat.argmax(axis=2).T, flat.max(axis=2).T
        for name, chosen in (("a", is_a), ("b", ~is_a)):
            put(
                writer.put_class_hits,
                labels[name],
                numbers[chosen],
                places=highest[:, chosen],
                scores=maxima[:, chosen],
                sign=-1,
                count=3,
            )
        writer.put_sample_images(numbers.tolist(), list(range(len(numbers))))
        writer.put_sample("0", maxima, highest)
        order = maxima.argsort(axis=1, kind="stable")
        columns = [round(quantile * (len(numbers) - 1)) for quantile in QUANTILES]
        chosen = np.column_stack([order[:, columns], np.full(len(order), RANDOM)])
        rows = np.arange(len(order))[:, None]
        writer.put_hits(
            "0",
            "sample",
            maxima[rows, chosen],
            images=numbers[chosen],
            ys=highest[rows, chosen] // 40,
            xs=highest[rows, chosen] % 40,
        )
    return path


def put(
    writing: Any,
    key: str | int,
    numbers: Array,
    *,
    places: Array,
    scores: Array,
    sign: int,
    count: int = 9,
) -> None:
    """The first hits by score, ties by number; places are y * 40 + x."""
    order = (sign * scores).argsort(axis=1, kind="stable")[:, :count]
    rows = np.arange(len(order))[:, None]
    writing(
        "0",
        key,
        scores[rows, order],
        images=numbers[order],
        ys=places[rows, order] // 40,
        xs=places[rows, order] % 40,
    )


@pytest.fixture
def atlas_path(desk: Path, ranked_atlas: Path) -> str:
    shutil.copyfile(ranked_atlas, desk / "ranked.atlas")
    return "ranked.atlas"


def show_json(retroscope: Retroscope, *words: str) -> Any:
    said = retroscope("show", *words, "--json")
    assert said.status == 0, said.err
    return json.loads(said.out)


def test_the_lowest_hits_are_the_lowest_minima(
    retroscope: Retroscope, atlas_path: str, maps: Array
) -> None:
    facts = show_json(retroscope, atlas_path, "conv1:3", "--ranked-by", "min")
    expected = np.sort(maps[:, 3].min(axis=(1, 2)))[:9]
    assert (facts["ranked_by"], facts["label"]) == ("min", None)
    assert [hit["score"] for hit in facts["hits"]] == expected.tolist()
    layer = show_json(retroscope, atlas_path, "conv1", "--ranked-by", "min")
    assert [hit["score"] for hit in layer] == np.sort(maps.min(axis=(2, 3)), axis=None)[:9].tolist()
    assert {hit["ranked_by"] for hit in layer} == {"min"}


def test_the_hits_of_a_class_are_in_its_images(
    retroscope: Retroscope, atlas_path: str, maps: Array
) -> None:
    facts = show_json(retroscope, atlas_path, "conv1:3", "--class", "b")
    assert (facts["ranked_by"], facts["label"]) == ("max", "b")
    assert {hit["class"] for hit in facts["hits"]} == {"b"}
    with rs.open_atlas(atlas_path) as atlas:
        readable = [image.label for image in atlas.images if image.status == "ok"]
    of_class = maps[np.array(readable) == "b"].max(axis=(2, 3))
    expected = np.sort(of_class[:, 3])[::-1][:3]
    assert [hit["score"] for hit in facts["hits"]] == expected.tolist()
    layer = show_json(retroscope, atlas_path, "conv1", "--class", "b")
    best = np.sort(np.sort(of_class, axis=0)[::-1][:3], axis=None)[::-1][:9]
    assert [hit["score"] for hit in layer] == best.tolist()
    assert {(hit["label"], hit["class"]) for hit in layer} == {("b", "b")}


def test_a_sample_says_the_quantile_of_each_hit(retroscope: Retroscope, atlas_path: str) -> None:
    facts = show_json(retroscope, atlas_path, "conv1:3", "--ranked-by", "sample")
    assert [hit["quantile"] for hit in facts["hits"]] == [*QUANTILES, None]
    assert facts["ranked_by"] == "sample"
    [sheet] = show_json(retroscope, atlas_path, "conv1", "--channels", "3", "--ranked-by", "sample")
    assert sheet["hits"] == facts["hits"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["conv1:3", "--ranked-by", "min"], "ranked.conv1_3.min.png"),
        (["conv1", "--ranked-by", "min"], "ranked.conv1.min.png"),
        (["conv1:3", "--ranked-by", "sample"], "ranked.conv1_3.sample.png"),
        (["conv1:3", "--ranked-by", "sample", "--context"], "ranked.conv1_3.context.sample.png"),
        (["conv1:3", "--class", "b"], "ranked.conv1_3.class-b.png"),
        (["conv1", "--class", "b"], "ranked.conv1.class-b.png"),
        (["conv1", "--class", "b", "--context"], "ranked.conv1.context.class-b.png"),
        (["conv1", "--channels", "0-2", "--class", "b"], "ranked.conv1.channels0-2.class-b.png"),
    ],
)
def test_a_drawing_is_named_after_its_ranking(
    retroscope: Retroscope, atlas_path: str, words: list[str], name: str
) -> None:
    said = retroscope("show", atlas_path, *words)
    assert (said.status, said.out) == (0, f"{name}\n")
    with PIL.Image.open(name) as shown:
        assert np.asarray(shown).std() > 0


def test_a_plate_and_a_layer_of_a_class_are_what_the_library_draws(
    retroscope: Retroscope, atlas_path: str
) -> None:
    assert retroscope("show", atlas_path, "conv1:3", "--class", "b", "-o", "unit.png").status == 0
    assert retroscope("show", atlas_path, "conv1", "--class", "b", "-o", "top.png").status == 0
    with rs.open_atlas(atlas_path) as atlas:
        check_is_drawing("unit.png", atlas.plate("conv1:3", label="b"))
        top, model = atlas.top("conv1", label="b"), atlas.meta["model"]
    check_is_drawing(
        "top.png",
        [patch for _, patch in top],
        names=[str(unit) for unit, _ in top],
        title=f"What excites conv1 (0) most in {model}",
        line_below="9 strongest hits of 8 channels in 6 images of class b · ranked by max",
    )


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("b", "conv1_b"),
        ("tabby cat", "conv1_tabby-cat"),
        ("../b/c", "conv1_.._b_c"),
        ("b:c?", "conv1_b_c_"),
        ("3", "conv1_class-3"),
        ("mean", "conv1_class-mean"),
        ("ß\n", "conv1_ß_"),
    ],
)
def test_mosaics_of_a_class_are_named_after_it(
    retroscope: Retroscope, atlas_path: str, name: str, stem: str
) -> None:
    with closing(sqlite3.connect(atlas_path)) as file, file:
        file.execute("UPDATE labels SET name = ? WHERE name = 'b'", (name,))
    said = retroscope("show", atlas_path, "conv1", "--class", name, "--mosaics", "mosaics")
    assert (said.status, said.out) == (0, f"mosaics/{stem}_im.png\n")
    said = retroscope("show", atlas_path, "conv1:3", "--class", name, "--mosaics", "mosaics")
    unit = stem.replace("conv1_", "conv1_3_")
    assert (said.status, said.out) == (0, f"mosaics/{unit}_im.png\n")
    assert [path.suffix for path in Path("mosaics").iterdir()] == [".png"] * 2


def test_mosaics_of_rankings_have_names_of_their_own(
    retroscope: Retroscope, atlas_path: str
) -> None:
    for ranking in ("max", "mean", "min", "sample"):
        words = ["conv1:3", "--ranked-by", ranking, "--mosaics", "mosaics"]
        assert retroscope("show", atlas_path, *words).status == 0
    assert {path.name for path in Path("mosaics").iterdir()} == {
        *("conv1_3_im.png", "conv1_3_mean_im.png"),
        *("conv1_3_min_im.png", "conv1_3_sample_im.png"),
    }


@pytest.mark.parametrize(
    ("atlas", "words", "line"),
    [
        ("ranked.atlas", ["conv1:3", "--class", "B1"], "no class 'B1'; did you mean 'b'?"),
        ("ranked.atlas", ["conv1:3", "--class", "zebra"], "no class 'zebra'; choose from a, b"),
        (
            "older.atlas",
            ["conv1:3", "--class", "zebra"],
            "'older.atlas' does not have the best images of each class; 'retroscope scan "
            "--per-class N' finds them",
        ),
        (
            "older.atlas",
            ["conv1:3", "--ranked-by", "min"],
            "'older.atlas' has hits by max and mean, but not by min, which scans of an older "
            "retroscope lack; scan the images again",
        ),
        (
            "ranked.atlas",
            ["conv1", "--ranked-by", "sample"],
            "a sample shows the range of one channel; name one of 0, 0:0 to 0:7",
        ),
        (
            "ranked.atlas",
            ["conv1:3", "--class", "b", "--ranked-by", "min"],
            "--ranked-by has no effect with --class, which ranks by maximum",
        ),
    ],
)
def test_what_the_atlas_lacks_is_refused_in_one_line(
    retroscope: Retroscope, atlas_path: str, *, atlas: str, words: list[str], line: str
) -> None:
    shutil.copyfile(atlas_path, "older.atlas")
    with closing(sqlite3.connect("older.atlas")) as file, file:
        file.execute("DELETE FROM meta WHERE key IN ('rankings', 'class_rankings')")
    said = retroscope("show", atlas, *words, "--model", TINY)
    assert (said.status, said.out, said.err) == (2, "", f"retroscope: {line}\n")


def test_a_class_that_the_scan_did_not_rank_is_refused(
    retroscope: Retroscope, atlas_path: str
) -> None:
    with AtlasWriter(atlas_path) as writer, writer.transaction():
        writer.put_meta({"class_rankings": {"per_class": 3, "labels": [0]}})
    said = retroscope("show", atlas_path, "conv1:3", "--class", "b")
    assert (said.status, said.err) == (
        2,
        "retroscope: 'ranked.atlas' does not have the best images of class 'b', which its scan did "
        "not rank; it has those of a (--class)\n",
    )


@pytest.mark.parametrize(
    "words",
    [
        ["conv1:3", "--ranked-by", "min"],
        ["conv1:3", "--ranked-by", "sample"],
        ["conv1:3", "--class", "b"],
        ["conv1", "--class", "b"],
        ["conv1", "--ranked-by", "min"],
        ["conv1", "--channels", "2-3", "--class", "a"],
    ],
)
def test_projections_of_every_ranking_are_made_on_demand(
    retroscope: Retroscope, atlas_path: str, words: list[str]
) -> None:
    show = ["show", atlas_path, *words, "-o", "unit.png"]
    missing = retroscope(*show).err
    hits = int(missing.split()[0])
    assert missing.endswith("--model MODEL makes them and adds them to the atlas\n")
    said = retroscope(*show, "--model", TINY, "--images", "images")
    assert (said.status, f"{hits} projections added to ranked.atlas" in said.err) == (0, True)
    assert count("projections", atlas_path) == hits
    assert retroscope(*show).err == ""
    with rs.open_atlas(atlas_path) as atlas:
        rows = atlas.sql("SELECT channel, image, y, x, activation FROM projections")
        scores = {
            tuple(place): score
            for table in ("hits WHERE ranked_by <> 'mean'", "class_hits")
            for *place, score in atlas.sql(f"SELECT channel, image, y, x, score FROM {table}")  # noqa: S608
        }
    for *place, activation in rows:
        assert activation == pytest.approx(scores[tuple(place)], abs=1e-5)


def test_the_commands_and_the_python_of_the_page_run(
    retroscope: Retroscope, atlas_path: str
) -> None:
    page = (Path(__file__).parents[3] / "docs/rankings.md").read_text("utf-8")
    for name, ours in {
        "photos.atlas": atlas_path,
        "conv7": "conv1",
        ":42": ":3",
        "dog": "b",
        "--class cat": "--class a",
        "vgg16": TINY,
    }.items():
        page = page.replace(name, ours)
    commands = re.findall(r"^\$ retroscope (.*?)(?: {2,}#.*)?$", page, re.MULTILINE)
    assert len(commands) == 9
    for command in commands:
        assert retroscope(*command.split()).status == 0, command
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(compile(block, "rankings.md", "exec"), names)  # noqa: S102
    assert names["quantiles"] == [*QUANTILES, None]
    assert len(names["share"]) == 8


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        (["--ranked-by", "min"], "FROM hits WHERE ranked_by = 'min'"),
        (["--ranked-by", "sample"], "FROM hits WHERE ranked_by = 'sample'"),
        (["--class", "b"], "FROM class_hits WHERE label = 1"),
    ],
)
def test_a_ranking_is_illustrated_if_asked_for(
    retroscope: Retroscope, atlas_path: str, options: list[str], condition: str
) -> None:
    words = ["illustrate", atlas_path, TINY, "images", "--layers", "conv1", *options]
    assert retroscope(*words).status == 0
    with rs.open_atlas(atlas_path) as atlas:
        places = set(atlas.sql(f"SELECT channel, image, y, x {condition} AND layer = 0"))
        assert set(atlas.sql("SELECT channel, image, y, x FROM projections")) == places
        assert atlas.meta["state"] == "scanned", "the default rankings are not projected yet"
    assert "already has all of these projections" in retroscope(*words).err


def test_illustrate_takes_several_rankings_and_classes(
    retroscope: Retroscope, atlas_path: str
) -> None:
    words = ["illustrate", atlas_path, TINY, "--layers", "conv1"]
    said = retroscope(*words, "--ranked-by", "min", "--ranked-by", "sample")
    assert said.status == 0, said.err
    with rs.open_atlas(atlas_path) as atlas:
        for ranking, is_projected in (("min", True), ("sample", True), ("max", False)):
            patches = atlas.plate("conv1:3", ranked_by=ranking).patches
            assert all(patch.projection is not None for patch in patches) == is_projected
    assert retroscope(*words, "--class", "a", "--class", "b").status == 0
    with rs.open_atlas(atlas_path) as atlas:
        for label in ("a", "b"):
            patches = atlas.plate("conv1:3", label=label).patches
            assert all(patch.projection is not None for patch in patches)
    both = retroscope(*words, "--class", "a", "--ranked-by", "min")
    assert (both.status, "--ranked-by has no effect with --class" in both.err) == (2, True)
