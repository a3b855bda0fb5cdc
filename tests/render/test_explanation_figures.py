"""The explanation of an image as a figure."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from retroscope.geometry import Box
from retroscope.render.draw import draw
from retroscope.render.explanation_figures import unit_images, views_line
from retroscope.render.explanation_slices import flatten_explanation
from retroscope.render.layout import MARGIN
from retroscope.render.prediction_rows import draw_prediction_cells
from retroscope.render.slices import MOST_SLICES
from retroscope.render.theme import COOL, PAPER
from retroscope.results.explanations import Explanation, LayerFinding, OtherImage, UnusualUnit
from retroscope.results.heat_maps import Prediction, Target
from retroscope.results.layers import Layer
from tests.render.figure_search import count_colour, margin_is_empty, pixels_of
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


def test_the_page_looks_as_approved() -> None:
    assert_looks_like(draw(explanation()), "explanation")


def test_the_page_keeps_its_margin_whatever_is_on_it() -> None:
    assert margin_is_empty(draw(explanation(units=0)))
    assert margin_is_empty(draw(explanation(units=7, rarity=None)))


def test_remarks_on_the_network_are_in_the_subtitle_only() -> None:
    remark = "random weights, seed 0"
    page = explanation()
    remarked = replace(page, remarks=(remark,), heat=replace(page.heat, notes=(remark,)))
    assert np.asarray(draw(remarked)).shape == np.asarray(draw(page)).shape
    head = np.asarray(draw(remarked))[:80] != np.asarray(draw(page))[:80]
    assert head.any()


def test_a_ring_marks_a_unit_that_sees_all_of_the_image() -> None:
    """Two units of one layer have the same patch; only the ring tells them apart."""
    page = explanation(units=1)
    finding = page.findings[0]
    example = projection(224, 224)
    example = replace(example, box=Box(0, 0, 224, 224), patch=photo(224, 224))
    layer = replace(finding.layer, field=field(900))

    def figure(position: tuple[int, int]) -> Image.Image:
        unit = replace(example.unit, position=position)
        unusual = replace(finding.units[0], unit=unit, projection=example)
        return draw(replace(page, findings=(LayerFinding(layer, (unusual,)),)))

    first, second = (np.asarray(figure(position), int) for position in ((2, 3), (20, 24)))
    assert (np.abs(first - second)[: -first.shape[0] // 4] > 60).sum() > 100


def with_contrast(
    page: Explanation, *, rules: str = "relevance", share: float = 0.5
) -> Explanation:
    """The page with what each unit adds: `share` of its projection, by the sum of squares."""
    return replace(
        page,
        findings=tuple(
            replace(
                finding,
                units=tuple(
                    replace(
                        unit,
                        projection=replace(unit.projection, rules=rules),
                        contrast=replace(
                            unit.projection,
                            rules="contrast",
                            pixels=unit.projection.pixels[:, ::-1] * np.float32(share**0.5),
                        ),
                    )
                    for unit in finding.units
                ),
            )
            for finding in page.findings
        ),
    )


def test_the_page_with_contrasts_looks_as_approved() -> None:
    assert_looks_like(draw(with_contrast(explanation())), "explanation_contrast")


def test_the_images_of_a_unit_say_how_much_of_its_projection_it_adds() -> None:
    def captions(page: Explanation) -> list[str]:
        unit = page.findings[0].units[0]
        return [image.caption for image in unit_images(unit, "robust")]

    page = explanation()
    assert captions(page) == ["projection", "lit patch"]
    assert captions(with_contrast(page, share=0.25))[2:] == ["adds 25 %"]
    assert captions(with_contrast(page, rules="deconvnet"))[2:] == ["what it adds"]


def test_the_page_says_what_its_images_are() -> None:
    page = explanation()
    assert "adds" not in views_line(page)
    assert "share of the projection" in views_line(with_contrast(page))
    by_deconvnet = views_line(with_contrast(page, rules="deconvnet"))
    assert "what the unit adds" in by_deconvnet
    assert "share" not in by_deconvnet


def test_drawing_leaves_the_page_as_it_was() -> None:
    page = explanation()
    before = page.heat.values.copy(), page.image.copy()
    draw(page)
    assert np.array_equal(page.heat.values, before[0])
    assert np.array_equal(page.image, before[1])


def with_boxes(page: Explanation, count: int) -> Explanation:
    """The page of a detector that finds so many boxes; the first is the one that is asked for."""
    targets = [Target(n, "cat", (10.0, 4.0 + n, 40.0, 60.0), 0.9, f"box {n}") for n in range(count)]
    heats = tuple(
        replace(page.heat, target=target, values=np.roll(page.heat.values, n, axis=1))
        for n, target in enumerate(targets)
    )
    predictions = tuple(Prediction(target, 0.9 - n / 10) for n, target in enumerate(targets))
    return replace(page, predictions=predictions, heats=heats, heat=heats[0])


def prediction_block(page: Explanation) -> Image.Image:
    (block,) = draw_prediction_cells(page, colours="inferno", opacity=0.6)
    return block


def inked(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Which pixels of a figure have anything on them."""
    return np.asarray((pixels != PAPER).any(axis=2))


@pytest.mark.parametrize("boxes", [2, 3, 4, 5])
def test_predictions_fill_the_width_of_the_page(boxes: int) -> None:
    page = with_boxes(explanation(), boxes)
    block, width = prediction_block(page), draw(page).width - 2 * MARGIN
    assert width - 4 <= block.width <= width
    columns = np.flatnonzero(inked(pixels_of(block)).any(axis=0))
    assert columns[-1] > 0.9 * width
    assert np.diff(columns).max() < 0.2 * width


@pytest.mark.parametrize("boxes", [1, 4, 5])
def test_each_box_has_a_bar_as_long_as_its_score(boxes: int) -> None:
    page = with_boxes(explanation(), boxes)
    whole = replace(page, predictions=tuple(replace(p, probability=1.0) for p in page.predictions))
    pixels, full = (count_colour(prediction_block(shown), COOL) for shown in (page, whole))
    scores = [prediction.probability for prediction in page.predictions]
    assert full > 0
    assert abs(pixels / full - np.mean(scores)) < 0.01


def test_the_heat_that_is_asked_for_is_shown_once() -> None:
    """Another target has a cell of its own: here the eighth, which the second row has room for."""
    page = with_boxes(explanation(), 6)
    other = replace(page.heat, values=page.heat.values[::-1].copy())
    same, more = (prediction_block(shown) for shown in (page, replace(page, heat=other)))
    assert same.size == more.size
    assert inked(pixels_of(more)).sum() > 1.05 * inked(pixels_of(same)).sum()


def test_the_page_of_a_classifier_has_no_boxes() -> None:
    assert draw_prediction_cells(explanation(), colours="inferno", opacity=0.6) == []


def with_depth(page: Explanation, colour: tuple[int, int, int]) -> Explanation:
    """The page of a network that takes an image and its depth, which is of one colour."""
    depth = np.full((60, 80, 3), colour, np.uint8)
    return replace(page, image_name="rgb", others=(OtherImage("depth", depth),))


@pytest.mark.parametrize("page", [explanation(), with_boxes(explanation(), 3)])
def test_other_images_of_the_inputs_are_drawn(page: Explanation) -> None:
    colour = (203, 31, 97)
    figure = draw(with_depth(page, colour))
    assert count_colour(draw(page), colour) == 0
    assert count_colour(figure, colour) >= 60 * 80
    assert margin_is_empty(figure)


def test_many_other_images_do_not_widen_the_page() -> None:
    page = with_depth(explanation(), (203, 31, 97))
    assert draw(replace(page, others=9 * page.others)).width == draw(page).width


def test_another_volume_is_drawn_as_slices_beside_an_image() -> None:
    volume = np.zeros((20, 6, 5, 3), np.uint8)
    page = replace(explanation(), others=(OtherImage("scan", volume),))
    flat, _ = flatten_explanation(page)
    assert flat.others[0].pixels.shape == (6, MOST_SLICES * (5 + 1) - 1, 3)
