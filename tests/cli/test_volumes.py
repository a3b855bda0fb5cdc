"""Volumes and clips at a terminal: the commands that explain one, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from tests.cli.terminal import Retroscope, check_is_drawing, pixels_of

NETS = """
import torch
from torch import nn


def classifier():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
        nn.Linear(4, 3),
    )
    net.input_size = (6, 16, 20)
    net.mean = [0.0]
    return net


def segmenter():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1))
    net.input_size = (6, 16, 20)
    net.mean = [0.0]
    net.labels = ["tissue", "tumour"]
    return net
"""
CLASSIFIER, SEGMENTER = "volumes.py:classifier", "volumes.py:segmenter"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: networks of volumes and a scan."""
    (tmp_path / "volumes.py").write_text(NETS, "utf-8")
    scan = np.random.default_rng(0).random((6, 16, 20)).astype(np.float32)
    np.save(tmp_path / "scan.npy", scan)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def classifier(desk: Path) -> rs.Network:
    assert desk.is_dir()
    return rs.open_model(CLASSIFIER, device="cpu")


def test_occlusion_draws_a_strip_and_prints_its_map(
    retroscope: Retroscope, classifier: rs.Network
) -> None:
    words = ["--size", "2x4x5", "--stride", "2x4x5", "--target", "1"]
    said = retroscope("occlusion", CLASSIFIER, "scan.npy", *words, "-o", "strip.png", "--json")
    result = rs.occlusion(classifier, "scan.npy", size=(2, 4, 5), stride=(2, 4, 5), target=1)
    assert (said.status, said.err) == (0, "strip.png\n")
    check_is_drawing(Path("strip.png"), result)
    facts = json.loads(said.out)
    assert (facts["occluder"], facts["fronts"]) == ([2, 4, 5], [0, 2, 4])
    np.testing.assert_allclose(facts["probabilities"], result.probabilities, rtol=1e-4)


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "2x4"], "give one number, or one for each axis (depth, height, width)"),
        (["--size", "8"], "larger than the volume of 6x16x20; give a size of at most 6"),
        (["--size", "2x4xfive"], "'2x4xfive' is not a length; write 32, 16x48 for height"),
        (["--stride", "0x1x1"], "both must be at least 1"),
    ],
)
def test_a_wrong_box_is_one_line(retroscope: Retroscope, words: list[str], says: str) -> None:
    said = retroscope("occlusion", CLASSIFIER, "scan.npy", *words)
    assert said.status == 2
    assert says in said.err


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("command", ["cam", "saliency", "occlusion"])
def test_a_class_at_a_voxel_is_a_target(retroscope: Retroscope, command: str) -> None:
    words = ["--target", "tumour@2,9,14", "-o", "heat.png", "--json"]
    said = retroscope(command, SEGMENTER, "scan.npy", *words)
    assert (said.status, said.err) == (0, "heat.png\n")
    facts = json.loads(said.out)
    assert (facts["target"], facts["label"], facts["index"]) == (
        "tumour at 2,9,14",
        "tumour",
        1,
    )


@pytest.mark.usefixtures("desk")
def test_a_place_outside_of_the_volume_is_one_line(retroscope: Retroscope) -> None:
    said = retroscope("cam", SEGMENTER, "scan.npy", "--target", "tumour@6,2,2")
    assert said.status == 2
    assert "no voxel 6,2,2 in this volume of 6x16x20; Z counts from the front" in said.err


@pytest.mark.usefixtures("desk")
def test_the_pattern_of_a_unit_is_a_strip(retroscope: Retroscope) -> None:
    words = ["--steps", "4", "--save-every", "2", "--json", "-o", "unit.png"]
    said = retroscope("synthesize", CLASSIFIER, "0:2", *words, "--size", "4x8x8")
    assert said.status == 0
    (facts,) = json.loads(said.out)
    assert (facts["size"], facts["unit"]) == ([4, 8, 8], "0:2")
    assert facts["score"] > facts["started_at"]
    assert pixels_of("unit.step00002.png").shape == (8, 4 * 8 + 3, 3)
    assert pixels_of("unit.png").shape[1] > 4 * 8
    said = retroscope("synthesize", CLASSIFIER, "0:2", "--recipe", "octaves")
    assert said.status == 2
    assert "makes images of 416 pixels" in said.err


@pytest.mark.usefixtures("desk")
def test_explain_writes_a_page_of_slices(retroscope: Retroscope) -> None:
    said = retroscope("explain", CLASSIFIER, "scan.npy", "--top", "1", "-o", "page.html", "--json")
    assert said.status == 0
    facts = json.loads(said.out)
    assert len(facts["layers"][0]["units"][0]["box"]) == 6
    page = Path("page.html").read_text("utf-8")
    assert "slices z 0, 1, 2, 3, 4, 5 of 0 to 5" in page
    assert retroscope("explain", CLASSIFIER, "scan.npy", "-o", "page.png").status == 0
    assert pixels_of("page.png").shape[1] > 600


@pytest.mark.usefixtures("desk")
def test_heat_of_a_volume_is_drawn_over_its_slices_alone(retroscope: Retroscope) -> None:
    said = retroscope("cam", CLASSIFIER, "scan.npy", "--original")
    assert said.status == 2
    assert "the heat map of a volume is drawn over the volume itself, not over another image" in (
        said.err
    )
