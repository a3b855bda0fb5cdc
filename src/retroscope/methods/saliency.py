"""Saliency: the gradient of a target's score or an activation at the pixels, and what builds on it.

Simonyan 2014 (gradient), Smilkov 2017 (SmoothGrad), Springenberg 2015 (guided), Shrikumar 2016
(input x gradient), Sundararajan 2017 (integrated gradients).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import overload

import numpy as np
import torch

from retroscope.argument_types import check_arguments
from retroscope.engine.batching import NetworkInput, max_batch_size
from retroscope.engine.forward import run_forward
from retroscope.engine.gradients import RuleHandler, gradients
from retroscope.engine.isolation import preserve_state
from retroscope.engine.memory import in_batches, memory_budget
from retroscope.engine.program import Survey
from retroscope.engine.rules import GRADIENT, GUIDED, RuleBook
from retroscope.errors import RetroscopeError, choose
from retroscope.methods.class_scores import run_network
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    map_images,
)
from retroscope.methods.positions import strongest_positions
from retroscope.methods.target_choice import check_scores, resolve_scorer
from retroscope.methods.targets import TargetSpec, check_target_or_unit
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyNetwork,
    AnyUnit,
    Network,
    OneImage,
    as_network,
)
from retroscope.results.caveats import caveats_of
from retroscope.results.heat_maps import HeatMap, Mask, Target
from retroscope.results.layer_lookup import check_unit
from retroscope.results.layers import Layer
from retroscope.unit import Unit

ScoreFunction = Callable[[torch.Tensor, RuleBook], torch.Tensor]
"""Computes the score of each image of a batch, with the rules of a rule book for backward."""


@overload
def saliency(
    net: AnyNetwork,
    image: OneImage,
    *,
    method: str = ...,
    target: TargetSpec = ...,
    unit: AnyUnit | None = ...,
    samples: int = ...,
    noise: float = ...,
    steps: int = ...,
    seed: int = ...,
) -> HeatMap: ...
@overload
def saliency(
    net: AnyNetwork,
    image: ImageList[AnImage],
    *,
    method: str = ...,
    target: TargetSpec = ...,
    unit: AnyUnit | None = ...,
    samples: int = ...,
    noise: float = ...,
    steps: int = ...,
    seed: int = ...,
) -> list[HeatMap]: ...
@overload
def saliency(
    net: AnyNetwork,
    image: AnyArray,
    *,
    method: str = ...,
    target: TargetSpec = ...,
    unit: AnyUnit | None = ...,
    samples: int = ...,
    noise: float = ...,
    steps: int = ...,
    seed: int = ...,
) -> OneOrMany: ...
@check_arguments
def saliency(
    net: AnyNetwork,
    image: AnyImage | AnyImageList,
    *,
    method: str = "gradient",
    target: TargetSpec = None,
    unit: AnyUnit | None = None,
    samples: int = 25,
    noise: float = 0.15,
    steps: int = 64,
    seed: int = 0,
) -> HeatMap | list[HeatMap]:
    """How the score of a class, or the activation of a unit, responds to each pixel.

    The target is a class, a box, a class at a place, or a number among the outputs, as in `cam`.
    `method` is `gradient`, `smoothgrad` (the mean over `samples` images with `noise`, a share of
    the image's range, drawn with `seed`), `guided`, `input_x_gradient`, or `integrated` (from a
    black image, in `steps` steps). A list of images, a batch of them in one array, or a data set
    gives a list of heat maps.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()))
    >>> heat = saliency(net, torch.ones(3, 8, 8), target=2)
    >>> heat.values.shape, heat.pixels.shape
    ((8, 8), (8, 8, 3))
    """
    net = as_network(net)
    check_target_or_unit(target, unit)
    options = _SaliencyOptions(samples, noise, steps, seed)
    explain = partial(_saliency, net, method=method, options=options, target=target, unit=unit)
    if is_image_list(image, net.rank):
        return map_images(net, image, explain)
    return explain(net.prepare(image))


def _saliency(
    net: Network,
    network_input: NetworkInput,
    *,
    method: str,
    options: "_SaliencyOptions",
    target: TargetSpec,
    unit: AnyUnit | None,
) -> HeatMap:
    saliency_method = choose("saliency method", method, SALIENCY_METHODS)
    net = net.for_images([network_input])
    with preserve_state(net.module), torch.enable_grad():
        input_tensor = network_input.tensor.to(net.device)
        scored = _score(net, input_tensor, target=target, unit=unit)
        result = saliency_method.compute(scored, options)
    pixels = result.pixels.movedim(0, -1).float().cpu().numpy().copy()
    values = pixels.sum(axis=-1) if saliency_method.is_signed else np.abs(pixels).max(axis=-1)
    return HeatMap(
        values=values,
        layer="",
        target=scored.target,
        probability=scored.probability,
        score=scored.score,
        method=method,
        caveats=(*network_input.caveats, *caveats_of(method)),
        size=network_input.size,
        pixels=pixels,
        image=network_input.rgb,
        source=network_input.source,
        fit=network_input.fit,
        notes=(*net.remarks, *result.notes),
        mask=scored.mask,
    )


@dataclass(frozen=True)
class _SaliencyOptions:
    samples: int
    noise: float
    steps: int
    seed: int

    def __post_init__(self) -> None:
        if self.samples < 1 or self.steps < 1 or self.noise < 0:
            raise RetroscopeError(
                f"{self.samples} samples, {self.steps} steps and noise {self.noise}; samples and "
                "steps must be at least 1, noise at least 0"
            )


@dataclass(frozen=True, eq=False)
class _ScoredInput:
    """An image as the network is fed, what is scored in it, and how."""

    net: Network
    survey: Survey
    tensor: torch.Tensor
    target: Target | Unit
    probability: float | None
    score: float
    score_images: ScoreFunction
    last_step: int
    mask: Mask | None = None
    single_images: bool = False

    def gradients(self, images: torch.Tensor, rules: RuleBook = GRADIENT) -> torch.Tensor:
        """The gradient of each image's score at its pixels, in batches that fit into memory."""
        max_bytes = memory_budget(self.net.device)
        batch_size = max_batch_size(self.survey, self.last_step, self.survey.size, max_bytes)
        if self.single_images:
            batch_size = 1

        def compute(rows: Sequence[int]) -> torch.Tensor:
            batch = images[list(rows)].detach().requires_grad_()
            return gradients(self.score_images(batch, rules), batch).detach()

        return torch.cat(list(in_batches(range(len(images)), batch_size, compute)))


def _score(
    net: Network, input_tensor: torch.Tensor, *, target: TargetSpec, unit: AnyUnit | None
) -> _ScoredInput:
    if unit is None:
        return _score_target(net, input_tensor, target)
    return _score_unit(net, input_tensor, unit)


def _score_target(net: Network, input_tensor: torch.Tensor, target: TargetSpec) -> _ScoredInput:
    survey = _survey_of(net, input_tensor)
    with torch.no_grad():
        output = run_network(net, survey, _copy_in_format(input_tensor[None], survey))
        check_scores(output)
        scorer = resolve_scorer(output, target)

    def score_images(images: torch.Tensor, rules: RuleBook) -> torch.Tensor:
        batch = _copy_in_format(images, survey)
        return scorer.scores(run_network(net, survey, batch, execute=RuleHandler(rules)))

    return _ScoredInput(
        net=net,
        survey=survey,
        tensor=input_tensor,
        target=scorer.target,
        probability=scorer.probability(output),
        score=float(scorer.score(output)),
        score_images=score_images,
        last_step=len(survey.steps) - 1,
        mask=scorer.mask,
        single_images=scorer.single_images,
    )


def _score_unit(net: Network, input_tensor: torch.Tensor, address: AnyUnit) -> _ScoredInput:
    survey = _survey_of(net, input_tensor)
    unit = net.unit(address)
    layer = net.layer(unit.layer, survey.size)
    unit = check_unit(unit, layer)
    with torch.no_grad():
        maps = _layer_maps(net, layer, input_tensor[None], rules=GRADIENT)
        if unit.channel is not None and unit.position is None and not unit.whole_map:
            unit = replace(unit, position=strongest_positions(maps[:, unit.channel])[0])
    index = (slice(None), *_index_of(unit))

    def score_images(images: torch.Tensor, rules: RuleBook) -> torch.Tensor:
        maps = _layer_maps(net, layer, images, rules=rules)
        return maps[index].flatten(1).sum(dim=1)

    return _ScoredInput(
        net=net,
        survey=survey,
        tensor=input_tensor,
        target=unit,
        probability=None,
        score=float(maps[index].sum()),
        score_images=score_images,
        last_step=layer.index,
    )


def _index_of(unit: Unit) -> tuple[slice | int, ...]:
    """The index of a unit in its layer's maps (channels, height, width)."""
    if unit.channel is None:
        return ()
    channel = slice(unit.channel, unit.channel + 1)
    return (channel, *unit.position) if unit.position is not None else (channel,)


def _layer_maps(
    net: Network, layer: Layer, images: torch.Tensor, *, rules: RuleBook
) -> torch.Tensor:
    survey = _survey_of(net, images)
    recorded: list[torch.Tensor] = []
    batch = _copy_in_format(images, survey)
    listeners = {layer.index: recorded.append}
    run_forward(net.module, survey, batch, listeners, execute=RuleHandler(rules))
    return recorded[0]


def _survey_of(net: Network, images: torch.Tensor) -> Survey:
    return net.survey(tuple(images.shape[-net.rank :]))


def _copy_in_format(images: torch.Tensor, survey: Survey) -> torch.Tensor:
    """A copy in the memory format that the network prefers, which the network may overwrite."""
    memory_format = torch.channels_last if survey.channels_last else torch.contiguous_format
    return images.clone(memory_format=memory_format)


@dataclass(frozen=True, eq=False)
class _SignedPixels:
    """Signed pixels (channels, height, width), and notes about them."""

    pixels: torch.Tensor
    notes: tuple[str, ...] = ()


def _gradient(
    scored: _ScoredInput, _options: _SaliencyOptions, rules: RuleBook = GRADIENT
) -> _SignedPixels:
    return _SignedPixels(scored.gradients(scored.tensor[None], rules)[0])


def _smoothgrad(scored: _ScoredInput, options: _SaliencyOptions) -> _SignedPixels:
    """The mean gradient over copies of the image with Gaussian noise."""
    tensor = scored.tensor
    generator = torch.Generator().manual_seed(options.seed)
    std = options.noise * float(tensor.max() - tensor.min())
    total = torch.zeros_like(tensor)
    for _ in range(options.samples):
        noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32, device="cpu")
        total += scored.gradients((tensor + std * noise.to(tensor))[None])[0]
    return _SignedPixels(total / options.samples)


def _input_x_gradient(scored: _ScoredInput, options: _SaliencyOptions) -> _SignedPixels:
    return _SignedPixels(scored.tensor * _gradient(scored, options).pixels)


def _integrated_gradients(scored: _ScoredInput, options: _SaliencyOptions) -> _SignedPixels:
    """The gradients along the line from black to the image, integrated by the midpoint rule.

    By completeness, their sum is the difference between the two scores.
    """
    tensor = scored.tensor
    black = scored.net.preprocessing.level(0).to(tensor).expand_as(tensor)
    shares = (torch.arange(options.steps, device="cpu") + 0.5) / options.steps
    total = torch.zeros_like(tensor)
    for share in shares.tolist():
        total += scored.gradients((black + share * (tensor - black))[None])[0]
    pixels = (tensor - black) * total / options.steps
    with torch.no_grad():
        black_score = float(scored.score_images(black[None], GRADIENT)[0])
    note = _completeness_note(float(pixels.sum()), scored.score - black_score)
    return _SignedPixels(pixels, (note,))


def _completeness_note(total: float, difference: float) -> str:
    return (
        f"the pixels add up to {total:.4g}; the score differs by {difference:.4g} between a black "
        "image and this one"
    )


@dataclass(frozen=True)
class SaliencyMethod:
    """How a method computes pixels; the heat is their sum over channels if `is_signed`."""

    compute: Callable[[_ScoredInput, _SaliencyOptions], _SignedPixels]
    is_signed: bool = False


SALIENCY_METHODS: dict[str, SaliencyMethod] = {
    "gradient": SaliencyMethod(_gradient),
    "smoothgrad": SaliencyMethod(_smoothgrad),
    "guided": SaliencyMethod(partial(_gradient, rules=GUIDED)),
    "input_x_gradient": SaliencyMethod(_input_x_gradient, is_signed=True),
    "integrated": SaliencyMethod(_integrated_gradients, is_signed=True),
}
