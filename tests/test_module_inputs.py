"""The inputs of a network of several: how they are declared, prepared, held, and refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

import retroscope as rs
from retroscope.errors import ImageError, ModelError
from retroscope.network import Network
from retroscope.scanning.precision import to_bfloat16
from tests.conftest import built, numbers
from tests.reference.several_inputs import SIDE, ByName, Conditioned, Pair

PAIR = {"left": "image", "right": "image"}


class Recorder(nn.Module):
    """Remembers how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def forward(self, image: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.calls.append((args, kwargs))
        maps: Tensor = self.conv(image)
        return maps


class PositionalOnly(Recorder):
    def forward(self, image: Tensor, mask: Tensor, /) -> Tensor:
        return super().forward(image, mask)


class ByPosition(Recorder):
    def forward(self, image: Tensor, *args: Any) -> Tensor:
        return super().forward(image, *args)


class OneByKeyword(Recorder):
    def forward(self, image: Tensor, mode: str = "train", *, mask: Tensor) -> Tensor:
        return super().forward(image, mode, mask=mask)


MASK = torch.ones(1, SIDE, SIDE)


@pytest.mark.parametrize(
    ("make", "inputs", "shapes"),
    [
        (PositionalOnly, {"image": "image", "mask": MASK}, ((1, 1, SIDE, SIDE),)),
        (ByPosition, {"image": "image", "mask": MASK}, ((1, 1, SIDE, SIDE),)),
        (
            OneByKeyword,
            {"image": "image", "mask": MASK, "mode": 3},
            (3, ("mask", (1, 1, SIDE, SIDE))),
        ),
        (Recorder, {"image": "image", "extra": None}, (("extra", None),)),
        (
            Recorder,
            {"image": "image", "extra": {"mask": MASK}},
            (("extra", {"mask": (1, 1, SIDE, SIDE)}),),
        ),
    ],
)
def test_a_module_is_called_as_its_signature_says(
    make: Callable[[], Recorder], inputs: dict[str, Any], shapes: tuple[Any, ...]
) -> None:
    module = make().eval()
    net = Network(module, input_size=(SIDE, SIDE), inputs=inputs)
    assert net.layers
    args, kwargs = module.calls[-1]
    assert (*map(shape_of, args), *((name, shape_of(v)) for name, v in kwargs.items())) == shapes


def shape_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape_of(member) for name, member in value.items()}
    return tuple(value.shape) if isinstance(value, Tensor) else value


@pytest.mark.parametrize(
    ("make", "inputs", "look_at", "advice"),
    [
        (Pair, {"left": "image"}, "", "forward(left, right) needs 'right'; add it to inputs"),
        (
            Pair,
            {**PAIR, "rihgt": 1},
            "",
            "forward(left, right) has no 'rihgt'; did you mean 'right'?",
        ),
        (Pair, PAIR, "lef", "no image 'lef' among the inputs; did you mean 'left'?"),
        (
            Pair,
            {"left": 1, "right": 2},
            "",
            "none of the inputs is an image; declare one as 'image'",
        ),
        (
            Pair,
            {"left": "image", "right": "b.png"},
            "",
            "net.hold(right=...) holds an image for it",
        ),
        (Pair, ["left", "right"], "", "inputs has an entry for each argument of forward, as in"),
        (ByName, {"batch": {"a": "image"}, "a": "image"}, "", "two inputs are called 'a'"),
        (
            Pair,
            {"left": "image", "right": ["image"]},
            "",
            "right is a list of inputs, which have no n",
        ),
        (Pair, None, "left", "look_at names one of the inputs; give inputs, too"),
    ],
)
def test_a_wrong_declaration_is_refused_with_what_is_missing(
    make: Callable[[], nn.Module], inputs: Any, look_at: str, advice: str
) -> None:
    with pytest.raises(ModelError) as caught:
        Network(built(make), input_size=(SIDE, SIDE), inputs=inputs, look_at=look_at)
    assert advice in str(caught.value)


@pytest.fixture
def pair() -> Network:
    return Network(built(Pair), input_size=(SIDE, SIDE), inputs=PAIR, name="pair")


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        ("left.png", "pair takes left and right; give {'left': ..., 'right': ...} as the image"),
        (
            {"left": MASK},
            "or hold one for all images with net.hold(right=...): it lacks 'right', an image",
        ),
        ({"left": MASK, "rigth": MASK}, "'rigth' is not an input of pair; did you mean 'right'?"),
        (
            {"left": torch.ones(3, SIDE, SIDE), "right": torch.ones(3, 9, 9)},
            "right has 9x9 pixels beside left of 12x12; it must have 12x12",
        ),
        (
            {"left": torch.ones(3, SIDE, SIDE), "right": MASK},
            "right: pair takes a float tensor of (3",
        ),
        ({"left": torch.ones(3, SIDE, SIDE), "right": "no.png"}, "right: cannot open 'no.png'"),
    ],
)
def test_an_image_without_its_partner_is_refused(pair: Network, image: Any, advice: str) -> None:
    with pytest.raises(ImageError) as caught:
        rs.saliency(pair, image)
    assert advice in str(caught.value)


def test_a_tuple_is_a_list_of_images_and_no_pair(pair: Network) -> None:
    with pytest.raises(ImageError, match=r"images\[0\]: pair takes left and right"):
        rs.saliency(pair, (torch.ones(3, SIDE, SIDE), torch.ones(3, SIDE, SIDE)))


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ({"left": MASK}, "'left' is the image that is looked back to; hold the others, or look at"),
        ({"rigth": MASK}, "no input 'rigth' of pair; did you mean 'right'?"),
        ({"right": "no.png"}, "right: cannot open 'no.png'"),
    ],
)
def test_what_cannot_be_held_is_refused(pair: Network, values: Any, advice: str) -> None:
    with pytest.raises((ModelError, ImageError)) as caught:
        pair.hold(**values)
    assert advice in str(caught.value)


def test_a_network_of_one_image_holds_nothing() -> None:
    net = Network(nn.Conv2d(3, 2, 3), input_size=(SIDE, SIDE))
    with pytest.raises(ModelError, match=r"takes an image alone; others are declared with"):
        net.hold(right=1)
    assert net.for_images([net.prepare(torch.ones(3, SIDE, SIDE))]) is net


@pytest.mark.parametrize(
    ("numbers_given", "advice"),
    [
        ([1.0, 2.0, 3.0], "numbers is 2 numbers, not 3 numbers"),
        ("old", "numbers is 2 numbers, not 'old'"),
    ],
)
def test_wrong_numbers_are_refused(numbers_given: Any, advice: str) -> None:
    inputs = {"image": "image", "numbers": rs.NumberInput(2)}
    net = Network(built(Conditioned), input_size=(SIDE, SIDE), inputs=inputs)
    with pytest.raises(ImageError) as caught:
        net.prepare({"image": torch.ones(3, SIDE, SIDE), "numbers": numbers_given})
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("declare", "line"),
    [
        (
            lambda: rs.ImageInput(mean=0.5),  # type: ignore[arg-type]
            "mean is one number per channel, such as (0.5, 0.5, 0.5), not 0.5",
        ),
        (
            lambda: rs.ImageInput(std=["a"]),  # type: ignore[list-item]
            "std is one number per channel, such as (0.5, 0.5, 0.5), not ['a']",
        ),
        (
            lambda: rs.NumberInput(-2),
            "the shape of a NumberInput is one length or several, such as 3 or (2, 3), not -2",
        ),
        (
            lambda: rs.NumberInput("3"),  # type: ignore[arg-type]
            "the shape of a NumberInput is one length or several, such as 3 or (2, 3), not '3'",
        ),
        (
            lambda: rs.NumberInput(3, dtype="long"),  # type: ignore[arg-type]
            "the dtype of a NumberInput is one of torch, such as torch.long, not 'long'",
        ),
    ],
)
def test_a_wrong_kind_of_input_is_refused_where_it_is_declared(
    declare: Callable[[], object], line: str
) -> None:
    with pytest.raises(ModelError) as caught:
        declare()
    assert str(caught.value) == line


def test_statistics_may_be_a_tensor_or_an_array() -> None:
    kind = rs.ImageInput(mean=torch.tensor([0.5]), std=np.array([0.25]))  # type: ignore[arg-type]
    assert (kind.mean, kind.std) == ((0.5,), (0.25,))


def test_one_number_stands_for_a_shape_of_one() -> None:

    assert torch.equal(rs.NumberInput(1).tensor_of("age", 40), torch.tensor([40]))
    assert torch.equal(rs.NumberInput().tensor_of("age", [40.0]), torch.tensor(40.0))


def test_another_image_is_prepared_by_its_own_preprocessing(tmp_path: Path) -> None:
    """A depth map of 8x8, grey, half of what it is."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    depth = np.full((8, 8), 51, np.uint8)
    for name, array in (("rgb.png", pixels), ("depth.png", depth)):
        PIL.Image.fromarray(array).save(tmp_path / name)

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rgb, self.depth = nn.Conv2d(3, 4, 5), nn.Conv2d(1, 4, 1)

        def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
            maps: Tensor = self.rgb(rgb) * self.depth(depth)
            return maps

    inputs = {"rgb": "image", "depth": rs.ImageInput(input_size=(8, 8), mean=(0.1,), std=(0.5,))}
    net = Network(
        built(Small), input_size=(SIDE, SIDE), mean=(0.5,) * 3, std=(0.25,) * 3, inputs=inputs
    )
    prepared = net.prepare({"rgb": tmp_path / "rgb.png", "depth": tmp_path / "depth.png"})
    expected = torch.from_numpy((pixels.transpose(2, 0, 1) / 255 - 0.5) / 0.25).float()
    torch.testing.assert_close(prepared.tensor, expected)
    torch.testing.assert_close(prepared.others["depth"], torch.full((1, 8, 8), (0.2 - 0.1) / 0.5))
    assert net["mul"].size == (8, 8)


def test_the_image_that_is_looked_back_to_may_state_its_own_preprocessing() -> None:
    """What counts as 0 and 1 as well, like a network of one image does."""
    own = rs.ImageInput(mean=(1200,) * 3, std=(600,) * 3, value_range=(0, 10_000))
    net = Network(built(Pair), input_size=(SIDE, SIDE), inputs={"left": own, "right": "image"})
    assert net.preprocessing.value_range == (0, 10_000)
    scene = np.full((3, SIDE, SIDE), 1500, np.uint16)
    prepared = net.prepare({"left": scene, "right": scene})
    half = torch.full((3, SIDE, SIDE), (1500 - 1200) / 600)
    torch.testing.assert_close(prepared.tensor, half)
    torch.testing.assert_close(prepared.others["right"], half)


def test_the_default_device_of_torch_is_not_that_of_the_network(pair: Network) -> None:
    """As after `torch.set_default_device("cuda")` beside a network on the processor."""
    with torch.device("meta"):
        assert not pair.survey().needs_single_images
        assert [layer.name for layer in pair.unlisted] == ["right_stem"]


def test_a_pair_may_be_of_another_size_than_the_network(pair: Network) -> None:

    size = (16, 20)
    given = {"left": numbers(3, *size, seed=0).float(), "right": numbers(3, *size, seed=1).float()}
    assert rs.saliency(pair, given).values.shape == size


def test_an_opened_network_keeps_its_inputs(tmp_path: Path) -> None:
    source = (
        "import retroscope as rs\n"
        "from tests.reference.several_inputs import Pair\n"
        "def make():\n"
        "    return rs.Network(Pair(), input_size=(12, 12), "
        "inputs={'left': 'image', 'right': 'image'}, look_at='right')\n"
    )
    (tmp_path / "nets.py").write_text(source)
    net = rs.open_model(f"{tmp_path / 'nets.py'}:make", device="cpu", input_size=16)
    assert net.inputs is not None
    assert net.inputs.image == "right"
    assert net.input_size == (16, 16)
    assert [layer.name for layer in net.unlisted] == ["left_stem"]


def test_an_image_that_is_held_may_be_held_anew(pair: Network) -> None:
    """The second value is prepared as the first, also by the path of a file."""
    right = torch.full((3, SIDE, SIDE), 0.25)
    image = numbers(3, SIDE, SIDE).float()
    held = pair.hold(right=torch.zeros(3, SIDE, SIDE)).hold(right=right)
    expected = rs.saliency(pair, {"left": image, "right": right}).values
    np.testing.assert_array_equal(rs.saliency(held, image).values, expected)
    with pytest.raises(ImageError, match=r"right: cannot open 'no\.png'"):
        held.hold(right="no.png")


def test_whole_numbers_are_numbers_of_the_network() -> None:
    inputs = {"image": "image", "numbers": rs.NumberInput(2)}
    net = Network(built(Conditioned), input_size=(SIDE, SIDE), inputs=inputs)
    prepared = net.prepare({"image": torch.ones(3, SIDE, SIDE), "numbers": [1, 2]})
    assert prepared.others["numbers"].dtype == torch.float32
    assert rs.saliency(net, prepared).values.shape == (SIDE, SIDE)


def test_a_batch_of_other_images_than_those_that_are_held_is_refused(pair: Network) -> None:
    image = {"left": numbers(3, SIDE, SIDE).float(), "right": numbers(3, SIDE, SIDE).float()}
    bound = pair.for_images([pair.prepare(image)] * 2)
    with torch.no_grad():
        assert bound.module(torch.zeros(2, 3, SIDE, SIDE)).shape == (2, 3)
        with pytest.raises(
            ModelError, match="2 values of an input are held for a batch of 3 images"
        ):
            bound.module(torch.zeros(3, 3, SIDE, SIDE))
        with pytest.raises(
            ModelError, match=r"Pair takes left and right; .* it lacks 'right', an im"
        ):
            pair.module(torch.zeros(1, 3, SIDE, SIDE))


def test_a_copy_in_bfloat16_takes_the_same_inputs(pair: Network) -> None:
    image = {
        "left": numbers(3, SIDE, SIDE).float(),
        "right": numbers(3, SIDE, SIDE, seed=1).float(),
    }
    narrow = rs.activations(to_bfloat16(pair), "compare", image).maps
    exact = rs.activations(pair, "compare", image).maps
    np.testing.assert_allclose(narrow, exact, atol=0.05 * np.abs(exact).max())


def test_a_module_of_several_inputs_says_how_to_declare_them(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "left.png")
    net = Network(built(Pair), input_size=(SIDE, SIDE), mean=(0, 0, 0), name="pair")
    advice = r"pair takes left and right; declare them with rs\.Network\(module, inputs=\{'left': "
    with pytest.raises(ModelError, match=advice):
        rs.cam(net, {"left": tmp_path / "left.png", "right": tmp_path / "left.png"})
    with pytest.raises(ModelError, match=advice):
        net.hold(right=tmp_path / "left.png")


@pytest.mark.parametrize(
    ("kind", "text", "numbers_meant"),
    [
        (rs.NumberInput(), "40", 40.0),
        (rs.NumberInput(1), " 4e1 ", [40.0]),
        (rs.NumberInput(3), "1, 2;3", [1.0, 2.0, 3.0]),
        (rs.NumberInput((2, 2)), "1 2 3 4", [[1.0, 2.0], [3.0, 4.0]]),
        (rs.NumberInput(2, dtype=torch.long), "3,4", [3.0, 4.0]),
    ],
)
def test_numbers_are_read_from_a_text(kind: Any, text: str, numbers_meant: Any) -> None:
    assert kind.parse("age", text).tolist() == numbers_meant


@pytest.mark.parametrize(
    ("kind", "value", "line"),
    [
        (rs.NumberInput(2), "1,2,3", "age is 2 numbers, not 3 numbers"),
        (rs.NumberInput(), "1,2", "age is a number, not 2 numbers"),
        (rs.NumberInput(2), "", "age is ''; write 2 numbers, as in 0.5,1"),
        (rs.NumberInput(5), "a", "age is 'a'; write 5 numbers, as in 0.5,1,1.5,..."),
        (rs.NumberInput(dtype=torch.long), "0.5", "age is a whole number, not 0.5"),
        (
            rs.NumberInput((2, 2)),
            "1,2,3",
            "age is numbers of shape (2, 2), not 3 numbers",
        ),
    ],
)
def test_wrong_texts_of_numbers_are_refused(kind: Any, value: str, line: str) -> None:
    with pytest.raises(ImageError) as caught:
        kind.parse("age", value)
    assert str(caught.value) == line


def test_inputs_that_the_module_cannot_run_are_described() -> None:
    inputs = {"image": "image", "numbers": rs.NumberInput(3)}
    net = Network(
        built(Conditioned), input_size=(SIDE, SIDE), mean=(0, 0, 0), inputs=inputs, name="scaled"
    )
    with pytest.raises(ModelError) as caught:
        net.survey()
    said = str(caught.value)
    assert said.startswith("scaled cannot run image of shape (3, 12, 12) with numbers 0, 0, 0: ")
    assert said.endswith("; check what is declared for its inputs, and what is held")
