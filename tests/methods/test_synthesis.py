"""Patterns of networks with known optima, and properties of every pattern."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from retroscope.methods.synthesis.objectives import (
    Objective,
    excite,
    excite_class,
    excite_direction,
    excite_output,
)
from retroscope.methods.synthesis.parametrisation import FourierCanvas
from retroscope.methods.synthesis.recipes import (
    MACO,
    OLAH,
    RECIPES,
    ZOOM,
    Opacity,
    Recipe,
    as_recipe,
)
from retroscope.methods.synthesis.render_patterns import SynthesisStep
from retroscope.methods.synthesis.synthesize import (
    synthesize,
    synthesize_many,
    synthesize_varied,
)
from retroscope.network import Network
from retroscope.results.patterns import Pattern
from retroscope.zoo.demo_networks import open_named
from tests.conftest import built, no_trace, numbers
from tests.methods.planted import COLOUR, CORNER, DEAD, EDGE, SHUT, SIDE, filters, planted

Maps = npt.NDArray[np.float64]


def correlation(pattern: Pattern, channel: int) -> float:
    """The correlation of a pattern with a planted filter."""
    planted_filter = filters()[channel].permute(1, 2, 0).numpy()
    image = pattern.image.astype(np.float64)
    return float(np.corrcoef(image.ravel(), planted_filter.ravel())[0, 1])


def pixels_of(pattern: Pattern) -> npt.NDArray[np.float32]:
    assert pattern.pixels is not None
    return pattern.pixels


def maps_of(net: Network, pixels: npt.NDArray[np.float32], path: str) -> Maps:
    """A layer's maps for the pixels as a whole image, by a torch hook."""
    outputs: list[torch.Tensor] = []
    hook = net.module.get_submodule(path).register_forward_hook(lambda *io: outputs.append(io[2]))
    with torch.no_grad():
        net.module(torch.from_numpy(pixels).permute(2, 0, 1)[None].to(net.dtype))
    hook.remove()
    return outputs[0][0].double().numpy()


CORRELATED_COLOURS = replace(
    OLAH, name="correlated colours", canvas=FourierCanvas(decorrelated=False)
)


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [("zoom", None), (OLAH, None), (CORRELATED_COLOURS, None), ("plain", 200), ("yosinski", 300)],
    ids=["zoom", "olah", "correlated colours", "plain", "yosinski"],
)
def test_patterns_recover_the_planted_filters(recipe: str | Recipe, steps: int | None) -> None:
    channels = [EDGE, COLOUR, CORNER]
    units = [f"first:{channel}" for channel in channels]
    patterns = synthesize_many(planted(), units, recipe=recipe, steps=steps)
    assert all(pattern.size == (SIDE, SIDE) for pattern in patterns)
    assert min(map(correlation, patterns, channels)) >= 0.9


@pytest.mark.parametrize("seed", [0, 1])
def test_olah_finds_the_optimal_image(seed: int) -> None:
    net, channels = planted(), [EDGE, COLOUR, CORNER]
    optima = torch.where(filters()[channels] > 0, 1.0, 0.0).permute(0, 2, 3, 1).numpy()
    units = [f"first:{channel}" for channel in channels]
    patterns = synthesize_many(net, units, recipe="olah", seed=seed)
    for pattern, optimum, channel in zip(patterns, optima, channels, strict=True):
        fed = torch.from_numpy(net.preprocessing.to_input((optimum * 255).astype(np.uint8)))
        best_activation = float((fed * filters()[channel]).sum())
        assert best_activation * 0.995 < pattern.activation <= best_activation * 1.0001


GREY, RED_CYAN, YELLOW_BLUE = (1.0, 1.0, 1.0), (1.0, -0.5, -0.5), (1.0, 1.0, -1.0)
GREEN_MAGENTA, RED, BLUE, ORANGE = (-1.0, 1.0, -1.0), (1.0, 0, 0), (0, 0, 1.0), (1.0, 0.5, 0)


def gabor(
    wavelength: float, angle: float, phase: float, colour: tuple[float, float, float] = GREY
) -> torch.Tensor:
    """A Gabor filter of 15 pixels, its mean removed, scaled to absolute weights of 4."""
    y, x = np.mgrid[:15, :15] - 7.0
    wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength + phase)
    values = np.exp(-(x**2 + y**2) / (2 * 3.5**2)) * wave
    values = np.multiply.outer(colour, values - values.mean())
    return torch.from_numpy(values * 4 / np.abs(values).sum()).float()


def network_of(weights: torch.Tensor) -> Network:
    conv = nn.Conv2d(3, len(weights), weights.shape[-1], bias=False)
    conv.weight = nn.Parameter(weights, requires_grad=False)
    return Network(conv, input_size=(64, 64), mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_recipe_finds_the_best_image_of_its_contrast(seed: int) -> None:
    """The best image of a linear filter at a contrast is the filter at that contrast."""
    weights = torch.stack([gabor(6, 0.3, 0), gabor(4, 1.2, 1.5), gabor(9, 2.0, 0.7)])
    patterns = synthesize_many(network_of(weights), ["conv1:0", "conv1:1", "conv1:2"], seed=seed)
    for pattern, weight in zip(patterns, weights, strict=True):
        offsets = pattern.image / 255 - 0.5
        contrast = np.sqrt(np.square(offsets).mean())
        values = weight.permute(1, 2, 0).numpy().astype(np.float64)
        best_activation = contrast * np.sqrt(offsets.size) * np.linalg.norm(values) / 0.25
        assert ZOOM.contrast == 0.2
        assert 0.17 < contrast < 0.21
        assert np.corrcoef(offsets.ravel(), values.ravel())[0, 1] >= 0.97
        assert 0.96 * best_activation < pattern.activation <= best_activation


@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_recipe_recovers_gabor_filters_of_every_colour(seed: int) -> None:
    """The pure colours have the least contrast in photographs, so a slow canvas loses them."""
    weights = torch.stack(
        [
            gabor(8, 2.0, 0, RED_CYAN),
            gabor(5, 0, 0, YELLOW_BLUE),
            gabor(6, 0.8, 0.7, GREEN_MAGENTA),
            gabor(7, 2.5, 1, RED),
            gabor(5, 1.6, 0, BLUE),
            gabor(9, 0.5, 2, ORANGE),
        ]
    )
    units = [f"conv1:{channel}" for channel in range(len(weights))]
    patterns = synthesize_many(network_of(weights), units, seed=seed)
    for pattern, weight in zip(patterns, weights, strict=True):
        values = weight.permute(1, 2, 0).numpy()
        assert np.corrcoef(pattern.image.ravel(), values.ravel())[0, 1] >= 0.9


def test_a_larger_canvas_scores_every_unit_that_lies_wholly_on_it() -> None:
    net = planted()
    pattern = synthesize(net, f"first:{EDGE}", size=20, steps=100)
    assert pattern.size == (20, 20)
    maps = maps_of(net, pixels_of(pattern), "first")[EDGE, 3:-3, 3:-3]
    assert pattern.score == pytest.approx(maps.mean(), rel=1e-4)
    assert pattern.activation == pytest.approx(maps.max(), rel=1e-4)


def test_the_activation_is_that_inside_any_larger_image() -> None:
    net = Network(built(_two_layers), input_size=(40, 40), mean=(0.5,) * 3, std=(0.25,) * 3)
    pattern = synthesize(net, "conv2:3", steps=30)
    box = net.layer("conv2").field.box(6, 7)
    assert pattern.size == (box.height, box.width)
    surrounding = numbers(40, 40, 3).float().numpy()
    surrounding[box.top : box.bottom, box.left : box.right] = pixels_of(pattern)
    activation = maps_of(net, surrounding, "3")[3, 6, 7]
    assert pattern.activation == pytest.approx(activation, rel=1e-4)


def test_the_pixels_are_the_preprocessed_image() -> None:
    net = planted()
    pattern = synthesize(net, "first:0", steps=10)
    fed = net.preprocessing.to_input(pattern.image).transpose(1, 2, 0)
    np.testing.assert_allclose(pixels_of(pattern), fed, rtol=0, atol=1e-6)


def test_the_seed_determines_the_pattern() -> None:
    net = planted()
    first, repeated, changed = (
        synthesize(net, "later:1", steps=12, seed=seed).image for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, repeated)
    assert (first != changed).any()


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_raises_the_objective(name: str) -> None:
    recipe = replace(RECIPES[name], size=None)
    pattern = synthesize(planted(), "later:2", recipe=recipe, steps=80)
    assert pattern.score > pattern.started_at + 0.05
    assert pattern.recipe == name
    assert pattern.steps == 80 * recipe.stages


def test_more_steps_reach_a_higher_score() -> None:
    net = planted()
    scores = [synthesize(net, "later:2", steps=steps).score for steps in (5, 40, 160)]
    assert scores == sorted(scores)


def test_a_pattern_does_not_depend_on_its_batch() -> None:
    net = Network(
        built(_two_layers).double(), input_size=(40, 40), mean=(0.5,) * 3, std=(0.25,) * 3
    )
    units = ["conv2:3", "conv1:0", "conv2:0", "conv2:3@2,5"]
    together = synthesize_many(net, units, steps=8)
    for unit, pattern in zip(units, together, strict=True):
        alone = synthesize(net, unit, steps=8)
        assert str(pattern.unit) == str(alone.unit)
        difference = np.abs(pattern.image.astype(int) - alone.image.astype(int))
        assert difference.max() <= 1, unit
        assert pattern.activation == pytest.approx(alone.activation, rel=1e-2)


def test_a_pattern_at_a_position_is_scored_at_that_position() -> None:
    net = Network(built(_two_layers), input_size=(40, 40), mean=(0.5,) * 3, std=(0.25,) * 3)
    pattern = synthesize(net, "conv2:1@0,0", steps=20)
    box = net.layer("conv2").field.box(0, 0).clip(40, 40)
    assert pattern.size == (box.height, box.width)
    surrounding = numbers(40, 40, 3).float().numpy()
    surrounding[: box.bottom, : box.right] = pixels_of(pattern)
    activation = maps_of(net, surrounding, "3")[1, 0, 0]
    assert pattern.activation == pytest.approx(activation, rel=1e-4)


def test_a_whole_map_gets_a_canvas_of_the_input_size() -> None:
    net = planted()
    pattern = synthesize(net, "first:1@*", steps=3)
    assert pattern.size == (32, 32)
    maps = maps_of(net, pixels_of(pattern), "first")[1]
    assert pattern.score == pytest.approx(maps.mean(), rel=1e-4)
    assert pattern.activation == pytest.approx(maps.max(), rel=1e-4)


def test_a_class_is_scored_before_its_softmax() -> None:
    net = planted()
    with_softmax = Network(
        nn.Sequential(net.module, nn.Softmax(dim=1)),
        input_size=(32, 32),
        mean=(0.5, 0.4, 0.45),
        std=(0.25, 0.22, 0.24),
        labels=net.labels,
    )
    pattern = synthesize(with_softmax, excite_class("dog"), steps=20)
    with torch.no_grad():
        fed = torch.from_numpy(pixels_of(pattern)).permute(2, 0, 1)[None]
        scores = net.module(fed)
    assert pattern.size == (32, 32)
    assert pattern.unit is None
    assert pattern.activation == pytest.approx(float(scores[0, 1]), rel=1e-4)
    assert pattern.score > pattern.started_at


@pytest.mark.parametrize(
    "output",
    ["output[0, 1]", lambda output: output[0, 1] - output[0].square().mean()],
    ids=["path", "function"],
)
def test_a_pattern_climbs_a_number_among_the_outputs(output: Any) -> None:
    net = planted()
    pattern = synthesize(net, excite_output(output), steps=20)
    with torch.no_grad():
        outputs = net.module(torch.from_numpy(pixels_of(pattern)).permute(2, 0, 1)[None])
    expected = outputs[0, 1] if isinstance(output, str) else output(outputs)
    assert pattern.size == (32, 32)
    assert pattern.activation == pytest.approx(float(expected), rel=1e-4)
    assert pattern.score > pattern.started_at
    name = output if isinstance(output, str) else "a function of the outputs"
    assert pattern.objective == name


def test_a_class_and_its_number_among_the_outputs_have_the_same_pattern() -> None:
    net = planted()
    of_class, of_output = synthesize_many(
        net, [excite_class(1), excite_output("output[0, 1]")], steps=6, recipe="olah"
    )
    np.testing.assert_allclose(
        of_class.image.astype(int), of_output.image.astype(int), rtol=0, atol=1
    )


def test_numbers_among_the_outputs_add_to_units() -> None:
    net = planted()
    both = excite_output("output[0, 1]") + 2 * excite("first:0@*")
    pattern = synthesize(net, both, steps=3)
    pixels = pixels_of(pattern)
    with torch.no_grad():
        score = net.module(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0, 1]
    first = maps_of(net, pixels, "first")[0].mean()
    assert pattern.score == pytest.approx(float(score) + 2 * float(first), rel=1e-4)


def test_objectives_add_up() -> None:
    net = planted()
    both = 2 * excite("first:0@*") - excite("later:1@*")
    pattern = synthesize(net, both, steps=3, size=20)
    first = maps_of(net, pixels_of(pattern), "first")[0].mean()
    later = maps_of(net, pixels_of(pattern), "later")[1].mean()
    assert pattern.score == pytest.approx(2 * first - later, rel=1e-4)
    assert pattern.objective == "2 x first:0@* - later:1@*"


def test_a_layer_is_scored_by_its_squared_maps() -> None:
    net = planted()
    pattern = synthesize(net, "later", steps=5, size=20)
    maps = maps_of(net, pixels_of(pattern), "later")
    assert pattern.score == pytest.approx((maps**2).mean(), rel=1e-4)
    assert pattern.score > pattern.started_at


def test_a_direction_is_scored_by_its_dot_product_with_the_channels() -> None:
    net = planted()
    direction = (1.0, -2.0, 0.5, 0.0)
    pattern = synthesize(net, excite_direction("later", direction), steps=5, size=20)
    means = maps_of(net, pixels_of(pattern), "later").mean((1, 2))
    assert pattern.score == pytest.approx(float(means @ direction), rel=1e-4)


def test_diverse_patterns_differ_more() -> None:
    net = Network(built(_two_layers), input_size=(40, 40), mean=(0.5,) * 3, std=(0.25,) * 3)
    similarities = [
        _mean_similarity(net, synthesize_varied(net, "conv2:3@*", 3, weight=weight, steps=60))
        for weight in (0, 4)
    ]
    assert similarities[1] < similarities[0] - 0.01


def _mean_similarity(net: Network, patterns: list[Pattern]) -> float:
    """The mean cosine between the patterns' Gram matrices."""
    matrices = []
    for pattern in patterns:
        maps = maps_of(net, pixels_of(pattern), "3").reshape(6, -1)
        matrix = (maps @ maps.T).ravel()
        matrices.append(matrix / np.linalg.norm(matrix))
    cosines = np.stack(matrices) @ np.stack(matrices).T
    return float(cosines[np.triu_indices(len(patterns), 1)].mean())


def test_a_unit_behind_an_inactive_rectifier_is_activated_and_noted() -> None:
    pattern = synthesize(planted(), f"act:{SHUT}", steps=400)
    assert pattern.started_at == 0
    assert pattern.activation > 0.1
    assert correlation(pattern, SHUT) >= 0.9
    assert any("was active at the start" in note for note in pattern.notes)


class ShutByNoise(nn.Module):
    """The edge unit of `Planted`, minus what pixels that differ from their neighbours excite."""

    def __init__(self) -> None:
        super().__init__()
        self.edge = nn.Conv2d(3, 1, SIDE, bias=False)
        self.grain = nn.Conv2d(3, 2, 2, bias=False)
        self.pool = nn.AvgPool2d(SIDE - 1, stride=1)
        self.act = nn.ReLU()
        checks = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).expand(3, 2, 2) / 3
        with torch.no_grad():
            self.edge.weight.copy_(filters()[[EDGE]])
            self.grain.weight.copy_(torch.stack([checks, -checks]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        grain = self.pool(self.grain(x).relu()).sum(1, keepdim=True)
        maps: torch.Tensor = self.act(self.edge(x) + 0.05 - 0.3 * grain)
        return maps


@pytest.mark.parametrize("seed", [0, 1])
def test_a_unit_that_noise_shuts_gets_its_pattern(seed: int) -> None:
    net = Network(built(ShutByNoise), input_size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)
    noisy = 0.8 * numbers(1, 3, SIDE, SIDE).float()
    with torch.no_grad():
        assert float(net.module(noisy)) == 0 < float(net.module(0 * noisy))
    pattern = synthesize(net, "act:0", seed=seed)
    assert correlation(pattern, EDGE) >= 0.9
    assert not any("was active at the start" in note for note in pattern.notes)


def test_noise_weakens_the_pattern_of_a_deep_unit_but_does_not_replace_it() -> None:
    net = open_named("demo", trained=True)
    noisy = synthesize(net, "relu7:1", steps=64)
    clean = synthesize(net, "relu7:1", recipe=replace(ZOOM, noise=0.0), steps=64)
    assert noisy.activation > 0.5 * clean.activation > 3 * clean.started_at


def test_a_dead_channel_is_noted() -> None:
    pattern = synthesize(planted(), f"act:{DEAD}", steps=40)
    assert pattern.activation == 0
    assert any("gradient stayed zero" in note for note in pattern.notes)


def test_a_dead_channel_does_not_affect_the_others_of_its_batch() -> None:
    net = planted()
    together = synthesize_many(net, [f"act:{DEAD}", f"act:{EDGE}"], steps=400)
    assert correlation(together[1], EDGE) >= 0.9
    assert not any("stayed zero" in note for note in together[1].notes)


def test_a_canvas_smaller_than_the_field_is_noted() -> None:
    net = planted()
    pattern = synthesize(net, "first:0", size=5, steps=10)
    maps = maps_of(net, pixels_of(pattern), "first")[0]
    assert pattern.size == (5, 5)
    assert pattern.score == pytest.approx(maps.mean(), rel=1e-4)
    assert any("smaller than what the unit sees (8x8" in note for note in pattern.notes)


def test_synthesis_can_start_from_an_image() -> None:
    net = planted()
    photo = numbers(3, 32, 32).float().clamp(-1, 1)
    pattern = synthesize(net, "later:0", seed_image=photo, steps=1)
    difference = np.abs(pixels_of(pattern) - photo.permute(1, 2, 0).numpy())
    noise = pixels_of(synthesize(net, "later:0", size=32, steps=1))
    assert difference.mean() < 0.5 * np.abs(noise - photo.permute(1, 2, 0).numpy()).mean()


def test_maco_gives_an_opacity() -> None:
    pattern = synthesize(planted(), "first:0", recipe=MACO, steps=20, size=16)
    assert pattern.opacity is not None
    assert pattern.opacity.shape == (16, 16)
    assert 0 <= pattern.opacity.min() < 0.5 < pattern.opacity.max() <= 1


def test_an_alpha_channel_gives_an_opacity() -> None:
    recipe = replace(OLAH, name="alpha", opacity=Opacity.ALPHA_CHANNEL, transforms=())
    net = planted(64)
    pattern = synthesize(net, "later:1@32,32", recipe=recipe, steps=5)
    assert pattern.opacity is not None
    assert pattern.opacity.shape == pattern.size


def test_nothing_beyond_the_layer_is_run() -> None:
    runs: list[int] = []

    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            runs.append(1)
            return x.relu()

    net = Network(nn.Sequential(nn.Conv2d(3, 4, 3), Counts()), input_size=(16, 16))
    assert not net.survey().needs_single_images
    assert runs, "the survey and its batch run the whole network"
    runs.clear()
    synthesize(net, "conv1:0", steps=4)
    synthesize(net, excite("conv1:0@*") + excite("conv1:1@*"), steps=4, size=16)
    assert not runs


def test_the_noise_that_the_network_sees_fades() -> None:
    inputs: list[torch.Tensor] = []

    class Records(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inputs.append(x.detach().clone())
            return x * 1

    net = Network(nn.Sequential(Records(), nn.Conv2d(3, 4, 3)), input_size=(32, 32))
    still = replace(ZOOM, transforms=(), ascent=replace(ZOOM.ascent, learning_rate=0.0))
    pattern = synthesize(net, "conv1:0@*", recipe=still, steps=4)
    clean = torch.from_numpy(pixels_of(pattern)).permute(2, 0, 1)
    deviations = [float((x[0] - clean).std()) for x in inputs if x.shape[2:] == clean.shape[1:]]
    noises = [deviation for deviation in deviations if 0.02 < deviation < 0.5]
    assert noises == pytest.approx([0.2, 0.15, 0.1, 0.05], rel=0.05)


def test_progress_reports_each_step_with_its_images() -> None:
    steps: list[SynthesisStep] = []
    images = []

    def record(step: SynthesisStep) -> None:
        steps.append(step)
        images.append(step.images())

    patterns = synthesize_many(planted(), ["first:0", "first:1"], steps=3, progress=record)
    assert [(step.step, step.done, step.total) for step in steps] == [
        (1, 2, 6),
        (2, 4, 6),
        (3, 6, 6),
    ]
    for n in range(2):
        np.testing.assert_array_equal(images[-1][n], patterns[n].image)


def test_the_canvas_of_octaves_grows() -> None:
    recipe = replace(as_recipe("octaves"), size=None, stages=3, growth=2, min_side=8)
    sizes = []
    synthesize(
        planted(),
        "first:0@*",
        recipe=recipe,
        steps=2,
        size=24,
        progress=lambda step: sizes.append(step.images()[0].shape[0]),
    )
    assert sizes == [8, 8, 12, 12, 24, 24]


@pytest.mark.parametrize("unit", ["act:1", "later:1@3,3", "later", excite_class(1)])
def test_synthesis_leaves_no_trace(unit: str | Objective) -> None:
    net = planted()
    net.module.train()
    with no_trace(net.module):
        synthesize(net, unit, steps=3)


def test_a_failing_progress_listener_leaves_no_trace() -> None:
    net = planted()

    def stop(_step: SynthesisStep) -> None:
        raise KeyboardInterrupt

    with no_trace(net.module), pytest.raises(KeyboardInterrupt):
        synthesize(net, "later:1", steps=3, progress=stop)


def test_a_grey_network_gets_a_grey_pattern() -> None:
    net = Network(built(lambda: nn.Conv2d(1, 2, 5)), input_size=(16, 16), mean=(0.5,), std=(0.2,))
    pattern = synthesize(net, "conv1:1", steps=30)
    assert pixels_of(pattern).shape == (5, 5, 1)
    assert (pattern.image == pattern.image[..., :1]).all()
    assert pattern.score > pattern.started_at


def test_a_network_with_many_input_channels_has_patterns_too() -> None:
    net = Network(built(lambda: nn.Conv2d(5, 2, 3)), input_size=(16, 16))
    pattern = synthesize(net, "conv1:1", steps=10)
    assert pixels_of(pattern).shape == (3, 3, 5)
    assert pattern.image.shape == (3, 3, 3)


def test_a_layer_gated_by_global_context_runs_on_the_whole_image() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return (x * x.mean((2, 3), keepdim=True).sigmoid()).relu()

    net = Network(built(Gated), input_size=(16, 16))
    assert synthesize(net, "relu1:1", steps=3).size == (16, 16)


def _two_layers() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 5, padding=2, stride=2),
        nn.ReLU(inplace=True),
    )


def test_a_module_and_a_layer_stand_for_all_of_their_maps() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    net = Network(module, input_size=(16, 16))
    named, *others = (synthesize(net, unit, steps=2) for unit in ("0", module[0], net["conv1"]))
    for pattern in others:
        assert pattern.objective == "0"
        np.testing.assert_array_equal(pattern.image, named.image)
    assert synthesize(module, "0:1", steps=2).objective == "0:1"
