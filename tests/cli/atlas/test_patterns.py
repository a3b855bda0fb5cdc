"""illustrate --methods synthesize, as somebody at a terminal meets it."""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest

import retroscope as rs
from retroscope.results.patterns import Pattern
from tests.cli.atlas.making import TINY, count
from tests.cli.terminal import Retroscope

PUT = ["illustrate", "bare.atlas", TINY, "--methods", "synthesize", "--steps", "3"]


def patterns(path: str = "bare.atlas") -> dict[str, Pattern]:
    """The patterns of an atlas by their units."""
    with rs.open_atlas(path) as atlas:
        return {str(unit): one for unit in atlas for one in atlas.patterns(unit)}


def test_patterns_are_put_into_the_atlas(retroscope: Retroscope) -> None:
    said = retroscope(*PUT)
    assert (said.status, said.out) == (0, "bare.atlas\n")
    net = rs.open_model(TINY, device="cpu")
    kept = patterns()
    with rs.open_atlas("bare.atlas") as atlas:
        assert list(kept) == [str(unit) for unit in atlas]
        best = {str(unit): atlas.stats(unit).maximum for unit in atlas}
    for unit, pattern in kept.items():
        alone = rs.synthesize(net, unit, steps=3)
        np.testing.assert_array_equal(pattern.image, alone.image)
        assert pattern.activation == pytest.approx(alone.activation, rel=1e-3)
        assert pattern.natural == best[unit]
    assert count("projections", "bare.atlas") == 0, "nothing but what was asked for"


def test_how_many_and_how_long_is_said_first(retroscope: Retroscope) -> None:
    first, *rest = retroscope(*PUT).err.splitlines()
    assert first.startswith("12 patterns: about ")
    assert rest[-1].startswith("synthesize 12/12")
    assert retroscope(*PUT).err == "bare.atlas already has all of these patterns\n"


def test_the_layers_and_the_recipe_asked_for_are_made(retroscope: Retroscope) -> None:
    assert retroscope(*PUT, "--layers", "conv2", "--recipe", "plain").status == 0
    assert {pattern.recipe for pattern in patterns().values()} == {"plain"}
    assert list(patterns()) == [f"3:{channel}" for channel in range(4)]


def test_projections_and_patterns_come_in_one_go(retroscope: Retroscope) -> None:
    words = ["illustrate", "bare.atlas", TINY, "images", "--methods", "deconv,synthesize"]
    assert retroscope(*words, "--steps", "3").status == 0
    assert len(patterns()) == 12
    assert count("projections", "bare.atlas") > 0


def test_a_stopped_run_goes_on_and_makes_none_again(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retroscope.methods.synthesis.synthesize import synthesize_many

    made: list[str] = []

    def one_batch(net: rs.Network, units: Sequence[rs.Unit], **options: object) -> list[Pattern]:
        if len(made) >= 5:
            raise KeyboardInterrupt
        made.extend(map(str, units))
        return synthesize_many(net, units, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("retroscope.scanning.pattern_pass.PATTERNS_PER_TRANSACTION", 5)
    monkeypatch.setattr("retroscope.scanning.pattern_pass.estimate_seconds", lambda *_: 0.0)
    with monkeypatch.context() as patched:
        patched.setattr("retroscope.scanning.pattern_pass.synthesize_many", one_batch)
        stopped = retroscope(*PUT)
    assert (stopped.status, stopped.out) == (130, "")
    where = "stopped at 'synthesize' 5 of 12; run the same command to resume"
    assert stopped.err.endswith(f"retroscope: {where}\n")
    kept = patterns()
    assert list(kept) == made
    again = retroscope(*PUT)
    assert again.err.startswith("7 patterns: about ")
    assert again.err.splitlines()[-1].startswith("synthesize 7/7")
    every = patterns()
    assert len(every) == 12
    for unit, pattern in kept.items():
        np.testing.assert_array_equal(every[unit].image, pattern.image)


MISTAKES = {
    "no atlas": (["none.atlas", TINY], "none.atlas"),
    "other weights": (["bare.atlas", "nets.py:other"], "different weights"),
    "other pictures": (["bare.atlas", TINY, "--mean", ".1,.2,.3"], "different preprocessing"),
    "layer": (["bare.atlas", TINY, "--layers", "conv9"], "did you mean 'conv2'"),
    "unscanned": (["bare.atlas", TINY, "--layers", "relu2"], "relu2"),
    "recipe": (["bare.atlas", TINY, "--recipe", "olaf"], "'olaf' is not one of 'zoom', 'olah', "),
    "steps": (["bare.atlas", TINY, "--steps", "0"], "not in the range x>=1"),
    "method": (["bare.atlas", TINY, "--methods", "synthesise"], "did you mean 'synthesize'"),
    "no method": (["bare.atlas", TINY, "--methods", ","], "choose from deconv, synthesize"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_the_atlas_as_it_was(
    retroscope: Retroscope, case: str
) -> None:
    words, says = MISTAKES[case]
    before = _state()
    said = retroscope("illustrate", "--methods", "synthesize", *words)
    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert said.err.startswith("retroscope: ")
    assert says in said.err
    assert _state() == before


def _state() -> str:
    """All rows. The bytes of the file differ: SQLite counts how often a writer opened it."""
    with closing(sqlite3.connect("bare.atlas")) as connection:
        rows = "\n".join(connection.iterdump())
    return hashlib.sha256(rows.encode()).hexdigest()
