"""Captions of plates: counts, shares, and reasons for what is missing."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.render.captions import note_lines, number_ranges, percent, plate_lines, quiet_line
from retroscope.results.plates import SAMPLE_QUANTILES, Plate
from tests.render.specimens import field, plate, stats


def test_a_full_plate_says_what_it_shows() -> None:
    lines = plate_lines(plate(40, channel_stats=replace(stats(), fired_images=120)))
    assert lines[0] == "conv · conv13, conv5_3 · field 40x40 px · ranked by max"
    assert "fires in 12 % of images" in lines[1]
    assert "(1,000 images)" in lines[1]
    assert lines[2].startswith("classes by mean maximum: lighthouse 4.1, harbour 2.05")
    assert len(lines) == 3


def test_scores_are_a_range() -> None:
    full, single = plate(40), plate(40, count=1)
    low, high = full.patches[-1].score, full.patches[0].score
    assert f"scores {low:.4g} to {high:.4g}" in plate_lines(full)[1]
    assert f"score {single.patches[0].score:.4g} ·" in plate_lines(single)[1]


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (plate(count=0, channel_stats=stats(firing=0)), "never fires in 1,000 images"),
        (plate(count=0, channel_stats=stats(0)), "not scanned yet"),
        (plate(count=0, channel_stats=stats(0, non_finite=7)), "no finite values"),
        (
            plate(channel_stats=stats(firing=0)),
            "never fires in 1,000 images; these patches come close",
        ),
        (plate(channel_stats=stats(non_finite=7)), "7 non-finite values"),
        (plate(count=4, channel_stats=stats(4, firing=1)), "only 4 images scanned"),
        (plate(count=1, channel_stats=stats(1, firing=1)), "only 1 image scanned"),
        (plate(count=4), "only 4 patches"),
        (plate(illustrated=0), "not projected yet"),
        (plate(illustrated=7), "2 of 9 not projected yet"),
        (plate(ranked_by="mean"), "ranked by mean"),
        (plate(channel_stats=replace(stats(), images=None)), "firing rate not recorded"),
    ],
)
def test_the_caption_names_what_is_missing(example: Plate, text: str) -> None:
    assert text in " | ".join(plate_lines(example))


def sample_plate(*, silent: Sequence[int] = (), illustrated: int = 9) -> Plate:
    """A plate of a sample whose unit has a score of zero in some of its images."""
    full = plate(40, count=6, ranked_by="sample", illustrated=illustrated)
    quantiles = (*SAMPLE_QUANTILES, None)
    patches = (
        replace(patch, quantile=quantile, score=0 if index in silent else patch.score)
        for index, (patch, quantile) in enumerate(zip(full.patches, quantiles, strict=True))
    )
    return replace(full, patches=tuple(patches))


def test_a_plate_says_which_images_it_shows() -> None:
    lowest = plate_lines(plate(ranked_by="min"))
    assert lowest[0].endswith("ranked by min")
    of_class = plate_lines(replace(plate(count=3), label="lynx"))
    assert of_class[0].endswith("best images of class lynx")
    assert not any("only 3" in line for line in of_class), "no more were asked for"
    sample = plate_lines(sample_plate())
    assert sample[1] == (
        "images of a random sample at quantiles 0.99, 0.95, 0.9, 0.75, 0.5 of its maxima, and a "
        "random one"
    )
    assert not any("ranked by" in line for line in sample)


@pytest.mark.parametrize(
    ("example", "text"),
    [
        (replace(plate(count=0), label="lynx"), "no image of class lynx excites it"),
        (plate(count=0, ranked_by="min"), "its minimum is zero in every image"),
    ],
)
def test_a_plate_without_patches_says_why(example: Plate, text: str) -> None:
    assert text in " | ".join(plate_lines(example))


def test_only_the_best_patches_come_close() -> None:
    dead = stats(firing=0)
    for example in (
        plate(ranked_by="min", channel_stats=dead),
        replace(sample_plate(), stats=dead),
    ):
        assert not any("come closest" in line for line in plate_lines(example))


SILENT = "this unit is not active here: its activation is not above zero"


@pytest.mark.parametrize(
    ("silent", "lines"),
    [
        ((), []),
        ((4,), [f"patch 0.5 (folded corner): {SILENT}"]),
        ((3, 4, 5), [f"patches 0.75, 0.5, random (folded corner): {SILENT}"]),
        (range(6), [SILENT]),
    ],
)
def test_a_sampled_patch_says_that_its_unit_is_silent(
    silent: Sequence[int], lines: list[str]
) -> None:
    assert note_lines(sample_plate(silent=silent, illustrated=0)) == lines


def test_only_a_sample_says_that_a_unit_is_silent() -> None:
    patches = tuple(replace(patch, score=-1) for patch in plate(illustrated=0).patches)
    assert note_lines(replace(plate(ranked_by="min"), patches=patches)) == []


NOTE = "this unit is not excited here"


@pytest.mark.parametrize(
    ("indices", "text"),
    [
        (range(9), NOTE),
        ([4], f"patch 5 (folded corner): {NOTE}"),
        ([0, 1, 4, 5, 6], f"patches 1, 2, 5 to 7 (folded corner): {NOTE}"),
    ],
)
def test_a_note_says_for_which_patches_it_holds(indices: Sequence[int], text: str) -> None:
    full = plate(40)
    patches = [
        replace(patch, projection=replace(patch.projection, notes=(NOTE,)))
        if n in indices and patch.projection
        else patch
        for n, patch in enumerate(full.patches)
    ]
    assert note_lines(replace(full, patches=tuple(patches))) == [text]


def test_a_note_of_all_projections_is_of_all_though_some_patches_have_none() -> None:
    assert note_lines(plate(40, illustrated=4, notes=(NOTE,))) == [NOTE]


@given(st.sets(st.integers(1, 40)))
def test_runs_name_every_number_once(numbers: set[int]) -> None:
    numbers_in_text: list[int] = []
    for part in number_ranges(sorted(numbers)).split(", ") if numbers else ():
        first, _, last = part.partition(" to ")
        numbers_in_text += range(int(first), int(last or first) + 1)
    assert numbers_in_text == sorted(numbers)


@pytest.mark.parametrize(
    ("firing", "text"),
    [
        ([0.5, 0.2], ""),
        ([0.5, 0], "1 never fires"),
        ([0, 0, 0.9], "2 never fire"),
        ([0, 0.004, 0.006], "1 never fires · 2 fire in under 1 % of images"),
    ],
)
def test_channels_that_hardly_fire_are_counted(firing: Sequence[float], text: str) -> None:
    channels = [
        replace(stats(), fired_images=round(1000 * share), fired_positions=1) for share in firing
    ]
    assert quiet_line(channels) == text
    assert quiet_line([stats(0), stats(0, non_finite=3)]) == "", "nothing is known of them"


def test_a_unit_that_sees_everything_says_so() -> None:
    full = plate(40)
    whole = replace(full, layer=replace(full.layer, field=field(whole=True)))
    assert "field whole image" in plate_lines(whole)[0]


@given(st.floats(0, 1))
def test_a_share_is_none_or_all_only_where_it_is(share: float) -> None:
    assert (percent(share) == "0 %") == (share == 0)
    assert (percent(share) == "100 %") == (share == 1)
