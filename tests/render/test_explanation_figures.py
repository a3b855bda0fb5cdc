"""The explanation of an image as a figure and as an HTML page."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from retroscope.render.draw import draw
from retroscope.render.html_pages import explanation_html
from retroscope.results.explanations import Explanation, LayerFinding, UnusualUnit
from retroscope.results.heat_maps import Prediction, Target
from retroscope.results.layers import Layer
from tests.render.figure_search import margin_is_empty
from tests.render.snapshot import assert_looks_like
from tests.render.specimens import field, photo, projection
from tests.render.test_heat_figures import heat_map


def explanation(*, rarity: float | None = 0.004, units: int = 4) -> Explanation:
    """A made-up page."""
    findings = tuple(
        LayerFinding(
            Layer(name, "conv", 64, (28, 28), field(side), ("conv1", alias)),
            tuple(
                UnusualUnit(example.unit, example.activation, 4.5, rarity, example)
                for example in (projection(side, side, channel=side + n) for n in range(units))
            ),
        )
        for name, alias, side in (("features.2", "conv1_2", 5), ("features.28", "conv5_3", 92))
    )
    names = ("tabby", "lynx <b>&", "tiger cat", "beach wagon", "pier")
    predictions = [Prediction(Target(n, name), 0.5 / 2**n) for n, name in enumerate(names)]
    return Explanation(
        predictions=tuple(predictions),
        heat=heat_map(),
        findings=findings,
        network="vgg16",
        compared="ranked by how few images of the atlas excite them as much",
        caveats=("Look at the patch first.",),
        image=photo(96, 96),
        source="photos/<cat>.jpg",
    )


class Page(HTMLParser):
    """The resources that a browser would load, and the text that it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_looks_as_approved() -> None:
    assert_looks_like(draw(explanation()), "explanation")


def test_the_page_keeps_its_margin_whatever_is_on_it() -> None:
    assert margin_is_empty(draw(explanation(units=0)))
    assert margin_is_empty(draw(explanation(units=7, rarity=None)))


def test_remarks_on_the_network_are_in_the_subtitle_only() -> None:
    remark = "random weights, seed 0"
    page = explanation()
    remarked = replace(page, remarks=(remark,), heat=replace(page.heat, notes=(remark,)))
    text = explanation_html(remarked)
    assert text.count(remark) == 1
    assert text.index("</h1>") < text.index(remark) < text.index("<img")
    assert np.asarray(draw(remarked)).shape == np.asarray(draw(page)).shape
    head = np.asarray(draw(remarked))[:80] != np.asarray(draw(page))[:80]
    assert head.any()


def test_a_file_name_that_is_not_utf_8_is_written_as_an_escape() -> None:
    text = explanation_html(replace(explanation(), source="s\udcfe.png"))
    assert text.encode("utf-8").decode("utf-8") == text
    assert r"s\udcfe.png" in text


def test_the_html_asks_nobody_for_anything() -> None:
    text = explanation_html(explanation())
    page = Page(text)
    assert page.sources
    assert all(url.startswith("data:image/png;base64,") for url in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|@import|url\(", text)


def test_the_html_says_what_the_figure_says() -> None:
    page = Page(explanation_html(explanation()))
    texts = " ".join(page.texts)
    for words in ("tabby", "50 %", "lynx <b>&", "photos/<cat>.jpg", "features.28:92@6,7"):
        assert words in texts
    for words in ("conv5_3", "Look at the patch first.", "as high for 0.4 % of the atlas's images"):
        assert words in texts
    assert page.tags.count("img") == 2 + 2 * 8


def test_the_html_closes_what_it_opens() -> None:
    text = explanation_html(explanation(units=0))
    for tag in ("html", "head", "body", "div", "figure", "ul", "dl", "p", "h1", "h2"):
        assert len(re.findall(f"<{tag}[ >]", text)) == text.count(f"</{tag}>")


@pytest.mark.parametrize(
    ("rarity", "text"),
    [(None, "4.5 sd above the mean of its map"), (0.0, "higher than for any image of the atlas")],
)
def test_how_unusual_a_unit_is_is_said(rarity: float | None, text: str) -> None:
    assert text in " ".join(Page(explanation_html(explanation(rarity=rarity))).texts)


def test_drawing_leaves_the_page_as_it_was() -> None:
    page = explanation()
    before = page.heat.values.copy(), page.image.copy()
    draw(page)
    explanation_html(page)
    assert np.array_equal(page.heat.values, before[0])
    assert np.array_equal(page.image, before[1])
