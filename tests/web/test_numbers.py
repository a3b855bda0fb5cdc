"""Numbers and names of units on the pages: with interval, chance level and plain words."""

import json
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.render.captions import plate_lines
from retroscope.results.unit_numbers import NUMBERS, NUMBERS_BY_NAME
from retroscope.web.site.routes import respond
from retroscope.web.site.site import Site, make_site
from tests.atlas import small_atlas
from tests.web.conftest import Looks
from tests.web.sample_atlases import bare_atlas
from tests.web.test_lists_and_search import results

DESK = {"width": 1280, "height": 900}
LAYER = "layer/features.0.html"


def html_of(site: Site, path: str) -> str:
    return unescape(respond(site, path).body.decode())


def script_of(site: Site, path: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(
        respond(site, path).body.decode().partition(" = ")[2].removesuffix(";\n")
    )
    return facts


def test_a_unit_page_says_what_each_number_is_and_how_large_by_chance(site: Site) -> None:
    html = html_of(site, "unit/features.0/3.html")
    table = html[html.index('<ul class="numbers">') :]
    for name in ("mis", "faithfulness"):
        kind = NUMBERS_BY_NAME[name]
        assert kind.title in table
        assert kind.doc[1:] in table
        assert f'{kind.title}</a> <span class="note">of the {kind.subject}</span>' in table
    assert table.index("faithfulness") < table.index("machine interpretability")
    assert "0.70 to 0.85" in table
    assert "\N{MINUS SIGN}0.25" in table


def test_a_number_that_is_not_defined_is_a_dash_and_an_unknown_one_its_name(site: Site) -> None:
    html = html_of(site, "unit/features.0/5.html")
    assert "of tomorrow" in html
    facts = json.loads(respond(site, "unit/features.0/5.json").body)
    values = {number["number"]: number["value"] for number in facts["numbers"]}
    assert values == {"mis": None, "of tomorrow": 1.0}
    assert facts["names"][0]["name"] == "sea"


def test_a_name_is_text_and_not_markup(site: Site) -> None:
    body = respond(site, "unit/features.0/3.html").body.decode()
    assert "named wheel &amp; &lt;i&gt;rim&lt;/i&gt; (dissection, overlap 0.25)" in body
    assert "<i>rim" not in respond(site, LAYER).body.decode()


def test_a_unit_without_numbers_has_no_table(site: Site) -> None:
    assert 'class="numbers"' not in html_of(site, "unit/features.0/7.html")


def test_the_columns_of_a_layer_are_the_numbers_of_its_channels(site: Site) -> None:
    script = script_of(site, "layer/features.0.js")
    assert script["values"].keys() >= {"mis", "faithfulness"}
    assert script["values"]["mis"] == [0.55, 0.9, 0.45, 0.8, 0.6, *[None] * 7]
    assert script["names"] == {"3": "wheel & <i>rim</i>", "5": "sea"}
    options = html_of(site, LAYER)
    assert [kind.name for kind in NUMBERS if f'<option value="{kind.name}">' in options] == [
        "faithfulness",
        "mis",
    ]


def test_an_older_atlas_without_numbers_offers_none(tmp_path: Path) -> None:
    bare_atlas(tmp_path / "a.atlas").close()
    with closing(sqlite3.connect(tmp_path / "a.atlas")) as file, file:
        file.executescript("DROP TABLE numbers; DROP TABLE names")
    with open_atlas(tmp_path / "a.atlas") as atlas:
        site = make_site(atlas)
        name = atlas.layers[0].name
        script = script_of(site, f"layer/{name}.js")
        assert not script["values"].keys() & NUMBERS_BY_NAME.keys()
        assert script["names"] == {}
        assert script_of(site, "names.js")["units"] == []


def test_a_layer_is_sorted_by_a_number(served: str, look: Looks) -> None:
    page = look(f"{served}{LAYER}", viewport=DESK)
    page.wait_for_selector("#grid[data-ready]")
    page.select_option("[name=sort]", "mis")
    shown = page.locator(".plate").evaluate_all("all => all.map(p => Number(p.dataset.channel))")
    assert shown[:5] == [1, 3, 4, 0, 2]
    assert page.locator(".plate").first.inner_text().split() == ["1", "never", "fires"]
    assert page.locator(".plate").nth(1).inner_text().split()[:2] == ["3", "wheel"]
    assert page.locator(".plate").nth(1).inner_text().endswith("0.8")


def test_the_search_box_finds_names(served: str, look: Looks) -> None:
    page = look(f"{served}index.html", viewport=DESK)
    assert "features.0:3" in results(page, "rim wheel")
    assert "features.0:5" in results(page, "sea")


def test_the_caption_of_a_plate_names_its_unit(tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    with open_atlas(tmp_path / "a.atlas") as atlas:
        assert plate_lines(atlas["conv1:0"])[0] == (
            "named räder (from a file), Rad (dissection, overlap 0.25)"
        )
        assert not plate_lines(atlas["conv1:1"])[0].startswith("named")


@pytest.mark.parametrize("path", ["unit/features.0/3.html", LAYER])
def test_the_pages_read_without_scripts(site: Site, path: str) -> None:
    assert "wheel & <i>rim</i>" in html_of(site, path)
