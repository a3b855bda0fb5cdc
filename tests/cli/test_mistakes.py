"""What a user does wrong is answered in one line; and the process behaves as others do."""

import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

import retroscope as rs
from tests.cli.nets import TINY
from tests.cli.terminal import Retroscope, Said

MISTAKES: list[tuple[list[str], str]] = [
    (["nosuch"], "No such command 'nosuch'"),
    (["layer", TINY], "No such command 'layer'"),
    (["layers"], "Missing argument 'MODEL'"),
    (["layers", TINY, "more"], "unexpected extra argument (more)"),
    (["layers", TINY, "--nosuch"], "--nosuch"),
    (["layers", TINY, "--random-weights", "x"], "'x' is not a valid integer"),
    (["layers", TINY, "--random-weights", "9" * 30], "64 bits"),
    (["layers", TINY, "--threads", "0"], "x>=1"),
    (["layers", TINY, "--device", "gpu"], "auto, cpu, cuda, mps"),
    (["layers", TINY, "--device", "cpu:first"], "'cpu:first'"),
    (["layers", TINY, "--resize", "squash"], "'network', 'stretch', 'crop'"),
    (["layers", "vgg61"], "'vgg16'"),
    (["layers", "torchvison/vgg16"], "'torchvision'"),
    (["layers", "zoo/vgg16"], "torchvision/NAME"),
    (["layers", ""], "torchvision/NAME"),
    (["layers", "nets.py"], "file.py:factory"),
    (["layers", "C:\\runs\\net.pth"], "no file 'C:"),
    (["layers", "nets.py:"], "file.py:factory"),
    (["layers", ":tiny"], "file.py:factory"),
    (["layers", "nts.py:tiny"], "no file 'nts.py'"),
    (["layers", "nets.py:tyni"], "'tiny'"),
    (["layers", "nets.py:SIZES"], "no function 'SIZES'"),
    (["layers", "broken.py:make"], "SyntaxError"),
    (["layers", "no.such.package:make"], "ModuleNotFoundError"),
    (["layers", "nets.py:fails"], "ValueError: no weights today"),
    (["layers", "nets.py:refuses"], "the weights are elsewhere"),
    (["layers", "nets.py:leaves"], "SystemExit: usage: train.py [-h]"),
    (["layers", "nets.py:asks_for_more"], "'size'"),
    (["layers", "nets.py:a_number"], "returned int; it must return an nn.Module or a Network"),
    (["layers", "nets.py:nothing"], "returned None"),
    (["layers", "nets.py:a_class"], "returned the class Conv2d"),
    (["layers", "nets.py:window_too_large"], "cannot run an image of 3 channels and 32x40"),
    (["layers", "nets.py:without_layers"], "no operation that is a layer"),
    (["layers", TINY, "-o", "layers.xyz"], ".png"),
    (["layers", TINY, "-o", "layers"], ".png"),
    (["layers", TINY, "-o", "folder"], "it is a folder"),
    (["layers", TINY, "-o", "none/layers.png"], "the folder 'none' does not exist"),
    (["deconv", TINY], "Missing argument 'UNIT'"),
    (["deconv", TINY, "conv2:1"], "Missing argument 'IMAGE...'"),
    (["deconv", TINY, "", "cat.png"], "LAYER:CHANNEL@Y,X"),
    (["deconv", TINY, "conv2@1,2", "cat.png"], "LAYER:CHANNEL@Y,X"),
    (["deconv", TINY, "conv2:-1", "cat.png"], "LAYER:CHANNEL@Y,X"),
    (["deconv", TINY, "conv9:1", "cat.png"], "did you mean 'conv2'"),
    (
        ["deconv", TINY, "cat.png", "conv2:1"],
        "; the order is retroscope deconv MODEL UNIT IMAGE...",
    ),
    (
        ["activations", "cat.png", TINY, "conv2"],
        "the order is retroscope activations MODEL LAYER I",
    ),
    (["explain", "cat.png", TINY], "; the order is retroscope explain MODEL IMAGE"),
    (["show", "conv1:3", "a.atlas"], "; the order is retroscope show ATLAS UNIT"),
    (["deconv", TINY, "conv9:1", "cat.png"], '"retroscope layers nets.py:tiny" lists them'),
    (["deconv", TINY, "conv2:4", "cat.png"], "0 to 3"),
    (["deconv", TINY, "conv2:1@14,0", "cat.png"], "from 0,0 to 13,17"),
    (["deconv", TINY, "conv2:1@0,18", "cat.png"], "from 0,0 to 13,17"),
    (["deconv", TINY, "conv2:1", "cat.png", "--rules", "giuded"], "'guided'"),
    (["deconv", TINY, "conv2:1", "cat.png", "--tone", "tyle"], "'tile'"),
    (["deconv", TINY, "conv2:1", "cat.png", "--view", "light"], "'projection', 'lit'"),
    (["deconv", TINY, "conv2:1", "cat.png", "--top", "2"], "give the layer 'conv2'"),
    (["deconv", TINY, "conv2", "cat.png", "--top", "0"], "x>=1"),
    (["deconv", TINY, "conv2:1", "none.png"], "cannot open 'none.png'"),
    (["deconv", TINY, "conv2:1", "no\nsuch.png"], r"cannot open 'no\nsuch.png'"),
    (["deconv", TINY, "conv2:1", "cat.png", "folder"], "'folder' is a folder"),
    (["deconv", TINY, "conv2:1", "notes.png"], "convert it to PNG or JPEG"),
    (["deconv", TINY, "conv2:1", "cut.png"], "cannot decode 'cut.png'"),
    (["deconv", TINY, "conv2:1", "empty.png"], "empty file"),
    (["deconv", TINY, "conv2:1", "cat.png", "-o", "unit.xyz"], ".png"),
    (
        ["deconv", TINY, "conv2:1", "cat.png", "-o", "none/unit.png"],
        "the folder 'none' does not exist",
    ),
    (["deconv", "nets.py:without_layers", "conv1", "cat.png"], "no layer 'conv1'"),
    (["activations", TINY, "conv2"], "Missing argument 'IMAGE'"),
    (["activations", TINY, "conv2:1", "cat.png"], "give the layer 'conv2'"),
    (["activations", TINY, "conv2", "cat.png", "dog.png"], "(dog.png)"),
    (["activations", TINY, "conv2", "none.png"], "cannot open 'none.png'"),
    (["activations", TINY, "conv2", "cat.png", "-o", "folder"], "it is a folder"),
]


@pytest.mark.parametrize(
    ("words", "help_"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES]
)
def test_a_mistake_is_answered_in_one_line_that_helps(
    retroscope: Retroscope, desk: Path, words: list[str], help_: str
) -> None:
    before = sorted(desk.rglob("*.png"))
    said = retroscope(*words)
    assert (said.status, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith("retroscope: ")
    assert help_ in line
    assert sorted(desk.rglob("*.png")) == before


def test_an_unwritable_output_is_said_in_one_line(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(PIL.Image.Image, "save", full)
    said = retroscope("layers", TINY, "-o", "layers.png")
    assert said == Said(2, "", "retroscope: cannot write 'layers.png': No space left on device\n")


def test_an_unwritable_output_is_refused_before_the_network_is_opened(
    retroscope: Retroscope,
) -> None:
    said = retroscope("deconv", "nets.py:fails", "conv2:1", "cat.png", "-o", "unit.xyz")
    assert "unit.xyz" in said.err


def test_a_second_wrong_image_is_named_even_with_a_first_right_one(
    retroscope: Retroscope, desk: Path
) -> None:
    said = retroscope("deconv", TINY, "conv2:1", "cat.png", "none.png")
    assert (said.status, "'none.png'" in said.err) == (2, True)
    assert not list(desk.glob("cat.*.png"))


def test_stopping_a_command_is_no_error_of_anybody(retroscope: Retroscope) -> None:
    said = retroscope("layers", "nets.py:stopped")
    assert (said.status, said.err.strip()) == (130, "retroscope: stopped")


# As a process


def console(*words: str, at: Path) -> subprocess.CompletedProcess[str]:
    script = Path(sys.executable).with_name("retroscope")
    return subprocess.run([script, *words], cwd=at, capture_output=True, text=True, check=False)


def test_the_console_script_answers_and_refuses(desk: Path) -> None:
    wrong = console("layer", TINY, at=desk)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("retroscope: No such command 'layer'")
    version = console("--version", at=desk)
    assert (version.returncode, rs.__version__ in version.stdout) == (0, True)


def test_a_reader_who_has_enough_ends_the_table_quietly(desk: Path) -> None:
    line = f'"{Path(sys.executable).with_name("retroscope")}" layers {TINY} --json | head -n 1'
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],  # noqa: S607
        cwd=desk,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("[\n", "", 0)
