"""Caveats name the rules that they are about, and no others."""

import pytest

from retroscope.engine.rules import RULE_BOOKS
from retroscope.results.caveats import BOX, PROJECTION_CAVEATS, caveats_of, projection_caveats


def test_each_rule_book_has_a_caveat() -> None:
    assert sorted(PROJECTION_CAVEATS) == sorted(RULE_BOOKS)


@pytest.mark.parametrize("rules", PROJECTION_CAVEATS)
def test_a_caveat_speaks_of_its_own_rules(rules: str) -> None:
    (caveat,) = projection_caveats([rules])
    for other in PROJECTION_CAVEATS:
        assert (other in caveat.lower()) == (other == rules)


def test_rules_of_the_users_own_have_no_caveat() -> None:
    assert projection_caveats(["mine"]) == ()


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "xgradcam", "scorecam", "ablationcam"])
def test_methods_that_weight_whole_maps_are_no_methods_for_boxes(method: str) -> None:
    assert caveats_of(method, of_box=True) == (BOX, *caveats_of(method))
    assert caveats_of("layercam", of_box=True) == caveats_of("layercam")
