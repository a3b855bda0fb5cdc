"""Networks of several inputs from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from tests.cli.terminal import Retroscope, picture
from tests.scanning.same_atlas import assert_same_atlas

NETWORK = """
import retroscope as rs
import torch
from torch import nn
from tests.reference.several_inputs import Conditioned, Pair


def pair():
    torch.manual_seed(0)
    inputs = {"left": "image", "right": "image"}
    return rs.Network(Pair(), input_size=(24, 24), inputs=inputs)


def conditioned():
    torch.manual_seed(0)
    inputs = {"image": "image", "numbers": rs.NumberInput(2)}
    return rs.Network(Conditioned(), input_size=(24, 24), inputs=inputs)


class Triple(Pair):
    def forward(self, left, right, third):
        return super().forward(left, right - third)


def triple():
    torch.manual_seed(0)
    inputs = {"left": "image", "right": "image", "third": "image"}
    return rs.Network(Triple(), input_size=(24, 24), inputs=inputs)
"""


@pytest.fixture
def several(desk: Path) -> Path:
    (desk / "several.py").write_text(NETWORK, "utf-8")
    for seed, folder in enumerate(("left", "right")):
        (desk / folder).mkdir()
        for number in range(2):
            picture(seed=10 * seed + number).save(desk / folder / f"{number}.png")
    return desk


def test_other_images_are_given_by_name(several: Path, retroscope: Retroscope) -> None:
    said = retroscope(
        *("saliency", "several.py:pair", "cat.png", "--input", "right=dog.png", "--json"),
        *("--target", "1", "--device", "cpu"),
    )
    assert said.status == 0, said.err
    net = rs.open_model(f"{several / 'several.py'}:pair", device="cpu")
    heat = rs.saliency(net, {"left": "cat.png", "right": "dog.png"}, target=1)
    assert json.loads(said.out)["score"] == pytest.approx(heat.score)


@pytest.mark.parametrize(
    ("value", "note"), [("0.5,2", "[0.5, 2.0]"), ("numbers.npy", "array([0.5, 2. ])")]
)
def test_numbers_are_given_by_name(
    several: Path, retroscope: Retroscope, value: str, note: str
) -> None:
    np.save(several / "numbers.npy", np.array([0.5, 2.0]))
    said = retroscope(
        *("activations", "several.py:conditioned", "last", "cat.png", "--json"),
        *("--input", f"numbers={value}", "--device", "cpu"),
    )
    assert said.status == 0, said.err
    net = rs.open_model(f"{several / 'several.py'}:conditioned", device="cpu")
    pair = {"image": "cat.png", "numbers": [0.5, 2.0]}
    shown = json.loads(said.out)
    assert shown["layer"] == "last"
    expected = json.loads(json.dumps(rs.as_json(rs.activations(net, "last", pair))))
    assert {**shown, "notes": [], "source": ""} == {**expected, "notes": [], "source": ""}
    assert shown["notes"] == [f"numbers is held at {note}"]


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (
            ["cam", "several.py:pair", "cat.png"],
            "Pair takes right with each left; add --input right=FILE",
        ),
        (
            ["cam", "several.py:pair", "cat.png", "--input", "rigth=dog.png"],
            "no input 'rigth' of Pair; did you mean 'right'? (--input)",
        ),
        (["cam", "several.py:pair", "cat.png", "--input", "right"], "'right' is not NAME=VALUE"),
        (
            ["cam", "nets.py:tiny", "cat.png", "--input", "right=dog.png"],
            "an image alone; others are declared with rs.Network(module, inputs=...)",
        ),
        (
            ["cam", "several.py:conditioned", "cat.png", "--input", "numbers=old"],
            "numbers is 'old'; write 2 numbers, as in 0.5,1 (--input)",
        ),
        (
            ["scan", "several.py:pair", "left", "--to", "a.atlas"],
            "Pair takes right with each left; add --input right=FOLDER",
        ),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    several: Path, retroscope: Retroscope, words: list[str], advice: str
) -> None:
    assert several.is_dir()
    said = retroscope(*words)
    assert said.status == 2
    assert advice in said.err
    assert "Traceback" not in said.err


def test_two_folders_are_scanned(several: Path, retroscope: Retroscope) -> None:
    said = retroscope(
        *("scan", "several.py:pair", "left", "--to", "pairs.atlas", "--layers", "compare"),
        *("--input", "right=right", "--projections", "1", "--device", "cpu"),
    )
    assert said.status == 0, said.err
    net = rs.open_model(f"{several / 'several.py'}:pair", device="cpu")
    pairs = [{"left": f"left/{n}.png", "right": f"right/{n}.png"} for n in range(2)]
    with rs.open_atlas("pairs.atlas") as atlas:
        best = max(rs.activations(net, "compare", pair).maps[0].max() for pair in pairs)
        assert atlas.plate("compare:0").patches[0].score == pytest.approx(best, rel=1e-4)


SCAN = ("--layers", "compare", "--batch-size", "1", "--threads", "1", "--device", "cpu")


def test_workers_and_plans_make_the_atlas_of_one_process(
    several: Path, retroscope: Retroscope
) -> None:
    """One input is held, one comes with each image."""
    held = ("--input", "third=cat.png", "--input", "right=right")
    words = ("scan", "several.py:triple", "left", *held, *SCAN, "--projections", "1")
    assert retroscope(*words, "--to", "one.atlas").status == 0
    said = retroscope(*words, "--to", "on.atlas", "--on", "processes", "--workers", "1")
    assert (said.status, said.out) == (0, "on.atlas\n"), said.err
    assert_same_atlas(several / "one.atlas", several / "on.atlas")
    planned = retroscope("plan", "several.py:triple", "left", *held, *SCAN, "--to", "a.plan")
    assert planned.status == 0, planned.err
    assert retroscope("sweep", "a.plan").status == 0
    assert retroscope("merge", "a.plan", "--to", "lots.atlas").status == 0
    said = retroscope(
        *("illustrate", "lots.atlas", "several.py:triple", "--device", "cpu", "--threads", "1"),
        *("--input", "third=cat.png", "--projections", "1"),
        *("--on", "processes", "--workers", "1"),
    )
    assert said.status == 0, said.err
    assert_same_atlas(several / "one.atlas", several / "lots.atlas")


def test_the_table_of_layers_names_what_reads_other_inputs(
    several: Path, retroscope: Retroscope
) -> None:
    assert several.is_dir()
    said = retroscope("layers", "several.py:pair")
    assert said.status == 0, said.err
    assert "1 conv layer is not listed (reads right, and nothing of left): right_stem" in said.err


def test_numbers_of_units_are_from_pairs(several: Path, retroscope: Retroscope) -> None:
    """Also if the folder of partners has moved, and with a network of one image as embedding."""
    words = ("scan", "several.py:pair", "left", "--input", "right=right", *SCAN, "--to", "a.atlas")
    assert retroscope(*words).status == 0
    said = retroscope("score", "a.atlas", "several.py:pair", "--device", "cpu", "--hits", "2")
    assert said.status == 0, said.err
    (several / "right").rename(several / "moved")
    numbers = ("score", "a.atlas", "several.py:pair", "--device", "cpu", "--numbers", "mis")
    said = retroscope(*numbers, "--embedding", "nets.py:tiny")
    assert said.status == 2
    assert "right is not at 'right'; give a folder of files" in said.err
    said = retroscope(*numbers, "--embedding", "nets.py:tiny", "--input", "right=moved")
    assert said.status == 0, said.err


@pytest.mark.parametrize(
    ("inputs", "line"),
    [
        ((), "'a.atlas' was scanned with 'third' held for all images; give it (--input)"),
        (
            ("third=dog.png",),
            "'a.atlas' was scanned with another 'third' held for all images; give",
        ),
        (
            ("third=cat.png", "right=dog.png"),
            "'a.atlas' was scanned with a 'right' for each image; do not hold one for all (--inp",
        ),
    ],
)
def test_other_inputs_than_those_of_the_scan_are_named(
    several: Path, retroscope: Retroscope, inputs: tuple[str, ...], line: str
) -> None:
    held = ("--input", "third=cat.png", "--input", "right=right")
    words = ("scan", "several.py:triple", "left", *held, *SCAN, "--projections", "none")
    assert retroscope(*words, "--to", "a.atlas").status == 0
    options = [word for value in inputs for word in ("--input", value)]
    for command in ("illustrate", "score"):
        said = retroscope(command, "a.atlas", "several.py:triple", *options, "--device", "cpu")
        assert said.status == 2
        assert line in said.err
    assert (several / "a.atlas").exists()
