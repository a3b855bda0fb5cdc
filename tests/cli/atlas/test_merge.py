"""merge, as somebody at a terminal meets it."""

from pathlib import Path

import pytest

import retroscope as rs
from tests.cli.atlas.making import TINY, count
from tests.cli.terminal import Retroscope, picture


@pytest.fixture
def parts(retroscope: Retroscope, desk: Path) -> list[str]:
    """The atlases of two folders."""
    for number, name in enumerate(("early", "late")):
        folder = desk / name / "c"
        folder.mkdir(parents=True)
        for image in range(4):
            picture(36, 44, 20 * number + image).save(folder / f"{image}.png")
        words = ["--to", f"{name}.atlas", "--layers", "conv", "--projections", "1"]
        assert retroscope("scan", TINY, name, *words).status == 0
    return ["early.atlas", "late.atlas"]


def test_two_atlases_become_one_that_can_be_illustrated(
    retroscope: Retroscope, parts: list[str]
) -> None:
    said = retroscope("merge", *parts, "--to", "both.atlas")
    assert (said.status, said.out) == (0, "both.atlas\n")
    assert said.err.splitlines()[-1] == "both.atlas: 8 images, 2 layers"
    with rs.open_atlas("both.atlas") as atlas:
        assert [image.key for image in atlas.images] == [
            f"{folder}/c/{number}.png" for folder in ("early", "late") for number in range(4)
        ]
    before = count("projections", "both.atlas")
    again = retroscope("illustrate", "both.atlas", TINY)
    assert again.status == 0
    assert count("projections", "both.atlas") > before


def test_images_that_are_gone_are_named(
    retroscope: Retroscope, parts: list[str], desk: Path
) -> None:
    assert retroscope("merge", *parts, "--to", "both.atlas").status == 0
    (desk / "late").rename(desk / "gone")
    said = retroscope("show", "both.atlas", "conv1:0", "--model", TINY)
    assert said.status == 2
    assert "no longer at 'late'" in said.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["early.atlas"], "give two or more"),
        (["early.atlas", "early.atlas"], "'early.atlas' is given twice"),
        (["early.atlas", "none.atlas"], "no atlas 'none.atlas'"),
        (["early.atlas", "list.txt"], "'list.txt'"),
        (["early.atlas", "images"], "'images'"),
        (["early.atlas", "done.atlas"], "they differ in the choice of layers"),
        (["early.atlas", "late.atlas", "--to", "late.atlas"], "is one of the atlases to join"),
        (["early.atlas", "late.atlas", "--to", "bare.atlas"], "(--restart)"),
        (["early.atlas", "late.atlas", "--to", "none/both.atlas"], "no folder 'none'"),
        (["early.atlas", "late.atlas", "--allow-missing"], "(--allow-missing)"),
        ([], "Missing argument"),
    ],
)
@pytest.mark.usefixtures("parts")
def test_a_mistake_is_one_line_that_helps(
    retroscope: Retroscope, desk: Path, words: list[str], expected: str
) -> None:
    to = [] if "--to" in words else ["--to", "both.atlas"]
    said = retroscope("merge", *words, *to)
    assert said.status == 2
    assert expected in said.err
    assert len(said.err.splitlines()) == 1
    assert not (desk / "both.atlas").exists()


def test_without_a_target_the_option_is_named(retroscope: Retroscope, parts: list[str]) -> None:
    assert "Missing option '--to'" in retroscope("merge", *parts).err
