"""layers, deconv and activations, as somebody at a terminal meets them."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

import retroscope as rs
from tests.cli.terminal import Retroscope, check_is_drawing, picture, pixels_of

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


def test_the_table_of_layers_says_below_where_a_field_is_a_bound(retroscope: Retroscope) -> None:
    said = retroscope("layers", "nets.py:uneven")
    net = rs.open_model("nets.py:uneven", device="cpu")
    (note,) = {layer.note for layer in net.layers if layer.note}
    names = [layer.name for layer in net.layers if layer.note]
    assert said.out.splitlines()[-1] == f"{', '.join(names)}: {note}"


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


def test_a_view_is_drawn_alone(retroscope: Retroscope, tiny: rs.Network, desk: Path) -> None:
    words = ["deconv", "nets.py:tiny", "conv2:1", "cat.png", "--view", "lit", "-o", "unit.png"]
    assert retroscope(*words).status == 0
    with PIL.Image.open(desk / "unit.png") as drawing:
        lit = np.asarray(drawing)
    np.testing.assert_array_equal(lit, rs.deconv(tiny, "conv2:1", "cat.png").lit())


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
        (["conv2:1", "cat.png"], "cat.nets.tiny.conv2_1.deconvnet.png"),
        (
            ["conv2:1@3,4", "cat.png", "--rules", "guided"],
            "cat.nets.tiny.conv2_1_at_3,4.guided.png",
        ),
        (["conv2:1@*", "cat.png"], "cat.nets.tiny.conv2_1_at_all.deconvnet.png"),
        (["conv2", "dog.png", "cat.png"], "dog.and-1-more.nets.tiny.conv2.deconvnet.png"),
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
    assert (said.status, said.out) == (0, "cat.nets.tiny.conv2.activations.png\n")
    check_is_drawing(
        desk / "cat.nets.tiny.conv2.activations.png", rs.activations(tiny, "conv2", "cat.png")
    )


def test_resize_reaches_the_network(retroscope: Retroscope, desk: Path) -> None:
    names = []
    for resize in ("crop", "stretch"):
        names.append(desk / f"{resize}.png")
        words = ["activations", "nets.py:tiny", "conv1", "cat.png", "--resize", resize]
        assert retroscope(*words, "-o", str(names[-1])).status == 0
    assert (pixels_of(names[0]) != pixels_of(names[1])).any()


def test_channels_that_tie_are_said_in_a_line(retroscope: Retroscope) -> None:
    """Of a dead layer all channels are at 0, and the two that are shown are not special."""
    said = retroscope("deconv", "nets.py:dead", "1", "cat.png", "--top", "2", "--json")
    line = "8 channels of 1 reach 0; the 2 with the lowest numbers are chosen"
    assert f"cat.png: {line}\n" in said.err
    assert [line in row["notes"] for row in json.loads(said.out)] == [True, True]
    said = retroscope("deconv", "nets.py:tiny", "conv2", "cat.png", "--top", "2", "--json")
    assert "reach" not in said.err + said.out
