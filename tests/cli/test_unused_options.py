"""An option without effect is refused; a drawing that replaces an earlier one says so."""

from pathlib import Path

import pytest

from tests.cli.nets import CLASSIFIER, TINY
from tests.cli.terminal import Retroscope, picture

SALIENCY = ["saliency", TINY, "cat.png"]
DECONV = ["deconv", TINY, "conv2:1", "cat.png"]
UNUSED: list[tuple[list[str], str]] = [
    (
        [*SALIENCY, "--samples", "3"],
        "--samples has no effect on gradient; use it with --method smo",
    ),
    ([*SALIENCY, "--noise", ".1"], "--noise has no effect on gradient"),
    ([*SALIENCY, "--method", "integrated", "--seed", "1"], "--seed has no effect on integrated"),
    ([*SALIENCY, "--method", "smoothgrad", "--steps", "9"], "--steps has no effect on smoothgrad"),
    ([*SALIENCY, "--json", "--colours", "magma"], "--colours changes a drawing; with --json, name"),
    ([*SALIENCY, "--json", "--original"], "--original changes a drawing"),
    (["cam", TINY, "cat.png", "--json", "--bare"], "--bare changes a drawing"),
    (["occlusion", TINY, "cat.png", "--json", "--bare"], "--bare changes a drawing"),
    (["explain", TINY, "cat.png", "--json", "--tone", "tile"], "--tone changes a drawing"),
    ([*DECONV, "--json", "--tone", "tile"], "--tone changes a drawing"),
    ([*DECONV, "--json", "--view", "lit"], "--view changes a drawing"),
    (["filters", TINY, "--json", "--bare"], "--bare changes a drawing"),
    (["synthesize", TINY, "conv2:1", "--json", "--bare"], "--bare changes a drawing"),
    (["illustrate", "a", TINY, "--steps", "9"], "--steps is for patterns; add synthesize to"),
    (["illustrate", "a", TINY, "--recipe", "olah"], "--recipe is for patterns"),
    (["illustrate", "a", TINY, "b", "--methods", "synthesize"], "IMAGES is for projections; add d"),
    (
        ["illustrate", "a", TINY, "--methods", "synthesize", "--rules", "guided"],
        "--rules is for projections",
    ),
    (["show", "a", "conv1:3", "--json", "--tone", "tile"], "--tone changes a drawing"),
    (["show", "a", "conv1:3", "--json", "--context"], "--context changes a drawing"),
    (["show", "a", "conv1:3", "--mosaics", "m", "--lit"], "--lit changes a drawing; beside --mos"),
]


@pytest.fixture
def classifier(desk: Path) -> Path:
    """A network with classes, in place of the one that has none."""
    (desk / "nets.py").write_text(CLASSIFIER, "utf-8")
    return desk


@pytest.mark.parametrize(("words", "reason"), UNUSED, ids=[" ".join(words) for words, _ in UNUSED])
def test_an_option_without_effect_is_refused(
    retroscope: Retroscope, words: list[str], reason: str
) -> None:
    said = retroscope(*words)
    assert (said.status, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert reason in line


@pytest.mark.parametrize(
    "words",
    [
        ["--method", "smoothgrad", "--samples", "2", "--noise", ".1", "--seed", "1"],
        ["--method", "integrated", "--steps", "2"],
        ["--json", "--colours", "magma", "-o", "heat.png"],
    ],
)
def test_an_option_with_an_effect_is_accepted(
    retroscope: Retroscope, classifier: Path, words: list[str]
) -> None:
    assert classifier.is_dir()
    assert retroscope(*SALIENCY, *words).status == 0


def test_a_drawing_that_replaces_an_earlier_one_says_so(retroscope: Retroscope, desk: Path) -> None:
    first, second = retroscope(*DECONV), retroscope(*DECONV)
    name = first.out.strip()
    assert (first.err, second.out) == ("", f"{name}\n")
    assert second.err == f"replaced an earlier {name}; -o writes to another file\n"
    picture().save(desk / "unit.png")
    assert retroscope(*DECONV, "-o", "unit.png").err == ""


def test_drawings_of_two_networks_units_and_methods_are_in_different_files(
    retroscope: Retroscope, classifier: Path
) -> None:
    text = (classifier / "nets.py").read_text("utf-8")
    (classifier / "nets.py").write_text(text + "\n\nlarge = tiny\n", "utf-8")
    commands = [
        ["deconv", model, unit, "cat.png", "--rules", rules]
        for model in ("nets.py:tiny", "nets.py:large")
        for unit in ("conv1:1", "conv2:1", "conv2:1@2,3", "conv2:1@*")
        for rules in ("deconvnet", "guided")
    ]
    commands += [
        ["saliency", TINY, "cat.png"],
        ["saliency", TINY, "cat.png", "--method", "guided"],
        ["saliency", TINY, "cat.png", "--unit", "conv2:1"],
        ["saliency", TINY, "dog.png", "--target", "pier"],
        ["cam", TINY, "cat.png", "--layer", "conv1", "--target", "pier"],
        ["cam", TINY, "cat.png", "--layer", "conv2", "--target", "pier"],
        ["occlusion", TINY, "cat.png"],
        ["synthesize", TINY, "conv2", "--channels", "0-1", "--steps", "1"],
        ["synthesize", TINY, "conv2", "--channels", "2-3", "--steps", "1"],
        ["synthesize", TINY, "conv2:1", "--steps", "1", "--recipe", "plain"],
    ]
    written = [retroscope(*words) for words in commands]
    assert [said.status for said in written] == [0] * len(commands)
    assert len({said.out for said in written}) == len(commands)
