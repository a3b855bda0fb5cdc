"""A network of several inputs, looked back to one of them, is one that closes over the others."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

import retroscope as rs
from retroscope.engine.region import RegionOutput
from retroscope.errors import ModelError, UnitError
from retroscope.methods.cam.cam_methods import CAM_METHODS
from retroscope.methods.saliency import SALIENCY_METHODS
from retroscope.network import Network
from tests.conftest import always_crops, built, no_trace, numbers
from tests.reference.several_inputs import SIDE, ByName, Centred, Conditioned, Held, Pair, Stacked

PAIR = {"left": "image", "right": "image"}
RGB_DEPTH = {"batch": {"rgb": "image", "depth": rs.ImageInput(mean=(0.0,), std=(1.0,))}}


class Specimen(NamedTuple):
    """A network, how its inputs are declared, which is looked back to, and an image of it."""

    make: Callable[[], nn.Module]
    inputs: dict[str, Any]
    image: str
    others: dict[str, Tensor]
    layer: str

    def network(self, **options: Any) -> Network:
        module = built(self.make).double()
        options = {"inputs": self.inputs, "look_at": self.image, **options}
        return Network(module, input_size=(SIDE, SIDE), **options)

    def reference(self, others: dict[str, Tensor]) -> Network:
        module = built(self.make).double()
        return Network(
            Held(module, self.image, **others), input_size=(SIDE, SIDE), mean=MEAN[self.channels]
        )

    @property
    def channels(self) -> int:
        return 1 if self.image == "depth" else 3

    def looked_at(self, seed: int = 0) -> Tensor:
        return numbers(self.channels, SIDE, SIDE, seed=seed)


MEAN = {1: (0.0,), 3: (0.0, 0.0, 0.0)}


def image(seed: int, channels: int = 3) -> Tensor:
    return numbers(channels, SIDE, SIDE, seed=seed)


SPECIMENS = {
    "left": Specimen(Pair, PAIR, "left", {"right": image(1)}, "compare"),
    "right": Specimen(Pair, PAIR, "right", {"left": image(1)}, "compare"),
    "numbers": Specimen(
        Conditioned,
        {"image": "image", "numbers": rs.NumberInput(2)},
        "image",
        {"numbers": numbers(2, seed=2)},
        "last",
    ),
    "depth beside rgb": Specimen(ByName, RGB_DEPTH, "rgb", {"depth": image(3, 1)}, "first"),
    "rgb beside depth": Specimen(
        ByName,
        {"batch": {"rgb": rs.ImageInput(mean=(0.0,) * 3), "depth": rs.ImageInput(mean=(0.0,))}},
        "depth",
        {"rgb": image(3)},
        "first",
    ),
}

specimens = pytest.mark.parametrize("name", SPECIMENS)


def same(one: Any, other: Any) -> None:
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7 * max(np.abs(other).max(), 1))


def asked(name: str, seed: int = 0) -> tuple[Network, dict[str, Any], Network, Tensor, str]:
    """The network and its image, and the reference with its image and its name of the layer."""
    specimen = SPECIMENS[name]
    looked_at = specimen.looked_at(seed)
    inputs = {specimen.image: looked_at, **specimen.others}
    reference = specimen.reference(specimen.others)
    return specimen.network(), inputs, reference, looked_at, specimen.layer


@specimens
def test_layers_are_those_of_the_reference_under_their_own_names(name: str) -> None:
    net, _, reference, _, _ = asked(name)
    ours = {
        layer.name: (layer.kind, layer.channels, layer.size, layer.field) for layer in net.layers
    }
    theirs = {
        layer.name.removeprefix("module."): (layer.kind, layer.channels, layer.size, layer.field)
        for layer in reference.layers
    }
    assert ours == theirs


@specimens
def test_activations_are_those_of_the_reference(name: str) -> None:
    net, inputs, reference, looked_at, layer = asked(name)
    maps = rs.activations(net, layer, inputs).maps
    same(maps, rs.activations(reference, f"module.{layer}", looked_at).maps)
    assert np.ptp(maps) > 0


@specimens
@pytest.mark.parametrize("rules", ["deconvnet", "gradient", "relevance", "contrast"])
def test_projections_are_those_of_the_reference(name: str, rules: str) -> None:
    net, inputs, reference, looked_at, layer = asked(name)
    for unit in (f"{layer}:1", f"{layer}:2@1,2"):
        ours = rs.deconv(net, unit, inputs, rules=rules)
        theirs = rs.deconv(reference, f"module.{unit}", looked_at, rules=rules)
        assert (ours.box, ours.unit.position) == (theirs.box, theirs.unit.position)
        same(ours.pixels, theirs.pixels)
        same(ours.activation, theirs.activation)


@specimens
def test_projections_of_a_layer_that_meets_no_other_input_are_those_of_the_reference(
    name: str,
) -> None:
    net, inputs, reference, looked_at, _ = asked(name)
    first = net.layers[0].name
    for position in ((0, 0), (4, 5)):
        unit = f"{first}:0@{position[0]},{position[1]}"
        with always_crops():
            ours = rs.deconv(net, unit, inputs, rules="gradient")
        same(
            ours.pixels, rs.deconv(reference, f"module.{unit}", looked_at, rules="gradient").pixels
        )


@specimens
@pytest.mark.parametrize("method", CAM_METHODS)
def test_class_activation_maps_are_those_of_the_reference(name: str, method: str) -> None:
    net, inputs, reference, looked_at, layer = asked(name)
    ours = rs.cam(net, inputs, method=method, layer=layer, target=1)
    theirs = rs.cam(reference, looked_at, method=method, layer=f"module.{layer}", target=1)
    same(ours.values, theirs.values)


@specimens
@pytest.mark.parametrize("method", SALIENCY_METHODS)
def test_saliency_is_that_of_the_reference(name: str, method: str) -> None:
    net, inputs, reference, looked_at, _ = asked(name)
    ours = rs.saliency(net, inputs, method=method, target=2, samples=3, steps=4)
    same(
        ours.values,
        rs.saliency(reference, looked_at, method=method, target=2, samples=3, steps=4).values,
    )


@specimens
def test_occlusion_covers_the_image_that_is_looked_back_to_alone(name: str) -> None:
    net, inputs, reference, looked_at, _ = asked(name)
    ours = rs.occlusion(net, inputs, target=0, size=4, stride=3)
    same(
        ours.probabilities,
        rs.occlusion(reference, looked_at, target=0, size=4, stride=3).probabilities,
    )


@specimens
def test_explanations_are_those_of_the_reference(name: str) -> None:
    net, inputs, reference, looked_at, layer = asked(name)
    ours = rs.explain(net, inputs, layers=[layer], top=2)
    theirs = rs.explain(reference, looked_at, layers=[f"module.{layer}"], top=2)
    assert ours.predictions == theirs.predictions
    for one, other in zip(ours.findings[0].units, theirs.findings[0].units, strict=True):
        assert one.unit.channel == other.unit.channel
        same(one.projection.pixels, other.projection.pixels)


@pytest.mark.parametrize("name", ["left", "numbers"])
def test_a_pattern_is_made_with_the_others_held(name: str) -> None:
    specimen = SPECIMENS[name]
    net, reference = specimen.network(), specimen.reference(specimen.others)
    held = net.hold(**specimen.others)
    recipe: dict[str, Any] = {"recipe": "plain", "steps": 2}
    ours = rs.synthesize(held, f"{specimen.layer}:0", **recipe)
    theirs = rs.synthesize(reference, f"module.{specimen.layer}:0", size=len(ours.image), **recipe)
    assert np.array_equal(ours.image, theirs.image)
    with pytest.raises(ModelError, match=r"hold one for all images with net\.hold\("):
        rs.synthesize(net, f"{specimen.layer}:0", **recipe)


def test_what_is_held_needs_not_be_given_and_is_noted() -> None:
    specimen = SPECIMENS["numbers"]
    net = Network(
        built(Conditioned).double(),
        input_size=(SIDE, SIDE),
        inputs={"image": "image", "numbers": specimen.others["numbers"]},
    )
    looked_at, reference = specimen.looked_at(), specimen.reference(specimen.others)
    same(rs.saliency(net, looked_at).values, rs.saliency(reference, looked_at).values)
    again = specimen.network().hold(numbers=[0, 1]).hold(numbers=specimen.others["numbers"])
    projection = rs.deconv(again, "last:0", looked_at)
    same(projection.pixels, rs.deconv(reference, "module.last:0", looked_at).pixels)
    assert sum("numbers is held at" in note for note in projection.notes) == 1


@pytest.mark.parametrize("make", [Pair, Centred])
def test_images_with_different_partners_are_those_one_by_one(make: Callable[[], nn.Module]) -> None:
    """`Centred` mixes the partners of a batch, so its images must not share one."""
    net = Network(built(make).double(), input_size=(SIDE, SIDE), inputs=PAIR)
    layer = "head" if make is Centred else "compare"
    pairs = [{"left": image(seed), "right": image(seed + 10)} for seed in range(3)]
    together = rs.activations(net, layer, pairs)
    units = [(f"{layer}:1", pair) for pair in pairs]
    for pair, maps, projection in zip(pairs, together, rs.deconv_many(net, units), strict=True):
        same(maps.maps, rs.activations(net, layer, pair).maps)
        same(projection.pixels, rs.deconv(net, f"{layer}:1", pair).pixels)
    assert net.survey().needs_single_images == (make is Centred)


def test_what_reads_the_other_input_alone_is_named_without_a_field() -> None:
    net = SPECIMENS["left"].network()
    names = [layer.name for layer in net.layers]
    assert "left_stem" in names
    assert "encoder.0" in names
    assert "right_stem" not in names
    (unlisted,) = net.unlisted
    assert (unlisted.name, unlisted.kind) == ("right_stem", "conv")
    with pytest.raises(UnitError, match=r"right_stem.*|reads right, and nothing of left"):
        net.layer("right_stem")
    assert [layer.name for layer in SPECIMENS["right"].network().unlisted] == ["left_stem"]


def test_the_field_of_a_fused_layer_is_that_of_the_path_from_the_image() -> None:
    """`compare` sees 2 positions of a pool by 2 over two 3x3 convolutions."""
    net = SPECIMENS["left"].network()
    assert str(net["compare"].field) == "8/2/0"
    left, right = image(0), image(1)
    maps = rs.activations(net, "compare", {"left": left, "right": right}).maps
    box = net["compare"].field.box(1, 1)
    outside = torch.ones(SIDE, SIDE, dtype=torch.bool)
    outside[box.top : box.bottom, box.left : box.right] = False
    changed = torch.where(outside, left + 1, left)
    moved = rs.activations(net, "compare", {"left": changed, "right": right}).maps
    same(moved[:, 1, 1], maps[:, 1, 1])
    assert not np.allclose(moved, maps)


def test_nothing_is_left_in_a_module_of_several_inputs() -> None:
    module = built(Pair).double().train()
    module.register_forward_hook(lambda *_: None)
    pair = {"left": image(0), "right": image(1)}
    with no_trace(module):
        net = Network(module, input_size=(SIDE, SIDE), inputs=PAIR)
        rs.deconv(net, "compare:0", pair)
        rs.occlusion(net, pair, target=0, size=4, stride=4)
    assert net["compare"].name == net.layer(module.compare).name  # type: ignore[arg-type]


def test_a_hook_on_the_module_runs_once_in_a_pass() -> None:
    module, calls = built(Pair).double(), list[int]()
    module.register_forward_hook(lambda _module, inputs, _output: calls.append(len(inputs)))
    net = Network(module, input_size=(SIDE, SIDE), inputs=PAIR)
    calls.clear()
    net.for_images([net.prepare({"left": image(0), "right": image(1)})]).module(image(0)[None])
    assert len(calls) == 1


def test_a_copy_of_the_module_runs_its_own_weights() -> None:
    net = SPECIMENS["left"].network()
    pair = {"left": image(0), "right": image(1)}
    before = rs.activations(net, "compare", pair).maps
    copied = deepcopy(net.module)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.mul_(2)
    twin = net.with_module(copied, net.preprocessing.fit)
    assert not np.allclose(rs.activations(twin, "compare", pair).maps, before)
    same(rs.activations(net, "compare", pair).maps, before)


class Samples(torch.utils.data.Dataset[Any]):
    """Samples as training has them: a dictionary, and a label."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[dict[str, Tensor], int]:
        return {"left": image(index), "right": image(index + 10), "mask": image(index + 20)}, index


@pytest.mark.parametrize("batched", [False, True])
def test_samples_of_a_data_set_have_all_inputs(batched: bool) -> None:
    net = SPECIMENS["left"].network()
    dataset = Samples()
    images: Any = torch.utils.data.DataLoader(dataset, batch_size=2) if batched else dataset
    heats = rs.saliency(net, images, target=0)
    for index, heat in enumerate(heats):
        pair = {"left": image(index), "right": image(index + 10)}
        same(heat.values, rs.saliency(net, pair, target=0).values)
    assert len(heats) == 3


def test_units_are_seen_from_crops_where_what_they_read_beside_them_is_held(
    looks: list[RegionOutput | None],
) -> None:
    """Many crops at once, each with the numbers that are held, give what whole images do."""
    specimen = SPECIMENS["numbers"]
    held, looked_at = specimen.network().hold(**specimen.others), specimen.looked_at()
    units = [(f"last:{channel}@3,{column}", looked_at) for channel in range(3) for column in (3, 4)]
    projections = list(rs.deconv_many(held, units, rules="gradient"))
    assert looks
    assert None not in looks
    reference = specimen.reference(specimen.others)
    for projection, (unit, _) in zip(projections, units, strict=True):
        same(
            projection.pixels,
            rs.deconv(reference, f"module.{unit}", looked_at, rules="gradient").pixels,
        )


def test_units_that_meet_an_input_of_each_image_are_not_seen_from_crops(
    looks: list[RegionOutput | None],
) -> None:
    """In one batch, crops of images with different numbers would share those of none of them."""
    net = SPECIMENS["numbers"].network()
    images = [{"image": image(seed), "numbers": numbers(2, seed=seed)} for seed in range(3)]
    together = list(
        rs.deconv_many(net, [("last:0@3,3", given) for given in images], rules="gradient")
    )
    assert set(looks) == {None}
    for projection, given in zip(together, images, strict=True):
        same(projection.pixels, rs.deconv(net, "last:0@3,3", given, rules="gradient").pixels)


@pytest.mark.parametrize("looked_at", ["left", "right"])
@pytest.mark.parametrize("is_held", [False, True])
def test_images_that_are_stacked_are_told_apart_by_running(looked_at: str, is_held: bool) -> None:
    """What is listed changes with the image that is looked back to, and the rest is named."""
    net = Network(built(Stacked).double(), input_size=(SIDE, SIDE), inputs=PAIR, look_at=looked_at)
    other = "right" if looked_at == "left" else "left"
    if is_held:
        net = net.hold(**{other: image(1)})
    names = {layer.name for layer in net.layers}
    of_other = {"left": {"of_left"}, "right": {"of_right", "norm"}}
    assert names >= {*of_other[looked_at], "compare"}
    assert names.isdisjoint(of_other[other])
    unlisted = {layer.name: layer.reason for layer in net.unlisted}
    assert unlisted.keys() >= of_other[other]
    for name in of_other[other]:
        assert unlisted[name] == f"reads other inputs, and nothing of {looked_at}"
    for name in of_other[looked_at]:
        pair = {looked_at: image(0), other: image(1)}
        given = pair[looked_at] if is_held else pair
        ours = rs.deconv(net, f"{name}:1@4,4", given, rules="gradient")
        held = Network(
            Held(built(Stacked).double(), looked_at, **{other: image(1)}),
            input_size=(SIDE, SIDE),
            mean=MEAN[3],
        )
        theirs = rs.deconv(held, f"module.{name}:1@4,4", image(0), rules="gradient")
        same(ours.pixels, theirs.pixels)


def test_notes_say_what_came_with_the_image(tmp_path: Path) -> None:
    paths = {name: tmp_path / f"{name}.png" for name in ("left", "right")}
    for path in paths.values():
        PIL.Image.new("RGB", (SIDE, SIDE), "grey").save(path)
    pair = Network(built(Pair), input_size=(SIDE, SIDE), inputs={"left": "image", "right": "image"})
    conditioned = Network(
        built(Conditioned),
        input_size=(SIDE, SIDE),
        inputs={"image": "image", "numbers": rs.NumberInput(2)},
    )
    numbers_given = {"image": paths["left"], "numbers": [0.5, 2]}
    for net, image, note in (
        (pair, paths, f"right: {paths['right']}"),
        (conditioned, numbers_given, "numbers: 0.5, 2"),
    ):
        assert note in rs.cam(net, image).caveats
        assert note in rs.deconv(net, "conv1:0", image).notes
        assert note in rs.activations(net, "conv1", image).notes


@pytest.mark.parametrize("is_held", [False, True])
def test_an_explanation_has_the_other_images(tmp_path: Path, is_held: bool) -> None:
    """An RGB image and its depth, both as they are in their files; the depth may be held."""
    rgb, depth = tmp_path / "rgb.png", tmp_path / "depth.png"
    levels = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
    PIL.Image.new("RGB", (SIDE, SIDE), "orange").save(rgb)
    PIL.Image.fromarray(levels).save(depth)
    net = Network(built(ByName), input_size=(SIDE, SIDE), inputs=RGB_DEPTH)
    image: Any = {"rgb": rgb, "depth": depth}
    if is_held:
        net, image = net.hold(depth=depth), rgb
    explanation = rs.explain(net, image, top=1)
    assert explanation.image_name == "rgb"
    (other,) = explanation.others
    assert other.name == "depth"
    np.testing.assert_array_equal(other.pixels, np.repeat(levels[..., None], 3, axis=2))
