"""Plates: nine patches beside nine projections in one order, and what is missing said."""

from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from retroscope.errors import RetroscopeError
from retroscope.imaging.image import crop
from retroscope.render.draw import draw
from retroscope.render.layout import enlarge, row
from retroscope.render.mosaics import TILE_KINDS, draw_tiles, fold_corner, mosaic
from retroscope.render.theme import BAND, DEAD, WARM
from retroscope.render.tone import apply_tone
from retroscope.results.plates import SAMPLE_QUANTILES, Patch, Plate
from retroscope.results.projections import Pixels
from tests.render.figure_search import count_colour, find_block, margin_is_empty, pixels_of
from tests.render.snapshot import assert_looks_like
from tests.render.specimens import plate, stats

NOTES = ("Max-pool switches are those of the forward pass.",)


@pytest.mark.parametrize("side", [5, 40, 196])
@pytest.mark.parametrize("tone", ["tile", "gamma"])
def test_without_words_a_plate_is_its_mosaics(side: int, tone: str) -> None:
    example = plate(side)
    mosaics = [mosaic(example.patches, kind=kind, gap=2, tone=tone) for kind in TILE_KINDS]
    assert _same(draw(example, bare=True, tone=tone), row(mosaics, gap=14))
    assert _same(draw(example, bare=True, tone=tone, lit=False), row(mosaics[:2], gap=14))


def test_a_sheet_of_plates_has_the_lit_patches_if_asked_for() -> None:
    example = plate(40)
    [lit, *_] = draw_tiles(example.patches, "lit", factor=1)
    assert lit is not None
    assert len(find_block(draw([example, example], lit=True), lit)) == 2
    assert not find_block(draw([example, example]), lit)


@pytest.mark.parametrize("side", [5, 40, 196])
def test_the_words_move_no_tile(side: int) -> None:
    example = plate(side, notes=NOTES)
    [(_, left)] = find_block(draw(example, histogram=True), draw(example, bare=True))
    assert left == 20


@settings(deadline=None, max_examples=25)
@given(
    side=st.integers(1, 300),
    count=st.integers(0, 16),
    illustrated=st.integers(0, 16),
    note=st.text(max_size=200),
    histogram=st.booleans(),
)
def test_every_plate_fits_its_figure(
    *, side: int, count: int, illustrated: int, note: str, histogram: bool
) -> None:
    example = plate(side, count=count, illustrated=illustrated, notes=(note,))
    assert margin_is_empty(draw(example, histogram=histogram))


def test_the_scale_that_was_asked_for_is_used() -> None:
    example = plate(40)
    assert len(find_block(draw(example, scale=1), enlarge(example.patches[0].pixels, 1))) == 1


def test_fewer_patches_leave_pale_places_and_move_nothing() -> None:
    full, few = (draw(plate(40, count=count), bare=True) for count in (9, 4))
    assert full.size == few.size
    assert count_colour(full, BAND) == 0
    assert count_colour(few, BAND) == 3 * 5 * 118 * 118


def test_a_class_and_a_sample_have_no_places_for_more() -> None:
    three = replace(plate(40, count=3), label="lynx")
    six = replace(plate(40, count=6), ranked_by="sample")
    heights = [draw(example, bare=True).height for example in (three, six, plate(40))]
    assert heights == sorted(set(heights))
    assert count_colour(draw(three, bare=True), BAND) == 0
    assert count_colour(draw(six, bare=True), BAND) == 0


def test_a_patch_of_a_unit_that_is_silent_has_a_folded_corner() -> None:
    example = replace(plate(40, count=6, illustrated=0), ranked_by="sample")
    patches = tuple(
        replace(patch, score=patch.score * (index < 4))
        for index, patch in enumerate(example.patches)
    )
    figure = draw(replace(example, patches=patches))
    for index, patch in enumerate(patches):
        tile = enlarge(patch.pixels, 3)
        assert len(find_block(figure, tile)) == (index < 4)
        assert len(find_block(figure, fold_corner(tile))) == (index >= 4)


def test_a_sheet_of_a_class_fits_its_figure() -> None:
    plates = [replace(plate(40, channel=n, count=n), label="lynx " * 9) for n in range(4)]
    assert margin_is_empty(draw(plates))


def test_patches_without_projections_stand_alone() -> None:
    example = plate(40, illustrated=0)
    assert _same(draw(example, bare=True), mosaic(example.patches, gap=2))


def test_a_dead_channel_cannot_be_taken_for_one_that_nobody_scanned() -> None:
    dead, unscanned = _empty(images=1000), _empty(images=0)
    assert count_colour(draw(dead), DEAD) > 5000
    assert count_colour(draw(unscanned), DEAD) == 0
    assert count_colour(draw([dead, unscanned]), DEAD) == count_colour(draw(dead), DEAD)


def test_a_histogram_is_added_only_where_something_was_scanned() -> None:
    full = plate(40)
    assert draw(full, histogram=True).height > draw(full).height
    assert _same(draw(_empty(images=0), histogram=True), draw(_empty(images=0)))


def test_a_note_of_several_projections_is_said_once() -> None:
    plain, noted, single = (
        plate(40, notes=notes, count=count) for notes, count in (((), 9), (NOTES, 9), (NOTES, 1))
    )
    added = draw(noted).height - draw(plain).height
    assert added == draw(single).height - draw(plate(40, count=1)).height > 0


def test_a_note_that_holds_for_some_folds_their_corners() -> None:
    noted = _noted(plate(40), {3, 7})
    figure, plain = draw(noted), draw(plate(40))
    for n, patch in enumerate(noted.patches):
        assert patch.projection is not None
        for pixels in (patch.pixels, apply_tone(cropped(patch))):
            tile = enlarge(pixels, 3)
            assert len(find_block(figure, tile)) == (n not in {3, 7})
            assert len(find_block(figure, fold_corner(tile))) == (n in {3, 7})
    assert figure.height > plain.height
    assert _same(draw(noted, bare=True), draw(plate(40), bare=True))


def test_a_note_that_holds_for_all_folds_none() -> None:
    noted = plate(40, notes=NOTES)
    assert all(find_block(draw(noted), enlarge(patch.pixels, 3)) for patch in noted.patches)


def test_channels_that_hardly_fire_are_coloured() -> None:
    live, rare, dead = (plate(channel_stats=stats(firing=share)) for share in (0.5, 0.004, 0))
    warm_counts = [count_colour(draw([sample]), WARM) for sample in (live, rare, dead)]
    assert warm_counts[0] == 0
    assert min(warm_counts[1:]) > 0
    assert not _same(draw([live, rare]), draw([live, dead]))


def test_a_sheet_shows_every_channel_once_in_order() -> None:
    plates = _channels()
    figure = draw(plates)
    positions = [find_block(figure, enlarge(entry.patches[0].pixels, 1)) for entry in plates]
    assert [len(matches) for matches in positions] == [1] * len(plates)
    assert sorted(positions) == positions
    assert len({left for [(_, left)] in positions}) == 4


def test_a_sheet_has_the_columns_that_were_asked_for() -> None:
    narrow, wide = (draw(_channels(), columns=columns) for columns in (2, 6))
    assert narrow.width < wide.width
    assert narrow.height > wide.height
    with pytest.raises(RetroscopeError, match="grid of 0 columns"):
        draw(_channels(), columns=0)


def test_projections_on_a_sheet_stand_beside_their_patches() -> None:
    example = plate(40, channel=3)
    figure = draw([example, plate(40, channel=4)])
    [(top, _)] = find_block(figure, mosaic(example.patches, gap=2, scale=1))
    [(projection_top, _)] = find_block(
        figure, mosaic(example.patches, kind="projection", gap=2, scale=1)
    )
    assert top == projection_top


@pytest.mark.parametrize("side", [1, 5, 196, 483])
@pytest.mark.parametrize("illustrated", [0, 5, 9])
def test_every_sheet_fits_its_figure(side: int, illustrated: int) -> None:
    plates = [plate(side, channel=n, illustrated=illustrated) for n in range(3)]
    assert margin_is_empty(draw([*plates, _empty(images=1000)]))


def test_a_sheet_of_several_layers_has_longer_names() -> None:
    first, second = plate(40, channel=1), plate(40, channel=2)
    second_of_layer = replace(second, unit=replace(second.unit, layer="features.30"))
    assert not _same(draw([first, second]), draw([first, second_of_layer]))


def test_a_plate_looks_as_approved() -> None:
    assert_looks_like(draw(plate(92, notes=NOTES), histogram=True), "plate")


def test_a_plate_with_gaps_looks_as_approved() -> None:
    few = plate(
        5, count=5, illustrated=3, channel_stats=stats(5, firing=1, classes=0, non_finite=2)
    )
    assert_looks_like(draw(few), "plate_few")


def test_a_plate_of_a_sample_looks_as_approved() -> None:
    example = replace(plate(92, count=6, illustrated=4), ranked_by="sample")
    quantiles = (*SAMPLE_QUANTILES, None)
    patches = tuple(
        replace(patch, quantile=quantile, score=patch.score * (index < 4))
        for index, (patch, quantile) in enumerate(zip(example.patches, quantiles, strict=True))
    )
    assert_looks_like(draw(replace(example, patches=patches)), "plate_sample")


def test_a_sheet_of_plates_looks_as_approved() -> None:
    plates = [plate(196, channel=n, count=4 if n == 2 else 9) for n in range(3)]
    assert_looks_like(draw([*plates, _empty(images=1000)]), "plates")


@cache
def _channels() -> tuple[Plate, ...]:
    return tuple(plate(40, channel=n) for n in range(6))


def _noted(example: Plate, noted_indices: set[int]) -> Plate:
    """The plate with a note to the projections of some patches."""
    patches = tuple(
        replace(patch, projection=replace(patch.projection, notes=("not excited here",)))
        if n in noted_indices and patch.projection
        else patch
        for n, patch in enumerate(example.patches)
    )
    return replace(example, patches=patches)


def cropped(patch: Patch) -> Pixels:
    """The projection on the pixels of the patch."""
    assert patch.projection is not None
    return crop(patch.projection.full(), patch.visible, fill=0)


def _empty(*, images: int) -> Plate:
    return plate(40, count=0, channel_stats=stats(images, firing=0, classes=0))


def _same(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and bool((pixels_of(first) == pixels_of(second)).all())
