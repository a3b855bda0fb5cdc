"""The command line, as somebody at a terminal meets it: `run` in a folder of their own."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import PIL.Image
import pytest
import torch

import retroscope as rs
from retroscope.cli import main, run

NETS = """
import retroscope as rs
import torch
from torch import nn


def tiny():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3)
    )
    net.input_size = (32, 40)
    return net


def grey():
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU())
    net.input_size = 32
    return net


def not_a_number():
    net = tiny()
    nn.init.constant_(net[0].weight, float("nan"))
    return net


def dead():
    net = tiny()
    nn.init.constant_(net[0].weight, 0)
    nn.init.constant_(net[0].bias, -1)
    return net


def deeply_named():
    net = nn.Conv2d(3, 2, 3)
    for _ in range(6):
        net = nn.Sequential(nn.ReLU(), Named(net))
    net.input_size = 16
    return net


class Named(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.a_part_with_a_long_name = part

    def forward(self, x):
        return self.a_part_with_a_long_name(x)


class Chatty(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        print("the forward pass says", tuple(x.shape))
        return self.conv(x)


def chatty():
    print("the factory says hello")
    net = Chatty()
    net.input_size = 16
    return net


def four_channels():
    net = nn.Conv2d(4, 2, 3)
    net.input_size = 16
    return net


def window_too_large():
    net = nn.Conv2d(3, 2, 64)
    net.input_size = (32, 40)
    return net


def without_layers():
    return nn.Identity()


def fails():
    raise ValueError("no weights today\\nask again tomorrow")


def refuses():
    raise rs.RetroscopeError("the weights are\\nelsewhere")


def leaves():
    raise SystemExit("usage: train.py [-h]")


def stopped():
    raise KeyboardInterrupt


def asks_for_more(size):
    return tiny()


def a_number():
    return 3


def nothing():
    return None


def a_class():
    return nn.Conv2d


SIZES = (32, 40)
"""


def picture(height: int = 48, width: int = 90, seed: int = 0) -> PIL.Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return PIL.Image.fromarray(pixels)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: some networks, a few pictures, and what only looks like one."""
    (tmp_path / "nets.py").write_text(NETS, "utf-8")
    (tmp_path / "broken.py").write_text("def make(:\n", "utf-8")
    (tmp_path / "folder").mkdir()
    for seed, name in enumerate(("cat.png", "dog.png")):
        picture(seed=seed).save(tmp_path / name)
    (tmp_path / "notes.png").write_text("not a picture", "utf-8")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cat.png").read_bytes()[:200])
    (tmp_path / "empty.png").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str


Retroscope = Callable[..., Said]


@pytest.fixture
def retroscope(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Retroscope:
    """The console script, called with words in the user's folder."""
    assert desk.is_dir()

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["retroscope", *words])
        status = 0
        try:
            run()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def tiny(desk: Path) -> rs.Network:
    return rs.open_model(f"{desk / 'nets.py'}:tiny", device="cpu")


def pixels_of(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with PIL.Image.open(path) as shown:
        return np.asarray(shown.convert("RGB"))


def check_is_drawing(path: Path, of: object, **options: object) -> None:
    """The file holds what the library draws of the same result."""
    np.testing.assert_array_equal(pixels_of(path), np.asarray(rs.draw(of, **options)))


# The commands and the library say the same words


FACE = {
    "output": "where the picture goes",
    "as_json": "how the answer is written",
    "threads": "the process's, not the function's",
    "top": "which units are asked for",
    "tone": "of `draw`",
    "bare": "of `draw`",
}
"""The options that belong to the command line and not to the function."""

FUNCTIONS: dict[str, Callable[..., object] | None] = {
    "layers": None,  # an attribute of the network
    "activations": rs.activations,
    "deconv": rs.deconv,
}
ATLAS_FUNCTIONS: dict[str, Callable[..., object]] = {
    "scan": rs.scan,
    "illustrate": rs.illustrate,
    "show": rs.Atlas.plate,
}
"""Commands whose options, for files and words, are close to the function's but not the same."""


def parameters(function: Callable[..., object] | None, *, named: bool) -> list[inspect.Parameter]:
    """The keyword-only parameters of a function, or its others."""
    every = inspect.signature(function).parameters.values() if function else ()
    return [one for one in every if (one.kind is one.KEYWORD_ONLY) is named]


def own_options(command: click.Command) -> dict[str, object]:
    """The options that stand for keyword-only parameters, and what they are when not given."""
    context = click.Context(command, resilient_parsing=True, **command.context_settings)
    command.parse_args(context, [])
    return {
        one.name: context.params[one.name]
        for one in command.params
        if isinstance(one, click.Option) and one.name is not None and one.name not in FACE
    }


def test_every_command_stands_for_a_function() -> None:
    assert main.commands.keys() == FUNCTIONS.keys() | ATLAS_FUNCTIONS.keys()


def test_scan_has_an_option_for_every_keyword_of_the_function() -> None:
    options = {one.name for one in main.commands["scan"].params if isinstance(one, click.Option)}
    keywords = {one.name for one in parameters(rs.scan, named=True)} - {"progress"}
    opening = {one.name for one in parameters(rs.open_model, named=True)}
    assert options == keywords | opening | {"no_illustrate", "threads"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_are_the_positional_parameters_in_order(name: str) -> None:
    arguments = [one for one in main.commands[name].params if isinstance(one, click.Argument)]
    singular = [str(one.name).removesuffix("s" if one.nargs == -1 else "") for one in arguments]
    taken = [one.name for one in parameters(FUNCTIONS[name], named=False)]
    assert singular == ["model", *taken[1:]]
    assert taken[:1] in ([], ["net"])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_options_are_the_keyword_only_parameters_with_their_defaults(name: str) -> None:
    taken = parameters(rs.open_model, named=True) + parameters(FUNCTIONS[name], named=True)
    assert own_options(main.commands[name]) == {one.name: one.default for one in taken}


def test_the_options_of_the_face_are_all_in_use() -> None:
    used = {option.name for command in main.commands.values() for option in command.params}
    assert used >= FACE.keys()


# layers


def test_layers_prints_every_layer_with_its_names_size_and_field(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    said = retroscope("layers", "nets.py:tiny")
    assert (said.status, said.err) == (0, "")
    for layer in tiny.layers:
        height, width = layer.size
        words = [layer.name, *layer.aliases, layer.kind, f"{height}x{width}", str(layer.field)]
        assert any(all(word in line for word in words) for line in said.out.splitlines())


def test_a_piped_table_is_as_wide_as_its_names(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = retroscope("layers", "nets.py:deeply_named")
    net = rs.open_model("nets.py:deeply_named", device="cpu")
    lines = said.out.splitlines()
    assert max(len(layer.name) for layer in net.layers) > 120
    for layer in net.layers:
        assert any({layer.name, *layer.aliases} <= set(_words(line)) for line in lines)


def _words(line: str) -> list[str]:
    return line.replace(",", " ").split()


def test_layers_as_json_hold_what_the_library_says(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    rows = json.loads(retroscope("layers", "nets.py:tiny", "--json").out)
    assert len(rows) == len(tiny.layers) == 4
    for row, layer in zip(rows, tiny.layers, strict=True):
        assert row["name"] == layer.name
        assert row["aliases"] == list(layer.aliases)
        assert row["kind"] == layer.kind
        assert row["channels"] == layer.channels
        assert row["size"] == list(layer.size)
        assert row["field"]["size"] == [layer.field.y.size, layer.field.x.size]
        assert row["field"]["stride"] == [layer.field.y.stride, layer.field.x.stride]
        assert row["field"]["start"] == [layer.field.y.start, layer.field.x.start]


def test_layers_can_be_drawn(retroscope: Retroscope, tiny: rs.Network, desk: Path) -> None:
    said = retroscope("layers", "nets.py:tiny", "-o", "layers.png")
    assert (said.status, said.out, said.err) == (0, "layers.png\n", "")
    check_is_drawing(desk / "layers.png", list(tiny.layers), title="nets.py:tiny")


def test_json_and_picture_come_together_when_both_are_asked(
    retroscope: Retroscope, desk: Path
) -> None:
    said = retroscope("layers", "nets.py:tiny", "--json", "-o", "layers.png")
    assert len(json.loads(said.out)) == 4
    assert (desk / "layers.png").exists()


# deconv


def test_deconv_draws_what_the_library_projects(
    retroscope: Retroscope, tiny: rs.Network, desk: Path
) -> None:
    said = retroscope("deconv", "nets.py:tiny", "conv2:1", "cat.png", "-o", "unit.png")
    assert (said.status, said.out, said.err) == (0, "unit.png\n", "")
    check_is_drawing(desk / "unit.png", rs.deconv(tiny, "conv2:1", "cat.png"))


def test_deconv_takes_every_option_of_how_it_looks(
    retroscope: Retroscope, tiny: rs.Network, desk: Path
) -> None:
    options = ["--rules", "guided", "--tone", "gamma", "--bare", "-o", "unit.png"]
    assert retroscope("deconv", "nets.py:tiny", "conv2:1", "cat.png", *options).status == 0
    shown = rs.deconv(tiny, "conv2:1", "cat.png", rules="guided")
    check_is_drawing(desk / "unit.png", shown, tone="gamma", bare=True)


def test_several_images_come_on_one_sheet(
    retroscope: Retroscope, tiny: rs.Network, desk: Path
) -> None:
    images = ["cat.png", "dog.png"]
    assert retroscope("deconv", "nets.py:tiny", "conv2:1", *images, "-o", "sheet.png").status == 0
    shown = [rs.deconv(tiny, "conv2:1", image) for image in images]
    check_is_drawing(desk / "sheet.png", shown)


def test_top_asks_for_the_strongest_channels_of_each_image(
    retroscope: Retroscope, tiny: rs.Network
) -> None:
    words = ["deconv", "nets.py:tiny", "conv2", "cat.png", "dog.png", "--top", "2", "--json"]
    rows = json.loads(retroscope(*words).out)
    assert [row["source"] for row in rows] == ["cat.png", "cat.png", "dog.png", "dog.png"]
    for image in ("cat.png", "dog.png"):
        found = [row["activation"] for row in rows if row["source"] == image]
        peaks = sorted(rs.activations(tiny, "conv2", image).maps.max(axis=(1, 2)))
        np.testing.assert_allclose(found, peaks[:-3:-1], rtol=1e-5)


def test_top_of_more_than_there_are_is_all_of_them(retroscope: Retroscope) -> None:
    rows = json.loads(
        retroscope("deconv", "nets.py:tiny", "conv2", "cat.png", "--top", "99", "--json").out
    )
    assert len({row["unit"].partition("@")[0] for row in rows}) == 4


@pytest.mark.parametrize("unit", ["conv2:1", "conv2:1@3,4", "conv2:1@*", "conv2"])
def test_json_says_of_each_projection_what_the_library_says(
    retroscope: Retroscope, tiny: rs.Network, desk: Path, unit: str
) -> None:
    said = retroscope("deconv", "nets.py:tiny", unit, "cat.png", "--json")
    (row,) = json.loads(said.out)
    shown = rs.deconv(tiny, unit, "cat.png")
    box = shown.box
    assert row["unit"] == str(shown.unit)
    assert row["activation"] == pytest.approx(shown.activation)
    assert row["box"] == [box.top, box.left, box.bottom, box.right]
    assert (row["rules"], row["source"]) == ("deconvnet", "cat.png")
    assert row["notes"] == list(shown.notes)
    assert not list(desk.glob("cat.*.png")), "JSON alone draws nothing"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["conv2:1", "cat.png"], "cat.conv2_1.deconvnet.png"),
        (["conv2:1@3,4", "cat.png", "--rules", "guided"], "cat.conv2_1_at_3,4.guided.png"),
        (["conv2:1@*", "cat.png"], "cat.conv2_1_at_all.deconvnet.png"),
        (["conv2", "dog.png", "cat.png"], "dog.conv2.deconvnet.png"),
    ],
)
def test_a_picture_without_a_name_is_called_after_image_unit_and_rules(
    retroscope: Retroscope, desk: Path, words: list[str], name: str
) -> None:
    said = retroscope("deconv", "nets.py:tiny", *words)
    assert (said.status, said.out) == (0, f"{name}\n")
    assert pixels_of(desk / name).std() > 0


@pytest.mark.parametrize("name", ["with a blank.png", "ünï cödé.png", "a:b.png", "😀.png"])
def test_images_of_any_name_can_be_looked_at(retroscope: Retroscope, desk: Path, name: str) -> None:
    (desk / "cat.png").rename(desk / name)
    said = retroscope("deconv", "nets.py:tiny", "conv2:1", name)
    assert said.status == 0
    assert pixels_of(desk / said.out.rstrip("\n")).std() > 0


def test_an_animation_is_looked_at_in_its_first_frame(retroscope: Retroscope, desk: Path) -> None:
    frames = [picture(seed=seed).quantize() for seed in range(3)]
    frames[0].save(desk / "moving.gif", save_all=True, append_images=frames[1:])
    frames[0].convert("RGB").save(desk / "still.png")
    words = ("deconv", "nets.py:tiny", "conv2:1", "moving.gif", "still.png", "--json")
    moving, still = json.loads(retroscope(*words).out)
    assert moving | {"source": ""} == still | {"source": ""}


def test_a_picture_of_one_pixel_fills_the_network(retroscope: Retroscope, desk: Path) -> None:
    picture(1, 1).save(desk / "one.png")
    said = retroscope("deconv", "nets.py:tiny", "conv2:1", "one.png", "-o", "unit.png")
    assert (said.status, (desk / "unit.png").exists()) == (0, True)


def test_a_network_that_takes_greys_is_given_greys(retroscope: Retroscope, desk: Path) -> None:
    said = retroscope("deconv", "nets.py:grey", "relu1:1", "cat.png", "--bare", "-o", "unit.png")
    assert said.status == 0
    red, green, blue = pixels_of(desk / "unit.png").transpose(2, 0, 1)
    assert (red == green).all()
    assert (green == blue).all()


def test_numbers_that_are_none_are_said_so_in_valid_json(retroscope: Retroscope) -> None:
    said = retroscope("deconv", "nets.py:not_a_number", "conv2:1", "cat.png", "--json")
    (row,) = json.loads(said.out, parse_constant=pytest.fail)
    assert row["activation"] is None
    assert "not finite" in row["notes"][0]


@pytest.mark.parametrize("network", ["not_a_number", "dead"])
@pytest.mark.parametrize("words", [["deconv"], ["deconv", "--top", "3"], ["activations"]])
def test_a_sick_network_is_drawn_like_any_other(
    retroscope: Retroscope, network: str, words: list[str]
) -> None:
    command, *options = words
    said = retroscope(command, f"nets.py:{network}", "conv2", "cat.png", *options)
    assert (said.status, said.err, len(said.out.splitlines())) == (0, "", 1)


def test_what_a_network_prints_stays_out_of_the_answer(retroscope: Retroscope) -> None:
    for words in (["layers", "nets.py:chatty"], ["deconv", "nets.py:chatty", "conv", "cat.png"]):
        said = retroscope(*words, "--json")
        assert json.loads(said.out)
        assert "the factory says hello" in said.err
        assert "the forward pass says" in said.err


def test_threads_are_the_number_asked_for(retroscope: Retroscope) -> None:
    before = torch.get_num_threads()
    try:
        assert retroscope("layers", "nets.py:tiny", "--threads", "1").status == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


# activations


def test_activations_draw_the_maps_that_the_library_finds(
    retroscope: Retroscope, tiny: rs.Network, desk: Path
) -> None:
    said = retroscope("activations", "nets.py:tiny", "conv2", "cat.png")
    assert (said.status, said.out) == (0, "cat.conv2.activations.png\n")
    check_is_drawing(desk / "cat.conv2.activations.png", rs.activations(tiny, "conv2", "cat.png"))


def test_resize_reaches_the_network(retroscope: Retroscope, desk: Path) -> None:
    names = []
    for resize in ("crop", "stretch"):
        names.append(desk / f"{resize}.png")
        words = ["activations", "nets.py:tiny", "conv1", "cat.png", "--resize", resize]
        assert retroscope(*words, "-o", str(names[-1])).status == 0
    assert (pixels_of(names[0]) != pixels_of(names[1])).any()


# What a user does wrong


TINY = "nets.py:tiny"
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
    (["layers", TINY, "--resize", "squash"], "network, crop, stretch"),
    (["layers", "vgg61"], "'vgg16'"),
    (["layers", "torchvison/vgg16"], "'torchvision'"),
    (["layers", "zoo/vgg16"], "torchvision/NAME"),
    (["layers", ""], "torchvision/NAME"),
    (["layers", "nets.py"], "file.py:factory"),
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
    (["layers", "nets.py:a_number"], "returned 3; it must return an nn.Module or a Network"),
    (["layers", "nets.py:nothing"], "returned None"),
    (["layers", "nets.py:a_class"], "returned the class Conv2d"),
    (["layers", "nets.py:window_too_large"], "cannot run a picture of 3 channels and 32x40"),
    (["layers", "nets.py:without_layers"], "no operation that is a layer"),
    (["layers", TINY, "-o", "layers.xyz"], ".png"),
    (["layers", TINY, "-o", "layers"], ".png"),
    (["layers", TINY, "-o", "folder"], "it is a folder"),
    (["layers", TINY, "-o", "none/layers.png"], "no folder 'none'"),
    (["deconv", TINY], "Missing argument 'UNIT'"),
    (["deconv", TINY, "conv2:1"], "Missing argument 'IMAGE...'"),
    (["deconv", TINY, "", "cat.png"], "LAYER:CHANNEL@Y,X"),
    (["deconv", TINY, "conv2@1,2", "cat.png"], "LAYER:CHANNEL@Y,X"),
    (["deconv", TINY, "conv2:-1", "cat.png"], "LAYER:CHANNEL@Y,X"),
    (["deconv", TINY, "conv9:1", "cat.png"], "did you mean 'conv2'"),
    (["deconv", TINY, "conv9:1", "cat.png"], '"retroscope layers nets.py:tiny" lists them'),
    (["deconv", TINY, "conv2:4", "cat.png"], "0 to 3"),
    (["deconv", TINY, "conv2:1@14,0", "cat.png"], "from 0,0 to 13,17"),
    (["deconv", TINY, "conv2:1@0,18", "cat.png"], "from 0,0 to 13,17"),
    (["deconv", TINY, "conv2:1", "cat.png", "--rules", "giuded"], "'guided'"),
    (["deconv", TINY, "conv2:1", "cat.png", "--tone", "tyle"], "'tile'"),
    (["deconv", TINY, "conv2:1", "cat.png", "--top", "2"], "give the layer 'conv2'"),
    (["deconv", TINY, "conv2", "cat.png", "--top", "0"], "x>=1"),
    (["deconv", TINY, "conv2:1", "none.png"], "cannot open 'none.png'"),
    (["deconv", TINY, "conv2:1", "no\nsuch.png"], r"cannot open 'no\nsuch.png'"),
    (["deconv", TINY, "conv2:1", "cat.png", "folder"], "'folder' is a folder"),
    (["deconv", TINY, "conv2:1", "notes.png"], "convert it to PNG or JPEG"),
    (["deconv", TINY, "conv2:1", "cut.png"], "cannot decode 'cut.png'"),
    (["deconv", TINY, "conv2:1", "empty.png"], "empty file"),
    (["deconv", TINY, "conv2:1", "cat.png", "-o", "unit.xyz"], ".png"),
    (["deconv", TINY, "conv2:1", "cat.png", "-o", "none/unit.png"], "no folder 'none'"),
    (["deconv", "nets.py:four_channels", "conv", "cat.png"], "takes 4 channels"),
    (["deconv", "nets.py:without_layers", "conv1", "cat.png"], "no layer 'conv1'"),
    (["activations", TINY, "conv2"], "Missing argument 'IMAGE'"),
    (["activations", TINY, "conv2:1", "cat.png"], "did you mean 'conv2'"),
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


# The help


def test_without_arguments_the_help_is_shown(retroscope: Retroscope) -> None:
    said = retroscope()
    assert (said.status, said.err) == (0, "")
    assert said == retroscope("--help") == retroscope("-h")
    assert all(f"\n  {name} " in said.out for name in main.commands)


@pytest.mark.parametrize("name", main.commands)
def test_every_option_of_a_command_is_explained(name: str) -> None:
    command = main.commands[name]
    assert command.help
    for one in command.params:
        assert isinstance(one, click.Argument) or (isinstance(one, click.Option) and one.help)


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
