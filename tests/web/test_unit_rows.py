"""The rows of a unit's page: the middle of its range, the least, and the best of each class."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.results.as_json import patch_json
from retroscope.results.layers import Layer
from retroscope.results.plates import SAMPLE_QUANTILES
from retroscope.results.statistics import HISTOGRAM_EDGES
from retroscope.web.export import write_site
from retroscope.web.server import make_app
from retroscope.web.site.pages.charts import maxima_marks
from retroscope.web.site.pages.unit_rows import MAX_CLASS_ROWS
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site
from tests.atlas.small_atlas import zero_statistics
from tests.web.conftest import Looks, Serves
from tests.web.packs import read_images
from tests.web.sample_atlases import FIELD, bare_atlas, disc_image
from tests.web.test_export import assert_links_resolve, exported_pages

LAYER = Layer("conv", "conv", 3, (8, 8), FIELD, (), 0)
IMAGES, CLASSES = 24, 12
NAMES = tuple(f"kind {number} & <b>" for number in range(CLASSES))
UNIT = "unit/conv/0"
DESK = {"width": 1280, "height": 900}


def ranked_atlas(path: Path) -> Atlas:
    """Three channels with all rankings: the second never falls below zero, the last has no hits."""
    random = np.random.default_rng(0)
    with AtlasWriter(path) as writer, writer.transaction():
        writer.put_meta({"model": "ranked", "state": "illustrated", "top": 9, "version": "0"})
        writer.put_layers([LAYER])
        keys = [f"{number}.png" for number in range(IMAGES)]
        writer.put_images(keys, [number % CLASSES for number in range(IMAGES)], NAMES)
        writer.mark_read(range(IMAGES))
        for image in range(IMAGES):
            writer.put_image_pixels(image, disc_image(image))
        _put_statistics(writer, random)
        _put_rankings(writer, random)
    return open_atlas(path)


def _put_statistics(writer: AtlasWriter, random: np.random.Generator) -> None:
    means = random.gamma(1, 2, (CLASSES, 3))
    statistics = {
        "images": np.array(IMAGES),
        "positions": np.array(IMAGES * 64),
        "maximum": np.array([9.0, 8.0, 0.0]),
        "fired_images": np.array([IMAGES, IMAGES, 0]),
        "dead": np.array([False, False, True]),
        "histogram": random.integers(1, 9, (3, 64)),
        "top_label": np.array([*means[:, :2].argmax(axis=0), -1]),
    }
    writer.put_channels("conv", zero_statistics(3) | statistics)
    writer.put_class_stats("conv", means, means.clip(0, 1))


def _put_rankings(writer: AtlasWriter, random: np.random.Generator) -> None:
    def put(ranking: str | int, count: int, *, images: list[int], empty: tuple[int, ...]) -> None:
        scores = np.sort(random.gamma(2, 2, (3, count)), axis=1)[:, ::-1]
        numbers = np.array([random.permutation(images)[:count] for _ in range(3)])
        numbers[list(empty)] = -1
        places = {axis: random.integers(0, 8, (3, count)) for axis in ("ys", "xs")}
        if isinstance(ranking, int):
            writer.put_class_hits("conv", ranking, scores, images=numbers, **places)
        else:
            scores = -scores if ranking == "min" else scores
            writer.put_hits("conv", ranking, scores, images=numbers, **places)

    everything = list(range(IMAGES))
    put("max", 9, images=everything, empty=(2,))
    put("mean", 9, images=everything, empty=(2,))
    put("min", 9, images=everything, empty=(1, 2))
    put("sample", len(SAMPLE_QUANTILES) + 1, images=everything, empty=(2,))
    for label in range(CLASSES):
        put(label, 2, images=[label, label + CLASSES], empty=(2,))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ranked_atlas(tmp_path_factory.mktemp("ranked") / "ranked.atlas") as atlas:
        yield make_site(atlas)


def unit_facts(site: Site, path: str = UNIT, **query: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(respond(site, f"{path}.json", query).body)
    return facts


def html_of(site: Site, path: str = UNIT, **query: str) -> str:
    return unescape(respond(site, f"{path}.html", query).body.decode())


def test_every_row_has_the_hits_that_the_atlas_has(ranked: Site) -> None:
    rows = unit_facts(ranked)["rows"]
    assert [row["name"] for row in rows[:2]] == ["sample", "min"]
    assert len(rows) == 2 + MAX_CLASS_ROWS
    for row in rows:
        ranked_by = "max" if row["class"] else row["name"]
        plate = ranked.atlas.plate("conv:0", ranked_by=ranked_by, label=row["class"])
        assert [{key: hit[key] for key in patch_json(plate.patches[0])} for hit in row["hits"]] == [
            patch_json(patch) for patch in plate.patches
        ]
    assert [hit["quantile"] for hit in rows[0]["hits"]] == [*SAMPLE_QUANTILES, None]


def test_every_row_says_in_a_sentence_what_it_is(ranked: Site) -> None:
    page = html_of(ranked)
    assert "The images of each class that excite the unit most at one position" in page
    for row in unit_facts(ranked)["rows"]:
        if row["class"]:
            assert f"<h3>{row['class']}</h3>" in page
            continue
        assert row["doc"].endswith(".")
        assert f'{row["title"]} <span class="note">{row["doc"]}</span>' in page
    assert "quantile 0.95" in page
    assert "random image" in page


def test_a_row_without_hits_says_why(ranked: Site) -> None:
    page = html_of(ranked, "unit/conv/1")
    assert "No image takes this unit below zero." in page
    dead = html_of(ranked, "unit/conv/2")
    assert "No image of this class excites this unit." in dead


def test_an_atlas_of_two_rankings_has_no_rows(tmp_path: Path) -> None:
    with bare_atlas(tmp_path / "bare.atlas") as atlas:
        site = make_site(atlas)
        path = "unit/features.0/0"
        facts = unit_facts(site, path)
        assert (facts["rows"], facts["marks"]) == ([], [])
        page = html_of(site, path, **{"class": "hund"})
        assert "ranking-row" not in page
        assert "The atlas does not have the best images of class 'hund'." in page


def test_of_many_classes_those_with_the_highest_means_are_shown(ranked: Site) -> None:
    facts = unit_facts(ranked)
    by_mean = [entry["label"] for entry in facts["stats"]["classes"]]
    shown = [row["class"] for row in facts["rows"] if row["class"]]
    assert shown == by_mean[:MAX_CLASS_ROWS]
    assert facts["class_choice"]["hidden"] == CLASSES - MAX_CLASS_ROWS
    last = by_mean[-1]
    asked = unit_facts(ranked, **{"class": last})
    assert [row["class"] for row in asked["rows"] if row["class"]] == [last, *shown]
    unknown = html_of(ranked, **{"class": "unicorn"})
    assert "does not have the best images of class 'unicorn'" in unknown


def test_a_site_of_files_names_the_command_for_further_classes(ranked: Site) -> None:
    assert "retroscope show ranked.atlas conv:0 --class NAME" in html_of(ranked)
    served = html_of(replace(ranked, answers_queries=True))
    assert "--class NAME" not in served
    assert 'class="tools class-choice"' in served


@pytest.mark.parametrize("value", [2.0**-17, 2.0**-16, 0.3, 1.0, 700.0])
def test_a_mark_is_above_the_bar_that_counts_its_image(value: float) -> None:
    """Bars are half an octave wide, and hold their upper edge."""
    bars = {"edges": HISTOGRAM_EDGES[0:41].tolist()}
    (mark,) = maxima_marks(bars, [{"score": value, "remark": "quantile 0.5"}])
    place = mark["at"] * 40
    edges = HISTOGRAM_EDGES
    bar = next((number for number in range(40) if value <= edges[number + 1]), 39)
    assert value <= edges[0] or bar <= place <= bar + 1
    assert value > edges[0] or place == 0
    assert maxima_marks(None, [{"score": 1.0, "remark": ""}]) == []


def test_the_histogram_marks_the_images_of_the_sample(ranked: Site) -> None:
    facts = unit_facts(ranked)
    assert [mark["value"] for mark in facts["marks"]] == [
        hit["score"] for hit in facts["rows"][0]["hits"]
    ]
    assert html_of(ranked).count('<line class="mark') == len(SAMPLE_QUANTILES) + 1


def test_an_export_of_all_rankings_is_whole(ranked: Site, tmp_path: Path) -> None:
    folder = tmp_path / "site"
    write_site(ranked, folder)
    pages = dict(exported_pages(folder))
    assert_links_resolve(folder, pages)
    assert "quantile 0.95" in pages[f"{UNIT}.html"]
    for ranking in ("min", "sample"):
        images = read_images(folder / f"plate/conv/{ranking}.patches.0-63.js")
        assert images["0"] == respond(ranked, f"plate/conv/0.{ranking}.patches.webp").body


def test_a_layer_by_class_shows_the_best_images_of_the_class(ranked: Site) -> None:
    name = NAMES[3]
    facts = json.loads(respond(ranked, "layer/conv.json", {"class": name}).body)
    assert [bool(plate["plates"]["max"]) for plate in facts["plates"]] == [True, True, False]
    path = facts["plates"][0]["plates"]["max"]["patches"]
    plate = PIL.Image.open(BytesIO(respond(ranked, path).body)).convert("RGB")
    (first, _) = ranked.atlas.plate("conv:0", label=name).patches
    height, width = first.pixels.shape[:2]
    side = plate.width // 3
    top, left = (side - height) // 2, (side - width) // 2
    shown = np.asarray(plate)[top : top + height, left : left + width]
    np.testing.assert_array_equal(shown, first.pixels)
    scores = [plate["value"] for plate in facts["plates"]]
    assert scores[:2] == pytest.approx(
        [ranked.atlas.plate(f"conv:{n}", label=name).patches[0].score for n in range(2)], rel=1e-3
    )
    assert scores[2] is None
    refused = json.loads(respond(ranked, "layer/conv.json", {"class": "unicorn"}).body)
    assert refused["options"]["problems"] == ["There is no 'unicorn' for 'class' on this page."]


def test_a_class_is_chosen_on_the_page_of_a_layer(ranked: Site, look: Looks, serve: Serves) -> None:
    address = serve(make_app(replace(ranked, answers_queries=True)))
    page = look(f"{address}layer/conv.html#sort=score", viewport=DESK)
    page.wait_for_selector("#grid[data-ready]")
    page.get_by_label("Best images of").select_option(NAMES[3])
    page.wait_for_url("**class=kind*")
    page.wait_for_selector("#grid[data-ready]")
    sources = page.locator(".plate img").evaluate_all("all => all.map(image => image.src)")
    assert len(sources) == 2
    assert all(".class/" in source for source in sources)
    page.get_by_label("Best images of").select_option("")
    page.wait_for_url(lambda url: "class=" not in url)


def test_a_patch_of_a_row_is_shown_large_and_has_a_link(
    ranked: Site, look: Looks, serve: Serves
) -> None:
    address = serve(make_app(ranked))
    page = look(f"{address}{UNIT}.html", viewport=DESK)
    page.locator('[data-row="min"] .tile').nth(1).click()
    assert page.locator("#zoom-title").inner_text() == "Hit 2 of 9"
    assert page.url.endswith("#patch=min.2")
    page.keyboard.press("Escape")
    other = look(f"{address}{UNIT}.html#patch=sample.6", viewport=DESK)
    assert other.locator("#zoom-title").inner_text() == "Hit 6 of 6"
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_patch_is_cut_from_its_image_at_the_window_of_the_hit(ranked: Site) -> None:
    """The tile of each hit: image, window and size are those of its facts."""
    page = respond(ranked, f"{UNIT}.html").body.decode()
    tiles = re.findall(
        r'<svg class="crop[^>]*><svg [^>]*viewBox="([^"]*)"><image href="../../(image[^"]*)" '
        r'width="(\d+)" height="(\d+)"/>',
        page,
    )
    facts = unit_facts(ranked)
    galleries = [*facts["rankings"].values(), *facts["rows"]]
    expected = []
    for hit in (hit for gallery in galleries for hit in gallery["hits"]):
        top, left, bottom, right = hit["window"]
        height, width = map(str, hit["size"])
        box = f"{left} {top} {right - left} {bottom - top}"
        expected.append((box, hit["src"], width, height))
    assert tiles == expected
