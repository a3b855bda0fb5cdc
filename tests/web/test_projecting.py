"""Projections on demand: promised by pages, made by the network behind them, and shown in place."""

import json
import re
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from shutil import copyfile
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import retroscope as rs
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.progress import Progress
from retroscope.unit import Unit
from retroscope.web import server
from retroscope.web.export import export
from retroscope.web.live import projection_jobs
from retroscope.web.live.projection_jobs import ProjectionJobs, ProjectionTask
from retroscope.web.live.projection_routes import projection_routes
from retroscope.web.live.scanned_images import ScannedSource
from retroscope.web.server import make_app
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site
from retroscope.web.site.templating import render_anywhere
from tests.scanning.scans import write_images
from tests.web.conftest import SIDE, Looks, Serves
from tests.web.packs import read_pages

if TYPE_CHECKING:
    from playwright.sync_api import Page

UNIT, LAYER, DEADLINE = "3:2", "3", 60
JSON = {"accept": "application/json"}
AXE = Path(__file__).parent.parent / "vendor" / "axe.min.js"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("scan") / "photos", 12)


@pytest.fixture(scope="module")
def scanned(net: rs.Network, photos: Path) -> Path:
    """An atlas without any projection."""
    path = photos.parent / "scanned.atlas"
    rs.scan(net, photos, to=path, layers="conv", projections="none").close()
    return path


@pytest.fixture
def atlas(scanned: Path, tmp_path: Path) -> Iterator[Atlas]:
    """A copy of it to write to."""
    copyfile(scanned, tmp_path / "own.atlas")
    with open_atlas(tmp_path / "own.atlas") as opened:
        yield opened


@pytest.fixture
def site(atlas: Atlas) -> Site:
    return replace(make_site(atlas), can_project=True)


@pytest.fixture
def jobs(atlas: Atlas, net: rs.Network) -> Iterator[ProjectionJobs]:
    with ProjectionJobs(ScannedSource(atlas, net)) as jobs:
        yield jobs


@pytest.fixture
def app(site: Site, net: rs.Network, jobs: ProjectionJobs) -> Any:
    return make_app(site, routes=projection_routes(site, net, jobs))


@pytest.fixture
def client(app: Any) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8000")


def page(site: Site, path: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(respond(site, f"{path}.json").body)
    return facts


def wait(client: TestClient, job: dict[str, Any]) -> dict[str, Any]:
    """What has become of a job, as a page asks for it."""
    end = time.monotonic() + DEADLINE
    while job["active"] and time.monotonic() < end:
        time.sleep(0.02)
        job = client.get(f"/{job['json']}").json()
    return job


def project(client: TestClient, unit: str, hits: str = "all") -> dict[str, Any]:
    answer = client.post("/project", data={"unit": unit, "hits": hits}, headers=JSON)
    assert answer.status_code == 202
    return wait(client, answer.json())


def missing_hits(atlas: Atlas, **selection: Any) -> int:
    """Counted by whoever makes them."""
    with AtlasWriter(atlas.path) as writer:
        hits = list(writer.missing_projections(rules=atlas.rules, **selection))
    return len(hits)


def test_pages_count_the_missing_hits_as_whoever_makes_them(site: Site) -> None:
    facts = page(site, f"layer/{LAYER}")["missing"]
    assert facts["hits"] == missing_hits(site.atlas, layer=LAYER)
    assert facts["best_hits"] == missing_hits(site.atlas, layer=LAYER, ranks=1)
    assert page(site, "index")["missing"]["hits"] == missing_hits(site.atlas)


def test_a_unit_is_projected_and_stored_as_illustrate_does(
    client: TestClient, site: Site, net: rs.Network, scanned: Path
) -> None:
    before = page(site, "unit/3/2")
    assert before["missing"]["hits"] > 0
    job = project(client, UNIT)
    assert (job["state"], job["completed"]) == ("done", before["missing"]["hits"])
    path = site.atlas.path.with_name("other.atlas")
    copyfile(scanned, path)
    rs.illustrate(path, net, units=[UNIT])
    with open_atlas(path) as other:
        for ranking in ("max", "mean"):
            for own, same in zip(
                site.atlas.plate(UNIT, ranked_by=ranking).patches,
                other.plate(UNIT, ranked_by=ranking).patches,
                strict=True,
            ):
                assert own.projection is not None
                assert same.projection is not None
                assert np.array_equal(own.projection.pixels, same.projection.pixels)
    after = page(site, "unit/3/2")
    assert after["missing"] is None
    assert after["rankings"]["max"]["missing"] is None
    assert {"projections", "lit"} <= set(after["views"])


def test_the_best_hits_of_a_layer_are_those_that_the_page_offers(
    client: TestClient, site: Site
) -> None:
    offered = page(site, f"layer/{LAYER}")["missing"]
    estimate = client.post("/project/estimate", data={"unit": LAYER, "hits": "best"}).json()
    assert estimate["hits"] == offered["best_hits"]
    assert estimate["seconds"] > 0
    job = project(client, LAYER, "best")
    assert job["completed"] == offered["best_hits"]
    left = page(site, f"layer/{LAYER}")["missing"]
    assert (left["best_hits"], left["hits"]) == (0, offered["hits"] - offered["best_hits"])


def test_rules_that_the_atlas_is_shown_with_stay(
    client: TestClient, site: Site, net: rs.Network
) -> None:
    rs.illustrate(site.atlas.path, net, units=["3:1"], rules="guided")
    with AtlasWriter(site.atlas.path) as writer, writer.transaction():
        writer.put_meta({"rules": "guided"})
    project(client, UNIT)
    assert site.atlas.rules == "guided"
    assert all(
        patch.projection is not None and patch.projection.rules == "guided"
        for patch in site.atlas.plate(UNIT).patches
    )


Illustrate = Callable[..., None]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """In place of the projections, work that lasts until this event or its listener ends it."""
    end = Event()

    def work(*_arguments: object, progress: Callable[[Progress], None], **_options: object) -> None:
        while not end.wait(0.01):
            progress(Progress("illustrate", 5, 90, skipped=0, seconds=1.0))

    monkeypatch.setattr(projection_jobs, "illustrate", work)
    yield end
    end.set()


def test_work_that_is_stopped_says_what_is_stored(client: TestClient, slow: Event) -> None:
    del slow
    job = client.post("/project", data={"unit": LAYER, "hits": "all"}, headers=JSON).json()
    while not job["completed"]:
        job = client.get(f"/{job['json']}").json()
    assert (job["state"], job["total"], job["seconds_left"]) == ("running", 90, 17.0)
    client.post(f"/{job['stop']}")
    job = wait(client, job)
    assert job["state"] == "stopped"
    assert job["message"] == "Stopped; 5 projections made and stored."


def test_work_that_nobody_asks_about_ends(
    jobs: ProjectionJobs, slow: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    del slow
    monkeypatch.setattr(projection_jobs, "_ABANDONED_SECONDS", 0.05)
    job = jobs.start(ProjectionTask(Unit(LAYER), 1))
    end = time.monotonic() + DEADLINE
    while job.state.is_active and time.monotonic() < end:
        time.sleep(0.01)
    assert job.state == "stopped"


def test_the_same_work_runs_once_and_other_work_waits(client: TestClient, slow: Event) -> None:
    def start(unit: str) -> dict[str, Any]:
        answer = client.post("/project", data={"unit": unit, "hits": "all"}, headers=JSON)
        facts: dict[str, Any] = answer.json() | {"status": answer.status_code}
        return facts

    first, again, other = start(LAYER), start("conv2"), start("3:1")
    assert first["json"] == again["json"], "an alias of the layer"
    assert other["json"] != first["json"]
    assert other["state"] == "waiting"
    refused = [start(f"0:{channel}") for channel in range(6)] + [start("3:4"), start("3:5")]
    assert refused[-1]["status"] == 429
    assert "too many" in refused[-1]["error"]
    slow.set()
    assert wait(client, other)["state"] == "done"


def test_an_error_of_our_own_ends_the_work_too(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(projection_jobs, "illustrate", fail)
    job = project(client, UNIT)
    assert (job["state"], job["message"]) == ("failed", "Internal error; see the terminal.")
    assert "ZeroDivisionError" in caplog.text


def test_closing_stops_the_work(atlas: Atlas, net: rs.Network, slow: Event) -> None:
    del slow
    with ProjectionJobs(ScannedSource(atlas, net)) as jobs:
        job = jobs.start(ProjectionTask(Unit(LAYER), 1))
    assert not job.state.is_active


def test_an_atlas_that_another_process_writes_says_so(client: TestClient, site: Site) -> None:
    with AtlasWriter(site.atlas.path):
        job = project(client, UNIT)
    assert job["state"] == "failed"
    assert "nother scan is writing" in job["message"]
    assert not job["needs_images"]


def test_images_that_have_moved_can_be_given(
    net: rs.Network, site: Site, photos: Path, tmp_path: Path
) -> None:
    with AtlasWriter(site.atlas.path) as writer, writer.transaction():
        writer.put_meta({"source": str(tmp_path / "gone")})
    with ProjectionJobs(ScannedSource(site.atlas, net)) as jobs:
        app = make_app(site, routes=projection_routes(site, net, jobs))
        job = project(TestClient(app, base_url="http://127.0.0.1:8000"), UNIT)
    assert job["state"] == "failed"
    assert f"no longer at {str(tmp_path / 'gone')!r}" in job["message"]
    assert job["needs_images"]
    with ProjectionJobs(ScannedSource(site.atlas, net, photos)) as jobs:
        app = make_app(site, routes=projection_routes(site, net, jobs))
        assert project(TestClient(app, base_url="http://127.0.0.1:8000"), UNIT)["state"] == "done"


def test_an_image_that_has_changed_is_named(net: rs.Network, site: Site, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "photos", 12)
    changed = site.atlas.plate(UNIT).patches[0].source
    Image.new("RGB", (SIDE, SIDE), "red").save(folder / changed)
    with ProjectionJobs(ScannedSource(site.atlas, net, folder)) as jobs:
        app = make_app(site, routes=projection_routes(site, net, jobs))
        job = project(TestClient(app, base_url="http://127.0.0.1:8000"), UNIT)
    assert job["state"] == "failed"
    assert changed in job["message"]
    assert "has changed" in job["message"]
    assert "\n" not in job["message"]


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"unit": UNIT},
        {"unit": UNIT, "hits": "7"},
        {"unit": "3:999", "hits": "all"},
        {"unit": "gone", "hits": "all"},
        {"unit": "3:2@1,1", "hits": "all"},
        {"unit": "x" * 20_000, "hits": "all"},
    ],
)
@pytest.mark.parametrize("path", ["/project", "/project/estimate"])
def test_a_wrong_request_is_refused_in_one_line(
    client: TestClient, jobs: ProjectionJobs, path: str, form: dict[str, str]
) -> None:
    answer = client.post(path, data=form)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]
    assert not jobs.jobs


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"host": "evil.example"},
    ],
)
def test_other_sites_cannot_start_or_stop_work(
    client: TestClient, jobs: ProjectionJobs, headers: dict[str, str]
) -> None:
    for path in ("/project", "/project/estimate", "/project/1/stop"):
        answer = client.post(path, data={"unit": UNIT, "hits": "all"}, headers=headers)
        assert answer.status_code in {403, 421}
    assert not jobs.jobs


def test_work_that_does_not_exist_is_not_found(client: TestClient) -> None:
    for path in ("/project/1.json", "/project/1.html", "/project/x.html"):
        assert client.get(path).status_code == 404
    assert client.post("/project/1/stop").status_code == 404


def test_a_page_without_scripts_is_led_to_the_work_and_back(client: TestClient) -> None:
    form = {"unit": UNIT, "hits": "all"}
    answer = client.post("/project", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/project/1.html")
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        shown = client.get("/project/1.html", follow_redirects=False)
        if shown.status_code == 303:
            break
        assert '<meta http-equiv="refresh" content="2">' in shown.text
    assert shown.headers["location"] == "/unit/3/2.html"


def test_only_a_server_with_a_network_offers_to_project(site: Site) -> None:
    promising = replace(site, can_project=False)
    for path in ("unit/3/2.html", f"layer/{LAYER}.html"):
        offered, promised = (respond(one, path).body.decode() for one in (site, promising))
        assert ('class="offer"' in offered, 'class="note promise"' in offered) == (True, False)
        assert ('class="offer"' in promised, 'class="note promise"' in promised) == (False, True)


@pytest.mark.parametrize(("host", "can_project"), [("127.0.0.1", True), ("0.0.0.0", False)])  # noqa: S104 - not bound
def test_only_this_machine_projects(
    atlas: Atlas, net: rs.Network, monkeypatch: pytest.MonkeyPatch, *, host: str, can_project: bool
) -> None:
    """The atlas is written, as notes are."""
    apps: list[Any] = []
    monkeypatch.setattr(server, "open_socket", lambda *_: nullcontext())
    monkeypatch.setattr(server, "_address", lambda *_: "")
    monkeypatch.setattr(server, "_run", lambda app, _socket: apps.append(app))
    rs.serve(atlas, net=net, host=host, browser=False)
    client = TestClient(apps[0], base_url="http://127.0.0.1:8000")
    assert ('class="offer"' in client.get("/unit/3/2.html").text) == can_project
    answer = client.post("/project/estimate", data={"unit": UNIT, "hits": "best"})
    assert answer.status_code == (200 if can_project else 405)


def promised_commands(site: Site, path: str) -> list[str]:
    """The commands that a page offers to copy, of those that make projections."""
    html = respond(site, f"{path}.html").body.decode()
    promises = re.findall(r'class="note promise">.*?data-copy="(.*?)"', html, re.DOTALL)
    return [unescape(command) for command in promises]


def test_the_commands_of_a_promise_make_what_is_missing(
    site: Site, net: rs.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run as a shell would, but for the network, which has no name there."""
    from retroscope.cli.main import main
    from retroscope.cli.options import OpenOptions

    monkeypatch.chdir(site.atlas.path.parent)
    monkeypatch.setattr(OpenOptions, "_open", lambda _self, _model: net)

    def run(command: str) -> None:
        program, *words = shlex.split(command)
        assert program == "retroscope"
        main(words, standalone_mode=False)

    promising = replace(site, can_project=False)
    while commands := promised_commands(promising, "unit/3/2"):
        run(commands[0])
    assert page(site, "unit/3/2")["missing"] is None
    run(promised_commands(promising, f"layer/{LAYER}")[0])
    assert page(site, f"layer/{LAYER}")["missing"]["best_hits"] == 0
    run(promised_commands(promising, f"layer/{LAYER}")[0])
    assert page(site, f"layer/{LAYER}")["missing"] is None
    run(*promised_commands(promising, "index"))
    assert page(site, "index")["missing"] is None


def test_a_plate_with_some_projections_marks_the_others(site: Site, net: rs.Network) -> None:
    rs.illustrate(site.atlas.path, net, units=[UNIT], projections=1)
    plate = respond(site, "plate/3/2.max.projections.webp").body
    with Image.open(BytesIO(plate)) as opened:
        pixels = np.asarray(opened.convert("RGBA"))
    side = pixels.shape[0] // 3
    projected = [patch.projection is not None for patch in site.atlas.plate(UNIT).patches]
    for index, is_there in enumerate(projected):
        row, column = divmod(index, 3)
        cell = pixels[row * side : (row + 1) * side, column * side : (column + 1) * side, 3]
        share = (cell > 0).mean()
        assert share > 0.2 if is_there else 0 < share < 0.2
    assert any(projected)
    assert not all(projected)


def test_an_export_promises_and_offers_nothing(site: Site, tmp_path: Path) -> None:
    export(site.atlas, tmp_path / "site")
    text = read_pages(tmp_path / "site/unit/3/0-31.js")["2"]
    assert "retroscope show own.atlas 3:2 --model small" in text
    assert 1 <= text.count("This command makes") <= 4, "once for each ranking"
    assert 'class="offer"' not in text


def test_the_page_of_work_escapes_what_it_says(site: Site) -> None:
    facts = {
        **dict.fromkeys(("needs_images", "total", "completed", "stop")),
        "unit": "<b>",
        "message": "<i>",
        "active": False,
        "href": "x",
        "path": "project/1.html",
    }
    text = render_anywhere("projection_job.html", facts, site=site).decode()
    assert "<i>" not in text


# -- in a browser


def unit_page(app: Any, look: Looks, serve: Serves, **options: Any) -> "Page":
    return look(f"{serve(app)}unit/3/2.html", **options)


def tiles(page: "Page", kind: str) -> int:
    """The tiles of a kind on show that have an image."""
    return page.locator(f"[data-ranking=max] .nine.{kind} svg.crop image").count()


def test_a_button_projects_the_hits_in_place(app: Any, look: Looks, serve: Serves) -> None:
    page = unit_page(app, look, serve)
    page.evaluate("globalThis.sameDocument = true")
    hits = page.locator("[data-ranking=max] .nine.patches .tile").count()
    assert tiles(page, "projections") == 0
    assert page.locator("[data-ranking=max] .projections .promised").count() == hits
    page.locator(".offer button").first.focus()
    page.keyboard.press("Enter")
    page.locator(".offer-result", has_text="made").wait_for()
    assert tiles(page, "projections") == tiles(page, "lit") == hits
    assert page.evaluate("globalThis.sameDocument")
    assert "projections made" in page.locator("#status").inner_text()
    assert page.evaluate("document.activeElement.classList.contains('offer-result')")
    page.keyboard.press("l")
    assert page.locator("[data-ranking=max] .nine.lit").is_visible()
    assert not page.locator("[data-ranking=max] .nine.patches").is_visible()
    page.keyboard.press("z")
    assert page.locator("dialog.zoom").is_visible()
    page.reload()
    assert page.locator(".offer[data-offer=unit]").count() == 0


def test_a_layer_shows_its_new_projections(app: Any, look: Looks, serve: Serves) -> None:
    page = look(f"{serve(app)}layer/{LAYER}.html")
    page.wait_for_selector("#grid[data-ready]")
    assert page.locator("[name=show][value=projections]").count() == 0
    page.get_by_role("button", name="Project the best hit of each channel").click()
    page.locator(".offer-result", has_text="made").wait_for()
    assert page.locator("[name=show][value=projections]").is_checked()
    assert page.locator("#grid .thumbnail.projections img").count() > 0
    assert page.get_by_role("button", name="Project the best hit").count() == 0
    page.get_by_role("button", name="Project all hits").click()
    page.locator(".offer:visible .offer-choices button").wait_for(state="detached")
    assert page.locator(".offer button:visible").count() == 0


@pytest.mark.usefixtures("slow")
def test_whoever_leaves_the_page_stops_the_work(
    app: Any, look: Looks, serve: Serves, jobs: ProjectionJobs
) -> None:
    page = unit_page(app, look, serve)
    page.locator(".offer button").first.click()
    page.locator(".offer-progress", has_text="5 of").wait_for()
    assert page.evaluate("document.activeElement.classList.contains('offer-stop')")
    page.goto("about:blank")
    end = time.monotonic() + DEADLINE
    while not jobs.is_idle and time.monotonic() < end:
        time.sleep(0.05)
    assert [job.state.value for job in jobs.jobs.values()] == ["stopped"]


def test_a_form_without_scripts_projects_too(app: Any, look: Looks, serve: Serves) -> None:
    page = unit_page(app, look, serve, java_script_enabled=False)
    page.locator(".offer button").first.click()
    page.wait_for_url("**/unit/3/2.html")
    assert page.locator(".offer[data-offer=unit]").count() == 0
    assert tiles(page, "projections") > 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_offer_has_no_serious_barrier(app: Any, look: Looks, serve: Serves, theme: str) -> None:
    page = unit_page(app, look, serve, color_scheme=theme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [one["id"] for one in found["violations"] if one["impact"] in {"serious", "critical"}]
    assert not serious
