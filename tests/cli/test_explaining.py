"""saliency, cam, occlusion and explain, as somebody at a terminal meets them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import retroscope as rs
from retroscope.methods.cam.cam import cam
from retroscope.methods.explain import explain
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import saliency
from retroscope.web.site.explanation_page import explanation_html
from tests.cli.nets import CLASSIFIER
from tests.cli.terminal import Retroscope, check_is_drawing, picture, pixels_of

NETS = f"""
{CLASSIFIER}

def vector():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 40, 3))
    net.input_size = (32, 40)
    return net
"""
TINY = "nets.py:tiny"
TWO = ["--target", "pier", "--target", "tabby"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: two networks and a few pictures."""
    (tmp_path / "nets.py").write_text(NETS, "utf-8")
    (tmp_path / "images").mkdir()
    for seed in range(5):
        picture(seed=seed).save(tmp_path / "images" / f"{seed}.png")
    picture(seed=4).save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny(desk: Path) -> rs.Network:
    """Opened from the user's folder, since a page names the network as it was asked for."""
    assert desk.is_dir()
    return rs.open_model(TINY, device="cpu")


# Pictures


def test_cam_draws_the_heat_of_the_most_probable_class(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    said = retroscope("cam", TINY, "cat.png")
    heat = cam(tiny, "cat.png")
    name = f"cat.nets.tiny.{str(heat.target).replace(' ', '-')}.gradcam.png"
    assert (said.status, said.out, said.err) == (0, f"{name}\n", "")
    check_is_drawing(Path(name), heat)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--target", "great dane", "--method", "layercam"], {"target": 1, "method": "layercam"}),
        (["--target", "2", "--layer", "conv1"], {"target": 2, "layer": "conv1"}),
    ],
)
def test_cam_takes_what_the_function_takes(
    retroscope: Retroscope, tiny: rs.Network, words: list[str], options: dict[str, Any]
) -> None:
    said = retroscope("cam", TINY, "cat.png", *words, "-o", "heat.png", "--colours", "viridis")
    assert (said.status, said.out) == (0, "heat.png\n")
    check_is_drawing(Path("heat.png"), cam(tiny, "cat.png", **options), colours="viridis")


def test_several_classes_stand_side_by_side(retroscope: Retroscope, tiny: rs.Network) -> None:
    said = retroscope("cam", TINY, "cat.png", *TWO)
    assert (said.status, said.out) == (0, "cat.nets.tiny.2-classes.gradcam.png\n")
    heats = [cam(tiny, "cat.png", target=one) for one in ("pier", "tabby")]
    check_is_drawing(Path("cat.nets.tiny.2-classes.gradcam.png"), heats)
    told = json.loads(retroscope("cam", TINY, "cat.png", *TWO, "--json").out)
    assert [one["target"] for one in told] == ["pier", "tabby"]


def test_heat_may_lie_on_the_original_at_its_own_size(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    said = retroscope("cam", TINY, "cat.png", "--original", "--bare", "-o", "heat.png")
    assert said.status == 0
    assert pixels_of(Path("heat.png")).shape == (48, 90, 3)
    check_is_drawing(Path("heat.png"), cam(tiny, "cat.png"), over="cat.png", bare=True)


def test_saliency_draws_a_class_or_a_unit(retroscope: Retroscope, tiny: rs.Network) -> None:
    words = ["--method", "smoothgrad", "--samples", "2", "--seed", "4", "--target", "pier"]
    assert retroscope("saliency", TINY, "cat.png", *words, "-o", "a.png").status == 0
    expected = saliency(tiny, "cat.png", method="smoothgrad", samples=2, seed=4, target="pier")
    check_is_drawing(Path("a.png"), expected)
    assert retroscope("saliency", TINY, "cat.png", "--unit", "conv2:1", "-o", "b.png").status == 0
    check_is_drawing(Path("b.png"), saliency(tiny, "cat.png", unit="conv2:1"))


def test_occlusion_draws_what_covering_finds(retroscope: Retroscope, tiny: rs.Network) -> None:
    words = ["--size", "8", "--stride", "8", "--fill", "0.25", "--target", "0"]
    said = retroscope("occlusion", TINY, "cat.png", *words, "-o", "covered.png")
    assert (said.status, said.out) == (0, "covered.png\n")
    shown = occlusion(tiny, "cat.png", size=8, stride=8, fill="0.25", target=0)
    check_is_drawing(Path("covered.png"), shown)


def test_explain_draws_a_page_or_writes_one(retroscope: Retroscope, tiny: rs.Network) -> None:
    said = retroscope("explain", TINY, "cat.png", "--top", "2")
    assert (said.status, said.out) == (0, "cat.nets.tiny.explained.png\n")
    check_is_drawing(Path("cat.nets.tiny.explained.png"), explain(tiny, "cat.png", top=2))
    said = retroscope("explain", TINY, "cat.png", "-o", "page.html")
    assert (said.status, said.out) == (0, "page.html\n")
    assert Path("page.html").read_text("utf-8") == explanation_html(explain(tiny, "cat.png"))


def test_explain_compares_with_the_images_of_an_atlas(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    with rs.scan(tiny, "images", to="some.atlas", projections=False) as atlas:
        expected = explain(tiny, "cat.png", atlas=atlas)
    said = retroscope("explain", TINY, "cat.png", "--atlas", "some.atlas", "--json")
    layers = json.loads(said.out)["layers"]
    shares = [unit["rarity"] for layer in layers for unit in layer["units"]]
    told = [one.rarity for each in expected.findings for one in each.units]
    assert shares == told
    assert None not in shares


# JSON


def test_json_of_heat_says_what_it_is_and_how_far_to_trust_it(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    said = retroscope("cam", TINY, "cat.png", "--target", "pier", "--json")
    heat = cam(tiny, "cat.png", target="pier")
    told = json.loads(said.out)
    assert (told["target"], told["index"], told["layer"]) == ("pier", 2, heat.layer)
    assert told["probability"] == pytest.approx(heat.probability)
    assert told["caveats"] == list(heat.caveats)
    np.testing.assert_allclose(told["values"], heat.values)
    assert list(Path().glob("*.gradcam.png")) == []


def test_json_and_a_picture_can_both_be_had(retroscope: Retroscope) -> None:
    said = retroscope("saliency", TINY, "cat.png", "--json", "-o", "a.png")
    assert json.loads(said.out)["method"] == "gradient"
    assert said.err == "a.png\n"
    assert Path("a.png").exists()


def test_json_of_an_occlusion_is_its_grids(retroscope: Retroscope, tiny: rs.Network) -> None:
    words = ["--size", "8", "--stride", "16", "--json"]
    told = json.loads(retroscope("occlusion", TINY, "cat.png", *words).out)
    shown = occlusion(tiny, "cat.png", size=8, stride=16)
    np.testing.assert_allclose(told["probabilities"], shown.probabilities)
    np.testing.assert_array_equal(told["classes"], shown.classes)
    assert (told["tops"], told["lefts"]) == (list(shown.tops), list(shown.lefts))
    assert told["caveats"]


def test_json_of_an_explanation_lists_classes_and_units(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    told = json.loads(retroscope("explain", TINY, "cat.png", "--json").out)
    expected = explain(tiny, "cat.png")
    assert [one["target"] for one in told["predictions"]] == [
        str(one.target) for one in expected.predictions
    ]
    units = [unit["unit"] for layer in told["layers"] for unit in layer["units"]]
    assert units == [str(one.unit) for each in expected.findings for one in each.units]
    assert told["caveats"]
    for layer, finding in zip(told["layers"], expected.findings, strict=True):
        for unit, unusual in zip(layer["units"], finding.units, strict=True):
            assert unit["rules"] == unusual.projection.rules
            assert unit["notes"] == list(unusual.projection.notes)
            assert unit["contrast"]["rules"] == "contrast"
            assert unit["contrast"]["added_share"] == unusual.added_share


def test_explain_leaves_out_what_units_add_on_request(retroscope: Retroscope) -> None:
    told = json.loads(retroscope("explain", TINY, "cat.png", "--json", "--no-contrast").out)
    units = [unit for layer in told["layers"] for unit in layer["units"]]
    assert [unit["contrast"] for unit in units] == [None] * len(units)
    assert units


# Mistakes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cam", TINY, "cat.png", "--target", "tabbi"], "did you mean 'tabby'?"),
        (["cam", TINY, "cat.png", "--method", "camgrad"], "'camgrad' is not one of 'auto', 'grad"),
        (["cam", "nets.py:vector", "cat.png"], "no convolution with maps"),
        (
            ["cam", TINY, "cat.png", "-o", "cat.png"],
            "'cat.png': it is an input; give -o another name",
        ),
        (["cam", TINY, "cat.png", "-o", "heat.html"], "only `retroscope explain` writes web pages"),
        (["cam", TINY, "cat.png", "--colours", "hot"], "'hot' is not one of 'inferno', "),
        (["cam", TINY, "cat.png", "--original", *TWO], "--original draws one heat map"),
        (["cam", TINY, "cat.png", *TWO, "--target", "4"], "no class 4"),
        (["saliency", TINY, "cat.png", "--method", "grad"], "'grad' is not one of 'gradient', "),
        (["saliency", TINY, "cat.png", "--unit", "conv2:9"], "no channel 9"),
        (["occlusion", TINY, "cat.png", "--size", "64"], "larger than the image of 32x40"),
        (["occlusion", TINY, "cat.png", "--size", "8", "--fill", "gry"], "did you mean 'grey'?"),
        (["explain", TINY, "cat.png", "--atlas", "no.atlas"], "no atlas 'no.atlas'"),
        (
            ["explain", TINY, "cat.png", "-o", "no/page.html"],
            "'no/page.html': the folder 'no' does not exist",
        ),
        (["explain", TINY, "cat.png", "-o", "page.txt"], "use .png, .jpg, .webp, .html or .pdf"),
        (["cam", TINY, "cat.png", "-o", "heat.txt"], "use .png, .jpg, .webp or .pdf"),
        (["explain", TINY, "no.png"], "cannot open 'no.png'"),
        (["score", "no.atlas", "none.py:net"], "no atlas 'no.atlas'"),
        (["serve", "no.atlas", "--model", "none.py:net"], "no atlas 'no.atlas'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    retroscope: Retroscope, words: list[str], says: str
) -> None:
    said = retroscope(*words)
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith("retroscope: ")
    assert len(said.err.splitlines()) == 1
    assert says in said.err


def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    retroscope: Retroscope, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if the file is not named: its name follows from the image and the network."""

    def open_model(*_arguments: object, **_options: object) -> None:
        raise AssertionError("the network is opened")

    monkeypatch.setattr("retroscope.cli.options.OpenOptions.open", open_model)
    (desk / "cat.nets.tiny.explained.png").mkdir()
    said = retroscope("explain", TINY, "cat.png")
    assert said.status == 2
    assert "cannot write 'cat.nets.tiny.explained.png': it is a folder" in said.err


# Detectors

DETECTOR = """
import torch
from torch import nn


class Detector(nn.Module):
    input_size = (32, 40)
    labels = ["cat", "dog"]

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, images):
        boxes = torch.tensor([[2.0, 4.0, 12.0, 20.0], [20.0, 8.0, 36.0, 30.0]])
        scores = self.conv(images).mean((2, 3)).sigmoid()
        labels = torch.tensor([0, 1])
        return [{"boxes": boxes, "labels": labels, "scores": score} for score in scores]


def make():
    return Detector()
"""
BOXES = "boxes.py:make"


@pytest.fixture
def detector(desk: Path) -> rs.Network:
    (desk / "boxes.py").write_text(DETECTOR, "utf-8")
    return rs.open_model(BOXES, device="cpu")


def test_boxes_of_a_detector_are_targets(retroscope: Retroscope, detector: rs.Network) -> None:
    said = retroscope("cam", BOXES, "cat.png", "--target", "box:4,2,20,12:cat", "-o", "box.png")
    assert (said.status, said.err) == (0, "")
    heat = cam(detector, "cat.png", target="cat")
    check_is_drawing(Path("box.png"), heat)
    facts = json.loads(retroscope("cam", BOXES, "cat.png", "--target", "cat", "--json").out)
    assert (facts["target"], facts["label"]) == (str(heat.target), "cat")
    assert facts["box"] == [4, 2, 20, 12]
    assert retroscope("explain", BOXES, "cat.png", "-o", "boxes.html").status == 0
    page = Path("boxes.html").read_text("utf-8")
    assert page.count("box 1: ") >= 2
    assert "Boxes, the most confident first" in page


@pytest.mark.usefixtures("detector")
def test_a_box_that_is_not_there_is_one_line(retroscope: Retroscope) -> None:
    said = retroscope("saliency", BOXES, "cat.png", "--target", "box:7")
    assert said.status != 0
    assert "no box 7 in this image: boxes.py:make finds 2 boxes" in said.err
