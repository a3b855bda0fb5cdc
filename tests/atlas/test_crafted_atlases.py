"""An atlas from a stranger is safe to open: one clear error or a page, in bounded time."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from retroscope.atlas import database
from retroscope.atlas.patch_decoding import MAX_PLATE_HITS
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.schema import TABLES, AtlasError
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.imaging.encoding import encode_webp
from retroscope.results.patterns import Pattern
from retroscope.unit import Unit
from retroscope.web.export import export
from retroscope.web.site.routes import list_paths, respond
from retroscope.web.site.site import make_site
from tests.atlas import small_atlas

ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"
MAX_PATHS = 120


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.atlas"
    with AtlasWriter(path) as writer, writer.transaction():
        small_atlas.fill(writer)
        writer.put_pattern(
            Pattern(
                image=small_atlas.smooth_image(3),
                objective="features.0:0",
                activation=1.0,
                recipe="olah",
                seed=0,
                steps=1,
                score=1.0,
                started_at=0.5,
                unit=Unit("features.0", 0),
            )
        )
    return path


def craft(path: Path, *statements: str) -> None:
    """Changes the file as a stranger would, with `?` for a WebP of 164 megapixels."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("PRAGMA ignore_check_constraints = ON")
        file.execute("PRAGMA legacy_alter_table = ON")
        for statement in statements:
            file.execute(statement, (HUGE_WEBP,) * statement.count("?"))


def huge_webp() -> bytes:
    """A few bytes whose header claims 12,800 x 12,800 pixels."""
    blob = bytearray(encode_webp(np.zeros((8, 8, 3), np.uint8)))
    blob[26:30] = (12_800).to_bytes(2, "little") * 2
    return bytes(blob)


HUGE_WEBP = huge_webp()


def set_cell(table: str, column: str, value: str) -> tuple[str, ...]:
    return (
        f"CREATE TABLE crafted AS SELECT * FROM {table}",  # noqa: S608
        f"DROP TABLE {table}",
        f"ALTER TABLE crafted RENAME TO {table}",
        f"UPDATE {table} SET {column} = {value}",  # noqa: S608
    )


CELLS = [
    ("layers", "channels", "1000000000000"),
    ("layers", "channels", "-1"),
    ("layers", "channels", "'many'"),
    ("layers", "channels", "NULL"),
    ("layers", "channels", "2.5"),
    ("layers", "name", "'same'"),
    ("layers", "name", "x'ff'"),
    ("layers", "name", "CAST(x'ff41' AS TEXT) || id"),
    ("layers", "name", "NULL"),
    ("layers", "name", "'a:b' || id"),
    ("layers", "id", "0"),
    ("layers", "id", "9223372036854775807"),
    ("layers", "kind", "5"),
    ("layers", "height", "0"),
    ("layers", "height", "1000000000000"),
    ("layers", "width", "9e999"),
    ("layers", "field_y_size", "60000"),
    ("layers", "field_x_size", "0"),
    ("layers", "field_x_size", "9223372036854775807"),
    ("layers", "field_y_stride", "9223372036854775807"),
    ("layers", "field_y_start", "-9223372036854775807"),
    ("layers", "field_y_start", "'a'"),
    ("layers", "aliases", "'['"),
    ("layers", "aliases", "'5'"),
    ("layers", "aliases", "'[5]'"),
    ("layers", "aliases", "replace(hex(zeroblob(50000)), '0', '[')"),
    ("layers", "step", "NULL"),
    ("layers", "note", "x'00'"),
    ("meta", "value", "'{'"),
    ("meta", "value", "'NaN'"),
    ("meta", "value", "'1e999'"),
    ("meta", "value", "'[[]]'"),
    ("meta", "value", "5"),
    ("meta", "key", "NULL"),
    ("labels", "id", "1000000000000"),
    ("labels", "id", "-1"),
    ("labels", "name", "NULL"),
    ("labels", "name", "'same'"),
    ("labels", "images", "'a'"),
    ("images", "key", "NULL"),
    ("images", "key", "x'00'"),
    ("images", "id", "id + 1000"),
    ("images", "id", "9223372036854775807"),
    ("images", "label", "1000"),
    ("images", "status", "7"),
    ("winner_pictures", "blob", "?"),
    ("winner_pictures", "blob", "x''"),
    ("winner_pictures", "blob", "x'52494646'"),
    ("winner_pictures", "blob", "substr(blob, 1, 60)"),
    ("winner_pictures", "blob", "100000000000"),
    ("winner_pictures", "blob", "NULL"),
    ("winner_pictures", "blob", "'text'"),
    ("winner_pictures", "image", "image + 1000"),
    ("winner_pictures", "image", "'a'"),
    ("channels", "maximum", "9e999"),
    ("channels", "maximum", "'a'"),
    ("channels", "mean", "-9e999"),
    ("channels", "mean", "x'00'"),
    ("channels", "images", "NULL"),
    ("channels", "images", "'a'"),
    ("channels", "fired_images", "NULL"),
    ("channels", "histogram", "x'0000'"),
    ("channels", "histogram", "x'0000000000000000'"),
    ("channels", "histogram", "5"),
    ("channels", "histogram", "NULL"),
    ("channels", "dead", "NULL"),
    ("channels", "dead", "'a'"),
    ("channels", "channel", "channel + 1000000000000"),
    ("channels", "top_label", "99"),
    ("channels", "top_label", "'a'"),
    ("hits", "score", "9e999"),
    ("hits", "score", "NULL"),
    ("hits", "score", "'a'"),
    ("hits", "y", "-5"),
    ("hits", "y", "9223372036854775807"),
    ("hits", "x", "'a'"),
    ("hits", "image", "77"),
    ("hits", "rank", "'a'"),
    ("hits", "channel", "NULL"),
    ("class_stats", "mean_maximum", "x'0000'"),
    ("class_stats", "mean_maximum", "x''"),
    ("class_stats", "mean_maximum", "NULL"),
    ("class_stats", "mean_maximum", "x'00000000'"),
    ("class_stats", "fired_share", "5"),
    ("projections", "height", "1000000000000"),
    ("projections", "height", "-1"),
    ("projections", "depth", "0"),
    ("projections", "depth", "1000000"),
    ("projections", "depth", "'a'"),
    ("projections", "depth", "2"),
    ("projections", "peak", "9e999"),
    ("projections", "peak", "1e300"),
    ("projections", "peak", "NULL"),
    ("projections", "activation", "NULL"),
    ("projections", "blob", "?"),
    ("projections", "blob", "x'00'"),
    ("projections", "note", "5"),
    ("patterns", "blob", "?"),
    ("patterns", "blob", "'text'"),
    ("patterns", "note", "NULL"),
    ("patterns", "activation", "9e999"),
    ("patterns", "recipe", "5"),
]


def attempts(atlas: Atlas) -> Iterator[Callable[[], object]]:
    """Everything that a reader may ask, a call each."""
    yield lambda: atlas.layers
    yield lambda: (atlas.meta, atlas.labels, repr(atlas))
    yield lambda: list(atlas.images)
    for name in ("features.0", "head"):
        yield lambda name=name: atlas.top(name)  # type: ignore[misc]
        yield lambda name=name: atlas.hits(name)  # type: ignore[misc]
        for question in (atlas.stats, atlas.plate, atlas.hits, atlas.patterns):
            yield lambda name=name, question=question: question(f"{name}:0")  # type: ignore[misc]
    for image in range(3):
        yield lambda image=image: atlas.image_pixels(image)  # type: ignore[misc]
    for table in TABLES:
        yield lambda table=table: atlas.sql(f"SELECT * FROM {table}")  # type: ignore[misc]  # noqa: S608


def read_everything(path: Path) -> list[str]:
    """The errors of all questions and pages; anything but a RetroscopeError passes through."""
    errors: list[str] = []
    try:
        atlas = open_atlas(path)
    except AtlasError as error:
        return [str(error)]
    with atlas:
        for attempt in attempts(atlas):
            try:
                attempt()
            except RetroscopeError as error:
                errors.append(str(error))
        errors += read_pages(atlas)
    return errors


def read_pages(atlas: Atlas) -> Iterator[str]:
    site = make_site(atlas)
    paths = ["index.html", "classes.html", "images.html", "names.js", "unit/features.0/0.html"]
    try:
        paths += [path for path, _ in zip(list_paths(site), range(MAX_PATHS), strict=False)]
    except RetroscopeError as error:
        yield str(error)
    for path in paths:
        if not path.startswith("static"):
            try:
                respond(site, path)
            except RetroscopeError as error:
                yield str(error)


def test_an_intact_atlas_has_no_errors(path: Path) -> None:
    assert read_everything(path) == []


@pytest.mark.parametrize(("table", "column", "value"), CELLS)
def test_a_bad_cell_is_one_clear_line(path: Path, table: str, column: str, value: str) -> None:
    craft(path, *set_cell(table, column, value))
    for error in read_everything(path):
        assert "\n" not in error
        assert len(error) < 700


@pytest.mark.parametrize("table", TABLES)
def test_a_missing_table_is_one_clear_line(path: Path, table: str) -> None:
    craft(path, f"DROP TABLE {table}")
    assert all("\n" not in error for error in read_everything(path))


@pytest.mark.parametrize("table", ["layers", "labels", "hits", "channels"])
def test_a_view_in_place_of_a_table_is_refused(path: Path, table: str) -> None:
    columns = ", ".join(["i"] * 17)
    craft(path, f"DROP TABLE {table}", f"CREATE VIEW {table.upper()} AS {ENDLESS.format(columns)}")
    for opening in (open_atlas, AtlasWriter):
        with pytest.raises(AtlasError, match="has a view"):
            opening(path)


def test_a_trigger_is_refused(path: Path) -> None:
    craft(path, "CREATE TRIGGER t AFTER INSERT ON meta BEGIN DELETE FROM hits; END")
    for opening in (open_atlas, AtlasWriter):
        with pytest.raises(AtlasError, match="has a trigger 't'"):
            opening(path)


def test_a_virtual_table_in_place_of_a_table_is_refused(path: Path) -> None:
    craft(path, "DROP TABLE labels", "CREATE VIRTUAL TABLE labels USING fts5(id, name, images)")
    with pytest.raises(AtlasError, match="has a virtual table 'labels'"):
        open_atlas(path)


def test_a_query_has_a_deadline(path: Path) -> None:
    craft(path, f"CREATE VIEW more AS {ENDLESS.format('i')}")
    with open_atlas(path) as atlas:
        with pytest.raises(AtlasError, match="has not answered a query in time"):
            atlas.sql("SELECT count(*) FROM more", max_seconds=0.05)
        assert len(atlas.layers) == 2
    assert database.MAX_QUERY_SECONDS <= 15


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{}' AS other",
        "VACUUM INTO '{}'",
        "VACUUM",
        "DETACH main",
        "PRAGMA query_only = OFF",
        "PRAGMA trusted_schema = ON",
        "PRAGMA user_version = 5",
        "PRAGMA writable_schema = ON",
        "SELECT load_extension('{}')",
        "CREATE TEMP TABLE more (x)",
        "BEGIN EXCLUSIVE",
        "REINDEX",
        "UPDATE sqlite_master SET sql = ''",
    ],
)
def test_sql_reads_this_file_alone(path: Path, query: str) -> None:
    other = path.with_name("other.db")
    refused = r"read-only|not authorized|may not be modified"
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match=refused):
        atlas.sql(query.format(other))
    assert not other.exists()


def test_functions_of_a_crafted_file_are_not_trusted(path: Path) -> None:
    with AtlasWriter(path) as writer:
        assert writer._connection.sql("PRAGMA trusted_schema") == [(0,)]


def test_large_fields_are_refused_before_a_patch_is_allocated(path: Path) -> None:
    craft(path, "UPDATE layers SET field_y_size = 60000, field_x_size = 60000")
    with open_atlas(path) as atlas:
        for question in (lambda: atlas.plate("conv1:0"), lambda: atlas.top("conv1")):
            with pytest.raises(AtlasError, match=r"60000 x 60000 pixels, the field of features.0"):
                question()


def test_a_large_image_is_refused_by_its_header(path: Path) -> None:
    craft(path, "UPDATE winner_pictures SET blob = ?")
    with open_atlas(path) as atlas, pytest.raises(AtlasError, match="12800 x 12800 pixels"):
        atlas.image_pixels(0)


@pytest.mark.parametrize("name", [".retroscope-site", "index.html", "layer"])
def test_an_export_does_not_follow_links(path: Path, tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "site"
    folder.mkdir()
    (folder / ".retroscope-site").touch()
    if name == "layer":
        outside.mkdir()
    else:
        outside.write_text("precious")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(RetroscopeError, match="is a link, which an export does not follow"):
        export(path, folder)
    assert list(outside.iterdir()) == [] if name == "layer" else outside.read_text() == "precious"


def test_more_hits_than_can_be_drawn_are_refused(path: Path) -> None:
    copies = """
        WITH RECURSIVE copies (rank) AS (
            SELECT 100 UNION ALL SELECT rank + 1 FROM copies WHERE rank < 100 + {})
        INSERT INTO hits (layer, ranked_by, channel, rank, score, image, y, x)
        SELECT layer, ranked_by, channel, copies.rank, score, image, y, x
        FROM copies, (SELECT * FROM hits WHERE channel = 0 AND ranked_by = 'max' LIMIT 1)"""
    craft(path, copies.format(MAX_PLATE_HITS))
    with open_atlas(path) as atlas:
        assert len(atlas.hits("features.0:0")) > MAX_PLATE_HITS
        with pytest.raises(
            AtlasError, match=r"20,\d+ hits of features.0 are too many to draw; the"
        ):
            atlas.plate("features.0:0")
        site = make_site(atlas)
        with pytest.raises(AtlasError, match="too many to draw"):
            respond(site, "plate/features.0/0.max.patches.webp")
