"""The pages in a real browser: from our server, from any host, and from a folder."""

import json
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from retroscope.render.mosaics import draw_tiles
from retroscope.web.site.site import Site
from tests.web.conftest import Looks, wait_for_pictures
from tests.web.packs import packed_address, packed_twin, served_addresses
from tests.web.sample_atlases import odd_atlas

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

AXE = Path(__file__).parent.parent / "vendor" / "axe.min.js"
PAGES = (
    "index.html",
    "layer/features.0.html",
    "unit/features.0/3.html",
    "classes.html",
    "class/cats.html",
    "images.html",
    "image/3.html",
    "names.html",
    "findings.html",
    "notes.html",
    "compare.html",
    "compare/features.0.html",
    "compare/features.0/3.html",
    "mine.html",
    "other/index.html",
    "other/unit/features.0/3.html",
)
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_opens_and_its_pictures_are_there(address: str, look: Looks, path: str) -> None:
    page = look(page_at(address, path), viewport=DESK)
    assert page.locator("h1").count() == 1
    page.evaluate(
        "for (const one of document.images) if (one.hasAttribute('src')) one.loading = 'eager'"
    )
    page.evaluate(
        """Promise.all([...document.querySelectorAll("[data-packed]")]
        .map((image) => retroscope.loadPacked(image)))"""
    )
    wait_for_pictures(page)
    broken = page.evaluate(
        "[...document.images].filter((one) => one.src && one.naturalWidth < 2)"
        ".map((one) => one.src)"
    )
    assert not broken


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_no_page_has_a_serious_barrier(served: str, look: Looks, path: str, theme: str) -> None:
    page = look(served + path, viewport=DESK, color_scheme=theme, bypass_csp=True)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
    assert not serious


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_a_phone(served: str, look: Looks, path: str) -> None:
    page = look(served + path, viewport=PHONE)
    wait_for_pictures(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_reads_without_scripts(served: str, look: Looks, path: str) -> None:
    page = look(served + path, viewport=DESK, java_script_enabled=False)
    assert page.locator("h1").is_visible()
    for tool in page.locator(".needs-script").all():
        assert not tool.is_visible()
    assert page.locator("main a, main code").first.is_visible()


def layer_page(address: str, look: Looks) -> "Page":
    """The page of a layer, its script at work."""
    page = look(f"{address}layer/features.0.html", viewport=DESK)
    page.wait_for_selector("#grid[data-ready]")
    return page


def channels(page: "Page") -> list[int]:
    return [int(one.get_attribute("data-channel") or -1) for one in page.locator(".plate").all()]


def choose_range(page: "Page", name: str, value: str) -> None:
    """Types an end of a range; the ranges are unfolded first."""
    summary = page.locator("#distributions:not([open]) summary")
    if summary.count():
        summary.click()
    page.fill(f"[name={name}]", value)
    page.locator(f"[name={name}]").press("Enter")


def sources(page: "Page") -> list[str]:
    """What the first plate of a layer shows, as the ends of the paths."""
    images = page.locator(".plate").first.locator("img").all()
    return [source(image).rpartition("/")[2] for image in images]


def test_a_layer_is_shown_by_each_view_and_by_all_of_them(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    assert sources(page) == ["0.max.patches.webp"]
    page.keyboard.press("d")
    assert sources(page) == ["0.max.projections.webp"]
    page.keyboard.press("l")
    assert sources(page) == ["0.max.lit.webp"]
    page.keyboard.press("a")
    assert sources(page) == [f"0.max.{kind}.webp" for kind in ("patches", "projections", "lit")]
    page.keyboard.press("m")
    assert sources(page)[0] == "0.mean.patches.webp"
    page.keyboard.press("p")
    assert sources(page) == ["0.mean.patches.webp"]


@pytest.mark.parametrize(
    "path", ["layer/features.0.html", "unit/features.0/3.html", "compare/features.0/3.html"]
)
def test_a_key_leads_through_all_views_and_back(served: str, look: Looks, path: str) -> None:
    page = look(served + path, viewport=DESK)
    views = page.evaluate("[...document.querySelectorAll('[name=show]')].map((one) => one.value)")
    assert {"patches", "projections", "lit", "all"} <= set(views)
    first = page.locator("[name=show]:checked").get_attribute("value")
    seen = []
    for _ in views:
        page.keyboard.press("b")
        seen.append(str(page.locator("[name=show]:checked").get_attribute("value")))
    assert sorted(seen) == sorted(views)
    assert seen[-1] == first


def test_the_help_says_what_the_keys_of_the_views_do(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html", viewport=DESK)
    page.keyboard.press("?")
    text = page.locator("#help").inner_text()
    assert "All of them, synthetic patterns, the next of these views" in text
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    page.keyboard.press("a")
    for kind in ("patches", "projections", "lit"):
        assert page.locator(f"[data-ranking=max] .{kind}").is_visible()


def test_an_older_link_to_both_shows_all(served: str, look: Looks) -> None:
    page = look(f"{served}layer/features.0.html#show=both", viewport=DESK)
    page.wait_for_selector("#grid[data-ready]")
    assert page.locator("[name=show][value=all]").is_checked()


def test_a_plate_under_the_pointer_is_lit(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    page.locator(".plate .thumbnail").nth(3).hover()
    lit = page.locator(".plate").nth(3).locator(".lit-hover")
    assert source(lit).endswith("3.max.lit.webp")
    page.keyboard.press("d")
    page.locator(".plate .thumbnail").nth(4).hover()
    assert page.locator(".plate").nth(4).locator(".lit-hover").count() == 0


def test_a_patch_under_the_pointer_shows_its_own_lit_patch(address: str, look: Looks) -> None:
    page = look(page_at(address, "unit/features.0/3.html"), viewport=DESK)
    ranking = page.locator("[data-ranking=max]")
    ranking.locator(".patches .tile").nth(4).hover()
    shown = ranking.locator(".patches .tile").nth(4).locator(".lit-hover svg")
    expected = ranking.locator(".lit .tile").nth(4).locator(".crop svg")
    assert shown.get_attribute("viewBox") == expected.get_attribute("viewBox")
    assert "lit.webp" in source(shown.locator("image"))


@pytest.mark.parametrize("path", ["layer/features.0.html", "unit/features.0/3.html"])
def test_the_tone_of_projections_is_a_choice_kept_in_the_address(
    address: str, look: Looks, path: str
) -> None:
    page = look(page_at(address, f"{path}#show=projections&tone=gamma"), viewport=DESK)
    plate = page.locator(".thumbnail.projections img, .projections .crop image").first
    plate.wait_for(state="attached")
    assert source(plate).endswith(".max.projections-gamma.webp")
    page.locator("[name=tone][value=robust]").check()
    plate = page.locator(".thumbnail.projections img, .projections .crop image").first
    assert source(plate).endswith(".max.projections.webp")
    assert "tone" not in page.url


def test_the_tone_tile_is_what_draw_gives_for_it(served: str, site: Site, look: Looks) -> None:
    """The page squares the plate by gamma; the tiles are those of the library's own tone."""
    page = look(f"{served}unit/features.0/3.html#tone=tile", viewport=DESK)
    tiles = draw_tiles(site.atlas["features.0:3"].patches, "projection", factor=1, tone="tile")
    side = max(max(tile.size) for tile in tiles if tile is not None)
    for number in (0, 4, 8):
        cut = page.locator("[data-ranking=max] .projections .crop").nth(number)
        shown = Image.open(BytesIO(cut.screenshot())).convert("RGB")
        tile = tiles[number]
        assert tile is not None
        shown = crop_middle(shown, (tile.width / side, tile.height / side))
        small = np.asarray(shown.resize(tile.size, Image.Resampling.NEAREST), int)[1:-1, 1:-1]
        difference = np.abs(small - np.asarray(tile, int)[1:-1, 1:-1])
        assert (difference > 24).mean() < 0.08, number


def test_a_tile_is_zoomed_by_click_key_and_link(address: str, look: Looks) -> None:
    page = look(page_at(address, "unit/features.0/3.html"), viewport=DESK)
    hits = facts("unit/features.0/3.json", address)["rankings"]["max"]["hits"]
    dialog = page.locator("dialog.zoom")
    page.locator("[data-ranking=max] .patches .tile").nth(4).click()
    check_zoom(page, hits[4])
    assert page.url.endswith("#patch=5")
    page.keyboard.press("ArrowRight")
    check_zoom(page, hits[5])
    page.keyboard.press("2")
    check_zoom(page, hits[1])
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "#" not in url)  # cleared a moment after the dialog closes
    assert not dialog.is_visible()
    page.keyboard.press("3")
    page.keyboard.press("z")
    check_zoom(page, hits[2])
    link = page.url
    page.keyboard.press("z")
    dialog.wait_for(state="hidden")
    page.goto("about:blank")
    page.goto(link)
    check_zoom(page, hits[2])
    assert served_addresses(page.url).endswith("unit/features.0/3.html#patch=3")


def check_zoom(page: "Page", hit: dict[str, Any]) -> None:
    dialog = page.locator("dialog.zoom")
    dialog.locator("h2").filter(has_text=f"Hit {hit['rank'] + 1} of 9").wait_for()
    assert dialog.locator("figcaption").all_inner_texts() == ["Patch", "Projection", "Lit patch"]
    patch = dialog.locator(".patches .crop svg")
    top, left, bottom, right = hit["window"]
    assert patch.get_attribute("viewBox") == f"{left} {top} {right - left} {bottom - top}"
    assert source(patch.locator("image")).endswith(hit["src"])
    assert dialog.locator("dd a").inner_text() == hit["source"]


def test_a_swipe_leads_to_the_next_hit(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html#patch=2", viewport=PHONE, has_touch=True)
    hits = facts("unit/features.0/3.json", served)["rankings"]["max"]["hits"]
    check_zoom(page, hits[1])
    swipe(page, 300, 100)
    check_zoom(page, hits[2])
    swipe(page, 100, 300)
    check_zoom(page, hits[1])


def swipe(page: "Page", start: int, end: int) -> None:
    session = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", start), ("touchMove", end)):
        points = [{"x": x, "y": 300}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_the_zoom_has_no_serious_barrier(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html#patch=2", viewport=DESK, bypass_csp=True)
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert not [one for one in found["violations"] if one["impact"] in {"serious", "critical"}]


def test_the_plate_on_show_is_saved_as_png(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html", viewport=DESK)
    sizes = []
    for key in ("a", "l"):
        page.keyboard.press(key)
        with page.expect_download() as download:
            page.locator("#save-plate").click()
        assert download.value.suggested_filename == "features.0_3.png"
        with Image.open(str(download.value.path())) as plate:
            assert plate.format == "PNG"
            sizes.append(plate.size)
            assert len(np.unique(np.asarray(plate.convert("L")))) > 30
    assert sizes[0][0] > 2 * sizes[1][0]
    assert sizes[0][1] == sizes[1][1]


def test_a_page_in_a_folder_says_why_it_cannot_save(written: Path, look: Looks) -> None:
    page = look(page_at(f"{written.as_uri()}/", "unit/features.0/3.html"), viewport=DESK)
    page.locator("#save-plate").click()
    assert "retroscope show one.atlas features.0:3" in page.locator("#save-note").inner_text()


def test_on_a_phone_each_patch_is_beside_its_own_projection(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html", viewport=PHONE, has_touch=True)
    ranking = page.locator("[data-ranking=max]")
    for number in range(9):
        boxes = [
            ranking.locator(f".{kind} .tile .crop").nth(number).bounding_box()
            for kind in ("patches", "projections", "lit")
        ]
        tops = [box["y"] for box in boxes if box]
        lefts = [box["x"] for box in boxes if box]
        assert max(tops) - min(tops) < 2
        assert lefts == sorted(lefts)
        assert len(lefts) == 3


@pytest.mark.parametrize(
    "path", ["layer/features.0.html", "unit/features.0/3.html", "compare/features.0.html"]
)
def test_on_a_phone_the_options_are_folded(served: str, look: Looks, path: str) -> None:
    page = look(served + path, viewport=PHONE, has_touch=True)
    form, fold = page.locator("#view-options"), page.locator("#fold")
    assert not form.is_visible()
    image = page.locator(".plate img, .patches .crop").first.bounding_box()
    assert image is not None
    assert image["y"] + image["height"] < PHONE["height"]
    fold.tap()
    assert form.is_visible()
    assert fold.get_attribute("aria-expanded") == "true"
    page.locator("[name=show][value=lit]").check()
    page.locator("#fold-summary").filter(has_text="lit").wait_for()
    fold.tap()
    assert not form.is_visible()


def test_a_score_is_on_a_unit_page_once(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html", viewport=DESK)
    score = page.locator("[data-ranking=max] .patches .caption b").nth(4).inner_text()
    assert score
    assert page.get_by_text(score, exact=True).filter(visible=True).count() == 1


def plates_of(page: "Page", number: int) -> list[str]:
    images = page.locator(".comparison-plates .plate").nth(number).locator("img").all()
    return [source(image).partition("features.0/")[2] for image in images]


def test_a_comparison_is_shown_by_each_view(address: str, look: Looks) -> None:
    page = look(page_at(address, "compare/features.0.html"), viewport=DESK)
    units = facts("compare/features.0.json", address)["units"]
    number = next(n for n, unit in enumerate(units) if all(one["plates"] for one in unit["sides"]))
    channel = units[number]["channel"]
    assert plates_of(page, number) == [f"{channel}.max.patches.webp"] * 2
    page.keyboard.press("l")
    assert plates_of(page, number) == [f"{channel}.max.lit.webp"] * 2
    page.keyboard.press("s")
    with_pattern = next(n for n, unit in enumerate(units) if unit["channel"] == 2)
    assert plates_of(page, with_pattern) == ["2.webp"] * 2
    page.reload()
    assert plates_of(page, with_pattern) == ["2.webp"] * 2


def test_a_comparison_is_filtered_by_layer(address: str, look: Looks) -> None:
    page = look(f"{address}compare.html#show=lit", viewport=DESK)
    page.select_option("#layer-filter", label="features.0")
    page.wait_for_url("**/compare/features.0.html#show=lit")
    assert page.locator("#layer-filter").evaluate("(one) => one.selectedOptions[0].text") == (
        "features.0"
    )
    page.select_option("#layer-filter", label="all layers")
    page.wait_for_url("**/compare.html#show=lit")


def test_a_patch_of_either_atlas_is_zoomed(address: str, look: Looks) -> None:
    page = look(page_at(address, "compare/features.0/3.html"), viewport=DESK)
    hits = facts("compare/features.0/3.json", address)["sides"][1]["rankings"]["max"]["hits"]
    page.locator("[data-gallery='2'] .patches .tile").nth(2).click()
    check_zoom(page, hits[2])
    assert "/other/image/" in str(page.locator("dialog.zoom dd a").evaluate("(one) => one.href"))
    link = page.url
    assert link.endswith("#atlas=2&patch=3")
    page.goto("about:blank")
    page.goto(link)
    check_zoom(page, hits[2])


def test_a_layer_is_shown_by_its_patterns_where_there_are_any(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    page.keyboard.press("s")
    plates = page.locator(".plate")
    assert source(plates.nth(2).locator("img")).endswith("features.0/2.webp")
    assert plates.nth(3).inner_text().startswith("no pattern")
    plates.nth(2).locator("a").click()
    wait_for_page(page, "/unit/features.0/2.html")
    assert page.get_by_alt_text("Synthetic pattern that excites features.0:2").is_visible()


def test_what_is_chosen_before_the_script_is_ready_counts(served: str, look: Looks) -> None:
    page = look("about:blank", viewport=DESK)
    held: list[Any] = []
    page.route("**/layer/features.0.js", lambda route: held.append(route))  # noqa: PLW0108
    page.goto(f"{served}layer/features.0.html", wait_until="domcontentloaded")
    page.keyboard.press("d")
    while not held:
        page.wait_for_timeout(20)
    held[0].continue_()
    page.wait_for_selector("#grid[data-ready]")
    first = page.locator(".plate").first
    assert "0.max.projections.webp" in str(first.locator("img").get_attribute("src"))


def test_a_layer_is_sorted_by_what_the_atlas_says(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    rows = facts("layer/features.0.json", address)["plates"]
    orders = {
        "score": lambda one: -one["maximum"],
        "fired": lambda one: -one["fired_image_share"],
        "selectivity": lambda one: -one["selectivity"],
    }
    for name, key in orders.items():
        page.select_option("[name=sort]", name)
        assert channels(page) == [one["channel"] for one in sorted(rows, key=key)], name
    page.select_option("[name=sort]", "dead")
    assert channels(page)[0] == next(one["channel"] for one in rows if one["dead"])


def test_a_layer_is_filtered_by_class_and_by_firing_share(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    rows = facts("layer/features.0.json", address)["plates"]
    page.select_option("[name=top-class]", "cats")
    assert channels(page) == [one["channel"] for one in rows if one["class"] == "cats"]
    page.select_option("[name=top-class]", "")
    choose_range(page, "min-fired", "0.5")
    expected = [one["channel"] for one in rows if one["fired_image_share"] >= 0.5]
    assert channels(page) == expected
    assert page.locator("#count").inner_text() == f"{len(expected)} of {len(rows)} channels"


def test_what_was_chosen_is_in_the_address_and_comes_back(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    page.select_option("[name=sort]", "score")
    page.keyboard.press("d")
    sorted_channels = channels(page)
    page.locator(".plate a").first.click()
    page.wait_for_url(re.compile(r"/unit/features\.0/"))
    page.go_back()
    page.wait_for_selector("#grid[data-ready]")
    assert channels(page) == sorted_channels
    assert page.locator("[name=show][value=projections]").is_checked()


def test_a_layer_of_many_channels_draws_those_near_the_window(address: str, look: Looks) -> None:
    page = look(f"{address}layer/add_2_b_~2.html", viewport=DESK)
    page.wait_for_selector("[aria-setsize='244']")
    page.keyboard.press("End")
    page.wait_for_selector(".plate[data-channel='243']")
    assert page.locator(".plate[data-channel='243']").is_visible()


def test_a_layer_of_many_channels_has_pages_without_scripts(served: str, look: Looks) -> None:
    page = look(f"{served}layer/add_2_b_~2.html", java_script_enabled=False)
    assert page.locator(".plate").count() == 240
    page.get_by_role("link", name="2", exact=True).click()
    assert channels(page) == list(range(240, 244))


def test_keys_lead_from_unit_to_unit_and_up(address: str, look: Looks) -> None:
    page = look(page_at(address, "unit/features.0/3.html"), viewport=DESK)
    page.keyboard.press("ArrowRight")
    wait_for_page(page, "/unit/features.0/4.html")
    page.keyboard.press("ArrowLeft")
    wait_for_page(page, "/unit/features.0/3.html")
    page.go_back()
    wait_for_page(page, "/unit/features.0/4.html")
    page.keyboard.press("u")
    page.wait_for_url("**/layer/features.0.html")
    page.keyboard.press("u")
    page.wait_for_url("**/index.html")


def test_pointing_at_a_patch_frames_it_in_its_picture(address: str, look: Looks) -> None:
    page = look(page_at(address, "unit/features.0/3.html"), viewport=DESK)
    hits = facts("unit/features.0/3.json", address)["rankings"]["max"]["hits"]
    eye = page.locator("[data-ranking=max]")
    for number in (0, 4, 8):
        eye.locator(".patches .tile").nth(number).hover()
        check_context(page, hits[number])
    page.mouse.move(0, 0)
    page.keyboard.press("2")
    check_context(page, hits[1])
    eye.locator(".projections .tile").nth(5).focus()
    check_context(page, hits[5])


def test_a_ring_marks_the_middle_of_a_field_larger_than_the_image(
    address: str, look: Looks
) -> None:
    path = "unit/add_2_b_~2/3"
    page = look(page_at(address, f"{path}.html"), viewport=DESK)
    hits = facts(f"{path}.json", address)["rankings"]["max"]["hits"]
    eye = page.locator("[data-ranking=max]")
    for number in (0, 4, 8):
        eye.locator(".patches .tile").nth(number).hover()
        check_context(page, hits[number])
        ring = eye.locator(".whole-image .ring")
        assert ring.is_visible()
        top, left, bottom, right = hits[number]["box"]
        middle = [float(str(ring.get_attribute(name))) for name in ("cy", "cx")]
        expected = (top + bottom) / 2, (left + right) / 2
        assert middle == [min(max(at, 0.5), 31.5) for at in expected]


def test_no_ring_marks_a_field_inside_the_image(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html", viewport=DESK)
    page.locator("[data-ranking=max] .patches .tile").nth(1).hover()
    assert not page.locator("[data-ranking=max] .whole-image .ring").is_visible()


def test_pointing_at_a_unit_of_a_large_field_rings_its_middle(
    served: str, look: Looks, tmp_path: Path
) -> None:
    hits = "SELECT image FROM named_hits WHERE ranked_by = 'max' AND layer = ?"
    with odd_atlas(tmp_path / "odd.atlas") as atlas:
        query = f"{hits} INTERSECT {hits} LIMIT 1"  # of a large field, and of one that is not
        ((image,),) = atlas.sql(query, "add#2/é<b>", "features.0")
    page = look(f"{served}image/{image!s}.html", viewport=DESK)
    ring = page.locator(".whole-image .ring")
    assert not ring.is_visible()
    page.locator('[data-middle]:not([data-middle=""])').first.hover()
    link = page.locator('[data-middle]:not([data-middle=""])').first
    top, left, bottom, right = map(int, str(link.get_attribute("data-box")).split())
    middle = [float(str(ring.get_attribute(name))) for name in ("cy", "cx")]
    assert middle == [min(max(at, 0.5), 31.5) for at in ((top + bottom) / 2, (left + right) / 2)]
    assert ring.is_visible()
    page.locator('[data-middle=""]').first.hover()
    assert not ring.is_visible()


def test_classes_are_sorted_by_a_number_and_a_link_keeps_it(address: str, look: Looks) -> None:
    page = look(f"{address}classes.html", viewport=DESK)
    by_name = page.locator("#classes li a").all_inner_texts()
    for number in ("units", "images"):
        page.locator(f"input[value={number}]").check()
        values = page.evaluate(
            f"[...document.querySelectorAll('#classes li')].map((one) => +one.dataset.{number})"
        )
        assert values == sorted(values, reverse=True)
    page.reload()
    assert page.locator("input[value=images]").is_checked()
    page.locator("input[value=name]").check()
    assert page.locator("#classes li a").all_inner_texts() == by_name


LONG_CLASS = "great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias"


@pytest.mark.parametrize("viewport", [PHONE, DESK])
@pytest.mark.parametrize(
    ("path", "selector"),
    [
        ("classes.html", ".class-list a span"),
        ("unit/features.0/3.html", ".tile .caption span"),
        ("unit/features.0/3.html", "td.name, .bars a"),
        ("class/cats.html", "h1"),
    ],
)
def test_long_class_names_take_little_room(
    request: pytest.FixtureRequest, viewport: Any, path: str, selector: str
) -> None:
    """Names as ImageNet has them: two lines beside an image, and no page grows wider."""
    look, address = request.getfixturevalue("look"), request.getfixturevalue("served")
    page = look(f"{address}{path}", viewport=viewport)
    lines = page.evaluate(
        """([selector, text]) => [...document.querySelectorAll(selector)].map((one) => {
            one.textContent = text;
            return one.offsetHeight / parseFloat(getComputedStyle(one).lineHeight);
        })""",
        [selector, LONG_CLASS],
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    if "span" in selector:
        assert max(lines) < 2.2


def check_context(page: "Page", hit: dict[str, Any]) -> None:
    context = page.locator("[data-ranking=max] .context")
    assert context.locator("[data-fact=source]").inner_text() == hit["source"]
    assert str(context.locator("image").get_attribute("href")).endswith(str(hit["src"]))
    box = context.locator("rect.box")
    top, left, bottom, right = hit["box"]
    found = [float(str(box.get_attribute(name))) for name in ("y", "x", "height", "width")]
    assert found == [top, left, bottom - top, right - left]


def test_a_tap_zooms_and_stays(served: str, look: Looks) -> None:
    page = look(f"{served}unit/features.0/3.html", viewport=PHONE, has_touch=True)
    hits = facts("unit/features.0/3.json", served)["rankings"]["max"]["hits"]
    page.locator("[data-ranking=max] .patches .tile").nth(6).tap()
    check_zoom(page, hits[6])
    check_context(page, hits[6])
    assert page.url.startswith(f"{served}unit/features.0/3.html")


def test_a_unit_is_ranked_by_the_mean_too(address: str, look: Looks) -> None:
    page = look(page_at(address, "unit/features.0/3.html"), viewport=DESK)
    assert page.locator("[data-ranking=max]").is_visible()
    page.keyboard.press("m")
    assert page.locator("[data-ranking=mean]").is_visible()
    assert not page.locator("[data-ranking=max]").is_visible()
    page.keyboard.press("p")
    assert not page.locator("[data-ranking=mean] .projections").is_visible()
    page.reload()
    assert page.locator("[data-ranking=mean] .patches").is_visible()
    assert not page.locator("[data-ranking=mean] .projections").is_visible()


def test_a_patch_and_its_projection_are_cut_from_the_right_place(
    served: str, site: Site, look: Looks
) -> None:
    """The pixels on the screen are those that `draw` gives for the same plate."""
    page = look(f"{served}unit/features.0/3.html", viewport=DESK)
    check_pixels(page, site)


def crop_middle(image: Image.Image, shares: tuple[float, float]) -> Image.Image:
    """The middle of an image, as wide and as high as these shares of it."""
    across, down = (side * share / 2 for side, share in zip(image.size, shares, strict=True))
    x, y = image.width / 2, image.height / 2
    return image.crop((round(x - across), round(y - down), round(x + across), round(y + down)))


def check_pixels(page: "Page", site: Site) -> None:
    patches = site.atlas["features.0:3"].patches
    for kind, what in (("patches", "patch"), ("projections", "projection"), ("lit", "lit")):
        expected = draw_tiles(patches, what, factor=1)
        side = max(max(tile.size) for tile in expected if tile is not None)
        for number in range(9):
            cut = page.locator(f"[data-ranking=max] .{kind} .crop").nth(number)
            shown = Image.open(BytesIO(cut.screenshot())).convert("RGB")
            tile = expected[number]
            assert tile is not None
            shown = crop_middle(shown, (tile.width / side, tile.height / side))
            small = np.asarray(shown.resize(tile.size, Image.Resampling.NEAREST), int)
            inner = (slice(1, -1), slice(1, -1))
            difference = np.abs(small - np.asarray(tile, int))[inner]
            assert (difference > 40).mean() < 0.08, (kind, number)


@pytest.mark.parametrize(
    ("text", "leads_to"),
    [
        ("conv1:7", "/unit/features.0/7.html"),
        ("features.0", "/layer/features.0.html"),
        ("conv1_1:3@2,1", "/unit/features.0/3.html"),
        ("dogs", "/class/dogs_i_wolves_i_~1.html"),
        ("add#2", "/layer/add_2_b_~2.html"),
    ],
)
def test_the_search_box_leads_to_any_address(
    address: str, look: Looks, text: str, leads_to: str
) -> None:
    page = look(page_at(address, "unit/features.0/3.html"), viewport=DESK)
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.wait_for_selector("#search-results [aria-selected=true]")
    page.keyboard.press("Enter")
    wait_for_page(page, leads_to)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("unicorn", "No results for unicorn"),
        ("conv1:99", "features.0 has channels 0 to 11"),
    ],
)
def test_the_search_box_says_what_there_is_not(
    address: str, look: Looks, text: str, said: str
) -> None:
    page = look(f"{address}index.html", viewport=DESK)
    page.keyboard.press("/")
    page.keyboard.type(text)
    page.locator("#search-empty").filter(has_text=said).wait_for()
    page.keyboard.press("Enter")
    page.locator("#status").filter(has_text=said).wait_for(state="attached")
    page.keyboard.press("Escape")
    assert not page.locator("#search-empty").is_visible()


def test_a_filter_that_leaves_nothing_says_so(address: str, look: Looks) -> None:
    page = layer_page(address, look)
    choose_range(page, "min-fired", "0.9")
    choose_range(page, "max-fired", "0.01")
    assert page.locator("#grid").inner_text() == "No channels match these filters."
    choose_range(page, "min-fired", "")
    choose_range(page, "max-fired", "")
    assert len(channels(page)) == 12


def test_help_and_theme_are_a_key_away(address: str, look: Looks) -> None:
    page = look(f"{address}index.html", viewport=DESK, color_scheme="light")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_the_address_and_the_commands_can_be_copied(served: str, look: Looks) -> None:
    page = look(
        f"{served}unit/features.0/3.html", permissions=["clipboard-read", "clipboard-write"]
    )
    for text in (
        "features.0:3",
        "retroscope show one.atlas features.0:3",
        "rs.draw(rs.open_atlas('one.atlas')['features.0:3']).save('plate.png')",
    ):
        page.locator(f'[data-copy="{text}"]').click()
        page.locator("#status").filter(has_text=f"Copied {text}").wait_for(state="attached")
        assert page.evaluate("navigator.clipboard.readText()") == text


def test_pointing_at_a_unit_frames_what_it_saw_in_an_image(address: str, look: Looks) -> None:
    page = look(page_at(address, "image/3.html"), viewport=DESK)
    link = page.locator("[data-box]").first
    link.hover()
    top, left, bottom, right = map(float, str(link.get_attribute("data-box")).split())
    box = page.locator(".whole-image .box")
    found = [float(str(box.get_attribute(name))) for name in ("y", "x", "height", "width")]
    assert found == [top, left, bottom - top, right - left]


def test_a_tap_frames_what_a_unit_saw_and_a_second_one_leads_to_it(
    served: str, look: Looks
) -> None:
    page = look(f"{served}image/3.html", viewport=PHONE, has_touch=True)
    link = page.locator("[data-box]").first
    link.tap()
    top, left, bottom, right = map(float, str(link.get_attribute("data-box")).split())
    box = page.locator(".whole-image .box")
    found = [float(str(box.get_attribute(name))) for name in ("y", "x", "height", "width")]
    assert found == [top, left, bottom - top, right - left]
    assert page.url == f"{served}image/3.html"
    link.tap()
    page.wait_for_url("**/unit/**")


@pytest.mark.parametrize("path", [one for one in PAGES if not one.startswith("other")])
def test_a_finger_can_hit_every_button_of_a_page(served: str, look: Looks, path: str) -> None:
    """Buttons, choices and the links that stand alone; links within a sentence are as it is."""
    page = look(served + path, viewport=PHONE, has_touch=True)
    small = page.evaluate(
        """[...document.querySelectorAll("button, select, input[type=search], .choice span, "
            + ".neighbours a, .bar nav a, .pager a, .crumbs a, .plate a, .tile")]
        .filter((one) => one.offsetParent)
        .filter((one) => one.getBoundingClientRect().height < 40)
        .map((one) => one.outerHTML.slice(0, 80))"""
    )
    assert not small


def page_at(address: str, path: str) -> str:
    """The URL of a page, by its path on a server: an export has pages of units in packs."""
    return address + (path if is_served(address) else packed_address(path))


def is_served(address: str) -> bool:
    """By our own server, which has no other folder."""
    return urlparse(address).path == "/"


def wait_for_page(page: "Page", path: str) -> None:
    page.wait_for_url(lambda url: path in served_addresses(url))


def source(image: "Locator") -> str:
    """The path of an image as a server has it."""
    names = ("data-packed", "src", "href")
    return served_addresses(next(filter(None, map(image.get_attribute, names)), ""))


def facts(path: str, address: str) -> dict[str, Any]:
    """What the JSON twin says; read here, since a page in a folder may not."""
    file, number = (path, None) if is_served(address) else packed_twin(path)
    url = address + file
    if url.startswith("file:"):
        text = Path(unquote(urlparse(url).path)).read_text("utf-8")
    else:
        with urlopen(url) as answer:  # noqa: S310 - our own server
            text = answer.read().decode()
    found: dict[str, Any] = json.loads(served_addresses(text))
    return found if number is None else found[number]
