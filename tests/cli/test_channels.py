"""Commands on images of many channels."""

from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from tests.cli.terminal import Retroscope
from tests.imaging.channel_files import numbers, write_chunky, write_npy_channels_first

MODEL = "nets.py:four_channels"


@pytest.fixture
def scene(desk: Path) -> str:
    write_npy_channels_first(desk / "scene", numbers(4, 20, 24))
    return "scene.npy"


def test_bands_and_range_of_values_are_options(
    retroscope: Retroscope, desk: Path, scene: str
) -> None:
    words = ("--bands", "4,3,2", "--value-range", "0,4095")
    said = retroscope("deconv", MODEL, "conv1:1", scene, *words, "-o", "a.png")
    assert said.status == 0, said.err
    net = rs.open_model(f"{desk / 'nets.py'}:four_channels", bands=(4, 3, 2), value_range=(0, 4095))
    assert net.preprocessing.shown_bands == (4, 3, 2)
    assert "bands 4, 3, 2 of 4 as red, green, blue" in said.err


def test_what_is_assumed_is_said(retroscope: Retroscope, scene: str) -> None:
    said = retroscope("activations", MODEL, "conv1", scene, "-o", "a.png")
    assert said.status == 0, said.err
    assert "uint16 by 65535" in said.err
    assert "bands 1, 2, 3 of 4" in said.err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--bands", "4,3,9"), "no band 9"),
        (("--bands", "red"), "write 4,3,2"),
        (("--value-range", "5,1"), "the lower one first"),
    ],
)
def test_bad_options_are_refused_by_name(
    retroscope: Retroscope, scene: str, words: tuple[str, ...], reason: str
) -> None:
    said = retroscope("deconv", MODEL, "conv1:1", scene, *words)
    assert said.status != 0
    assert reason in said.err
    assert words[0] in said.err
    assert "Traceback" not in said.err


def test_a_folder_of_files_is_scanned(retroscope: Retroscope, desk: Path) -> None:
    (desk / "scenes").mkdir()
    for seed in range(3):
        write_chunky(desk / "scenes" / f"{seed}", numbers(4, 20, 24, seed=seed))
    np.save(desk / "scenes" / "mask.npy", np.zeros((20, 24)))
    said = retroscope("scan", MODEL, "scenes", "--to", "a.atlas", "--bands", "4,3,2")
    assert said.status == 0, said.err
    assert "left out 1 array, such as 'mask.npy'" in said.err + said.out
    with rs.open_atlas(desk / "a.atlas") as atlas:
        assert len(atlas.images) == 3


def test_an_image_of_too_few_channels_is_refused(retroscope: Retroscope, desk: Path) -> None:
    said = retroscope("deconv", MODEL, "conv1:1", "cat.png")
    assert said.status == 2
    assert said.err.splitlines()[-1].startswith("retroscope: 'cat.png' has 3 channels")
    assert not list(desk.glob("*deconv*"))
