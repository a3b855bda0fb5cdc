"""Type: it fits its width, and what is cut is cut where it hurts least."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.render import fonts
from retroscope.render.fonts import find_face
from retroscope.render.text import (
    BODY,
    ELLIPSIS,
    HEADING,
    LABEL,
    SMALL,
    line,
    line_height,
    replace_missing_glyphs,
    text_width,
    truncate,
    wrap,
)
from retroscope.render.theme import PAPER
from tests.render.figure_search import pixels_of

SIZES = st.sampled_from([LABEL, SMALL, BODY, HEADING])
PATHS = st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=1, max_size=120)


@given(st.text(max_size=120), st.integers(0, 400), SIZES)
def test_a_cut_line_fits_its_width(text: str, width: int, size: int) -> None:
    assert text_width(truncate(text, width, size=size), size) <= width


@given(PATHS, SIZES)
def test_a_line_that_fits_is_not_cut(text: str, size: int) -> None:
    assert truncate(text, text_width(text, size), size=size) == text


@given(PATHS, st.integers(60, 400))
def test_a_cut_line_keeps_its_two_ends(text: str, width: int) -> None:
    result = truncate(text, width)
    head, _, tail = result.partition(ELLIPSIS)
    assert text.startswith(head)
    assert text.endswith(tail)
    assert result == text or len(tail) >= len(head)


def test_the_name_of_a_file_survives_a_long_path() -> None:
    path = "/mnt/archive/photographs/of/animals/and/others/IMG_0001.jpg"
    assert truncate(path, 170).endswith("IMG_0001.jpg")


@given(st.text(max_size=80))
def test_a_letter_without_a_shape_is_replaced_and_not_lost(text: str) -> None:
    result = replace_missing_glyphs(text)
    assert len(result) == len(text)
    assert replace_missing_glyphs(result) == result


@given(st.text(max_size=120), st.integers(20, 300))
def test_wrapped_lines_fit(text: str, width: int) -> None:
    assert all(text_width(text_line) <= width for text_line in wrap(text, width))


@given(st.lists(st.sampled_from(["unit", "saw", "its", "field"]), max_size=30))
def test_wrapping_keeps_every_word_in_order(words: list[str]) -> None:
    assert " ".join(wrap(" ".join(words), 90)).split() == words


@given(st.text(max_size=60), SIZES)
def test_no_type_reaches_outside_its_line(text: str, size: int) -> None:
    tight, roomy = line(text, size=size), line(text, size=size, width=700)
    assert tight.height == line_height(size)
    assert (pixels_of(roomy)[:, tight.width :] == PAPER).all() or tight.width > 700


@pytest.mark.parametrize("size", [LABEL, SMALL, BODY, HEADING])
def test_no_letter_is_cut_at_its_head_or_foot(size: int) -> None:
    result = pixels_of(line("Ågjpqy|(@_", size=size))
    assert (result[0] == PAPER).all()
    assert (result[-1] == PAPER).all()
    assert (np.asarray(result) != PAPER).any()


def test_names_in_other_letters_are_told_apart() -> None:
    if find_face(frozenset("cät")) is None:
        pytest.skip("this machine has no face with an umlaut")
    assert replace_missing_glyphs("cät") == "cät"
    assert (pixels_of(line("cät", width=60)) != pixels_of(line("cat", width=60))).any()


def test_where_no_face_has_a_letter_its_base_letter_stands_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fonts, "_installed_faces", tuple)
    find_face.cache_clear()
    assert (replace_missing_glyphs("Café"), replace_missing_glyphs("猫.jpg")) == ("Cafe", "?.jpg")
    find_face.cache_clear()
