"""Search, and the lists of images and classes: what is typed and chosen is what is shown."""

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from retroscope.web.server import make_app
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site
from tests.web.conftest import Looks

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESK = {"width": 1280, "height": 900}


def results(page: "Page", text: str) -> list[str]:
    """The titles of what the search box offers for a text."""
    page.fill("#search", "")
    page.locator("#search-results").wait_for(state="hidden")
    page.fill("#search", text)
    page.wait_for_selector("#search-results [aria-selected=true]")
    return page.locator("#search-results b").all_inner_texts()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", ["add#2/é<b>:7", "features.0:7"]),
        (":7", ["add#2/é<b>:7", "features.0:7"]),
        ("cats", ["cats"]),
        ("0/bild 4.png", ["0/bild 4.png"]),
        ("bild 0/ 4.png", ["0/bild 4.png"]),
        ("dead", ["features.0", "add#2/é<b>", "head"]),
        ("dead conv1_1", ["features.0", "features.0:1"]),
        ("non-finite head", ["head", "head:3"]),
    ],
)
def test_search_finds_numbers_images_classes_and_states(
    served: str, look: Looks, text: str, expected: list[str]
) -> None:
    found = results(look(f"{served}index.html", viewport=DESK), text)
    assert set(expected) <= set(found)


def test_a_state_leads_to_the_channels_that_have_it(site: Site) -> None:
    script = respond(site, "names.js").body.decode()
    names = json.loads(script.partition(" = ")[2].removesuffix(";\n"))
    for layer in names["layers"]:
        stats = [site.atlas.stats(f"{layer['name']}:{n}") for n in range(layer["channels"])]
        assert layer["dead"] == [n for n, row in enumerate(stats) if row.dead]
        assert layer["non_finite"] == [n for n, row in enumerate(stats) if row.non_finite]


def test_search_says_that_it_loads_and_tries_again_when_it_cannot(served: str, look: Looks) -> None:
    page = look("about:blank", viewport=DESK)
    held: list[Any] = []
    page.route("**/names.js", lambda route: held.append(route))  # noqa: PLW0108 - it is marked
    page.goto(f"{served}index.html")
    page.fill("#search", "cats")
    page.locator("#search-empty").filter(has_text="Loading").wait_for()
    held[0].continue_()
    page.wait_for_selector("#search-results [aria-selected=true]")
    assert not page.locator("#search-empty").is_visible()


def images_of(address: str) -> list[dict[str, Any]]:
    """The images on all pages."""
    with urlopen(f"{address}images.json") as answer:  # noqa: S310 - our own server
        pages = json.loads(answer.read())["pages"]
    rows: list[dict[str, Any]] = []
    for path in pages:
        with urlopen(address + path.replace(".html", ".json")) as answer:  # noqa: S310
            rows += json.loads(answer.read())["images"]
    return rows


def shown(page: "Page") -> list[str]:
    return [str(image.get_attribute("alt")) for image in page.locator("#images img").all()]


def test_images_are_filtered_by_name_and_class_on_all_pages(served: str, look: Looks) -> None:
    rows = images_of(served)
    page = look(f"{served}images.html", viewport=DESK)
    page.fill("#view-options [name=q]", "24 BILD")
    expected = [row["source"] for row in rows if "24" in row["source"]]
    page.locator("#count").filter(has_text=f"{len(expected)} of {len(rows)}").wait_for()
    assert shown(page) == expected
    page.select_option("[name=class]", "Cats")
    expected = [row["source"] for row in rows if row["class"] == "Cats" and "24" in row["source"]]
    page.locator("#count").filter(has_text=f"{len(expected)} of {len(rows)}").wait_for()
    assert shown(page) == expected
    page.reload()
    page.locator("#count").filter(has_text=f"{len(expected)} of {len(rows)}").wait_for()
    assert page.locator("[name=class]").input_value() == "Cats"


def test_images_are_sorted_by_how_many_units_they_excite(served: str, look: Looks) -> None:
    page = look(f"{served}images.html#sort=units&class=cats", viewport=DESK)
    page.locator("#count").filter(has_text=" of ").wait_for()
    counts = []
    for link in page.locator("#images a").all()[:6]:
        with urlopen(link.evaluate("one => one.href").replace(".html", ".json")) as answer:  # noqa: S310
            counts.append(json.loads(answer.read())["unit_count"])
    assert counts == sorted(counts, reverse=True)


def test_classes_are_filtered_by_name(served: str, look: Looks) -> None:
    page = look(f"{served}classes.html#q=cats", viewport=DESK)
    assert page.locator("#classes a").all_inner_texts() == ["cats", "Cats"]
    assert page.locator("#count").inner_text() == "2 of 4 classes"
    page.fill("#view-options [name=q]", "")
    assert page.locator("#classes li").count() == 4


def test_all_units_of_an_image_are_framed_at_once_and_are_links(served: str, look: Looks) -> None:
    page = look(f"{served}image/3.html", viewport=DESK)
    with urlopen(f"{served}image/3.json") as answer:  # noqa: S310 - our own server
        facts = json.loads(answer.read())
    units = [unit for group in facts["layers"] for unit in group["units"]]
    frames = page.locator(".frames")
    assert not frames.is_visible()
    page.get_by_label("Frame all units").check()
    assert page.url.endswith("#frames=all")
    assert frames.locator("title").all_text_contents() == [unit["unit"] for unit in units]
    for frame, unit in zip(frames.locator("a").all(), units, strict=True):
        if unit["middle"]:
            continue
        top, left, bottom, right = unit["box"]
        numbers = [frame.locator("rect").get_attribute(name) for name in ("y", "x")]
        assert [float(str(number)) for number in numbers] == [top, left]
        assert frame.locator("rect").get_attribute("height") == str(bottom - top)
        assert frame.locator("rect").get_attribute("width") == str(right - left)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nothing", "No page &#39;nothing&#39;"),
        ("a/b/c.html", "No page &#39;a/b/c.html&#39;"),
        ("layer/conv9.html", "No layer &#39;conv9&#39; in this atlas"),
        ("unit/features.0/99.html", "No channel 99 in features.0"),
        ("image/99999.html", "No image 99999"),
        ("%3Cscript%3E", "&lt;script&gt;"),
    ],
)
def test_a_page_that_does_not_exist_says_so_in_the_style_of_the_site(
    site: Site, path: str, reason: str
) -> None:
    client = TestClient(make_app(site), base_url="http://localhost")
    answer = client.get(f"/{path}")
    assert answer.status_code == 404
    assert reason in answer.text
    for link in re.findall(r' (?:href|src)="([^"#]+)"', answer.text):
        assert client.get(link).status_code == 200, link
    if path.endswith(".html"):
        twin = client.get(f"/{path.replace('.html', '.json')}")
        assert (twin.status_code, list(twin.json())) == (404, ["error"])
