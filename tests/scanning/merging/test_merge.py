"""Joining the atlases of two halves of the images gives the atlas of the whole."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.progress import Progress
from retroscope.scanning.illustrate import illustrate
from retroscope.scanning.job import scan
from retroscope.scanning.merging.merge import merge
from tests.scanning.merging.image_halves import halves, labels_file, paths_in
from tests.scanning.scans import (
    OF_TINY,
    SIDE,
    table_rows,
    tiny,
    write_images,
)

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")

EQUAL_TABLES = (
    "layers", "graph", "labels", "images", "image_files", "hits", "winner_pictures",
    "class_hits", "sample_images", "samples",
)  # fmt: skip
EXACT = (
    "images", "positions", "maximum", "minimum", "fired_images", "fired_positions", "non_finite",
    "histogram", "dead",
)  # fmt: skip


def scan_parts(folder: Path, to: Path, net: Network | None = None, **options: Any) -> list[Path]:
    """The atlases of two halves, and that of the whole."""
    first, second = halves(folder)
    options = {
        "layers": OF_TINY,
        "labels": labels_file(folder),
        "per_class": 2,
        "projections": "all",
        **options,
    }
    for name, images in (("a", first), ("b", second), ("whole", [*first, *second])):
        scan(net or tiny(), images, to=to / name, **options).close()
    return [to / "a", to / "b"]


def columns(path: Path, names: Sequence[str]) -> list[tuple[Any, ...]]:
    with open_atlas(path) as atlas:
        return atlas.sql(f"SELECT {', '.join(names)} FROM channels ORDER BY layer, channel")  # noqa: S608


@pytest.fixture(scope="module")
def joined(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the atlases of the halves, of the whole, and of the halves joined."""
    to = tmp_path_factory.mktemp("joined")
    merge(scan_parts(folder, to), to=to / "both").close()
    return to


@pytest.mark.parametrize("table", EQUAL_TABLES)
def test_a_table_is_that_of_one_scan_row_for_row(joined: Path, table: str) -> None:
    whole = table_rows(joined / "whole")[table]
    assert whole
    assert table_rows(joined / "both")[table] == whole


def test_the_projections_are_those_of_the_parts_for_the_hits_of_the_whole(joined: Path) -> None:
    """Their bytes are copied. A scan of the whole projects in other batches, which may round."""
    both, whole, *parts = (table_rows(joined / name) for name in ("both", "whole", "a", "b"))
    first_numbers = (0, len(parts[0]["images"]))
    copied = {
        (layer, channel, int(str(image)) + first, *rest)
        for part, first in zip(parts, first_numbers, strict=True)
        for layer, channel, image, *rest in part["projections"]
    }
    assert set(both["projections"]) <= copied
    ranked = {row[:6] for row in whole["projections"]}
    assert ranked <= {row[:6] for row in both["projections"]}
    assert all(row[:6] in ranked or _is_hit(both, row) for row in both["projections"]), (
        "what was among the best of a part may be in the sample of the whole"
    )
    with open_atlas(joined / "both") as found, open_atlas(joined / "whole") as expected:
        for unit in expected:
            pairs = zip(found[unit].patches, expected[unit].patches, strict=True)
            for patch, other in pairs:
                assert patch.projection is not None
                assert other.projection is not None
                np.testing.assert_allclose(
                    patch.projection.pixels,
                    other.projection.pixels,
                    atol=0.02 * np.abs(other.projection.pixels).max(initial=0),
                )


def _is_hit(rows: dict[str, list[tuple[object, ...]]], projection: Sequence[object]) -> bool:
    layer, channel, *place = projection[:5]
    hits = {(row[0], row[2], *row[5:8]) for table in ("hits", "class_hits") for row in rows[table]}
    return (layer, channel, *place) in hits


def test_counts_and_extremes_are_exact(joined: Path) -> None:
    assert columns(joined / "both", EXACT) == columns(joined / "whole", EXACT)


@pytest.mark.parametrize("name", ["mean", "std", "mean_maximum", "std_maximum"])
def test_means_and_deviations_are_within_rounding(joined: Path, name: str) -> None:
    found, expected = (
        np.array(columns(joined / path, [name]), np.float64) for path in ("both", "whole")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_correlations_with_classes_are_those_of_all_images(joined: Path) -> None:
    with open_atlas(joined / "both") as both, open_atlas(joined / "whole") as whole:
        pairs = [(both.numbers(layer.name), whole.numbers(layer.name)) for layer in whole.layers]
    for found, expected in ((a, b) for pair in pairs for a, b in zip(*pair, strict=True)):
        assert (found.unit, found.name, found.basis) == (
            *(expected.unit, "class_correlation"),
            expected.basis,
        )
        for name in ("value", "low", "high", "chance"):
            assert getattr(found, name) == pytest.approx(
                getattr(expected, name), abs=1e-5, nan_ok=True
            )
    assert any(number.value > 0 for pair in pairs for number in pair[0])


def test_a_class_has_a_ranking_if_all_atlases_with_images_of_it_rank_it(
    folder: Path, tmp_path: Path
) -> None:
    """`cat` is in the first half alone, `owl` in the second, `dog` in both."""
    first, second = halves(folder)
    options: dict[str, Any] = {"labels": labels_file(folder), "projections": False}
    scan(tiny(), first, to=tmp_path / "a", per_class=3, **options).close()
    scan(tiny(), second, to=tmp_path / "b", per_class=2, ranked_classes=["owl"], **options).close()
    with merge([tmp_path / "a", tmp_path / "b"], to=tmp_path / "both") as both:
        rows = both.sql(
            "SELECT DISTINCT labels.name, max(rank) FROM class_hits "
            "JOIN labels ON labels.id = class_hits.label GROUP BY labels.name"
        )
        assert {str(name): rank for name, rank in rows} == {"cat": 1, "owl": 1}
        assert (both.meta["per_class"], both.meta["ranked_classes"]) == (2, ["cat", "owl"])


def test_an_atlas_without_a_sample_leaves_the_joined_one_without(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    """As atlases of an older retroscope are."""
    parts = pair()
    with AtlasWriter(parts[1]) as writer, writer.transaction():
        writer.delete_meta("rankings")
    merge(parts, to=tmp_path / "c").close()
    rows = table_rows(tmp_path / "c")
    assert {row[1] for row in rows["hits"]} == {"max", "mean"}
    assert not rows["samples"]
    assert not rows["sample_images"]


def test_classes_are_weighted_by_their_images(joined: Path) -> None:
    with open_atlas(joined / "both") as both, open_atlas(joined / "whole") as whole:
        assert [label.images for label in both.labels] == [label.images for label in whole.labels]
        for unit in whole:
            found, expected = (
                {row.label: row for row in atlas.stats(unit).classes} for atlas in (both, whole)
            )
            assert found.keys() == expected.keys() == {"cat", "dog", "owl"}
            for label, row in expected.items():
                assert found[label].mean_maximum == pytest.approx(row.mean_maximum, rel=1e-6)
                assert found[label].fired_share == pytest.approx(row.fired_share, rel=1e-6)


def test_the_same_scan_of_the_whole_finds_the_joined_atlas_complete(
    joined: Path, folder: Path
) -> None:
    before = table_rows(joined / "both")
    stages: list[str] = []

    def listen(progress: Progress) -> None:
        stages.append(progress.stage)

    options: dict[str, Any] = {"layers": OF_TINY, "labels": labels_file(folder), "per_class": 2}
    scan(tiny(), paths_in(folder), to=joined / "both", progress=listen, **options).close()
    assert "scan" not in stages
    assert table_rows(joined / "both")["hits"] == before["hits"]


def test_three_atlases_join_as_two_by_two(folder: Path, tmp_path: Path) -> None:
    paths = paths_in(folder)
    for name, images in (("a", paths[:5]), ("b", paths[5:9]), ("c", paths[9:])):
        scan(tiny(), images, to=tmp_path / name, layers="conv").close()
    a, b, c = (tmp_path / name for name in "abc")
    merge([a, b, c], to=tmp_path / "abc").close()
    merge([a, b], to=tmp_path / "ab").close()
    merge([tmp_path / "ab", c], to=tmp_path / "ab c").close()
    first, second = table_rows(tmp_path / "abc"), table_rows(tmp_path / "ab c")
    for table in EQUAL_TABLES:
        assert first[table] == second[table]
    assert _sources(tmp_path / "abc") == _sources(tmp_path / "ab c")


def _sources(path: Path) -> object:
    with open_atlas(path) as atlas:
        return atlas.meta["sources"]


@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_the_smaller_top_counts(folder: Path, tmp_path: Path, precision: str) -> None:
    first, second = halves(folder)
    options: dict[str, Any] = {"precision": precision, "projections": False}
    net = tiny(torch.float32)
    scan(net, first, to=tmp_path / "a", top=5, **options).close()
    scan(net, second, to=tmp_path / "b", top=2, **options).close()
    scan(net, [*first, *second], to=tmp_path / "whole", top=2, **options).close()
    merge([tmp_path / "a", tmp_path / "b"], to=tmp_path / "both").close()
    assert table_rows(tmp_path / "both")["hits"] == table_rows(tmp_path / "whole")["hits"]
    with open_atlas(tmp_path / "both") as atlas:
        assert atlas.meta["top"] == 2


def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    """Folders of different images with the same names, in classes of their own."""
    for number, (name, own) in enumerate((("train", "cat"), ("val", "dog"))):
        write_images(tmp_path / name / "both", 5)
        write_images(tmp_path / name / own, 3)
        for path in paths_in(tmp_path / name)[:: 2 - number]:
            write_other_image(path, number)
    return tmp_path / "train", tmp_path / "val"


def write_other_image(path: Path, seed: int) -> None:
    from tests.scanning.scans import smooth_image

    smooth_image(100 * seed + 50 + int(path.stem), SIDE).save(path)


def test_images_of_one_name_begin_with_the_name_of_their_source(tmp_path: Path) -> None:
    train, val = two_folders(tmp_path)
    for name in ("train", "val"):
        for path in paths_in(tmp_path / name / "both"):
            write_other_image(path, 3 if name == "train" else 7)
    a = scan(tiny(), train, to=tmp_path / "a", projections=False)
    b = scan(tiny(), val, to=tmp_path / "b", projections=False)
    with a, b, merge([a.path, b.path], to=tmp_path / "both") as both:
        keys = [image.key for image in both.images]
        assert keys[:5] == [f"train/both/0{n}.png" for n in range(5)]
        assert keys[5:8] == [f"cat/0{n}.png" for n in range(3)]
        assert keys[8:13] == [f"val/both/0{n}.png" for n in range(5)]
        assert keys[13:] == [f"dog/0{n}.png" for n in range(3)]
        labels = {label.name: label.images for label in both.labels}
        assert labels == {"both": 10, "cat": 3, "dog": 3}
        assert list(labels) == sorted(labels)


def test_the_images_of_a_joined_atlas_are_found_again(tmp_path: Path) -> None:
    """So that the projections that a part lacked can be made."""
    train, val = two_folders(tmp_path)
    for path in paths_in(tmp_path / "train" / "both"):
        write_other_image(path, 5)
    scan(tiny(), train, to=tmp_path / "a", projections="all").close()
    scan(tiny(), val, to=tmp_path / "b", projections=False).close()
    merge([tmp_path / "a", tmp_path / "b"], to=tmp_path / "both").close()
    with open_atlas(tmp_path / "both") as atlas:
        assert atlas.meta["state"] == "scanned"
    illustrate(tmp_path / "both", tiny())
    with open_atlas(tmp_path / "both") as atlas:
        ((missing,),) = atlas.sql(
            "SELECT count(*) FROM hits WHERE ranked_by IN ('max', 'mean') AND NOT EXISTS "
            "(SELECT 1 FROM projections AS p WHERE "
            "p.layer = hits.layer AND p.channel = hits.channel AND p.image = hits.image "
            "AND p.y = hits.y AND p.x = hits.x)"
        )
        assert missing == 0
    with pytest.raises(RetroscopeError, match="leave glob out"):
        illustrate(tmp_path / "both", tiny(), glob="*.png")
    (val / "dog" / "00.png").unlink()
    with pytest.raises(RetroscopeError, match=r"8 images in '.*val', where there are 7 now"):
        illustrate(tmp_path / "both", tiny(), rules="gradient")


def test_without_recorded_sources_the_images_must_be_given(folder: Path, tmp_path: Path) -> None:
    parts = scan_parts(folder, tmp_path, layers="conv", projections=False)
    merge(parts, to=tmp_path / "both").close()
    with pytest.raises(RetroscopeError, match="does not record where all its images are"):
        illustrate(tmp_path / "both", tiny())
    illustrate(tmp_path / "both", tiny(), paths_in(folder), projections=1)
    with open_atlas(tmp_path / "both") as atlas:
        assert atlas.meta["state"] == "illustrated"


def test_without_statistics_of_classes_in_a_part_there_are_none(
    folder: Path, tmp_path: Path
) -> None:
    first, second = halves(folder)
    labels = labels_file(folder)
    scan(tiny(), first, to=tmp_path / "a", labels=labels, projections=False).close()
    scan(tiny(), second, to=tmp_path / "b", labels=labels, classes=False, projections=False).close()
    merge([tmp_path / "a", tmp_path / "b"], to=tmp_path / "both").close()
    rows = table_rows(tmp_path / "both")
    assert not rows["class_stats"]
    assert len(rows["labels"]) == 3


def test_images_without_classes_change_no_class(folder: Path, tmp_path: Path) -> None:
    first, second = halves(folder)
    scan(tiny(), first, to=tmp_path / "a", labels=labels_file(folder), projections=False).close()
    scan(tiny(), second, to=tmp_path / "b", projections=False).close()
    merge([tmp_path / "a", tmp_path / "b"], to=tmp_path / "both").close()
    rows, own = table_rows(tmp_path / "both"), table_rows(tmp_path / "a")
    assert (rows["class_stats"], rows["labels"]) == (own["class_stats"], own["labels"])


def test_patterns_are_those_of_the_first_atlas_that_has_them(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    parts = pair()
    add_pattern(parts[1], "act:1", seed=1)
    add_pattern(parts[1], "act:2", seed=1)
    add_pattern(parts[0], "act:2", seed=0)
    with merge(parts, to=tmp_path / "c") as both:
        assert [pattern.seed for pattern in both.patterns("act:1")] == [1]
        assert [pattern.seed for pattern in both.patterns("act:2")] == [0]


def add_pattern(path: Path, unit: str, *, seed: int) -> None:
    from retroscope.methods.synthesis.synthesize import synthesize

    pattern = synthesize(tiny(torch.float32), unit, steps=1, seed=seed, recipe="plain")
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_pattern(pattern)


def test_progress_goes_to_the_end(pair: Callable[..., list[Path]], tmp_path: Path) -> None:
    reports: list[Progress] = []
    merge(pair(), to=tmp_path / "c", progress=reports.append).close()
    assert reports[-1].stage == "join"
    assert reports[-1].completed == reports[-1].total


def test_an_atlas_is_returned_open(pair: Callable[..., list[Path]], tmp_path: Path) -> None:
    with merge(pair(), to=tmp_path / "c") as atlas:
        assert isinstance(atlas, Atlas)
        assert len(atlas.images) == 17
