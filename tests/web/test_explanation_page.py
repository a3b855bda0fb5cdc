"""The explanation of an image as a file: what it says, and how it looks in a browser."""

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import retroscope as rs
from retroscope.imaging.encoding import png_url
from retroscope.render.explanation_figures import unit_images
from retroscope.render.tone import apply_tone
from retroscope.results.explanations import Explanation
from retroscope.web.site.explanation_page import explanation_html
from tests.conftest import built
from tests.render.test_explanation_figures import explanation, with_contrast, with_depth
from tests.web.conftest import Looks
from tests.web.test_browser import AXE

ASSETS = Path(rs.__file__).parent / "web/site/assets"
LABEL = "American Staffordshire terrier, Staffordshire terrier, American pit bull terrier, pit bull"
SIDE = 48


class Page(HTMLParser):
    """What a browser would load, the attributes of each tag, and the text that it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.titles += [value or "" for name, value in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.text += data


def deep_names() -> nn.Module:
    """A network whose layers have names as long as those of published networks, and longer."""

    def block(name: str, module: nn.Module) -> nn.Module:
        inner = nn.Sequential(OrderedDict(depthwise_separable_expansion=module, relu=nn.ReLU()))
        return nn.Sequential(OrderedDict({name: inner}))

    return nn.Sequential(
        OrderedDict(
            stem=block("first_stage_of_the_backbone", nn.Conv2d(3, 12, 5, padding=2)),
            pool=nn.MaxPool2d(4),
            body=block("second_stage_of_the_backbone", nn.Conv2d(12, 16, 25, padding=12)),
            head=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 7)),
        )
    )


@pytest.fixture(scope="module")
def example() -> Explanation:
    """An explanation by a real network: a layer of small fields, and one of fields beyond it."""
    labels = [LABEL, *(f"kind {n}, the same by another name" for n in range(6))]
    net = rs.Network(built(deep_names), input_size=(SIDE, SIDE), labels=labels, name="deep")
    image = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    return rs.explain(net, net.prepare(image), target=0)


@pytest.fixture
def show(example: Explanation, look: Looks, tmp_path: Path) -> Callable[..., object]:
    file = tmp_path / "explained.html"
    file.write_text(explanation_html(example), "utf-8")
    return lambda **options: look(file.as_uri(), **options)


def test_the_page_loads_nothing(example: Explanation) -> None:
    text = explanation_html(example)
    page = Page(text)
    assert any(url.startswith("data:") for url in page.sources)
    assert all(url.startswith(("data:image/png;base64,", "#")) for url in page.sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"https?:|@import|url\(", text)


def test_the_page_has_the_styles_of_the_viewer(example: Explanation) -> None:
    text = explanation_html(example)
    for name in ("tokens.css", "app.css"):
        assert (ASSETS / name).read_text("utf-8") in text


def test_the_image_is_in_the_page_once(example: Explanation) -> None:
    """The image, the places of the units and their patches are drawn from one copy."""
    units = [unit for finding in example.findings for unit in finding.units]
    assert all(unit.contrast for unit in units)
    drawings = sum(len(unit_images(unit, "robust")) for unit in units)
    page = Page(explanation_html(example))
    assert sum(url.startswith("data:") for url in page.sources) == 2 + drawings


def test_the_page_says_what_the_figure_says() -> None:
    page = Page(explanation_html(explanation()))
    for words in ("tabby", "50 %", "lynx <b>&", "photos/<cat>.jpg", "features.28:92@6,7"):
        assert words in page.text
    for words in ("conv5_3", "Look at the patch first.", "as high for 0.4 % of the atlas's images"):
        assert words in page.text
    assert "features.28:92@6,7" in page.titles
    assert "gradcam" not in page.text


def test_the_page_has_what_each_unit_adds_beside_its_projection() -> None:
    text = explanation_html(with_contrast(explanation(), share=0.25))
    assert Page(text).text.count("adds 25 %") == 8
    assert "what the unit adds to the other channels at its position" in Page(text).text
    assert text.count("What features.28:92@6,7 adds to the other channels") == 1


def test_remarks_on_the_network_are_in_the_subtitle_only() -> None:
    remark = "random weights, seed 0"
    page = explanation()
    remarked = replace(page, remarks=(remark,), heat=replace(page.heat, notes=(remark,)))
    text = explanation_html(remarked)
    assert text.count(remark) == 1
    assert text.index("</h1>") < text.index(remark) < text.index("<image")


def test_other_images_of_the_inputs_are_in_the_page() -> None:
    paired = with_depth(explanation(), (203, 31, 97))
    text = explanation_html(paired)
    assert png_url(paired.others[0].pixels) in text
    for words in ("rgb (looked back to), as the network", "depth, as the network receives it"):
        assert words in Page(text).text
    assert "depth" not in explanation_html(explanation())


def test_a_file_name_that_is_not_utf_8_is_written_as_an_escape() -> None:
    text = explanation_html(replace(explanation(), source="s\udcfe.png"))
    assert text.encode("utf-8").decode("utf-8") == text
    assert r"s\udcfe.png" in Page(text).text


def test_a_layer_without_units_says_why() -> None:
    text = explanation_html(explanation(units=0))
    assert Page(text).text.count("no channel fires for this image") == 2
    for tag in ("html", "head", "body", "section", "figure", "ol", "ul", "svg", "p", "h1", "h2"):
        assert len(re.findall(f"<{tag}[ >]", text)) == text.count(f"</{tag}>")


@pytest.mark.parametrize(
    ("rarity", "text"),
    [(None, "4.5 sd above the mean of its map"), (0.0, "higher than for any image of the atlas")],
)
def test_the_page_says_how_unusual_a_unit_is(rarity: float | None, text: str) -> None:
    assert text in Page(explanation_html(explanation(rarity=rarity))).text


def test_a_page_leaves_the_explanation_as_it_was() -> None:
    page = explanation()
    before = page.heat.values.copy(), page.image.copy()
    explanation_html(page)
    assert np.array_equal(page.heat.values, before[0])
    assert np.array_equal(page.image, before[1])


def test_small_fields_are_framed_and_the_middle_of_large_ones_is_ringed(
    example: Explanation, show: Callable[..., object]
) -> None:
    page: Any = show(viewport={"width": 1280, "height": 900})
    small, large = example.findings
    for number, unusual in enumerate(small.units):
        assert unusual.unit.position is not None
        box = small.layer.field.box(*unusual.unit.position).clip(SIDE, SIDE)
        frame = page.locator(".unit-cards").nth(0).locator("> li").nth(number).locator("rect.box")
        sides = [float(frame.get_attribute(name)) for name in ("y", "x", "height", "width")]
        assert sides == [box.top, box.left, box.height, box.width]
    for number, unusual in enumerate(large.units):
        assert unusual.unit.position is not None
        box = large.layer.field.box(*unusual.unit.position)
        ring = page.locator(".unit-cards").nth(1).locator("> li").nth(number).locator(".ring")
        assert ring.count() == 1
        expected = [(box.top + box.bottom) / 2, (box.left + box.right) / 2]
        middle = [float(ring.get_attribute(name)) for name in ("cy", "cx")]
        assert middle == [min(max(at, 0.5), SIDE - 0.5) for at in expected]


def test_patches_and_projections_are_those_of_the_units(
    example: Explanation, show: Callable[..., object]
) -> None:
    """The pixels on the screen are those of the results."""
    page: Any = show(viewport={"width": 1280, "height": 900})
    finding = example.findings[0]
    for number, unusual in enumerate(finding.units):
        tiles = page.locator(".unit-cards").nth(0).locator("> li").nth(number).locator(".crop")
        assert unusual.projection.patch is not None
        expected = (unusual.projection.patch, apply_tone(unusual.projection.pixels, "robust"))
        for index, pixels in enumerate(expected, 1):
            shown = Image.open(BytesIO(tiles.nth(index).screenshot())).convert("RGB")
            reduced = shown.resize(pixels.shape[1::-1], Image.Resampling.NEAREST)
            difference = np.abs(np.asarray(reduced, int) - pixels)
            assert (difference > 8).mean() < 0.05


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_overlaps_or_leaves_the_page(
    show: Callable[..., object], width: int, theme: str
) -> None:
    page: Any = show(viewport={"width": width, "height": 900}, color_scheme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    overflowing = page.evaluate(
        """[...document.querySelectorAll("main h1, main h3, main p, main li, main figcaption")]
        .filter((element) => element.scrollWidth > element.clientWidth + 1
            || element.getBoundingClientRect().right > innerWidth)
        .map((element) => element.outerHTML.slice(0, 80))"""
    )
    assert not overflowing
    overlapping = page.evaluate(
        """[...document.querySelectorAll(".unit-cards")].flatMap((list) => {
            const boxes = [...list.children].map((card) => card.getBoundingClientRect());
            return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
                a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
        }).length"""
    )
    assert overlapping == 0
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, re.findall(r"\d+", paper)[:3])) / 3
    assert brightness > 200 if theme == "light" else brightness < 60


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_has_no_serious_barrier(show: Callable[..., object], theme: str) -> None:
    page: Any = show(viewport={"width": 1280, "height": 900}, color_scheme=theme)
    page.add_script_tag(path=AXE)
    violations = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    serious = [entry["id"] for entry in violations if entry["impact"] in {"serious", "critical"}]
    assert not serious
