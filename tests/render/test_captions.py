"""What plates say: counts and shares that are true, and reasons for all that is missing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.render.captions import percent, plate_lines
from retroscope.results import Plate
from tests.render.specimens import field, plate, stats


def test_a_full_plate_says_what_it_shows() -> None:
    lines = plate_lines(plate(40, measured=replace(stats(), fired_images=120)))
    assert lines[0] == "conv · conv13, conv5_3 · sees 40x40 px · ranked by max"
    assert "fires in 12 % of images" in lines[1]
    assert "(1,000 images)" in lines[1]
    assert lines[2].startswith("classes by mean maximum: lighthouse 4.1, harbour 2.05")
    assert len(lines) == 3


def test_scores_are_a_range() -> None:
    full, one = plate(40), plate(40, count=1)
    low, high = full.patches[-1].score, full.patches[0].score
    assert f"scores {low:.4g} to {high:.4g}" in plate_lines(full)[1]
    assert f"score {one.patches[0].score:.4g} ·" in plate_lines(one)[1]


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (plate(count=0, measured=stats(firing=0)), "never fires in 1,000 images"),
        (plate(count=0, measured=stats(0)), "nothing scanned yet"),
        (plate(count=0, measured=stats(0, non_finite=7)), "no value is finite"),
        (plate(measured=stats(firing=0)), "never fires in 1,000 images; these patches come near"),
        (plate(measured=stats(non_finite=7)), "7 values not finite"),
        (plate(count=4, measured=stats(4, firing=1)), "only 4 images scanned"),
        (plate(count=1, measured=stats(1, firing=1)), "only 1 image scanned"),
        (plate(count=4), "only 4 patches"),
        (plate(illustrated=0), "not illustrated yet"),
        (plate(illustrated=7), "2 of 9 not illustrated yet"),
        (plate(ranked_by="mean"), "ranked by mean"),
    ],
)
def test_what_is_missing_is_said_plainly(shown: Plate, said: str) -> None:
    assert said in " | ".join(plate_lines(shown))


def test_a_unit_that_sees_everything_says_so() -> None:
    full = plate(40)
    whole = replace(full, layer=replace(full.layer, field=field(whole=True)))
    assert "sees the whole image" in plate_lines(whole)[0]


@given(st.floats(0, 1))
def test_a_share_is_none_or_all_only_where_it_is(share: float) -> None:
    assert (percent(share) == "0 %") == (share == 0)
    assert (percent(share) == "100 %") == (share == 1)
