"""A weight file is a MODEL on the command line; what was found out about it is said once."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from click.testing import CliRunner, Result

import retroscope as rs
from retroscope.cli import main
from retroscope.errors import ImageError
from tests.zoo import weight_files as w
from tests.zoo.test_weights_answers import pair


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    w.npy(tmp_path / "bvlc_alexnet.npy", w.alexnet(), value=pair)
    pixels = np.random.default_rng(0).integers(0, 256, (120, 130, 3), np.uint8)
    PIL.Image.fromarray(pixels).save("cat.png")
    return tmp_path


def retroscope(*words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--device", "cpu"], catch_exceptions=False)


def test_layers_of_a_weight_file_are_listed_and_what_it_is_is_said() -> None:
    said = retroscope("layers", "bvlc_alexnet.npy", "--json")
    assert said.exit_code == 0
    assert [row["name"] for row in json.loads(said.stdout)][:4] == [
        "conv1",
        "relu1",
        "norm1",
        "pool1",
    ]
    lines = said.stderr.splitlines()
    assert lines
    assert all(line.startswith("bvlc_alexnet.npy: ") for line in lines)
    for words in (
        "dictionary of 8 layers", "BVLC AlexNet: ", "fc6 takes 2x2 maps as height, width, channels",
        "the first layer takes blue, green, red", "minus 122.679, 116.669, 104.007",
    ):  # fmt: skip
        assert sum(words in line for line in lines) == 1


def test_a_unit_of_a_weight_file_is_projected_as_the_library_does() -> None:
    said = retroscope("deconv", "bvlc_alexnet.npy", "conv2:3", "cat.png", "--json")
    (row,) = json.loads(said.stdout)
    net = rs.open_model("bvlc_alexnet.npy", device="cpu")
    shown = rs.deconv(net, "conv2:3", "cat.png")
    assert row["unit"] == str(shown.unit)
    assert row["activation"] == pytest.approx(shown.activation)


def test_arch_names_the_network(folder: Path) -> None:
    said = retroscope("layers", "bvlc_alexnet.npy", "--arch", "caffe/caffenet", "--json")
    assert [row["name"] for row in json.loads(said.stdout)][:4] == [
        "conv1",
        "relu1",
        "pool1",
        "norm1",
    ]
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3))
    torch.save(net.state_dict(), folder / "mine.pt")
    (folder / "nets.py").write_text(
        "from torch import nn\n"
        "def make(width):\n    return nn.Sequential(nn.Conv2d(2, width, 3))\n",
        "utf-8",
    )
    words = ["--arch", "nets.py:make?width=3", "--input-size", "9x12"]
    said = retroscope("layers", "mine.pt", *words, "--json")
    (row,) = json.loads(said.stdout)
    assert (row["channels"], row["size"]) == (3, [7, 10])


def test_mean_std_and_size_are_given_as_numbers(folder: Path) -> None:
    """A convolution that hands on its pixels shows what it was fed."""
    (folder / "nets.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    net = nn.Conv2d(1, 1, 1)\n"
        "    nn.init.ones_(net.weight), nn.init.zeros_(net.bias)\n"
        "    return net\n",
        "utf-8",
    )
    PIL.Image.new("RGB", (9, 9), (204, 204, 204)).save("grey.png")
    words = ["--mean", ".5", "--std", "0.25", "--input-size", "5x9"]
    said = retroscope("deconv", "nets.py:make", "conv1:0@4,8", "grey.png", *words, "--json")
    (row,) = json.loads(said.stdout)
    assert row["box"] == [4, 8, 5, 9]
    assert row["activation"] == pytest.approx((0.8 - 0.5) / 0.25)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input-size", "9x"], "'9x' is not a size; write 96, 96x128 for height and width,"),
        (["--input-size", "0"], "is not a size"),
        (["--input-size", "-9"], "is not a size"),
        (["--input-size", "9x9x9x9"], "is not a size"),
        (["--mean", "0.5,"], "'0.5,' is not a list of numbers; write .5,.5,.5"),
        (["--std", "half"], "is not a list of numbers"),
    ],
)
def test_numbers_that_cannot_be_read_are_told(words: list[str], said: str) -> None:
    ended = retroscope("layers", "bvlc_alexnet.npy", *words)
    assert ended.exit_code == 2
    assert said in ended.stderr


def test_a_network_of_images_takes_no_depth() -> None:
    with pytest.raises(ImageError, match=r"a size is a height and a width, .*, not \(9, 9, 9\)"):
        retroscope("layers", "bvlc_alexnet.npy", "--input-size", "9x9x9")
