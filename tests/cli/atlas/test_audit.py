"""`retroscope audit`: findings on the command line."""

import json
from pathlib import Path

import pytest

import retroscope as rs
from retroscope.render.audit_text import audit_lines
from tests.cli.atlas.making import TINY
from tests.cli.terminal import Retroscope


def test_it_prints_what_the_library_finds(desk: Path, retroscope: Retroscope) -> None:
    said = retroscope("audit", "done.atlas")
    assert (said.status, said.err) == (0, "")
    assert said.out.splitlines() == audit_lines(rs.audit(desk / "done.atlas"))


def test_with_the_network_and_as_json(desk: Path, retroscope: Retroscope) -> None:
    said = retroscope("audit", "done.atlas", "--model", TINY, "--json")
    net = rs.open_model(f"{desk / TINY}", device="cpu")
    assert said.status == 0
    assert json.loads(said.out) == rs.as_json(rs.audit(desk / "done.atlas", net=net))
    assert json.loads(said.out)["with_weights"] is True


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("none.atlas",), "no atlas 'none.atlas'; did you mean 'done.atlas'"),
        (("nets.py",), "'nets.py' is not an atlas"),
        (("done.atlas", "--model", "nets.py:other"), "different weights"),
        (("done.atlas", "--device", "cpu"), "--device needs a network; name it with --model"),
        (("done.atlas", "--model", "vgg61"), "did you mean"),
    ],
)
def test_a_mistake_is_one_line(
    desk: Path, retroscope: Retroscope, words: tuple[str, ...], error: str
) -> None:
    assert desk.is_dir()
    said = retroscope("audit", *words)
    assert (said.status, said.out) == (2, "")
    assert error in said.err
    assert said.err.count("\n") == 1
