"""synthesize and filters, as somebody at a terminal meets them."""

import json
from pathlib import Path

import numpy as np
import pytest

import retroscope as rs
from retroscope.methods.filters import filters
from retroscope.methods.synthesis.objectives import excite_class, excite_output
from retroscope.methods.synthesis.synthesize import synthesize, synthesize_many, synthesize_varied
from tests.cli.nets import CLASSIFIER
from tests.cli.terminal import Retroscope, check_is_drawing, picture, pixels_of

NETS = f"""
{CLASSIFIER}

def dead():
    net = tiny()
    nn.init.constant_(net[0].weight, 0)
    nn.init.constant_(net[0].bias, -1)
    return net


def other():
    net = tiny()
    nn.init.normal_(net[0].weight)
    return net


def without_convolution():
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 40, 3))
    net.input_size = (32, 40)
    return net
"""
TINY = "nets.py:tiny"
FEW = ["--steps", "3"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: networks, images, and files that only look like them."""
    (tmp_path / "nets.py").write_text(NETS, "utf-8")
    (tmp_path / "images").mkdir()
    for seed in range(3):
        picture(36, 44, seed).save(tmp_path / "images" / f"{seed}.png")
    (tmp_path / "notes.txt").write_text("no picture, no atlas", "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def net(desk: Path) -> rs.Network:
    return rs.open_model(f"{desk / 'nets.py'}:tiny", device="cpu")


def test_a_unit_gets_a_picture(retroscope: Retroscope, net: rs.Network) -> None:
    said = retroscope("synthesize", TINY, "conv2:1", *FEW, "-o", "unit.png")
    assert (said.status, said.out) == (0, "unit.png\n")
    pattern = synthesize(net, "conv2:1", steps=3)
    check_is_drawing("unit.png", pattern)
    assert f"activation {pattern.activation:.4g}" in said.err
    assert "synthesize" not in said.err, "little work is not announced"


def test_without_a_name_the_picture_has_that_of_unit_and_recipe(retroscope: Retroscope) -> None:
    said = retroscope("synthesize", TINY, "conv2:1", *FEW, "--recipe", "plain")
    assert said.out == "nets.tiny.conv2_1.plain.png\n"
    assert Path("nets.tiny.conv2_1.plain.png").exists()


def test_the_name_of_a_class_becomes_a_file_name_without_blanks(retroscope: Retroscope) -> None:
    said = retroscope("synthesize", TINY, "--target", "great dane", *FEW)
    assert said.out == "nets.tiny.great-dane.zoom.png\n"


def test_a_layer_gets_a_sheet_of_its_channels(retroscope: Retroscope, net: rs.Network) -> None:
    said = retroscope("synthesize", TINY, "conv1", "--channels", "0-2,5", *FEW, "-o", "sheet.png")
    assert said.status == 0, said.err
    units = [f"conv1:{channel}" for channel in (0, 1, 2, 5)]
    check_is_drawing("sheet.png", synthesize_many(net, units, steps=3))


def test_a_class_is_named(retroscope: Retroscope, net: rs.Network) -> None:
    said = retroscope("synthesize", TINY, "--target", "pier", *FEW, "-o", "class.png", "--bare")
    assert said.status == 0, said.err
    pattern = synthesize(net, excite_class("pier"), steps=3)
    np.testing.assert_array_equal(pixels_of("class.png"), pattern.image)


def test_a_class_asked_for_by_number_is_called_by_its_label(retroscope: Retroscope) -> None:
    said = retroscope("synthesize", TINY, "--target", "1", *FEW, "--json")
    assert json.loads(said.out)[0]["objective"] == "class Great Dane"
    assert "class Great Dane: activation" in said.err


def test_a_number_among_the_outputs_is_climbed(retroscope: Retroscope, net: rs.Network) -> None:
    said = retroscope("synthesize", TINY, "--target", "output[0, 2]", *FEW, "--bare")
    assert said.status == 0, said.err
    assert "output[0, 2]: activation" in said.err
    pattern = synthesize(net, excite_output("output[0, 2]"), steps=3)
    np.testing.assert_array_equal(pixels_of(said.out.strip()), pattern.image)


def test_diverse_patterns_stand_side_by_side(retroscope: Retroscope, net: rs.Network) -> None:
    words = ("conv2:1", "--diversity", "3", *FEW, "-o", "varied.png")
    assert retroscope("synthesize", TINY, *words).status == 0
    check_is_drawing("varied.png", synthesize_varied(net, "conv2:1", 3, steps=3))


def test_a_picture_can_be_the_start(retroscope: Retroscope, net: rs.Network) -> None:
    words = ("conv2:1", "--seed-image", "images/0.png", *FEW, "-o", "from.png")
    assert retroscope("synthesize", TINY, *words).status == 0
    check_is_drawing("from.png", synthesize(net, "conv2:1", seed_image="images/0.png", steps=3))


def test_the_way_is_saved_every_few_steps(retroscope: Retroscope, net: rs.Network) -> None:
    words = ("conv1:1", "--steps", "6", "--save-every", "2", "-o", "way.png")
    said = retroscope("synthesize", TINY, *words)
    assert said.out == "way.png\n"
    assert sorted(path.name for path in Path().glob("way.*.png")) == [
        f"way.step{step:05}.png" for step in (2, 4, 6)
    ]
    early = synthesize(net, "conv1:1", steps=2)
    np.testing.assert_array_equal(pixels_of("way.step00002.png"), early.image)


def test_json_tells_what_was_reached(retroscope: Retroscope, net: rs.Network) -> None:
    said = retroscope("synthesize", TINY, "conv2", "--channels", "0,3", *FEW, "--json")
    rows = json.loads(said.out)
    patterns = synthesize_many(net, ["conv2:0", "conv2:3"], steps=3)
    assert [row["unit"] for row in rows] == [str(pattern.unit) for pattern in patterns]
    assert [row["activation"] for row in rows] == [pattern.activation for pattern in patterns]
    assert all(row["steps"] == 3 and row["recipe"] == "zoom" for row in rows)
    assert not list(Path().glob("*.png"))


def test_an_atlas_tells_the_best_natural_image(retroscope: Retroscope, net: rs.Network) -> None:
    rs.scan(net, "images", to="tiny.atlas", layers="conv", projections=False).close()
    words = ("conv2:1", *FEW, "--atlas", "tiny.atlas", "--json")
    said = retroscope("synthesize", TINY, *words)
    with rs.open_atlas("tiny.atlas") as atlas:
        natural = atlas.stats("conv2:1").maximum
    assert json.loads(said.out)[0]["natural"] == natural
    assert f"best natural image {natural:.4g}" in said.err
    varied = retroscope("synthesize", TINY, *words, "--diversity", "2")
    assert [row["natural"] for row in json.loads(varied.out)] == [natural, natural]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([TINY, "conv2:1", "--atlas", "no.atlas"], "no atlas 'no.atlas'"),
        ([TINY, "conv2:1", "--atlas", "notes.txt"], "is not an atlas"),
        ([TINY, "pool1:1", "--atlas", "tiny.atlas"], "does not have 2; scan these layers"),
        (
            [TINY, "conv1:1", "--atlas", "tiny.atlas"],
            "does not have 0; it has 1, 0 (conv1) after its ReLU",
        ),
        (["nets.py:other", "conv2:1", "--atlas", "tiny.atlas"], "different weights"),
    ],
)
def test_an_atlas_that_cannot_be_compared_with_is_refused_before_the_work(
    retroscope: Retroscope, net: rs.Network, words: list[str], says: str
) -> None:
    rs.scan(net, "images", to="tiny.atlas", projections=False).close()
    said = retroscope("synthesize", *words)
    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert says in said.err


def test_what_was_stopped_leaves_no_picture(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("retroscope.methods.synthesis.canvas_optimisation.take_step", stop)
    said = retroscope("synthesize", TINY, "conv2:1", "-o", "unit.png")
    assert said.status == 130
    assert said.err.endswith("retroscope: stopped\n")
    assert not list(Path().glob("*.png"))


def test_a_dead_channel_is_said_to_be(retroscope: Retroscope) -> None:
    said = retroscope("synthesize", "nets.py:dead", "relu1:2", *FEW)
    assert said.status == 0
    assert "this unit's gradient stayed zero" in said.err


def test_a_canvas_smaller_than_the_field_is_said_to_be(retroscope: Retroscope) -> None:
    said = retroscope("synthesize", TINY, "conv2:2", *FEW, "--size", "6")
    assert said.status == 0
    assert "smaller than what the unit sees (8x8 pixels)" in said.err


def test_filters_are_drawn(retroscope: Retroscope, net: rs.Network) -> None:
    said = retroscope("filters", TINY, "-o", "filters.png")
    assert (said.status, said.out) == (0, "filters.png\n")
    check_is_drawing("filters.png", filters(net))
    assert retroscope("filters", TINY, "conv1", "--bare").out == "nets.tiny.0.filters.png\n"
    check_is_drawing("nets.tiny.0.filters.png", filters(net), bare=True)


MISTAKES: dict[str, tuple[list[str], str]] = {
    "nothing": (["synthesize", TINY], "no unit and no target given"),
    "both": (["synthesize", TINY, "conv1:0", "--target", "pier"], "both 'conv1:0' and a target"),
    "a unit": (["synthesize", TINY, "conv1:0", "--channels", "0-3"], "give the layer 'conv1'"),
    "no numbers": (
        ["synthesize", TINY, "conv1", "--channels", "a-3"],
        "write 5, 0-15 or 3,7,10-12",
    ),
    "backwards": (["synthesize", TINY, "conv1", "--channels", "3-1"], "write 5, 0-15 or 3,7,10-12"),
    "too many": (["synthesize", TINY, "conv1", "--channels", "0-63"], "it has 8, 0 to 7"),
    "no layer": (["synthesize", TINY, "cnov1:0"], "did you mean 'conv1'"),
    "no recipe": (
        ["synthesize", TINY, "conv1:0", "--recipe", "ola"],
        "'ola' is not one of 'zoom', 'olah', ",
    ),
    "a box": (
        ["synthesize", TINY, "--target", "box:1"],
        "'box:1' is what a detector finds in an image, and a pattern begins as noise",
    ),
    "no such number": (
        ["synthesize", TINY, "--target", "output[0, 99]"],
        "no 99 in output[0] of ",
    ),
    "no path": (["synthesize", TINY, "--target", "output[0"], "in each pair of brackets"),
    "no class": (["synthesize", TINY, "--target", "tabbi"], "did you mean 'tabby'"),
    "class and channels": (
        ["synthesize", TINY, "--target", "pier", "--channels", "1"],
        "leave out --target",
    ),
    "diverse channels": (
        ["synthesize", TINY, "conv1", "--channels", "0-1", "--diversity", "2"],
        "leave out --channels",
    ),
    "no picture": (["synthesize", TINY, "conv1:0", "--seed-image", "no.png"], "no.png"),
    "bad picture": (["synthesize", TINY, "conv1:0", "--seed-image", "notes.txt"], "notes.txt"),
    "onto it": (
        ["synthesize", TINY, "conv1:0", "--seed-image", "images/0.png", "-o", "images/0.png"],
        "give -o another name",
    ),
    "no steps": (["synthesize", TINY, "conv1:0", "--steps", "0"], "not in the range x>=1"),
    "no size": (["synthesize", TINY, "conv1:0", "--size", "-3"], "'-3' is not a length"),
    "placed": (["synthesize", TINY, "conv1:0@2,2", "--size", "9"], "leave out the size"),
    "off the map": (["synthesize", TINY, "conv1:0@99,0"], "its maps are 32x40"),
    "a long seed": (["synthesize", TINY, "conv1:0", "--seed", "9" * 30], "at most 18 digits"),
    "diverse class": (
        ["synthesize", TINY, "--target", "pier", "--diversity", "2"],
        "needs a unit or a layer",
    ),
    "no folder": (
        ["synthesize", TINY, "conv1:0", "-o", "no/unit.png"],
        "the folder 'no' does not exist",
    ),
    "no kind": (["synthesize", TINY, "conv1:0", "-o", "unit.xyz"], "is not an image format"),
    "a unit's filters": (["filters", TINY, "conv1:3"], "give 'conv1', not 'conv1:3'"),
    "deep filters": (["filters", TINY, "conv2"], "not pixels"),
    "no filters": (["filters", "nets.py:without_convolution"], "it does not run a convolution"),
    "no tone": (["filters", TINY, "--tone", "tiel"], "'tiel' is not one of 'robust', 'tile', "),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_line(retroscope: Retroscope, case: str) -> None:
    words, expected = MISTAKES[case]
    said = retroscope(*words)
    assert said.status == 2, said
    last = said.err.strip().splitlines()[-1]
    assert last.startswith("retroscope: ")
    assert expected in last
    assert not list(Path().glob("*.png"))
