"""A layer in any order and between any bounds: by the URL, by a plain form, and by scripts."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from math import isnan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.results.unit_numbers import NUMBERS, UnitNumber
from retroscope.unit import Unit
from retroscope.web.server import make_app
from retroscope.web.site.pages.charts import distribution
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site
from tests.web.conftest import Looks, Serves
from tests.web.sample_atlases import LAYERS, bare_atlas
from tests.web.sample_atlases import NUMBERS as STORED

if TYPE_CHECKING:
    from playwright.sync_api import Page

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
LAYER = "layer/features.0"
MIS = {0: 0.55, 1: 0.9, 2: 0.45, 3: 0.8, 4: 0.6}


def layer_facts(site: Site, path: str = LAYER, **query: str) -> dict[str, Any]:
    options = {name.replace("_", "-"): value for name, value in query.items()}
    facts: dict[str, Any] = json.loads(respond(site, f"{path}.json", options).body)
    return facts


def channels(facts: dict[str, Any]) -> list[int]:
    return [plate["channel"] for plate in facts["plates"]]


def shown(page: "Page") -> list[int]:
    return [int(item.get_attribute("data-channel") or -1) for item in page.locator(".plate").all()]


def test_a_range_holds_both_ends_and_no_channel_without_the_number(site: Site) -> None:
    assert channels(layer_facts(site, min_mis="0.55", max_mis="0.8")) == [0, 3, 4]
    assert channels(layer_facts(site, max_mis="0.55")) == [0, 2]
    assert channels(layer_facts(site, min_mis="0.85", max_faithfulness="1")) == []


def test_an_order_puts_the_highest_first_and_channels_without_the_number_last(site: Site) -> None:
    order = channels(layer_facts(site, sort="mis"))
    assert order == [*sorted(MIS, key=lambda channel: -MIS[channel]), *range(5, 12)]
    assert channels(layer_facts(site, sort="mis", min_mis="0.5")) == [1, 3, 4, 0]


@pytest.mark.parametrize("name", ["score", "fired", "positions", "average", "std", "selectivity"])
def test_every_statistic_is_an_order_and_a_range(site: Site, name: str) -> None:
    """The atlas itself says which channels have at least the value of the median channel."""
    values = {}
    for channel in range(12):
        stats = site.atlas.stats(f"features.0:{channel}")
        values[channel] = {
            "score": stats.maximum,
            "fired": stats.fired_image_share,
            "positions": stats.fired_position_share,
            "average": stats.mean,
            "std": stats.std,
            "selectivity": json.loads(respond(site, f"unit/features.0/{channel}.json").body)[
                "selectivity"
            ],
        }[name]
    known = {number: float(f"{value:.4g}") for number, value in values.items() if value is not None}
    bound = sorted(known.values())[len(known) // 2]
    facts = layer_facts(site, sort=name, **{f"min_{name}": str(bound)})
    expected = [channel for channel in known if known[channel] >= bound]
    assert channels(facts) == sorted(expected, key=lambda channel: -known[channel])


def test_what_cannot_be_used_is_named_and_left_out(site: Site) -> None:
    facts = layer_facts(site, sort="beauty", min_mis="much", max_beauty="1", by="luck")
    assert channels(facts) == list(range(12))
    assert facts["options"]["problems"] == [
        "There is no 'beauty' for 'sort' on this page.",
        "There is no 'luck' for 'by' on this page.",
        "This layer has no number 'beauty'.",
        "'min-mis' is 'much', which is not a number.",
    ]
    page = respond(site, f"{LAYER}.html", {"sort": "<i>x"}).body.decode()
    assert "&lt;i&gt;x" in page
    assert "<i>x" not in page
    assert layer_facts(site, max_mis="nan")["options"]["problems"]


def test_a_range_without_a_channel_says_so(site: Site) -> None:
    page = respond(site, f"{LAYER}.html", {"min-mis": "2"}).body.decode()
    assert "No channels match these filters." in page
    assert "0 of 12 channels" in page
    assert 'name="min-mis"' in page


def test_further_pages_keep_the_order(site: Site) -> None:
    client = TestClient(make_app(site), base_url="http://localhost")
    many = next(layer for layer in LAYERS if layer.channels > 240)
    path = "layer/add_2_b_~2"
    pages = [client.get(f"/{path}{page}.json?sort=score").json() for page in ("", "/2")]
    order = [channel for page in pages for channel in channels(page)]
    maxima = [
        float(f"{site.atlas.stats(f'{many.name}:{channel}').maximum:.4g}") for channel in order
    ]
    assert len(order) == many.channels
    assert maxima == sorted(maxima, reverse=True)
    html = client.get(f"/{path}.html?sort=score&min-score=0").text
    assert "2.html?sort=score&amp;min-score=0" in html
    assert client.get(f"/{path}/2.json?sort=score&min-score=1e9").status_code == 404


@pytest.mark.parametrize("chance", [None, 0.5, -1.0, 2.0])
def test_a_distribution_counts_every_value_once(chance: float | None) -> None:
    values = [*np.random.default_rng(0).gamma(2, 0.1, 60).tolist(), None, 0.0]
    known = sorted(value for value in values if value is not None)
    chart = distribution(values, chance=chance)
    assert chart is not None
    ends = known if chance is None else sorted([*known, chance])
    assert (chart["low"], chart["high"]) == (ends[0], ends[-1])
    width = (ends[-1] - ends[0]) / len(chart["heights"])
    counts = [0] * len(chart["heights"])
    for value in known:
        counts[min(int((value - ends[0]) / width), len(counts) - 1)] += 1
    heights = [count / max(counts) for count in counts]
    assert chart["heights"] == pytest.approx(heights)
    assert chart["median"] == pytest.approx(median(known))
    for quantile in chart["quantiles"]:
        below = sum(value <= quantile["value"] for value in known)
        assert below >= quantile["share"] * (len(known) - 1)
        assert quantile["at"] == pytest.approx((quantile["value"] - ends[0]) / (ends[-1] - ends[0]))
    assert chart["count"] == len(known)


def test_a_single_value_is_in_the_middle_and_no_value_has_no_chart() -> None:
    chart = distribution([3.0, 3.0, None])
    assert chart is not None
    assert (chart["low"], chart["high"], chart["median"]) == (3.0, 3.0, 3.0)
    assert {quantile["at"] for quantile in chart["quantiles"]} == {0.5}
    assert distribution([None, None]) is None
    assert distribution([]) is None


def test_the_network_page_has_the_median_of_every_number_of_every_layer(site: Site) -> None:
    facts = json.loads(respond(site, "index.json").body)
    table = {
        (number["name"], layer): entry["median"]
        for number in facts["numbers"]
        for layer, entry in number["layers"].items()
    }
    expected = {}
    for kind in NUMBERS:
        for layer in LAYERS:
            values = [
                number.value
                for number in STORED
                if (number.name, number.unit.layer) == (kind.name, layer.name)
                and not isnan(number.value)
            ]
            if values:
                expected[kind.name, layer.name] = median(values)
    assert table == pytest.approx(expected)
    page = respond(site, "index.html").body.decode()
    assert '<table class="medians">' in page


def test_an_atlas_without_numbers_has_distributions_of_its_statistics_alone(
    tmp_path: Path,
) -> None:
    bare_atlas(tmp_path / "bare.atlas").close()
    with closing(sqlite3.connect(tmp_path / "bare.atlas")) as file, file:
        file.execute("DROP TABLE numbers")
    with open_atlas(tmp_path / "bare.atlas") as atlas:
        site = make_site(atlas)
        path = f"layer/{next(iter(atlas.layers)).name}"
        page = respond(site, f"{path}.html").body.decode()
        assert "<code>retroscope score</code> adds numbers" in page
        assert "medians" not in respond(site, "index.html").body.decode()


def test_a_plain_form_sorts_and_filters(site: Site, look: Looks, serve: Serves) -> None:
    address = serve(make_app(replace(site, answers_queries=True)))
    page = look(f"{address}{LAYER}.html", viewport=DESK, java_script_enabled=False)
    page.locator("summary").filter(has_text="Numbers of this layer").click()
    page.fill("[name=min-mis]", "0.5")
    page.select_option("[name=sort]", "mis")
    page.get_by_role("button", name="Show", exact=True).click()
    assert shown(page) == [1, 3, 4, 0]
    assert page.locator("#count").inner_text() == "4 of 12 channels"
    assert page.locator("[name=min-mis]").input_value() == "0.5"
    assert "Showing channels with machine interpretability score from 0.5." in page.content()
    page.locator("summary").filter(has_text="Numbers of this layer").click()
    page.fill("[name=min-mis]", "3")
    page.get_by_role("button", name="Show", exact=True).click()
    assert page.locator("#grid").inner_text().strip() == "No channels match these filters."


def test_a_site_of_files_offers_no_form_that_needs_a_server(served: str, look: Looks) -> None:
    page = look(f"{served}{LAYER}.html", viewport=DESK, java_script_enabled=False)
    assert not page.locator("#view-options").is_visible()
    page.locator("summary").filter(has_text="Numbers of this layer").click()
    assert page.locator(".distribution-chart").first.is_visible()
    assert not page.locator("[name=min-mis]").is_visible()


def test_a_link_with_a_query_and_one_with_a_fragment_show_the_same(
    address: str, look: Looks
) -> None:
    for options in ("?sort=mis&min-mis=0.5", "#sort=mis&min-mis=0.5", "?sort=mis#min-mis=0.5"):
        page = look(f"{address}{LAYER}.html{options}", viewport=DESK)
        page.wait_for_selector("#grid[data-ready]")
        assert shown(page) == [1, 3, 4, 0], options
        assert page.locator("#distributions").get_attribute("open") is not None
        page.fill("[name=min-mis]", "0.7")
        page.locator("[name=min-mis]").press("Enter")
        assert shown(page) == [1, 3]
        page.reload()
        page.wait_for_selector("#grid[data-ready]")
        assert shown(page) == [1, 3], options


def test_the_ranges_of_a_layer_fit_a_phone(served: str, look: Looks) -> None:
    page = look(f"{served}{LAYER}.html#min-mis=0.5", viewport=PHONE, has_touch=True)
    page.wait_for_selector("#grid[data-ready]")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    heights = page.evaluate(
        "[...document.querySelectorAll('.range input, .distributions summary')]"
        ".map((control) => control.getBoundingClientRect().height)"
    )
    assert min(heights) >= 40
    assert "0.5" in page.locator("#fold-summary").inner_text()


def test_a_file_that_is_written_has_new_columns(tmp_path: Path) -> None:
    """The table of a layer is read again when the atlas has changed."""
    bare_atlas(tmp_path / "bare.atlas").close()
    with open_atlas(tmp_path / "bare.atlas") as atlas:
        site, name = make_site(atlas), atlas.layers[0].name
        before = {number["name"] for number in layer_facts(site, f"layer/{name}")["distributions"]}
        with AtlasWriter(atlas.path) as writer, writer.transaction():
            writer.put_numbers([UnitNumber(Unit(name, 0), "monosemanticity", 0.75, chance=0.5)])
        after = {number["name"] for number in layer_facts(site, f"layer/{name}")["distributions"]}
    assert "monosemanticity" not in before
    assert after == {*before, "monosemanticity"}
