"""Projections on demand of every row of a unit: the middle, the least, and the best of classes."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

import PIL.Image
import pytest
from starlette.testclient import TestClient

import retroscope as rs
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.web.live.projection_jobs import ProjectionJobs
from retroscope.web.live.projection_routes import projection_routes
from retroscope.web.live.scanned_images import ScannedSource
from retroscope.web.server import make_app
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site
from tests.scanning.scans import smooth_image
from tests.web.conftest import SIDE, Looks, Serves

if TYPE_CHECKING:
    from playwright.sync_api import Page

UNIT, LAYER, CHANNEL, DEADLINE = "3:2", "3", 2, 60
CLASSES = ("cat & <b>", "dog", "tabby, tabby cat")
JSON = {"accept": "application/json"}
DESK = {"width": 1280, "height": 900}
AXE = Path(__file__).parent.parent / "vendor" / "axe.min.js"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "photos"
    for number in range(15):
        place = folder / CLASSES[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        smooth_image(number, SIDE).save(place / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def scanned(net: rs.Network, photos: Path) -> Path:
    """An atlas of all rankings, in which the hits by maximum and by mean are projected."""
    path = photos.parent / "rows.atlas"
    options: dict[str, Any] = {"layers": "conv", "projections": "all", "top": 3, "per_class": 4}
    rs.scan(net, photos, to=path, **options).close()
    return path


@pytest.fixture
def atlas(scanned: Path, tmp_path: Path) -> Iterator[Atlas]:
    """A copy of it to write to."""
    copyfile(scanned, tmp_path / "own rows.atlas")
    with open_atlas(tmp_path / "own rows.atlas") as opened:
        yield opened


@pytest.fixture
def site(atlas: Atlas) -> Site:
    return replace(make_site(atlas), can_project=True, answers_queries=True)


@pytest.fixture
def app(site: Site, net: rs.Network) -> Iterator[Any]:
    with ProjectionJobs(ScannedSource(site.atlas, net)) as jobs:
        yield make_app(site, routes=projection_routes(site, net, jobs))


@pytest.fixture
def client(app: Any) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8000")


def unit_facts(site: Site) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(respond(site, f"unit/{LAYER}/{CHANNEL}.json").body)
    return facts


def unit_html(site: Site) -> str:
    return respond(site, f"unit/{LAYER}/{CHANNEL}.html").body.decode()


def missing_by_row(site: Site) -> dict[str, int]:
    """How many hits without a projection each row says that it has."""
    rows = unit_facts(site)["rows"]
    return {row["gallery"]: row["missing"]["hits"] for row in rows if row["missing"]}


def is_projected(site: Site, **ranking: str) -> list[bool]:
    patches = site.atlas.plate(UNIT, **ranking).patches
    return [patch.projection is not None for patch in patches]


def project(client: TestClient, **fields: str | list[str]) -> dict[str, Any]:
    """What has become of a job that a form starts."""
    answer = client.post("/project", data={"unit": UNIT, "hits": "all", **fields}, headers=JSON)
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = answer.json()
    end = time.monotonic() + DEADLINE
    while job["active"] and time.monotonic() < end:
        time.sleep(0.02)
        job = client.get(f"/{job['json']}").json()
    return job


def offers(html: str) -> dict[str, dict[str, list[str]]]:
    """The hidden fields of each form that offers projections, by its name."""
    forms = re.findall(r'<form class="offer" data-offer="(.*?)".*?</form>', html, re.DOTALL)
    texts = re.findall(r'<form class="offer".*?</form>', html, re.DOTALL)
    found = {}
    for name, text in zip(forms, texts, strict=True):
        fields: dict[str, list[str]] = {}
        for field, value in re.findall(r'type="hidden" name="(\w+)" value="(.*?)"', text):
            fields.setdefault(field, []).append(unescape(value))
        found[name] = fields
    return found


def test_each_row_says_how_many_of_its_hits_are_not_projected(site: Site) -> None:
    missing = missing_by_row(site)
    rankings: dict[str, dict[str, str]] = {"sample": {"ranked_by": "sample"}}
    rankings |= {"min": {"ranked_by": "min"}}
    rows = {row["class"]: row["gallery"] for row in unit_facts(site)["rows"] if row["class"]}
    rankings |= {rows[label]: {"label": label} for label in CLASSES}
    assert rankings.keys() >= missing.keys()
    for row, ranking in rankings.items():
        assert missing.get(row, 0) == is_projected(site, **ranking).count(False)
    assert missing["min"] > 0
    together = unit_facts(site)["missing_of_classes"]
    assert together["hits"] == sum(missing.get(row, 0) for row in rows.values())


def test_the_form_of_a_row_makes_the_projections_of_the_row_and_no_others(
    client: TestClient, site: Site
) -> None:
    before = missing_by_row(site)
    forms = offers(unit_html(site))
    assert set(forms) == {"sample", "min", "classes"}, "the best hits are projected"
    estimate = client.post("/project/estimate", data={"hits": "all", **forms["min"]}).json()
    assert estimate["hits"] == before["min"]
    job = project(client, **forms["min"])
    assert (job["state"], job["completed"]) == ("done", before["min"])
    assert all(is_projected(site, ranked_by="min"))
    assert False in is_projected(site, ranked_by="sample")
    (row,) = (row for row in unit_facts(site)["rows"] if row["name"] == "min")
    assert row["missing"] is None
    for kind in ("projections", "lit"):
        with PIL.Image.open(BytesIO(respond(site, row[kind]).body)) as plate:
            assert plate.size[0] == plate.size[1]


def test_one_form_makes_the_projections_of_all_classes_that_are_shown(
    client: TestClient, site: Site
) -> None:
    form = offers(unit_html(site))["classes"]
    lacking = [name for name in CLASSES if False in is_projected(site, label=name)]
    assert sorted(form["class"]) == sorted(lacking)
    count = sum(is_projected(site, label=name).count(False) for name in CLASSES)
    estimate = client.post("/project/estimate", data={"hits": "all", **form}).json()
    assert estimate["hits"] == count > 0
    assert project(client, **form)["completed"] == count
    for name in CLASSES:
        assert all(is_projected(site, label=name))
    facts = unit_facts(site)
    assert facts["missing_of_classes"] is None
    for row in facts["rows"]:
        if row["class"]:
            assert respond(site, row["projections"]).body
            assert row["missing"] is None
    assert "classes" not in offers(unit_html(site))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"ranked_by": "maen"}, "no ranking 'maen'"),
        ({"class": ["dog", "wolf"]}, "no class 'wolf'"),
        ({"ranked_by": "min", "class": ["dog"]}, "ranked by max, not by min"),
        ({"class": [f"kind {n}" for n in range(40)]}, "more than 32 fields"),
    ],
    ids=str,
)
def test_a_ranking_that_there_is_not_is_refused(
    client: TestClient, fields: dict[str, Any], reason: str
) -> None:
    for path in ("/project", "/project/estimate"):
        answer = client.post(path, data={"unit": UNIT, "hits": "all", **fields})
        assert answer.status_code == 400
        assert reason in answer.json()["error"]


def tiles_of(html: str, row: str) -> str:
    """The markup of a row."""
    start = html.index(f'data-gallery="{row}"')
    return html[start : html.index("</script>", start)]


def test_a_row_without_projections_has_a_tile_for_each_that_promises_it(site: Site) -> None:
    html = unit_html(site)
    for row in unit_facts(site)["rows"]:
        tiles = tiles_of(html, row["gallery"])
        missing = row["missing"]["hits"] if row["missing"] else 0
        assert tiles.count("not made yet") >= missing
        assert tiles.count('class="nine projections"') == (1 if row["hits"] else 0)
        assert tiles.count('aria-label="Projection ') == len(row["hits"])


def test_without_a_network_the_commands_make_what_is_missing(
    site: Site, net: rs.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retroscope.cli.main import main
    from retroscope.cli.options import OpenOptions

    monkeypatch.chdir(site.atlas.path.parent)
    monkeypatch.setattr(OpenOptions, "_open", lambda _self, _model: net)
    promising = replace(site, can_project=False)
    assert 'class="offer"' not in unit_html(promising)
    for _ in range(2 + len(CLASSES)):
        promised = re.search(
            r'class="note promise">.*?data-copy="(.*?)"', unit_html(promising), re.DOTALL
        )
        if promised is None:
            break
        program, *words = shlex.split(unescape(promised[1]))
        assert (program, words[0]) == ("retroscope", "show")
        main(words, standalone_mode=False)
    assert not missing_by_row(site)
    assert "not made yet" not in unit_html(promising)


# -- the page of a layer


def layer_facts(site: Site) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(respond(site, f"layer/{LAYER}.json").body)
    return facts


def layer_html(site: Site, **options: str) -> str:
    return respond(site, f"layer/{LAYER}.html", options).body.decode()


def count_unprojected(atlas: Atlas, ranked_by: str, ranks: int = 9) -> int:
    """The places among the first hits of the layer's channels that have no projection."""
    places = {
        (channel, patch.source, patch.position)
        for channel in range(atlas.layer(LAYER).channels)
        for patch in atlas.plate(f"{LAYER}:{channel}", ranked_by=ranked_by).patches[:ranks]
        if patch.projection is None
    }
    return len(places)


def test_a_layer_says_what_the_hits_of_each_ranking_lack(site: Site) -> None:
    facts = layer_facts(site)
    lacking = {missing["ranked_by"]: missing for missing in facts["missing_of_rankings"]}
    assert facts["missing"] is None, "the best hits are projected"
    assert set(lacking) == {"min", "sample"}
    for ranked_by, missing in lacking.items():
        assert missing["hits"] == count_unprojected(site.atlas, ranked_by) > 0
    assert lacking["min"]["best_hits"] == count_unprojected(site.atlas, "min", ranks=1)
    assert lacking["sample"]["best_hits"] == 0, "none of a sample is the best"


def test_the_form_of_a_ranking_of_a_layer_makes_its_projections_and_no_others(
    client: TestClient, site: Site
) -> None:
    form = offers(layer_html(site))["min"]
    middle = count_unprojected(site.atlas, "sample")
    lowest = count_unprojected(site.atlas, "min", ranks=1)
    assert client.post("/project/estimate", data={"hits": "best", **form}).json()["hits"] == lowest
    assert project(client, **form, hits="best")["completed"] == lowest
    left = count_unprojected(site.atlas, "min")
    job = project(client, **form)
    assert (job["completed"], job["href"]) == (left, f"layer/{LAYER}.html?by=min")
    assert not count_unprojected(site.atlas, "min")
    assert 0 < count_unprojected(site.atlas, "sample") <= middle
    assert set(offers(layer_html(site))) == {"sample"}


def test_a_page_without_scripts_shows_the_offer_of_its_ranking_alone(site: Site) -> None:
    for ranked_by in ("max", "mean", "min", "sample"):
        shown = re.findall(
            r'<div class="of-ranking" data-by="([a-z ]+)">', layer_html(site, by=ranked_by)
        )
        assert shown == ([ranked_by] if ranked_by in {"min", "sample"} else [])
    of_class = layer_html(site, **{"class": "dog", "by": "min"})
    assert offers(of_class)["layer"]["class"] == ["dog"]
    assert 'data-by="max mean sample min">' in of_class


def test_without_a_network_the_commands_of_a_layer_make_what_a_ranking_lacks(
    site: Site, net: rs.Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retroscope.cli.main import main
    from retroscope.cli.options import OpenOptions

    monkeypatch.chdir(site.atlas.path.parent)
    monkeypatch.setattr(OpenOptions, "_open", lambda _self, _model: net)
    promising = replace(site, can_project=False)
    for ranked_by in ("min", "sample"):
        while promised := re.search(
            rf'data-by="{ranked_by}">\s*<p.*?data-copy="(.*?)"', layer_html(promising, by=ranked_by)
        ):
            program, *words = shlex.split(unescape(promised[1]))
            assert (program, words[0]) == ("retroscope", "illustrate")
            before = count_unprojected(site.atlas, ranked_by)
            main(words, standalone_mode=False)
            assert count_unprojected(site.atlas, ranked_by) < before
        assert not count_unprojected(site.atlas, ranked_by)


def test_an_export_shows_no_tiles_of_plates_that_it_lacks(client: TestClient, site: Site) -> None:
    """It has the plates of rankings, but not those of classes."""
    for form in offers(unit_html(site)).values():
        project(client, **form)
    html = unit_html(make_site(site.atlas))
    assert 'class="nine projections"' in tiles_of(html, "min")
    rows = [row for row in unit_facts(site)["rows"] if row["class"]]
    assert rows
    for row in rows:
        assert "projections" not in tiles_of(html, row["gallery"])
    assert "not made yet" not in html


# -- in a browser


def unit_page(app: Any, look: Looks, serve: Serves, **options: Any) -> "Page":
    return look(f"{serve(app)}unit/{LAYER}/{CHANNEL}.html", viewport=DESK, **options)


def test_the_button_of_a_row_shows_its_projections_in_place(
    app: Any, look: Looks, serve: Serves
) -> None:
    page = unit_page(app, look, serve)
    row = page.locator('[data-row="min"]')
    hits = row.locator(".patches .tile").count()
    assert row.locator(".projections .promised").count() > 0
    assert page.locator(".offer").count() == 3
    offer = page.locator('.offer[data-offer="min"]')
    offer.get_by_role("button", name="Project these hits").click()
    offer.locator(".offer-result", has_text="made").wait_for()
    assert row.locator(".projections svg.crop image").count() == hits
    assert row.locator(".projections").is_visible()
    assert offer.get_by_role("button", name="Project these hits").count() == 0
    classes = page.locator('.offer[data-offer="classes"]')
    classes.get_by_role("button", name="Project these hits").click()
    classes.locator(".offer-result", has_text="made").wait_for()
    assert page.locator(".class-row .projections .promised").count() == 0
    assert page.locator(".class-row .projections svg.crop image").first.is_visible()
    row.locator(".patches .tile").first.click()
    assert page.locator("dialog.zoom .zoomed.projections svg.crop").count() == 1


def test_the_button_of_a_layer_is_about_the_ranking_on_show(
    app: Any, look: Looks, serve: Serves
) -> None:
    page = look(f"{serve(app)}layer/{LAYER}.html", viewport=DESK)
    page.wait_for_selector("#grid[data-ready]")
    assert page.locator(".offer:visible").count() == 0, "the best hits are projected"
    page.locator("[name=by][value=min]").check()
    assert page.locator(".offer:visible").count() == 1
    page.get_by_role("button", name="Project the lowest hit of each channel").click()
    page.locator(".offer-result:visible", has_text="made").wait_for()
    assert page.locator("#grid .thumbnail.projections img").count() > 0
    assert page.url.endswith("#show=projections&by=min")
    page.get_by_role("button", name="Project all hits").click()
    page.locator(".offer:visible .offer-choices button").wait_for(state="detached")
    page.locator("[name=by][value=sample]").check()
    assert page.locator(".offer button:visible").count() == 1
    page.locator("[name=by][value=max]").check()
    assert page.locator(".offer:visible").count() == 0
    page.get_by_label("Best images of").select_option("dog")
    page.wait_for_url("**?class=dog*")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_offers_of_rows_have_no_serious_barrier(
    app: Any, look: Looks, serve: Serves, theme: str
) -> None:
    page = unit_page(app, look, serve, color_scheme=theme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    impacts = {entry["id"]: entry["impact"] for entry in result["violations"]}
    assert not [name for name, impact in impacts.items() if impact in {"serious", "critical"}]
