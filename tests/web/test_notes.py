"""Stars and notes: beside the atlas, written by its own pages alone, exported if asked for."""

import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from retroscope.errors import RetroscopeError
from retroscope.web import note_route
from retroscope.web.export import export
from retroscope.web.note_route import note_routes
from retroscope.web.server import make_app
from retroscope.web.site.notes import MAX_TEXT, Note, Notes, NotesError, notes_of
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site, open_site
from tests.web.conftest import Looks, Serves
from tests.web.sample_atlases import odd_atlas

UNIT = "features.0:3"
JSON = {"content-type": "application/json"}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Site]:
    """A site whose notes can be written."""
    with odd_atlas(tmp_path / "own.atlas") as atlas:
        yield replace(make_site(atlas), notes=notes_of(atlas.path, writable=True))


@pytest.fixture
def notes(own: Site) -> Notes:
    assert own.notes is not None
    return own.notes


@pytest.fixture
def client(own: Site) -> TestClient:
    return TestClient(make_app(own, routes=note_routes(own)), base_url="http://127.0.0.1:8000")


def body(unit: object = UNIT, star: object = True, text: object = "") -> str:
    return json.dumps({"unit": unit, "star": star, "text": text})


def test_a_note_is_kept_beside_the_atlas_and_not_in_it(
    client: TestClient, own: Site, notes: Notes
) -> None:
    atlas = own.atlas.path.read_bytes()
    answer = client.post("/note", content=body(text="  an eye \n"), headers=JSON)
    assert answer.json() == {"unit": UNIT, "star": True, "text": "an eye"}
    assert notes.path == own.atlas.path.with_name("own.notes.json")
    assert Notes(notes.path, writable=False).read() == {UNIT: Note(star=True, text="an eye")}
    assert own.atlas.path.read_bytes() == atlas


def test_an_alias_is_stored_under_the_name_of_its_layer(client: TestClient, notes: Notes) -> None:
    client.post("/note", content=body("conv1_1:3"), headers=JSON)
    assert list(notes.read()) == [UNIT]


def test_a_note_without_star_and_text_is_gone(client: TestClient, notes: Notes) -> None:
    for star in (True, False):
        client.post("/note", content=body(star=star), headers=JSON)
    assert notes.read() == {}


@pytest.mark.parametrize(
    "content",
    [
        body("features.0"),
        body("features.0:99"),
        body("features.0:3@1,1"),
        body("gone:3"),
        body(5),
        body(star="yes"),
        body(text=None),
        body(text="x" * (MAX_TEXT + 1)),
        "[]",
        "{",
        "",
        "[" * 30_000,
        "x" * 100_000,
    ],
)
def test_anything_but_a_note_is_refused_in_one_line(
    client: TestClient, notes: Notes, content: str
) -> None:
    answer = client.post("/note", content=content, headers=JSON)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]
    assert not notes.path.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
    ],
)
def test_other_sites_cannot_write(
    client: TestClient, notes: Notes, headers: dict[str, str]
) -> None:
    answer = client.post("/note", content=body(), headers={**JSON, **headers})
    assert answer.status_code in {403, 421}
    assert not notes.path.exists()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_form_cannot_write(client: TestClient, notes: Notes, kind: str) -> None:
    """What a page of another site can send without asking first."""
    answer = client.post("/note", content=body(), headers={"content-type": kind})
    assert answer.status_code == 400
    assert not notes.path.exists()


def test_a_site_that_only_shows_notes_has_no_route_to_write_them(own: Site) -> None:
    for shown in (None, notes_of(own.atlas.path)):
        assert note_routes(replace(own, notes=shown)) == []


def test_a_server_for_others_shows_no_notes(monkeypatch: pytest.MonkeyPatch, own: Site) -> None:
    from retroscope.web import server

    apps: list[object] = []
    monkeypatch.setattr(server, "_run", lambda app, _socket: apps.append(app))
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - the case in question
        server.serve(own.atlas, host=host, browser=False)
    for app, status in zip(apps, (200, 404), strict=True):
        client = TestClient(app, base_url="http://127.0.0.1:8000")  # type: ignore[arg-type]
        assert client.get("/notes.html").status_code == status
        assert ("notes.js" in client.get("/index.html").text) == (status == 200)
        posted = client.post("/note", content=body(), headers=JSON)
        assert (posted.status_code == 200) == (status == 200)


def test_many_writers_at_once_lose_nothing(notes: Notes) -> None:
    start = threading.Barrier(8)

    def write(writer: int) -> None:
        start.wait()
        for channel in range(5):
            notes.put(f"features.0:{5 * writer + channel}", Note(text=str(writer)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(notes.read()) == 40
    assert [file.name for file in notes.path.parent.glob("*notes*")] == [notes.path.name]


def test_a_crash_while_writing_leaves_the_old_notes(
    notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes.put(UNIT, Note(text="old"))

    def crash(*_names: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(NotesError, match=r"cannot be written \(No space left on device\)"):
        notes.put(UNIT, Note(text="new"))
    monkeypatch.undo()
    assert notes.read() == {UNIT: Note(text="old")}
    assert len(list(notes.path.parent.glob("*notes*"))) == 1


@pytest.mark.parametrize("data", ["{", "[]", '{"notes": 5}', '{"notes": {"a:1": {"star": 1}}}'])
def test_a_file_that_is_something_else_is_named_and_left_alone(notes: Notes, data: str) -> None:
    notes.path.write_text(data)
    with pytest.raises(NotesError, match=r"own.notes.json.*move it away"):
        notes.put(UNIT, Note(star=True))
    assert notes.path.read_text() == data


def test_a_link_is_not_followed(notes: Notes, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text('{"notes": {}}')
    notes.path.symlink_to(tmp_path / "secret.json")
    with pytest.raises(NotesError, match="is a link"):
        notes.read()
    with pytest.raises(NotesError, match="is a link"):
        notes.put(UNIT, Note(star=True))
    assert (tmp_path / "secret.json").read_text() == '{"notes": {}}'


def test_the_page_lists_notes_layer_by_layer_and_those_of_lost_units(site: Site) -> None:
    facts = json.loads(respond(site, "notes.json").body)
    assert [(note["unit"], note["star"], note["text"]) for note in facts["notes"]] == [
        ("features.0:3", True, "a <b>disc</b>"),
        ("features.0:5", False, "an edge"),
    ]
    assert facts["lost"] == [{"unit": "gone:1", "star": True, "text": ""}]
    assert "a &lt;b&gt;disc" in respond(site, "notes.html").body.decode()


def test_an_export_has_notes_only_if_they_are_asked_for(own: Site, tmp_path: Path) -> None:
    assert own.notes is not None
    own.notes.put(UNIT, Note(text="secret thought"))
    for name, wanted in (("without", False), ("with", True)):
        export(own.atlas, tmp_path / name, layers=["features.0"], notes=wanted)
        pages = [file for file in (tmp_path / name).rglob("*") if file.suffix in {".html", ".js"}]
        assert any("secret thought" in file.read_text("utf-8") for file in pages) == wanted
        assert (tmp_path / name / "notes.html").exists() == wanted
    script = (tmp_path / "with/notes.js").read_text("utf-8")
    assert json.loads(script.partition(" = ")[2].removesuffix(";\n"))["target"] is None


def test_a_star_and_a_note_are_saved_found_and_shown(
    own: Site, notes: Notes, look: Looks, serve: Serves
) -> None:
    address = serve(make_app(own, routes=note_routes(own)))
    page = look(f"{address}unit/features.0/3.html", viewport={"width": 1280, "height": 900})
    page.keyboard.press("f")
    page.locator("#note-status").filter(has_text="Saved").wait_for()
    page.keyboard.press("n")
    page.keyboard.type("a disc")
    page.keyboard.press("Tab")
    page.locator("#note-status").filter(has_text="Saved").wait_for()
    while notes.read() != {UNIT: Note(star=True, text="a disc")}:
        page.wait_for_timeout(50)
    page.reload()
    assert page.locator("#note-text").input_value() == "a disc"
    assert page.locator("#star").get_attribute("aria-pressed") == "true"
    page.fill("#search", "disc")
    page.locator("#search-results b").filter(has_text=UNIT).wait_for()
    page.goto(f"{address}notes.html")
    assert page.locator(".plate").inner_text().endswith("a disc")
    page.goto(f"{address}index.html")
    starred = page.locator("a.starred").first
    assert str(starred.get_attribute("href")).endswith("unit/features.0/3.html")


def test_a_note_that_is_not_saved_says_so(own: Site, look: Looks, serve: Serves) -> None:
    page = look("about:blank")
    page.route(
        "**/note", lambda route: route.fulfill(json={"error": "the disk is full"}, status=200)
    )
    page.goto(f"{serve(make_app(own, routes=note_routes(own)))}unit/features.0/3.html")
    page.locator("#star").click()
    page.locator("#note-status").filter(has_text="Not saved: the disk is full").wait_for()


def test_notes_that_can_only_be_read_cannot_be_changed(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html")
    assert page.locator("#note-text").input_value() == "a <b>disc</b>"
    assert page.locator("#note-text").get_attribute("readonly") is not None
    assert page.locator("#star").is_disabled()
    page.goto(f"{served}unit/features.0/4.html")
    assert not page.locator("#note").is_visible()


def test_a_server_refuses_a_file_of_notes_that_it_cannot_read(
    own: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retroscope.web import server

    monkeypatch.setattr(server, "_run", lambda *_: None)
    notes_of(own.atlas.path).path.write_text("{")
    with pytest.raises(RetroscopeError, match="move it away"):
        server.serve(own.atlas.path, browser=False)
    with open_site(own.atlas.path) as site:
        assert site.notes is None


def test_a_body_without_end_is_cut_off(client: TestClient, notes: Notes) -> None:
    def endless() -> Iterator[bytes]:
        yield from [b"x" * 1024] * 4096

    answer = client.post("/note", content=endless(), headers=JSON)
    assert f"{note_route._MAX_BYTES // 1024} KB" in answer.json()["error"]
    assert not notes.path.exists()
