"""Rankings by minimum and by class, and the sample: what is put is read, older atlases lack it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from retroscope.atlas.excerpt import write_excerpt
from retroscope.atlas.queries import channel_queries, hit_queries
from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.ranking_lookup import find_ranking, find_rankings
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.row_encoding import Array
from retroscope.atlas.schema import AtlasError, ImageStatus, Ranking
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError, UnitError
from retroscope.results.as_json import patch_json, plate_json
from retroscope.results.unit_numbers import Subject
from retroscope.unit import Unit
from tests.atlas import small_atlas

NEW_TABLES = ("class_hits", "sample_images", "samples")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.atlas"
    with AtlasWriter(path) as writer, writer.transaction():
        small_atlas.fill(writer)
        small_atlas.put_rankings(writer)
    return path


@pytest.fixture
def atlas(path: Path) -> Iterator[Atlas]:
    with open_atlas(path) as opened:
        yield opened


@pytest.fixture
def older_path(path: Path) -> Path:
    """The atlas as a retroscope without these rankings would have written it."""
    run_sql(
        path,
        *(f"DROP TABLE {table}" for table in NEW_TABLES),
        "DELETE FROM meta WHERE key IN ('rankings', 'class_rankings')",
        "CREATE TABLE older AS SELECT * FROM hits WHERE ranked_by IN ('max', 'mean')",
        "DROP TABLE hits",
        """CREATE TABLE hits (
            layer INTEGER NOT NULL REFERENCES layers (id),
            ranked_by TEXT NOT NULL CHECK (ranked_by IN ('max', 'mean')),
            channel INTEGER NOT NULL, rank INTEGER NOT NULL, score REAL NOT NULL,
            image INTEGER NOT NULL REFERENCES images (id), y INTEGER NOT NULL, x INTEGER NOT NULL,
            PRIMARY KEY (layer, ranked_by, channel, rank)) WITHOUT ROWID""",
        "INSERT INTO hits SELECT * FROM older",
        "DROP TABLE older",
        "CREATE INDEX hits_by_image ON hits (image, ranked_by)",
    )
    return path


def run_sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        for statement in statements:
            file.execute(statement)


def test_an_atlas_says_which_rankings_it_has(atlas: Atlas) -> None:
    assert atlas.rankings == ("max", "mean", "min", "sample")
    assert [label.name for label in atlas.ranked_classes] == ["hund", "katze"]


def test_hits_by_minimum_come_lowest_first(atlas: Atlas) -> None:
    plate = atlas.plate("conv1:0", ranked_by="min")
    assert plate.ranked_by == "min"
    assert [patch.score for patch in plate.patches] == [-3.5, -3.5, -1]
    assert [patch.source for patch in plate.patches] == list(small_atlas.KEYS[:3])
    top = atlas.top("conv1", 3, ranked_by="min")
    assert [(str(unit), patch.score) for unit, patch in top] == [
        ("features.0:1@1,1", -4.0),
        ("features.0:0@0,0", -3.5),
        ("features.0:0@0,0", -3.5),
    ]
    assert [patch.source for _, patch in top[1:]] == list(small_atlas.KEYS[:2]), "ties by number"


def test_a_plate_of_a_class_has_the_images_of_that_class(atlas: Atlas) -> None:
    plate = atlas.plate("conv1:0", label="katze")
    assert (plate.label, plate.ranked_by) == ("katze", "max")
    assert [(patch.score, patch.source) for patch in plate.patches] == [
        (3.5, small_atlas.KEYS[0]),
        (2.0, small_atlas.KEYS[1]),
    ]
    assert [(hit.score, hit.label) for hit in atlas.hits("conv1:0", label="hund")] == [(1, "hund")]
    assert atlas.plate("conv1:2", label="katze").patches == ()
    assert [str(unit) for unit, _ in atlas.top("conv1", 2, label="hund")] == [
        "features.0:2@2,2",
        "features.0:0@0,0",
    ]


@pytest.mark.parametrize(
    ("ranked_by", "label"), [("min", None), ("sample", None), ("max", "katze")]
)
def test_hits_are_those_of_the_plate_in_every_ranking(
    atlas: Atlas, ranked_by: str, label: str | None
) -> None:
    for channel in range(3):
        unit = Unit("features.0", channel)
        plate = atlas.plate(unit, ranked_by=ranked_by, label=label)
        hits = atlas.hits(unit, ranked_by=ranked_by, label=label)
        assert [(hit.score, hit.key, hit.unit.position) for hit in hits] == [
            (patch.score, patch.source, patch.position) for patch in plate.patches
        ]
    if ranked_by != "sample":
        hits = atlas.hits("conv1", 4, ranked_by=ranked_by, label=label)
        top = atlas.top("conv1", 4, ranked_by=ranked_by, label=label)
        assert [(hit.unit, hit.score) for hit in hits] == [
            (unit, patch.score) for unit, patch in top
        ]


@pytest.mark.parametrize("channels", [1, 7, 64, 200])
def test_hits_of_any_number_of_channels_come_back_without_the_empty_slots(
    tmp_path: Path, channels: int
) -> None:
    """A statement writes several rows, and a statement more the rest."""
    random, ranks = np.random.default_rng(channels), 5
    layer = replace(small_atlas.LAYERS[0], channels=channels)
    arrays: dict[str, Array] = {
        "scores": random.normal(size=(channels, ranks)).astype(np.float32),
        "images": random.integers(-2, 4, (channels, ranks)),
        "ys": random.integers(0, 6, (channels, ranks)),
        "xs": random.integers(0, 6, (channels, ranks)),
    }
    expected = []
    for channel in range(channels):
        filled = [rank for rank in range(ranks) if arrays["images"][channel, rank] >= 0]
        for number, rank in enumerate(filled):
            row = [arrays[name][channel, rank].item() for name in arrays]
            expected.append((channel, number, *row))
    with AtlasWriter(tmp_path / "b.atlas") as writer, writer.transaction():
        writer.put_layers([layer])
        writer.put_images(small_atlas.KEYS, [])
        writer.put_hits(layer.name, "min", **arrays)
        writer.put_class_hits(layer.name, 1, **arrays)
    with open_atlas(tmp_path / "b.atlas") as atlas:
        for table in ("hits", "class_hits"):
            columns = "channel, rank, score, image, y, x"
            query = f"SELECT {columns} FROM {table} ORDER BY channel, rank"  # noqa: S608 - ours
            assert atlas.sql(query) == expected


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("hits", "ranked_by", tuple(Ranking)),
        ("images", "status", tuple(ImageStatus)),
        ("numbers", "subject", tuple(Subject)),
        ("names", "source", ("file", "dissection")),
    ],
)
def test_a_column_of_words_takes_no_others(
    path: Path, table: str, column: str, values: tuple[str, ...]
) -> None:
    with closing(sqlite3.connect(path)) as file:
        for value in values:
            file.execute(f"UPDATE OR REPLACE {table} SET {column} = ?", (value,))  # noqa: S608
        for wrong in ("", "MAX", "maximum", f"{values[0]} "):
            with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
                file.execute(f"UPDATE OR REPLACE {table} SET {column} = ?", (wrong,))  # noqa: S608


def test_patches_of_a_sample_say_their_quantile(atlas: Atlas) -> None:
    patches = atlas.plate("conv1:0", ranked_by="sample").patches
    quantiles = [patch.quantile for patch in patches]
    assert quantiles == [0.99, 0.95, 0.9, 0.75, 0.5, None], "the last is a random image"
    assert [patch_json(patch)["quantile"] for patch in patches] == quantiles
    assert [patch.score for patch in patches] == [3.5, 2, 1, 0, 0, 3.5]
    assert [patch.quantile for patch in atlas.plate("conv1:0").patches] == [None] * 3
    random_missing = atlas.plate("conv1:1", ranked_by="sample").patches
    assert [patch.quantile for patch in random_missing] == quantiles[:5]


def test_json_says_what_a_plate_shows(atlas: Atlas) -> None:
    for selection in ({"ranked_by": "min"}, {"ranked_by": "sample"}, {"label": "katze"}, {}):
        facts = plate_json(atlas.plate("conv1:0", **selection))
        assert facts["ranked_by"] == selection.get("ranked_by", "max")
        assert facts["label"] == selection.get("label")


def test_the_sample_has_the_maximum_of_every_channel_in_the_same_images(atlas: Atlas) -> None:
    sample = atlas.sample("conv1")
    assert sample.images.tolist() == list(small_atlas.SAMPLE_ORDER)
    np.testing.assert_array_equal(sample.scores, small_atlas.SAMPLE_SCORES)
    width = small_atlas.LAYERS[0].size[1]
    for place, (y, x) in zip(small_atlas.SAMPLE_PLACES[0], sample.positions[0], strict=True):
        assert place == y * width + x
    assert sample.positions[1, 1].tolist() == [-1, -1], "no value of this map is finite"
    unit = atlas.sample("conv1:1")
    np.testing.assert_array_equal(unit.scores, sample.scores[1])
    np.testing.assert_array_equal(unit.positions, sample.positions[1])


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda atlas: atlas.plate("conv1:0", label="katse"), "did you mean 'katze'"),
        (lambda atlas: atlas.plate("conv1:0", label="leer"), "has those of hund, katze$"),
        (lambda atlas: atlas.plate("conv1:0", ranked_by="median"), "no ranking 'median'"),
        (
            lambda atlas: atlas.plate("conv1:0", ranked_by="mean", label="katze"),
            "ranked by max, not by mean",
        ),
        (lambda atlas: atlas.top("conv1", ranked_by="sample"), "features.0:0 to features.0:2"),
        (lambda atlas: atlas.hits("conv1", ranked_by="sample"), "features.0:0 to features.0:2"),
        (lambda atlas: atlas.sample("conv1:3"), "0 to 2"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(
    atlas: Atlas, read: Callable[[Atlas], object], message: str
) -> None:
    with pytest.raises(RetroscopeError, match=message) as refusal:
        read(atlas)
    assert "\n" not in str(refusal.value)


LACKING: list[tuple[Callable[[Atlas], object], str]] = [
    (lambda atlas: atlas.plate("conv1:0", ranked_by="min"), "has hits by max and mean, but not"),
    (lambda atlas: atlas.top("conv1", ranked_by="min"), "scan the images again$"),
    (lambda atlas: atlas.hits("conv1:0", ranked_by="sample"), "not by sample"),
    (lambda atlas: atlas.sample("conv1"), "not by sample"),
    (lambda atlas: atlas.plate("conv1:0", label="katze"), "again with per_class$"),
    (lambda atlas: atlas.hits("conv1", label="no class"), "again with per_class$"),
]


@pytest.mark.parametrize(("read", "message"), LACKING)
def test_an_older_atlas_refuses_what_it_lacks(
    older_path: Path, read: Callable[[Atlas], object], message: str
) -> None:
    with open_atlas(older_path) as atlas, pytest.raises(AtlasError, match=message):
        read(atlas)


def test_an_older_atlas_shows_what_it_has(older_path: Path, tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "plain.atlas")
    with open_atlas(older_path) as atlas, open_atlas(tmp_path / "plain.atlas") as plain:
        assert atlas.rankings == plain.rankings == ("max", "mean")
        assert atlas.ranked_classes == plain.ranked_classes == ()
        for unit in atlas:
            for ranking in atlas.rankings:
                assert atlas.hits(unit, ranked_by=ranking) == plain.hits(unit, ranked_by=ranking)


def test_writing_an_older_atlas_leaves_it_without_the_rankings(older_path: Path) -> None:
    with AtlasWriter(older_path) as writer, writer.transaction():
        assert writer.images_without_pixels() == []
        assert len(list(writer.missing_projections(rules="guided"))) == 8
        writer.delete_images_without_hits()
    with open_atlas(older_path) as atlas:
        assert atlas.rankings == ("max", "mean")
        with pytest.raises(AtlasError, match="scan the images again"):
            atlas.plate("conv1:0", ranked_by="min")


def test_starting_over_in_an_older_file_makes_room_for_the_rankings(older_path: Path) -> None:
    with AtlasWriter(older_path, restart=True) as writer, writer.transaction():
        small_atlas.fill(writer)
        small_atlas.put_rankings(writer)
    with open_atlas(older_path) as atlas:
        assert atlas.rankings == ("max", "mean", "min", "sample")
        assert len(atlas.hits("conv1:0", ranked_by="min")) == 3
        assert atlas.sql("SELECT count(*) FROM named_hits WHERE ranked_by = 'min'") == [(4,)]


def test_an_unfinished_scan_has_no_such_hits_yet(path: Path) -> None:
    small_atlas.write(path.with_name("b.atlas"))
    with AtlasWriter(path.with_name("b.atlas")) as writer, writer.transaction():
        writer.put_meta({"state": "scanning"})
    with open_atlas(path.with_name("b.atlas")) as atlas:
        for selection in ({"ranked_by": "min"}, {"label": "katze"}):
            with pytest.raises(AtlasError, match="its scan is not finished"):
                atlas.plate("conv1:0", **selection)


def test_a_ranking_without_any_hit_is_there(tmp_path: Path) -> None:
    with AtlasWriter(tmp_path / "a.atlas") as writer, writer.transaction():
        small_atlas.fill(writer)
        small_atlas.put_hits(writer, "features.0", "min", [[], [], []])
    with open_atlas(tmp_path / "a.atlas") as atlas:
        assert atlas.plate("conv1:0", ranked_by="min").patches == ()


def test_putting_a_class_again_replaces_its_hits(path: Path) -> None:
    empty = np.full((3, 1), -1)
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_class_hits("features.0", 1, empty / 2, images=empty, ys=empty, xs=empty)
    with open_atlas(path) as atlas:
        assert atlas.hits("conv1:0", label="katze") == ()
        assert len(atlas.hits("conv1:0", label="hund")) == 1


def put_rankings_and_fail(writer: AtlasWriter) -> None:
    with writer.transaction():
        small_atlas.put_rankings(writer)
        raise ZeroDivisionError


def test_a_rollback_leaves_no_trace_of_a_ranking(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    with AtlasWriter(tmp_path / "a.atlas") as writer:
        with pytest.raises(ZeroDivisionError):
            put_rankings_and_fail(writer)
        with writer.transaction():
            small_atlas.put_hits(writer, "features.0", "min", [[-1], [], []])
    with open_atlas(tmp_path / "a.atlas") as atlas:
        assert atlas.rankings == ("max", "mean", "min")
        assert atlas.ranked_classes == ()


def test_images_of_classes_and_of_the_sample_are_stored(path: Path) -> None:
    with AtlasWriter(path) as writer, writer.transaction():
        assert writer.images_without_pixels() == [4], "of the sample"
        for layer, ranking in (("features.0", "max"), ("features.0", "mean"), ("head", "max")):
            channels = 3 if layer == "features.0" else 2
            small_atlas.put_hits(writer, layer, ranking, [[]] * channels)
        for ranking in ("min", "sample"):
            small_atlas.put_hits(writer, "features.0", ranking, [[], [], []])
        empty = np.full((3, 1), -1)
        writer.put_class_hits("features.0", 1, empty, images=empty, ys=empty, xs=empty)
        writer.put_sample_images([4, 1], [0, 1])
        writer.delete_images_without_hits()
        assert writer.stored_images() == [1, 2], "1 is in the sample, 2 a hit of its class"
        assert writer.images_without_pixels() == [4]


@pytest.mark.parametrize(
    ("ranking", "count"),
    [
        (None, 4),
        (HitRanking(Ranking.MAX), 4),
        (HitRanking(Ranking.MEAN), 2),
        (HitRanking(Ranking.MIN), 3),
        (HitRanking(label=1), 2),
        (HitRanking(label=0), 2),
    ],
)
def test_missing_projections_are_those_of_one_ranking(
    path: Path, ranking: HitRanking | None, count: int
) -> None:
    """The small atlas has one projection: of channel 0 in image 1 at the top left."""
    with AtlasWriter(path) as writer:
        missing = list(writer.missing_projections("features.0", ranking=ranking, rules="deconvnet"))
        every = list(writer.missing_projections("features.0", ranking=ranking, rules="guided"))
    projected = {(0, 1, 0, 0)}
    assert {(hit.channel, hit.image, hit.y, hit.x) for hit in missing} == {
        (hit.channel, hit.image, hit.y, hit.x) for hit in every
    } - projected
    assert len(missing) == count
    is_by_mean = ranking is not None and ranking.ranked_by == Ranking.MEAN
    assert all((hit.score is None) == is_by_mean for hit in every)


def test_the_viewer_asks_for_the_same_hits(atlas: Atlas) -> None:
    layer = atlas.layer("conv1")
    for ranked_by, label in (("min", None), ("max", "katze")):
        number = None if label is None else atlas.label(label).id
        contents = channel_queries.plate_contents(atlas, layer, ranked_by=ranked_by, label=number)
        first = channel_queries.first_hits(
            atlas, layer, range(3), ranked_by=ranked_by, label=number
        )
        for channel in range(3):
            hits = atlas.hits(Unit("features.0", channel), ranked_by=ranked_by, label=label)
            shown = {row.channel for row in contents}
            assert (channel in first) == bool(hits) == (channel in shown)
            assert not hits or first[channel].score == hits[0].score


def test_hits_of_several_rankings_are_those_of_each(atlas: Atlas) -> None:
    """With the class of the image, and the projection that the atlas has of one of them."""
    layer = atlas.layer("conv1")
    named: list[tuple[str, str | None]] = [
        (ranking, None) for ranking in ("max", "mean", "min", "sample")
    ]
    named += [("max", label.name) for label in atlas.ranked_classes]
    rankings = {find_ranking(atlas, *names): names for names in named}
    projected = set()
    for channel in range(3):
        rows = hit_queries.unit_hits(atlas, layer, channel, rankings=list(rankings))
        assert list(rows) == list(rankings)
        for ranking, (ranked_by, label) in rankings.items():
            hits = atlas.hits(Unit("features.0", channel), ranked_by=ranked_by, label=label)
            assert [
                (row.rank, row.score, row.image, (row.y, row.x), row.key, row.label)
                for row in rows[ranking]
            ] == [
                (rank, hit.score, hit.image, hit.unit.position, hit.key, hit.label)
                for rank, hit in enumerate(hits)
            ]
            projected |= {
                (channel, row.image, row.y, row.x)
                for row in rows[ranking]
                if row.activation is not None
            }
            (first,) = hit_queries.unit_hits(
                atlas, layer, channel, rankings=[ranking], count=1
            ).values()
            assert first == rows[ranking][:1]
    assert projected == {(0, 1, 0, 0)}


def test_an_excerpt_keeps_the_rankings_of_its_channels(path: Path, tmp_path: Path) -> None:
    with open_atlas(path) as atlas:
        layer = atlas.layer("conv1")
        write_excerpt(atlas, tmp_path / "part.atlas", layers=[layer], top_channels=1)
        plates = [
            [patch.pixels.tolist() for patch in atlas.plate("conv1:0", **selection).patches]
            for selection in ({"ranked_by": "min"}, {"ranked_by": "sample"}, {"label": "katze"})
        ]
    with open_atlas(tmp_path / "part.atlas") as excerpt:
        assert [
            [patch.pixels.tolist() for patch in excerpt.plate("conv1:0", **selection).patches]
            for selection in ({"ranked_by": "min"}, {"ranked_by": "sample"}, {"label": "katze"})
        ] == plates
        assert excerpt.hits("conv1:1", ranked_by="min") == ()
        assert excerpt.hits("conv1:2", label="hund") == ()
        sample = excerpt.sample("conv1")
        np.testing.assert_array_equal(sample.scores[0], small_atlas.SAMPLE_SCORES[0])
        assert np.isnan(sample.scores[1:]).all()
        assert [row[0] for row in excerpt.sql("SELECT image FROM winner_pictures")] == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("UPDATE meta SET value = '5' WHERE key = 'rankings'", "min"),
        ("UPDATE meta SET value = '[[]]' WHERE key = 'rankings'", "min"),
        ("UPDATE meta SET value = '[\"best\"]' WHERE key = 'rankings'", "min"),
        ("UPDATE meta SET value = '5' WHERE key = 'class_rankings'", "katze"),
        ("UPDATE meta SET value = '{\"labels\": 5}' WHERE key = 'class_rankings'", "katze"),
        ("UPDATE samples SET scores = x'00'", "samples"),
        ("UPDATE samples SET positions = 'a'", "samples"),
        ("UPDATE samples SET positions = x'ffffff7f0000000000000000ffffff7f'", "samples"),
        ("UPDATE sample_images SET hash = 'a'", "samples"),
        ("UPDATE hits SET score = 9e999 WHERE ranked_by = 'min'", "min"),
        ("UPDATE class_hits SET y = 'a'", "katze"),
        ("UPDATE class_hits SET x = -1", "katze"),
    ],
)
def test_a_crafted_ranking_is_refused(path: Path, change: str, read: str) -> None:
    run_sql(path, change)
    reads: dict[str, Callable[[Atlas], object]] = {
        "min": lambda atlas: atlas.plate("conv1:0", ranked_by="min"),
        "katze": lambda atlas: atlas.plate("conv1:0", label="katze"),
        "samples": lambda atlas: atlas.sample("conv1"),
    }
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="damaged"):
        reads[read](atlas)


def test_an_unknown_ranking_is_a_mistake_in_an_address(atlas: Atlas) -> None:
    with pytest.raises(UnitError, match="did you mean 'mean'"):
        atlas.plate("conv1:0", ranked_by="maen")


def test_several_rankings_are_found_by_name(atlas: Atlas) -> None:
    names = [label.name for label in atlas.ranked_classes]
    assert find_rankings(atlas, ["min", "sample"]) == tuple(
        find_ranking(atlas, name) for name in ("min", "sample")
    )
    assert find_rankings(atlas, "max", names) == tuple(
        find_ranking(atlas, "max", name) for name in names
    )
    for parameter, chosen in (("ranked_by", ([], None)), ("label", ("max", []))):
        with pytest.raises(UnitError, match=f"{parameter} is an empty list") as caught:
            find_rankings(atlas, *chosen)
        assert caught.value.parameter == parameter
