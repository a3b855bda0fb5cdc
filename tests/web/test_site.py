"""The pages and files of a site, as a server sends them."""

import ast
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from posixpath import join, normpath
from typing import Any

import numpy as np
import PIL.Image
import pytest
from starlette.testclient import TestClient

from retroscope.atlas.queries.rankings import HitRanking
from retroscope.atlas.reader import open_atlas
from retroscope.atlas.schema import DEFAULT_RANKINGS, Ranking
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.geometry import Box
from retroscope.render.mosaics import draw_tiles
from retroscope.results.as_json import layer_json, patch_json, pattern_json, stats_json
from retroscope.results.caveats import projection_caveats
from retroscope.web.export import FILE_LIST, export, write_site
from retroscope.web.server import make_app
from retroscope.web.site import routes, site_files
from retroscope.web.site.pages import unit_hits, unit_pages
from retroscope.web.site.pages.plate_facts import VIEW_LETTERS
from retroscope.web.site.routes import FILES, PAGES, list_paths, respond
from retroscope.web.site.site import Site, make_site, open_site
from retroscope.web.site.site_files import PLATE_KINDS
from retroscope.web.site.urls import (
    FILE_URLS,
    LIVE_URLS,
    OTHER_FOLDER,
    PAGE_URLS,
    PARAM_PATTERNS,
    find_label_by_slug,
    find_layer_by_slug,
    label_slugs,
    label_urls,
    match_url,
    url_for,
    url_template,
)
from tests.web.packs import read_pages
from tests.web.sample_atlases import GRAPH, LAYERS, NAMES, bare_atlas, odd_atlas

SITE_FOLDER = Path(routes.__file__).parent


UNITS_LEFT_OUT = re.compile(r"add_2_b_~2/([3-9]\d|1\d\d)\b")
"""Most units of the large layer, which never fire: their pages are alike."""


def most_paths(site: Site) -> list[str]:
    """All paths but of units that are like others."""
    return [path for path in list_paths(site) if not UNITS_LEFT_OUT.search(path)]


@pytest.fixture
def client(site: Site) -> TestClient:
    return TestClient(make_app(site), base_url="http://localhost")


def test_what_is_served_is_what_the_table_says(site: Site, client: TestClient) -> None:
    for path in most_paths(site):
        response = client.get("/" + path)
        assert response.status_code == 200, path
        assert response.content == respond(site, path).body, path
    assert client.get("/").content == respond(site, "index.html").body


def test_every_row_of_the_tables_has_a_page_or_file(site: Site) -> None:
    paths = set(list_paths(site))
    for name, pattern in PAGE_URLS.items():
        assert any(match_url(f"{pattern}.html", path) is not None for path in paths), name
    for name, pattern in FILE_URLS.items():
        if name == "image_slice":  # of volumes alone: test_volumes.py
            continue
        assert any(match_url(pattern, path) is not None for path in paths), name


def test_the_routes_and_the_urls_have_the_same_names() -> None:
    assert [page.name for page in PAGES] == list(PAGE_URLS)
    assert [file.name for file in FILES] == list(FILE_URLS)
    assert PARAM_PATTERNS["kind"].split("|") == list(PLATE_KINDS)
    assert PARAM_PATTERNS["ranked_by"].split("|") == list(Ranking)


def test_a_url_is_read_back_as_what_it_was_made_from(site: Site) -> None:
    for layer in site.atlas.layers:
        path = url_for(site, "unit", layer=layer.name, channel=2)
        params = match_url(f"{PAGE_URLS['unit']}.html", path)
        assert params is not None
        assert find_layer_by_slug(site, params["layer"]) == layer
        template = url_template(site, "unit", layer=layer.name)
        assert template.replace("{channel}", "2") == path
    for label in site.atlas.labels:
        path = url_for(site, "class", label=label.name)
        assert path == label_urls(site)[label.name]
        params = match_url(f"{PAGE_URLS['class']}.html", path)
        assert params is not None
        assert find_label_by_slug(site, params["label"]) == label


def test_every_path_in_the_facts_of_a_page_is_one_of_the_site(site: Site) -> None:
    paths = set(list_paths(site))
    for path in paths:
        if path.endswith(".json"):
            folder = OTHER_FOLDER.format(number="")
            folder = folder if path.startswith(folder) else ""
            for link in paths_in(json.loads(respond(site, path).body), folder=folder):
                assert normpath(link) in paths, (path, link)


def paths_in(facts: object, *, folder: str, key: str = "") -> Iterator[str]:
    """The paths in the facts of a page, relative to the root of the whole site."""
    if isinstance(facts, dict):
        folder += str(facts.get("folder", ""))
        for name, value in facts.items():
            yield from paths_in(value, folder=folder, key=key if name.isdigit() else name)
    elif isinstance(facts, list):
        for value in facts:
            yield from paths_in(value, folder=folder, key=key)
    elif isinstance(facts, str) and key in PATH_KEYS:
        yield folder + facts


PATH_KEYS = {
    *("href", "class_href", "src", "plate", "patches", "projections", "lit", "contrast"),
    *("pages", "columns"),
    *("pattern", "comparison"),
}
"""The keys of paths; `plates` of a comparison has them in a list without a key."""


def test_every_path_in_a_script_is_one_of_the_site(site: Site) -> None:
    paths = set(list_paths(site))
    names = script_facts(respond(site, "names.js").body)
    assert {entry["href"] for entry in (*names["layers"], *names["classes"])} <= paths
    for layer in names["layers"]:
        for channel in range(layer["channels"]):
            assert layer["units"].format(channel=channel) in paths
        columns_path = layer["href"].replace(".html", ".js")
        facts = script_facts(respond(site, columns_path).body)
        columns = facts["columns"]
        for channel, has_pattern, kinds in zip(
            columns["channel"], columns["pattern"], columns["plates"], strict=True
        ):
            assert facts["units"].format(channel=channel) in paths
            assert not has_pattern or facts["patterns"].format(channel=channel) in paths
            for ranked_by, letters in zip(DEFAULT_RANKINGS, kinds, strict=True):
                for kind in (kind for kind, letter in VIEW_LETTERS.items() if letter in letters):
                    values = {"channel": channel, "ranked_by": ranked_by, "kind": kind}
                    assert facts["plates"].format_map(values) in paths


def test_the_page_of_the_readers_image_names_the_live_route(site: Site) -> None:
    facts = json.loads(respond(site, "mine.json").body)
    assert facts["analysis"] == LIVE_URLS["analysis"]


def script_facts(script: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(script.decode().partition(" = ")[2].removesuffix(";\n"))
    return facts


@pytest.mark.parametrize("folder", ["", "pages", "../live"])
def test_no_module_but_urls_writes_a_path(folder: str) -> None:
    """A path is `url_for(...)`; the table of routes names templates and endings.

    The page of an explanation is a file of its own, without a route, and names its template. The
    file of notes is beside the atlas, not in the site.
    """
    for file in (SITE_FOLDER / folder).glob("*.py"):
        if file.name not in {"urls.py", "routes.py", "explanation_page.py", "notes.py"}:
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = node.value
                    is_path = re.fullmatch(r"[^\s`]*(/|\.(html|json|js|webp))", text)
                    assert not is_path or text in {"/", "../"}, (file.name, text)


def test_no_template_and_no_script_writes_a_path() -> None:
    for file in (SITE_FOLDER / "templates").glob("*.html"):
        links = re.findall(r' (?:href|src|action)="((?:{{.*?}}|[^"{])*)"', file.read_text("utf-8"))
        for link in links:
            assert re.fullmatch(r"({{.*?}})+|#\w+", link), (file.name, link)
    for file in (SITE_FOLDER / "assets").glob("*.js"):
        for text in re.findall(r"[\"`']([^\"`'\n]*)[\"`']", file.read_text("utf-8")):
            assert not re.search(r"\.(html|json|js|webp)$", text), (file.name, text)


def test_names_of_files_differ_by_more_than_their_case(site: Site) -> None:
    paths = [path.lower() for path in list_paths(site)]
    assert len(paths) == len(set(paths))


def test_every_page_has_a_twin_that_is_json(site: Site) -> None:
    pages = [path for path in most_paths(site) if path.endswith(".html")]
    for path in pages:
        twin = path.removesuffix(".html") + ".json"
        facts = json.loads(respond(site, twin).body, parse_constant=pytest.fail)
        assert isinstance(facts, dict)
        links = links_of(respond(site, path).body.decode())
        assert twin.rpartition("/")[2] in links, path


def test_every_link_leads_to_a_file_from_any_folder(site: Site) -> None:
    paths = set(list_paths(site))
    for path in most_paths(site):
        if path.endswith(".html"):
            for link in links_of(respond(site, path).body.decode()):
                target = normpath(join(path, "..", link.partition("#")[0]))
                assert not link.startswith(("/", "http")), (path, link)
                assert link.startswith("#") or target in paths, (path, link)


def test_a_name_cannot_put_markup_on_a_page(site: Site) -> None:
    for path in most_paths(site):
        if path.endswith(".html"):
            page = respond(site, path).body.decode()
            assert "<i>wolves" not in page
            assert "é<b>" not in page


def test_small_patches_keep_their_pixels_on_every_page(site: Site) -> None:
    for path in ("class/cats.html", "unit/features.0/3.html", "compare/features.0.html"):
        plates = re.findall(rb"<img[^>]*/features\.0/[^>]*>", respond(site, path).body)
        assert plates
        assert all(b'class="pixels"' in plate for plate in plates), path


def test_the_page_of_a_unit_has_the_json_of_its_results(site: Site) -> None:
    """The same keys and values as on the command line; a page may add more."""
    for channel in range(12):
        facts = json.loads(respond(site, f"unit/features.0/{channel}.json").body)
        plate = site.atlas[f"features.0:{channel}"]
        assert_contains(facts["layer"], layer_json(plate.layer))
        assert_contains(facts["stats"], stats_json(plate.stats))
        for hit, patch in zip(facts["rankings"]["max"]["hits"], plate.patches, strict=True):
            assert_contains(hit, patch_json(patch))
        for pattern, stored in zip(facts["patterns"], site.atlas.patterns(plate.unit), strict=True):
            expected = pattern_json(stored)
            assert_contains(expected, {key: pattern[key] for key in pattern.keys() & expected})
            assert pattern.keys() - expected == {"src"}


def test_tiles_show_the_fields_clipped_to_their_images_at_one_scale(site: Site) -> None:
    for params in unit_pages.list_units(site):
        ranking = unit_pages.unit(site, params)["rankings"]["max"]
        for hit in ranking["hits"]:
            if hit["size"] is not None:
                window = Box(*hit["window"])
                assert window == Box(*hit["box"]).clip(*hit["size"])
                assert max(window.height, window.width) <= ranking["cell"]


def test_a_plate_of_clipped_fields_is_transparent_around_them(site: Site) -> None:
    blobs = (site_files.plate(site, params) for params in site_files.list_plates(site))
    plates = [PIL.Image.open(BytesIO(blob)) for blob in blobs]
    assert all(plate.width == plate.height for plate in plates)
    transparent = [plate for plate in plates if plate.mode == "RGBA"]
    assert transparent
    assert all(plate.getchannel("A").getextrema() == (0, 255) for plate in transparent)


def assert_contains(facts: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if key == "classes":
            for entry, expected_entry in zip(facts[key], value, strict=True):
                assert_contains(entry, expected_entry)
        else:
            assert facts[key] == value, key


def test_an_atlas_without_projections_classes_or_statistics_is_shown(tmp_path: Path) -> None:
    with bare_atlas(tmp_path / "bare.atlas") as atlas:
        site = make_site(atlas)
        write_site(site, tmp_path / "site")
        page = read_pages(tmp_path / "site/unit/features.0/0-31.js")["2"]
        assert "No hits." in page
        assert "never fires" in page


def test_a_scan_without_statistics_of_classes_claims_none(tmp_path: Path) -> None:
    """No unit responds to a class most, as far as is known; that is not zero units."""
    path = tmp_path / "odd.atlas"
    odd_atlas(path).close()
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_meta({"with_classes": False})
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("DELETE FROM class_stats")
        file.execute("UPDATE channels SET top_label = NULL")
    with open_atlas(path) as atlas:
        site = make_site(atlas)
        for page in ("classes", f"class/{next(iter(label_slugs(site).values()))}"):
            text = respond(site, f"{page}.html").body.decode()
            assert "This scan left out the statistics of classes." in text
            assert "respond" not in text
            assert "selectiv" not in text
        names = respond(site, "names.html").body.decode()
        assert "respond most" not in names


def test_what_a_unit_adds_has_a_plate_where_the_atlas_has_it(tmp_path: Path) -> None:
    path = tmp_path / "odd.atlas"
    with odd_atlas(path) as atlas:
        projection = atlas["features.0:3"].patches[0].projection
    assert projection is not None
    with AtlasWriter(path) as writer, writer.transaction():
        hits = writer.missing_projections("features.0", rules="contrast")
        hit = next(hit for hit in hits if hit.channel == 3)
        writer.put_projection(hit.image, replace(projection, rules="contrast"))
    with open_atlas(path) as atlas:
        site = make_site(atlas)
        layer = atlas.layer("features.0")
        without, with_it = (
            unit_hits.galleries(site, layer, channel, rankings=[HitRanking()])[HitRanking()]
            for channel in (2, 3)
        )
        assert without["contrast"] is None
        assert respond(site, with_it["contrast"]).body
        listed = [p for p in site_files.list_plates(site) if p["kind"] == "contrast"]
        assert {plate["channel"] for plate in listed} == {"3"}


def test_a_lit_plate_is_the_lit_patches_of_the_channel(site: Site) -> None:
    facts = json.loads(respond(site, "unit/features.0/3.json").body)
    for ranked_by, ranking in facts["rankings"].items():
        patches = site.atlas.plate("features.0:3", ranked_by=ranked_by).patches
        plate = np.asarray(PIL.Image.open(BytesIO(respond(site, ranking["lit"]).body)))
        for number, patch in enumerate(patches):
            row, column = divmod(number, 3)
            cell = plate[row * ranking["cell"] :, column * ranking["cell"] :]
            top, left = ((ranking["cell"] - side) // 2 for side in patch.pixels.shape[:2])
            [lit] = draw_tiles([patch], "lit", factor=1)
            assert lit is not None
            shown = cell[top : top + lit.height, left : left + lit.width, :3]
            np.testing.assert_array_equal(shown, np.asarray(lit))


@pytest.mark.parametrize("rules", ["deconvnet", "guided", "relevance"])
def test_a_unit_page_speaks_of_the_rules_of_its_projections(tmp_path: Path, rules: str) -> None:
    path = tmp_path / "odd.atlas"
    odd_atlas(path).close()
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("UPDATE projections SET rules = ?", [rules])
        file.execute("INSERT OR REPLACE INTO meta VALUES ('rules', ?)", [json.dumps(rules)])
    with open_site(path) as site:
        facts = json.loads(respond(site, "unit/features.0/3.json").body)
        page = respond(site, "unit/features.0/3.html").body.decode()
    (caveat,) = projection_caveats([rules])
    assert (facts["rules"], facts["caveat"]) == (rules, caveat)
    assert f'Projections <span class="note">{rules}</span>' in page
    assert 'aria-label="Lit patch 1"' in page
    others = {"deconvnet", "guided", "relevance"} - {rules}
    assert not any(other in page for other in others)


def test_an_export_goes_over_an_earlier_one_and_over_nothing_else(tmp_path: Path) -> None:
    folder, atlas = tmp_path / "site", bare_atlas(tmp_path / "bare.atlas")
    export(atlas, folder)
    (folder / "mine.txt").write_text("kept")
    (folder / "other").mkdir()
    listed = (folder / FILE_LIST).read_text("utf-8")
    (folder / "gone.html").write_text("from before")
    (tmp_path / "outside.html").write_text("not ours")
    (folder / FILE_LIST).write_text(f"{listed}\ngone.html\n../outside.html")
    export(atlas, folder)
    assert (folder / "mine.txt").read_text() == "kept"
    assert not (folder / "gone.html").exists()
    assert (tmp_path / "outside.html").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    with pytest.raises(RetroscopeError, match="not an exported site"):
        export(atlas, tmp_path / "full")
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["letter.txt"]
    atlas.close()


def test_the_network_page_has_its_graph_and_units_of_several_depths(site: Site) -> None:
    facts = json.loads(respond(site, "index.json").body)
    names = [layer.name for layer in LAYERS]
    steps = facts["graph"]["steps"]
    assert [(step["layer"], step["inputs"]) for step in steps] == [
        (names[step.step], list(step.inputs)) for step in GRAPH
    ]
    drawn = [node for piece in facts["graph"]["pieces"] for node in piece["nodes"]]
    assert [node["href"] for node in drawn if node["href"]] == [
        layer["href"] for layer in facts["layers"]
    ]
    units = [unit["unit"].rpartition(":")[0] for unit in facts["highlights"]]
    assert len(set(units)) > 1
    assert units == sorted(units, key=names.index, reverse=True)
    dead = [str(unit) for unit in site.atlas if site.atlas.stats(unit).dead]
    assert not {unit["unit"] for unit in facts["highlights"]} & set(dead)


def test_a_network_without_a_stored_graph_has_its_list(tmp_path: Path) -> None:
    with bare_atlas(tmp_path / "bare.atlas") as atlas:
        page = respond(make_site(atlas), "index.html").body.decode()
    assert 'class="layers"' in page
    assert "Graph of the network" not in page


def test_a_layer_with_many_channels_has_further_pages(site: Site) -> None:
    many = next(layer for layer in LAYERS if layer.channels > 240)
    seen: list[int] = []
    path = next(
        one["href"]
        for one in json.loads(respond(site, "index.json").body)["layers"]
        if one["name"] == many.name
    )
    for page in json.loads(respond(site, path.replace(".html", ".json")).body)["pages"]:
        facts = json.loads(respond(site, page.replace(".html", ".json")).body)
        seen += [plate["channel"] for plate in facts["plates"]]
    assert seen == list(range(many.channels))


def test_classes_that_differ_in_case_alone_have_their_own_pages(site: Site) -> None:
    classes = json.loads(respond(site, "classes.json").body)["classes"]
    assert [one["label"] for one in classes] == list(NAMES)
    for one in classes:
        facts = json.loads(respond(site, one["href"].replace(".html", ".json")).body)
        assert facts["label"] == one["label"]


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.found += [value for name, value in attrs if name in {"href", "src"} and value]


def links_of(page: str) -> list[str]:
    parser = _Links()
    parser.feed(page)
    return parser.found
