"""scan, illustrate and show, as somebody at a terminal meets them."""

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import retroscope as rs
from retroscope.cli import run

NETS = """
import torch
from torch import nn


def tiny(seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3), nn.ReLU()
    )
    net.input_size = (32, 40)
    return net


def other():
    return tiny(1)


def not_a_number():
    net = tiny()
    nn.init.constant_(net[0].weight, float("nan"))
    return net
"""
TINY = "nets.py:tiny"
SCANNED = ["scan", TINY, "images", "--to", "new.atlas"]


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    status: int
    out: str
    err: str


Retroscope = Callable[..., Said]


def pictures(folder: Path) -> None:
    """Six pictures each of two classes, and a file that is none."""
    for number in range(12):
        place = folder / "images" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (36, 44, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(place / f"{number}.png")
    (folder / "images" / "a" / "broken.jpg").write_bytes(b"\xff\xd8nope")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, networks and an atlas of them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "nets.py").write_text(NETS, "utf-8")
    pictures(folder)
    net = rs.open_model(f"{folder / 'nets.py'}:tiny", device="cpu")
    layers = ["conv", "relu2"]
    rs.scan(net, folder / "images", to=folder / "done.atlas", layers=layers).close()
    rs.scan(net, folder / "images", to=folder / "bare.atlas", illustrate="none").close()
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "desk"
    shutil.copytree(made, folder)
    (folder / "empty").mkdir()
    (folder / "list.txt").write_text("images/a/0.png\n\nimages/b/1.png\n", "utf-8")
    (folder / "classes.csv").write_text("a/0.png,odd\nb/1.png,even\n", "utf-8")
    (folder / "strange.csv").write_text("x.png,odd\n", "utf-8")
    (folder / "broken").mkdir()
    (folder / "broken" / "no.jpg").write_bytes(b"nope")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def retroscope(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Retroscope:
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


def names(path: str = "new.atlas") -> list[str]:
    with rs.open_atlas(path) as atlas:
        return [layer.name for layer in atlas.layers]


def count(table: str, path: str = "new.atlas") -> int:
    with rs.open_atlas(path) as atlas:
        ((found,),) = atlas.sql(f"SELECT count(*) FROM {table}")  # noqa: S608 - our own names
        return int(str(found))


# scan


def test_a_scan_says_what_it_will_take_how_far_it_is_and_where_the_atlas_lies(
    retroscope: Retroscope,
) -> None:
    said = retroscope(*SCANNED)
    assert (said.status, said.out) == (0, "new.atlas\n")
    first, *lines = said.err.splitlines()
    assert first.startswith("13 images, 2 layers, 12 channels: about ")
    assert lines[0] == "scan 0/13"
    assert any(line.startswith("illustrate ") for line in lines)
    assert lines[-1].startswith("1 unreadable image")
    assert names() == ["0", "3"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--layers", "conv1,relu2"], ["0", "4"]),
        (["--layers", "conv1", "--layers", "3"], ["0", "3"]),
        (["--layers", "relu*, pool"], ["1", "2", "4"]),
        (["--layers", "[34]"], ["3", "4"]),
    ],
)
def test_layers_are_chosen_by_name_alias_glob_and_kind(
    retroscope: Retroscope, words: list[str], expected: list[str]
) -> None:
    assert retroscope(*SCANNED, "--no-illustrate", *words).status == 0
    assert names() == expected


@pytest.mark.parametrize("words", [["--no-illustrate"], ["--illustrate", "none"]])
def test_without_the_second_pass_there_are_no_projections(
    retroscope: Retroscope, words: list[str]
) -> None:
    said = retroscope(*SCANNED, *words)
    assert said.status == 0
    assert "up to 0 projections" in said.err
    assert count("projections") == 0
    assert count("hits") == 2 * 12 * 9


def test_illustrate_of_a_scan_is_for_the_strongest(retroscope: Retroscope) -> None:
    said = retroscope(*SCANNED, "--illustrate", "2", "--top", "3")
    assert said.status == 0
    assert f"up to {2 * 2 * 12} projections" in said.err
    with rs.open_atlas("new.atlas") as atlas:
        shown = [patch.projection is not None for patch in atlas["conv1:0"].patches]
    assert shown[:2] == [True, True]
    assert len(shown) == 3


def test_a_table_gives_the_classes_and_a_glob_the_files(retroscope: Retroscope) -> None:
    words = ["--labels", "classes.csv", "--glob", "[01].png", "--no-illustrate"]
    assert retroscope(*SCANNED, *words).status == 0
    with rs.open_atlas("new.atlas") as atlas:
        assert [image.key for image in atlas.images] == ["a/0.png", "b/1.png"]
        assert {label.name for label in atlas.labels} == {"odd", "even"}


def test_a_list_of_paths_is_scanned(retroscope: Retroscope) -> None:
    said = retroscope("scan", TINY, "list.txt", "--to", "new.atlas")
    assert said.status == 0
    assert said.err.startswith("2 images, ")


def test_the_same_command_again_finds_everything_done(retroscope: Retroscope) -> None:
    assert retroscope(*SCANNED).status == 0
    again = retroscope(*SCANNED)
    assert (again.status, again.out) == (0, "new.atlas\n")
    assert "scan" not in again.err
    assert "about" not in again.err, "nothing is left to estimate"


def test_a_stopped_scan_goes_on_where_it_was(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("retroscope.atlas.illustrate.deconv_many", stop)
        stopped = retroscope(*SCANNED)
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err.endswith("retroscope: stopped\n")
    again = retroscope(*SCANNED)
    assert (again.status, "scan 0/13" in again.err) == (0, False)
    assert count("projections") == count("projections", "done.atlas") - _of_relu2()


def _of_relu2() -> int:
    return count("projections JOIN layers ON layers.id = layer WHERE name = '4'", "done.atlas")


def test_restart_begins_anew_with_what_is_asked_now(retroscope: Retroscope) -> None:
    assert retroscope(*SCANNED, "--no-illustrate").status == 0
    words = [*SCANNED, "--no-illustrate", "--layers", "relu1"]
    assert retroscope(*words).status == 2
    assert retroscope(*words, "--restart").status == 0
    assert names() == ["1"]


def test_values_that_are_not_finite_are_counted(retroscope: Retroscope) -> None:
    words = ["scan", "nets.py:not_a_number", "images", "--to", "new.atlas", "--no-illustrate"]
    said = retroscope(*words)
    assert said.status == 0
    assert "12 channels with values that are not finite" in said.err


# illustrate


def test_illustrate_adds_what_is_missing_and_no_more(retroscope: Retroscope) -> None:
    words = ["illustrate", "bare.atlas", TINY, "images"]
    assert retroscope(*words, "--layers", "conv2", "--ranks", "1").out == "bare.atlas\n"
    few = count("projections", "bare.atlas")
    assert 0 < few <= 2 * 4
    assert retroscope(*words).status == 0
    every = count("projections", "bare.atlas")
    assert every > few
    assert retroscope(*words).status == 0
    assert count("projections", "bare.atlas") == every


# show


def check_is_drawing(path: str, of: object, **options: object) -> None:
    with PIL.Image.open(path) as shown:
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(rs.draw(of, **options)))


def test_a_unit_is_shown_as_its_plate(retroscope: Retroscope) -> None:
    said = retroscope("show", "done.atlas", "conv1:3", "-o", "unit.png", "--tone", "gamma")
    assert said == Said(0, "unit.png\n", "")
    with rs.open_atlas("done.atlas") as atlas:
        check_is_drawing("unit.png", atlas["conv1:3"], tone="gamma")


def test_a_layer_is_shown_as_its_strongest_patches(retroscope: Retroscope) -> None:
    assert retroscope("show", "done.atlas", "conv1", "--ranked-by", "mean").status == 0
    with rs.open_atlas("done.atlas") as atlas:
        best = [patch for _, patch in atlas.top("conv1", ranked_by="mean")]
    check_is_drawing("done.conv1.mean.png", best, title="What excites conv1 most, by mean")


@pytest.mark.parametrize(("text", "channels"), [("0-3", range(4)), ("5", range(5, 6))])
def test_channels_are_shown_on_one_sheet(
    retroscope: Retroscope, text: str, channels: range
) -> None:
    said = retroscope("show", "done.atlas", "conv1", "--channels", text)
    assert said == Said(0, f"done.conv1.channels{text}.max.png\n", "")
    with rs.open_atlas("done.atlas") as atlas:
        check_is_drawing(said.out.strip(), [atlas[f"conv1:{one}"] for one in channels])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["conv1:3"], "done.conv1_3.max.png"),
        (["conv1:3", "--ranked-by", "mean"], "done.conv1_3.mean.png"),
        (["conv1:3", "--context"], "done.conv1_3.context.max.png"),
        (["conv1", "--context"], "done.conv1.context.max.png"),
        (["relu2"], "done.relu2.max.png"),
    ],
)
def test_a_picture_without_a_name_is_called_after_what_it_shows(
    retroscope: Retroscope, words: list[str], name: str
) -> None:
    assert retroscope("show", "done.atlas", *words) == Said(0, f"{name}\n", "")
    with PIL.Image.open(name) as shown:
        assert np.asarray(shown).std() > 0


@pytest.mark.parametrize(("unit", "stem"), [("conv1:3", "conv1_3"), ("conv1", "conv1")])
def test_mosaics_are_named_after_layer_and_channel(
    retroscope: Retroscope, unit: str, stem: str
) -> None:
    said = retroscope("show", "done.atlas", unit, "--mosaics", "new/folder")
    paths = [f"new/folder/{stem}_im.png", f"new/folder/{stem}_feat.png"]
    assert (said.status, said.out.splitlines(), said.err) == (0, paths, "")
    sizes = set()
    for path in paths:
        with PIL.Image.open(path) as shown:
            sizes.add(shown.size)
    assert len(sizes) == 1
    assert not list(Path().glob("done.*.png"))


def test_mosaics_of_what_is_not_illustrated_are_the_patches_alone(retroscope: Retroscope) -> None:
    said = retroscope("show", "bare.atlas", "conv1:3", "--mosaics", "folder")
    assert (said.status, said.out) == (0, "folder/conv1_3_im.png\n")
    assert "'retroscope illustrate' adds them" in said.err


def test_json_of_a_unit_is_what_the_library_says(retroscope: Retroscope) -> None:
    facts = json.loads(retroscope("show", "done.atlas", "conv1:3", "--json").out)
    with rs.open_atlas("done.atlas") as atlas:
        plate = atlas["conv1:3"]
    assert facts["unit"] == "0:3"
    assert facts["classes"].keys() == {"a", "b"}
    assert [hit["score"] for hit in facts["hits"]] == [one.score for one in plate.patches]
    assert all(hit["illustrated"] for hit in facts["hits"])
    assert not list(Path().glob("done.*.png")), "JSON alone draws nothing"


def test_json_of_layers_channels_and_mosaics_is_json(retroscope: Retroscope) -> None:
    show = ["show", "done.atlas", "conv1", "--json"]
    assert len(json.loads(retroscope(*show).out)) == 9
    sheet = json.loads(retroscope(*show, "--channels", "2-3").out)
    assert [one["unit"] for one in sheet] == ["0:2", "0:3"]
    assert len(json.loads(retroscope(*show, "--mosaics", "folder").out)) == 9


def test_a_network_without_a_number_is_shown_in_valid_json(retroscope: Retroscope) -> None:
    words = ["scan", "nets.py:not_a_number", "images", "--to", "new.atlas"]
    assert retroscope(*words).status == 0
    said = retroscope("show", "new.atlas", "conv1:0", "--json", "-o", "unit.png")
    facts = json.loads(said.out, parse_constant=pytest.fail)
    assert (said.status, facts["hits"], facts["dead"]) == (0, [], True)
    for words in (["conv1", "--context"], ["conv1"]):
        said = retroscope("show", "new.atlas", *words)
        assert (said.status, len(said.err.splitlines())) == (2, 1)


def test_names_that_are_no_text_are_shown_all_the_same(retroscope: Retroscope, desk: Path) -> None:
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    shutil.rmtree(desk / "images" / "a")
    (desk / "images" / "b" / "1.png").rename(desk / "images" / "b" / name)
    assert retroscope(*SCANNED).status == 0
    said = retroscope("show", "new.atlas", "conv1:3", "--json", "-o", "unit.png")
    assert said.status == 0
    assert f"b/{name}" in [hit["source"] for hit in json.loads(said.out)["hits"]]


# What a user does wrong


TO = ["--to", "new.atlas"]
MISTAKES: list[tuple[list[str], str]] = [
    (["scan", TINY, "images"], "Missing option '--to'"),
    (["scan", TINY, "none", *TO], "'none'"),
    (["scan", TINY, "empty", *TO], "'empty'"),
    (["scan", TINY, "broken", *TO], "none of the 1 images can be read"),
    (["scan", TINY, "images", *TO, "--glob", "*.xyz"], "*.xyz"),
    (["scan", TINY, "images", *TO, "--layers", "conv9"], "did you mean 'conv2'"),
    (["scan", TINY, "images", *TO, "--layers", "linear"], "lists them"),
    (["scan", TINY, "images", *TO, "--layers", "block*"], "matches 'block*'"),
    (["scan", TINY, "images", *TO, "--labels", "none.csv"], "none.csv"),
    (["scan", TINY, "images", *TO, "--labels", "strange.csv"], "name none of the images"),
    (["scan", TINY, "images", *TO, "--illustrate", "some"], "all, none, or a number"),
    (["scan", TINY, "images", *TO, "--top", "0"], "x>=1"),
    (["scan", TINY, "images", "--to", "none/new.atlas"], "no folder 'none'"),
    (["scan", TINY, "images", "--to", "empty"], "is a folder"),
    (["scan", TINY, "images", "--to", "list.txt"], "'list.txt'"),
    (["scan", TINY, "images", "--to", "/dev/null/new.atlas"], "/dev/null"),
    (["scan", TINY, "images", "--to", "/proc/new.atlas"], "/proc/new.atlas"),
    (["scan", TINY, "images", "--to", "done.atlas", "--top", "5"], "--restart"),
    (["scan", "nets.py:other", "images", "--to", "bare.atlas"], "the weights of the model"),
    (["scan", "vgg61", "images", *TO], "'vgg16'"),
    (["illustrate", "none.atlas", TINY, "images"], "none.atlas"),
    (["illustrate", "list.txt", TINY, "images"], "list.txt"),
    (["illustrate", "done.atlas", "nets.py:other", "images"], "other weights"),
    (["illustrate", "done.atlas", TINY, "list.txt"], "the same images"),
    (["illustrate", "done.atlas", TINY, "images", "--layers", "conv9"], "'conv2'"),
    (["illustrate", "done.atlas", TINY, "images", "--rules", "giuded"], "'guided'"),
    (["illustrate", "done.atlas", TINY, "images", "--ranks", "few"], "number of hits"),
    (["show", "none.atlas", "conv1"], "did you mean 'done.atlas'"),
    (["show", "list.txt", "conv1"], "list.txt"),
    (["show", "empty", "conv1"], "folder"),
    (["show", "done.atlas", "conv9"], "did you mean 'conv2'"),
    (["show", "done.atlas", "conv1:8"], "0 to 7"),
    (["show", "done.atlas", "conv1:-1"], "LAYER:CHANNEL"),
    (["show", "done.atlas", "conv1:1@2,3"], "write 0:1"),
    (["show", "done.atlas", "conv1", "--channels", "x"], "write 5 or 0-15"),
    (["show", "done.atlas", "conv1", "--channels", "5-2"], "write 5 or 0-15"),
    (["show", "done.atlas", "conv1", "--channels", "0-8"], "0 to 7"),
    (["show", "done.atlas", "conv1", "--channels", "9"], "0 to 7"),
    (["show", "done.atlas", "conv1:2", "--channels", "0-3"], "give the layer 'conv1'"),
    (["show", "done.atlas", "conv1", "--channels", "0-3", "--context"], "conv1:0"),
    (["show", "done.atlas", "conv1", "--ranked-by", "sum"], "max and mean"),
    (["show", "done.atlas", "conv1:2", "--tone", "tyle"], "'tile'"),
    (["show", "done.atlas", "conv1:2", "-o", "unit.xyz"], ".png"),
    (["show", "done.atlas", "conv1:2", "-o", "none/unit.png"], "no folder 'none'"),
    (["show", "done.atlas", "conv1:2", "--mosaics", "list.txt"], "it is a file"),
]


@pytest.mark.parametrize(
    ("words", "help_"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES]
)
def test_a_mistake_is_answered_in_one_line_that_helps(
    retroscope: Retroscope, desk: Path, words: list[str], help_: str
) -> None:
    before = sorted(desk.iterdir())
    said = retroscope(*words)
    assert (said.status, said.out) == (2, "")
    line = said.err.splitlines()[-1]
    assert line.startswith("retroscope: ")
    assert help_ in line
    if "broken" not in words:
        assert len(said.err.splitlines()) == 1, "nothing had begun"
    assert sorted(set(desk.iterdir()) - {desk / "__pycache__"}) == before


def test_a_folder_for_mosaics_that_cannot_be_made_is_said_in_one_line(
    retroscope: Retroscope, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    said = retroscope("show", "done.atlas", "conv1:2", "--mosaics", "folder")
    assert said == Said(
        2, "", "retroscope: cannot make the folder 'folder': No space left on device\n"
    )
    assert desk.is_dir()
