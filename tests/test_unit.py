import re
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retroscope.errors import UnitError
from retroscope.unit import Unit, as_unit

LAYERS = st.from_regex(r"[A-Za-z0-9_.~-]{1,12}", fullmatch=True)
COUNTS = st.integers(0, 4096)
PLACES = st.tuples(COUNTS, COUNTS)
UNITS = st.one_of(
    st.builds(Unit, LAYERS),
    st.builds(Unit, LAYERS, COUNTS),
    st.builds(Unit, LAYERS, COUNTS, PLACES),
    st.builds(partial(Unit, whole_map=True), LAYERS, COUNTS),
)

# The text


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("features.28", Unit("features.28")),
        ("features.28:42", Unit("features.28", 42)),
        ("features.28:42@6,7", Unit("features.28", 42, (6, 7))),
        ("features.28:42@*", Unit("features.28", 42, whole_map=True)),
        ("layer1.0.relu~2:0", Unit("layer1.0.relu~2", 0)),
    ],
)
def test_each_form_of_an_address_means_what_the_design_says(text: str, unit: Unit) -> None:
    assert Unit.parse(text) == unit
    assert str(unit) == text


@given(unit=UNITS)
def test_a_printed_unit_reads_back_as_itself(unit: Unit) -> None:
    assert Unit.parse(str(unit)) == unit


@given(one=UNITS, other=UNITS)
def test_two_units_have_one_address_only_if_they_are_one(one: Unit, other: Unit) -> None:
    assert (str(one) == str(other)) == (one == other)


@given(unit=UNITS, around=st.tuples(*[st.sampled_from(["", " ", "\n", "\t "])] * 2))
def test_blanks_around_an_address_do_not_matter(unit: Unit, around: tuple[str, str]) -> None:
    assert Unit.parse(str(unit).join(around)) == unit


# Texts that are no address


def is_address(text: str) -> bool:
    """The grammar of an address, spelled out piece by piece."""
    layer, colon, rest = text.strip().partition(":")
    if not layer or "@" in layer or any(map(str.isspace, layer)):
        return False
    if not colon:
        return True
    channel, at, place = rest.partition("@")
    numbers = [channel, *(place.split(",") if at and place != "*" else [])]
    return all(map(str.isdecimal, numbers)) and len(numbers) in ((1,) if place == "*" else (1, 3))


NO_ADDRESSES = (
    "| |:1|a:|a:b|a:-1|a:1.5|a@*|a:@1,2|a:1@|a:1@1,2,3,4|a:1@1, 2|a:1@**|a b|a:1@*,*|a:1:2|"
    "a:1@-1,0|a::1|a: 1"
)


@pytest.mark.parametrize("text", NO_ADDRESSES.split("|"))
def test_a_text_that_is_no_address_gets_an_error_that_shows_the_forms(text: str) -> None:
    with pytest.raises(UnitError) as refused:
        Unit.parse(text)
    assert repr(text) in str(refused.value)
    for form in ("LAYER,", "LAYER:CHANNEL,", "LAYER:CHANNEL@Y,X", "LAYER:CHANNEL@*"):
        assert form in str(refused.value)


@given(text=st.text(st.sampled_from("ab.0189:@,* \n-"), max_size=12))
def test_any_text_is_an_address_or_an_error_in_one_line(text: str) -> None:
    if is_address(text):
        assert Unit.parse(text).layer == text.strip().partition(":")[0]
        return
    with pytest.raises(UnitError) as refused:
        Unit.parse(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["a:{}", "a:1@{},0", "a:1@0,{}"])
def test_a_number_of_too_many_digits_is_refused_like_any_other_bad_text(text: str) -> None:
    with pytest.raises(UnitError):
        Unit.parse(text.format("9" * 5000))


@pytest.mark.parametrize("place", [{"position": (1, 2)}, {"whole_map": True}])
def test_a_position_needs_a_channel(place: dict[str, object]) -> None:
    with pytest.raises(UnitError, match="a position in 'conv1' needs a channel"):
        Unit("conv1", None, **place)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Unit("conv1", -1),
        lambda: Unit("conv1", 0, (-1, 2)),
        lambda: Unit("conv1", 0, (1, 2), whole_map=True),
        lambda: Unit("conv1:3"),
        lambda: Unit(""),
    ],
)
def test_no_unit_can_be_made_that_its_text_does_not_mean(make: Callable[[], Unit]) -> None:
    with pytest.raises(UnitError):
        make()


# The order


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["conv1", "features.2", "features.2.a", "features.10", "features.10.b", "layer1.9"]
    assert sorted(map(Unit, reversed(names))) == [Unit(name) for name in names]


def test_a_layer_comes_before_its_channels_and_a_channel_before_its_positions() -> None:
    texts = ["a", "a:0", "a:2", "a:2@0,0", "a:2@0,10", "a:2@3,1", "a:2@10,0", "a:2@*", "a:10", "b"]
    assert list(map(str, sorted(map(Unit.parse, reversed(texts))))) == texts


@given(units=st.lists(UNITS, max_size=8), shuffled=st.randoms())
def test_the_order_does_not_depend_on_where_it_starts(units: list[Unit], shuffled: Random) -> None:
    once = sorted(units)
    shuffled.shuffle(units)
    assert all(not later < earlier for earlier, later in pairwise(once))
    assert [one._rank() for one in sorted(units)] == [one._rank() for one in once]


# What stands for a unit


@given(unit=UNITS)
def test_a_unit_and_its_address_mean_the_same(unit: Unit) -> None:
    assert as_unit(unit) == as_unit(str(unit)) == unit


@pytest.mark.parametrize("given", [36, None, ["conv5", 36], ("conv5", 36), ("conv5", 36, 2), 2.5])
def test_what_is_no_address_is_shown_one(given: object) -> None:
    with pytest.raises(UnitError) as refused:
        as_unit(given)
    assert str(refused.value).startswith(f"{given!r} is not a unit; ")
    assert re.search(r"'(conv5:36|conv5_3:42)'$", str(refused.value))
