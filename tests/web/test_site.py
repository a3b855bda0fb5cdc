"""The server and the export are one list of pages."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from posixpath import join, normpath

import pytest
from starlette.testclient import TestClient

from retroscope.errors import RetroscopeError
from retroscope.web.export import LIST, export, files_and_bytes, write_site
from retroscope.web.server import application
from retroscope.web.site.routes import FILES, PAGES, answer, every_path
from retroscope.web.site.site import Site, compared
from tests.web.making import LAYERS, NAMES, bare


@pytest.fixture
def client(site: Site) -> TestClient:
    return TestClient(application(site), base_url="http://localhost")


def test_what_is_served_is_what_is_exported(site: Site, written: Path, client: TestClient) -> None:
    for path in every_path(site):
        response = client.get("/" + path)
        assert response.status_code == 200, path
        assert response.content == (written / path).read_bytes(), path
    assert client.get("/").content == (written / "index.html").read_bytes()


def test_an_export_has_no_file_that_is_not_served(site: Site, written: Path) -> None:
    files = {str(file.relative_to(written)) for file in written.rglob("*") if file.is_file()}
    assert files == {*every_path(site), LIST, ".nojekyll"}


def test_every_row_of_the_list_is_in_the_export(site: Site) -> None:
    paths = set(every_path(site))
    for row in (*PAGES, *FILES):
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(row.pattern))
        ending = r"\.html" if row in PAGES else ""
        assert any(re.fullmatch(pattern + ending, path) for path in paths), row.pattern


def test_names_of_files_differ_by_more_than_their_case(site: Site) -> None:
    paths = [path.lower() for path in every_path(site)]
    assert len(paths) == len(set(paths))


def test_every_page_has_a_twin_that_is_json(site: Site) -> None:
    pages = [path for path in every_path(site) if path.endswith(".html")]
    for path in pages:
        twin = path.removesuffix(".html") + ".json"
        facts = json.loads(answer(site, twin).body, parse_constant=pytest.fail)
        assert isinstance(facts, dict)
        links = links_of(answer(site, path).body.decode())
        assert twin.rpartition("/")[2] in links, path


def test_every_link_leads_to_a_file_from_any_folder(site: Site, written: Path) -> None:
    for path in every_path(site):
        if path.endswith(".html"):
            for link in links_of((written / path).read_text("utf-8")):
                target = normpath(join(path, "..", link.partition("#")[0]))
                assert not link.startswith(("/", "http")), (path, link)
                assert link.startswith("#") or (written / target).is_file(), (path, link)


def test_a_name_cannot_put_markup_on_a_page(site: Site) -> None:
    for path in every_path(site):
        if path.endswith(".html"):
            page = answer(site, path).body.decode()
            assert "<i>wolves" not in page
            assert "é<b>" not in page


def test_the_page_of_a_unit_says_what_the_atlas_says(site: Site) -> None:
    facts = json.loads(answer(site, "unit/features.0/3.json").body)
    plate = site.atlas["features.0:3"]
    for shown, patch in zip(facts["rankings"]["max"]["hits"], plate.patches, strict=True):
        assert shown["score"] == patch.score
        assert shown["source"] == patch.source
        assert tuple(shown["position"]) == patch.position
        corners = (patch.box.top, patch.box.left, patch.box.bottom, patch.box.right)
        assert tuple(shown["box"]) == corners
        assert shown["projected"] == (patch.projection is not None)
    assert facts["stats"]["fired_images"] == plate.stats.fired_images
    assert [one["name"] for one in facts["stats"]["classes"]] == [
        one.label for one in plate.stats.classes
    ]


def test_an_atlas_without_projections_classes_or_statistics_is_shown(tmp_path: Path) -> None:
    with bare(tmp_path / "bare.atlas") as atlas:
        site = compared(atlas)
        write_site(site, tmp_path / "site")
        page = (tmp_path / "site/unit/features.0/2.html").read_text("utf-8")
        assert "It has no hits." in page
        assert "never fires" in page


def test_an_export_goes_over_an_earlier_one_and_over_nothing_else(tmp_path: Path) -> None:
    folder, atlas = tmp_path / "site", bare(tmp_path / "bare.atlas")
    export(atlas, folder)
    (folder / "mine.txt").write_text("kept")
    (folder / "other").mkdir()
    listed = (folder / LIST).read_text("utf-8")
    (folder / "gone.html").write_text("from before")
    (tmp_path / "outside.html").write_text("not ours")
    (folder / LIST).write_text(f"{listed}\ngone.html\n../outside.html")
    export(atlas, folder)
    assert (folder / "mine.txt").read_text() == "kept"
    assert not (folder / "gone.html").exists()
    assert (tmp_path / "outside.html").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").write_text("dear")
    with pytest.raises(RetroscopeError, match="no exported site"):
        export(atlas, tmp_path / "full")
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["letter.txt"]
    atlas.close()


def test_an_export_says_about_what_it_takes(site: Site, written: Path) -> None:
    files, size = files_and_bytes(site)
    sizes = [(written / path).stat().st_size for path in every_path(site)]
    assert files == len(sizes)
    assert 0.5 < size / sum(sizes) < 2


def test_a_layer_with_many_channels_has_further_pages(site: Site) -> None:
    many = next(layer for layer in LAYERS if layer.channels > 240)
    seen: list[int] = []
    path = next(
        one["href"]
        for one in json.loads(answer(site, "index.json").body)["layers"]
        if one["name"] == many.name
    )
    for page in json.loads(answer(site, path.replace(".html", ".json")).body)["pages"]:
        facts = json.loads(answer(site, page.replace(".html", ".json")).body)
        seen += [plate["channel"] for plate in facts["plates"]]
    assert seen == list(range(many.channels))


def test_classes_that_differ_in_case_alone_have_their_own_pages(site: Site) -> None:
    classes = json.loads(answer(site, "classes.json").body)["classes"]
    assert [one["name"] for one in classes] == list(NAMES)
    for one in classes:
        facts = json.loads(answer(site, one["href"].replace(".html", ".json")).body)
        assert facts["name"] == one["name"]


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
