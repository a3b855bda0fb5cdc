"""What a user sees of a projection: its fields, its notes, its errors, and the order of many."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from retroscope.engine.rules import DECONVNET, GUIDED
from retroscope.errors import ImageError, ModelError, RetroscopeError, UnitError
from retroscope.geometry import Box
from retroscope.imaging.image import Image, read_image
from retroscope.methods.deconv.deconv import deconv, deconv_many
from retroscope.network import AnyImage, Network
from retroscope.results.projections import Projection
from retroscope.unit import Unit
from tests.conftest import built
from tests.methods.conftest import SIZE, picture, tiny


def same(one: Projection, other: Projection) -> bool:
    return (one.unit, one.box, one.activation) == (
        other.unit,
        other.box,
        other.activation,
    ) and np.array_equal(one.pixels, other.pixels)


# A projection


def test_a_unit_is_named_by_its_layers_own_name_and_its_position(net: Network) -> None:
    assert str(deconv(net, "conv2:5@3,4", picture()).unit) == "3:5@3,4"
    assert str(deconv(net, "3:5@*", picture()).unit) == "3:5@*"
    assert str(deconv(net, "conv2", picture()).unit) == "3"


def test_without_a_position_the_unit_is_the_strongest_of_its_channel(net: Network) -> None:
    maps = net.module[:4](picture()[None])[0]  # type: ignore[index]
    for channel in range(6):
        shown = deconv(net, f"3:{channel}", picture())
        assert shown.unit.position is not None
        assert maps[(channel, *shown.unit.position)] == maps[channel].max()
        assert shown.activation == pytest.approx(maps[channel].max().item(), rel=1e-5)


def test_the_activation_is_that_of_the_unit(net: Network) -> None:
    maps = net.module[:2](picture()[None])[0]  # type: ignore[index]
    shown = deconv(net, "1:2@7,5", picture())
    assert shown.activation == pytest.approx(maps[2, 7, 5].item(), rel=1e-5)
    whole = deconv(net, "1:2@*", picture())
    assert whole.activation == pytest.approx(maps[2].max().item(), rel=1e-5)


def test_a_unit_can_be_given_as_text_or_as_a_unit(net: Network) -> None:
    asked = Unit("3", 5, (3, 4))
    assert same(deconv(net, asked, picture()), deconv(net, str(asked), picture()))


@pytest.mark.parametrize(
    ("unit", "box"),
    [
        ("0:1@5,6", Box(5, 6, 8, 9)),
        ("3:1@4,4", Box(6, 6, 14, 14)),
        ("3:1@0,0", Box(0, 0, 6, 6)),  # [-2, 6), of which -2 and -1 are padding
        ("3:1@10,8", Box(18, 14, 24, 20)),
        ("3:1@*", Box(0, 0, 24, 20)),
        ("7:1", Box(0, 0, 24, 20)),
    ],
)
def test_the_box_is_what_the_unit_sees_of_the_picture(net: Network, unit: str, box: Box) -> None:
    shown = deconv(net, unit, picture())
    assert shown.box == box
    assert shown.pixels.shape == (box.height, box.width, 3)
    assert shown.size == SIZE


def test_a_full_projection_is_zero_outside_of_the_box(net: Network) -> None:
    shown = deconv(net, "3:1@4,4", picture())
    full, box = shown.full(), shown.box
    assert full.shape == (*SIZE, 3)
    inside = full[box.top : box.bottom, box.left : box.right]
    assert np.array_equal(inside, shown.pixels)
    assert np.count_nonzero(full) == np.count_nonzero(inside) > 0


def test_pixels_are_single_precision_and_as_double_as_a_double_network(net: Network) -> None:
    assert deconv(net, "3:1", picture()).pixels.dtype == np.float32
    double = Network(built(lambda: tiny().double()), input_size=SIZE)
    assert deconv(double, "3:1", picture()).pixels.dtype == np.float64


def test_the_patch_is_the_picture_under_the_box(net: Network, photo: Path) -> None:
    prepared = net.prepare(photo)
    for unit in ("3:1@4,4", "3:1@0,0", "3:2@*"):
        shown = deconv(net, unit, photo)
        box = shown.box
        assert shown.patch is not None
        under = prepared.rgb[box.top : box.bottom, box.left : box.right]
        assert np.array_equal(shown.patch, under)


def test_a_projection_says_its_rules(net: Network) -> None:
    assert deconv(net, "3:1", picture()).rules == "deconvnet"
    assert deconv(net, "3:1", picture(), rules="guided").rules == "guided"
    by_book = deconv(net, "3:1", picture(), rules=GUIDED)
    assert same(by_book, deconv(net, "3:1", picture(), rules="guided"))
    assert deconv(net, "3:1", picture(), rules=DECONVNET).rules == "deconvnet"


def test_a_projection_cannot_be_changed(net: Network) -> None:
    shown = deconv(net, "3:1", picture())
    with pytest.raises(FrozenInstanceError):
        shown.activation = 1.0


def test_projections_do_not_share_their_pixels(net: Network) -> None:
    first, second = deconv_many(net, [("3:1@4,4", picture())] * 2)
    first.pixels[:] = 0
    assert second.pixels.any()


# Pictures


def test_a_picture_may_come_in_any_form(net: Network, photo: Path) -> None:
    forms: list[AnyImage] = [
        photo,
        str(photo),
        PIL.Image.open(photo),
        read_image(photo),
        net.prepare(photo).tensor,
        net.prepare(photo),
    ]
    expected, *others = (deconv(net, "3:1", form) for form in forms)
    assert expected.pixels.any()
    for shown in others:
        assert same(shown, expected)


def test_a_projection_says_where_its_picture_came_from(net: Network, photo: Path) -> None:
    assert deconv(net, "3:1", photo).source == str(photo)
    assert deconv(net, "3:1", str(photo)).source == str(photo)
    assert deconv(net, "3:1", PIL.Image.open(photo)).source == "memory"
    named = Image(read_image(photo).pixels, "holiday")
    assert deconv(net, "3:1", named).source == "holiday"
    assert deconv(net, "3:1", picture()).source == ""


def test_a_tensor_is_taken_as_it_is_at_any_size(net: Network) -> None:
    for size in ((24, 20), (31, 17), (8, 50)):
        shown = deconv(net, "3:1@1,1", picture(size=size))
        assert shown.size == size


def test_a_grey_network_takes_a_coloured_file(photo: Path) -> None:
    grey = Network(built(lambda: nn.Conv2d(1, 2, 3)), input_size=SIZE)
    assert deconv(grey, "conv1:1@2,2", photo).pixels.shape == (3, 3, 1)


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(1, 24, 20), torch.zeros(3, 24, 20, dtype=torch.int32)],
    ids=["one channel", "integers"],
)
def test_a_tensor_that_does_not_fit_is_refused_with_both_forms(net: Network, wrong: Tensor) -> None:
    with pytest.raises(ImageError) as caught:
        deconv(net, "3:1", wrong)
    said = str(caught.value)
    assert "(3, height, width)" in said
    assert str(tuple(wrong.shape)) in said
    assert str(wrong.dtype) in said


def test_a_file_that_is_not_there_is_named(net: Network) -> None:
    with pytest.raises(ImageError, match=r"no-such\.jpg"):
        deconv(net, "3:1", "no-such.jpg")


def test_a_picture_that_is_too_small_is_refused_with_its_size(net: Network) -> None:
    with pytest.raises(ModelError, match=r"tiny .* 3 channels and 3x3 pixels"):
        deconv(net, "3:1", picture(size=(3, 3)))


# Errors


def test_an_unknown_layer_is_answered_with_the_nearest(net: Network) -> None:
    with pytest.raises(UnitError) as caught:
        deconv(net, "convv2:1", picture())
    said = str(caught.value)
    assert "'convv2'" in said
    assert "tiny" in said
    assert "did you mean 'conv2'" in said
    assert "retroscope layers tiny" in said


def test_a_channel_out_of_range_is_answered_with_the_range(net: Network) -> None:
    with pytest.raises(UnitError) as caught:
        deconv(net, "3:6", picture())
    for fact in ("no channel 6", "it has 6", "0 to 5"):
        assert fact in str(caught.value)


@pytest.mark.parametrize("place", ["11,0", "0,9"])
def test_a_position_out_of_range_is_answered_with_the_size(net: Network, place: str) -> None:
    with pytest.raises(UnitError) as caught:
        deconv(net, f"3:1@{place}", picture())
    for fact in (f"no position {place}", "11x9", "10,8"):
        assert fact in str(caught.value)


def test_what_is_out_of_range_depends_on_the_picture(net: Network) -> None:
    assert deconv(net, "3:1@11,0", picture(size=(26, 20))).unit.position == (11, 0)


@pytest.mark.parametrize(("channel", "place"), [(-1, (0, 0)), (1, (-1, 2)), (1, (2, -1))])
def test_nothing_is_counted_from_the_end(channel: int, place: tuple[int, int]) -> None:
    with pytest.raises(UnitError):
        Unit("3", channel, place)


def test_a_unit_that_cannot_be_read_is_answered_with_the_forms(net: Network) -> None:
    with pytest.raises(UnitError, match="LAYER:CHANNEL@Y,X"):
        deconv(net, "3:one", picture())


@pytest.mark.parametrize(
    ("rules", "facts"),
    [
        ("deconv", ["'deconv'", "did you mean 'deconvnet'"]),
        ("occlusion", ["'occlusion'", "auto", "deconvnet", "guided", "gradient"]),
    ],
)
def test_unknown_rules_are_answered_with_the_nearest_or_all(
    net: Network, rules: str, facts: list[str]
) -> None:
    with pytest.raises(RetroscopeError) as caught:
        deconv(net, "3:1", picture(), rules=rules)
    for fact in facts:
        assert fact in str(caught.value)


# Notes


def biased(change: Callable[[Tensor], object]) -> Network:
    """A convolution whose biases are changed."""
    conv = built(lambda: nn.Conv2d(3, 4, 3, padding=1))
    bias = conv.get_parameter("bias")
    with torch.no_grad():
        change(bias)
    return Network(conv, input_size=SIZE)


def test_a_unit_that_fires_needs_no_note() -> None:
    net = biased(lambda bias: bias.fill_(100))
    assert deconv(net, "conv1:1@3,3", picture(), rules="guided").notes == ()
    assert deconv(net, "conv1:1", picture(), rules="guided").notes == ()


@pytest.mark.parametrize("unit", ["conv1:1@3,3", "conv1:1"])
def test_a_unit_that_is_not_excited_says_so(unit: str) -> None:
    net = biased(lambda bias: bias.fill_(-100))
    shown = deconv(net, unit, picture(), rules="guided")
    assert shown.activation < 0
    assert len(shown.notes) == 1
    assert "not active" in shown.notes[0]


def test_a_dead_unit_has_an_empty_projection_and_says_so() -> None:
    module = nn.Sequential(biased(lambda bias: bias.fill_(-100)).module, nn.ReLU())
    shown = deconv(Network(module, input_size=SIZE), "1:1", picture())
    assert shown.activation == 0
    assert not shown.pixels.any()
    assert "not active" in shown.notes[0]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("unit", ["conv1:1@3,3", "conv1:1"])
def test_an_activation_that_is_not_finite_says_so(unit: str, number: float) -> None:
    net = biased(lambda bias: bias.fill_(number))
    shown = deconv(net, unit, picture())
    assert "not finite" in shown.notes[0]
    assert str(number) in shown.notes[0]


def test_a_place_that_is_no_number_is_never_the_strongest() -> None:
    image = picture()
    image[:, 5, 5] = torch.nan
    shown = deconv(biased(lambda bias: bias.fill_(-100)), "conv1:1", image)
    assert shown.unit.position is not None
    assert max(abs(place - 5) for place in shown.unit.position) > 1
    assert np.isfinite(shown.activation)
