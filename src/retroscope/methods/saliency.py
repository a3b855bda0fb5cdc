"""Which pixels a class or a unit answers to: the gradient, and what has been made of it.

Simonyan 2014 (gradient), Smilkov 2017 (SmoothGrad), Springenberg 2015 (guided), Shrikumar 2016
(input x gradient), Sundararajan 2017 (integrated gradients).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from retroscope.engine.batching import Prepared, how_many
from retroscope.engine.forward import follow
from retroscope.engine.gradients import ruled
from retroscope.engine.isolation import undisturbed
from retroscope.engine.memory import budget, in_batches, is_out_of_memory
from retroscope.engine.rules import GRADIENT, GUIDED, RuleBook
from retroscope.engine.survey import Survey
from retroscope.errors import ModelError, RetroscopeError, did_you_mean
from retroscope.methods.class_requests import fit_of
from retroscope.methods.class_scores import check_finite_scores, run_classifier
from retroscope.methods.positions import strongest
from retroscope.methods.targets import Wanted, refuse_both, target_at, target_of
from retroscope.network import AnyImage, Network, checked, refuse_no_network
from retroscope.results.caveats import caveats_of
from retroscope.results.heat_maps import HeatMap, Target
from retroscope.results.layers import Layer
from retroscope.unit import Unit, as_unit

Scored = Callable[[torch.Tensor, RuleBook], torch.Tensor]
"""The score of each picture of a batch, with a way back by a rule book."""


def saliency(
    net: Network,
    image: AnyImage,
    *,
    method: str = "gradient",
    target: Wanted = None,
    unit: str | Unit | None = None,
    samples: int = 25,
    noise: float = 0.15,
    steps: int = 64,
    seed: int = 0,
) -> HeatMap:
    """Which pixels the score of a class, or the activation of a unit, answers to.

    `gradient`, `smoothgrad` (mean over `samples` with `noise`, a share of the picture's range,
    drawn by `seed`), `guided`, `input_x_gradient`, or `integrated` (from black, in `steps`).

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 8), torch.nn.Flatten()))
    >>> heat = saliency(net, torch.ones(3, 8, 8), target=2)
    >>> heat.values.shape, heat.pixels.shape
    ((8, 8), (8, 8, 3))
    """
    refuse_no_network(net)
    refuse_both(target, unit)
    options = _Options(samples, noise, steps, seed)
    making = _method(method)
    prepared = net.prepare(image)
    with undisturbed(net.module), torch.enable_grad():
        ask = _Ask.of(net, prepared, target, unit)
        found = making(ask, options)
    pixels = found.pixels.permute(1, 2, 0).float().cpu().numpy().copy()
    values = pixels.sum(axis=2) if method in SIGNED else np.abs(pixels).max(axis=2)
    return HeatMap(
        values=values,
        layer="",
        target=ask.target,
        probability=ask.probability,
        score=ask.score,
        method=method,
        caveats=caveats_of(method),
        size=prepared.size,
        pixels=pixels,
        picture=prepared.picture,
        source=prepared.source,
        fit=fit_of(net, image),
        notes=(*net.remarks, *found.notes),
    )


@dataclass(frozen=True)
class _Options:
    samples: int
    noise: float
    steps: int
    seed: int

    def __post_init__(self) -> None:
        if self.samples < 1 or self.steps < 1 or self.noise < 0:
            raise RetroscopeError(
                f"{self.samples} samples, {self.steps} steps and noise {self.noise}; samples and "
                "steps are 1 or more, noise is not below 0"
            )


@dataclass(frozen=True, eq=False)
class _Ask:
    """What is asked of a picture: its numbers, what is scored, and how that is scored."""

    net: Network
    survey: Survey
    numbers: torch.Tensor
    target: Target | Unit
    probability: float | None
    score: float
    scored: Scored
    last: int

    @classmethod
    def of(
        cls, net: Network, prepared: Prepared, target: Wanted, unit: str | Unit | None
    ) -> "_Ask":
        survey = net.survey(prepared.size)
        numbers = prepared.numbers.to(net.device)
        if unit is None:
            return _class_ask(net, survey, numbers, target)
        return _unit_ask(net, survey, numbers, unit)

    def gradients(self, pictures: torch.Tensor, book: RuleBook = GRADIENT) -> torch.Tensor:
        """The gradient of each picture's score, in batches that fit."""
        size = how_many(self.survey, self.last, self.survey.size, budget(self.net.device))

        def back(some: Sequence[int]) -> torch.Tensor:
            return _back(self.scored, pictures[list(some)], book, self.survey.channels_last)

        return torch.cat(list(in_batches(range(len(pictures)), size, back)))


def _class_ask(net: Network, survey: Survey, numbers: torch.Tensor, target: Wanted) -> _Ask:
    with torch.no_grad():
        verdict = run_classifier(net, survey, _stored(numbers[None], survey.channels_last))
    check_finite_scores(net, verdict)
    classes = verdict.scores.shape[1]
    top = int(verdict.scores[0].argmax())
    found = target_at(net, top, classes) if target is None else target_of(net, target, classes)

    def scored(pictures: torch.Tensor, book: RuleBook) -> torch.Tensor:
        return run_classifier(net, survey, pictures, execute=ruled(book)).scores[:, found.index]

    probability = float(verdict.probabilities[0, found.index])
    score = float(verdict.scores[0, found.index])
    last = len(survey.steps) - 1
    return _Ask(net, survey, numbers, found, probability, score, scored, last)


def _unit_ask(net: Network, survey: Survey, numbers: torch.Tensor, wanted: str | Unit) -> _Ask:
    named = as_unit(wanted)
    layer = net.layer(named.layer, survey.size)
    asked = checked(named, layer)
    picture = _stored(numbers[None], survey.channels_last)
    with torch.no_grad():
        maps = _maps(net, survey, layer, pictures=picture, book=GRADIENT)
        if asked.channel is not None and asked.position is None and not asked.whole_map:
            asked = replace(asked, position=strongest(maps[:, asked.channel])[0])
    place = _place(asked)

    def scored(pictures: torch.Tensor, book: RuleBook) -> torch.Tensor:
        maps = _maps(net, survey, layer, pictures=pictures, book=book)
        return maps[(slice(None), *place)].flatten(1).sum(dim=1)

    score = float(maps[(slice(None), *place)].sum())
    return _Ask(net, survey, numbers, asked, None, score, scored, layer.index)


def _place(unit: Unit) -> tuple[slice | int, ...]:
    if unit.channel is None:
        return ()
    channel = slice(unit.channel, unit.channel + 1)
    return (channel, *unit.position) if unit.position is not None else (channel,)


def _maps(
    net: Network, survey: Survey, layer: Layer, *, pictures: torch.Tensor, book: RuleBook
) -> torch.Tensor:
    kept: list[torch.Tensor] = []
    follow(net.module, survey, pictures, {layer.index: kept.append}, execute=ruled(book))
    return kept[0]


def _stored(pictures: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """A copy, stored as the network likes it, which the network may write in."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return pictures.clone(memory_format=layout)


def _back(
    scored: Scored, pictures: torch.Tensor, book: RuleBook, channels_last: bool
) -> torch.Tensor:
    pixels = pictures.detach().requires_grad_()
    scores = scored(_stored(pixels, channels_last), book)
    if not scores.requires_grad:
        raise ModelError(
            "nothing leads back from this score to the picture: the network detaches it, or runs "
            "it with gradients switched off"
        )
    try:
        (signal,) = torch.autograd.grad(scores.sum(), pixels, materialize_grads=True)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"torch cannot look back through this network: {error}") from error
    return signal.detach()


@dataclass(frozen=True, eq=False)
class _Made:
    """A signed picture (channels, height, width), and what is to be said of it."""

    pixels: torch.Tensor
    notes: tuple[str, ...] = ()


def _gradient(ask: _Ask, _options: _Options, book: RuleBook = GRADIENT) -> _Made:
    return _Made(ask.gradients(ask.numbers[None], book)[0])


def _smoothgrad(ask: _Ask, options: _Options) -> _Made:
    """The mean gradient in a cloud of noise around the picture."""
    numbers = ask.numbers
    generator = torch.Generator().manual_seed(options.seed)
    spread = options.noise * float(numbers.max() - numbers.min())
    total = torch.zeros_like(numbers)
    for _ in range(options.samples):
        drawn = torch.randn(numbers.shape, generator=generator, dtype=torch.float32)
        total += ask.gradients((numbers + spread * drawn.to(numbers))[None])[0]
    return _Made(total / options.samples)


def _input_x_gradient(ask: _Ask, options: _Options) -> _Made:
    return _Made(ask.numbers * _gradient(ask, options).pixels)


def _integrated(ask: _Ask, options: _Options) -> _Made:
    """The gradients on the straight way from black to the picture, by the midpoint rule.

    By completeness they add up to what the score rises on that way.
    """
    black = _black(ask.net).to(ask.numbers).expand_as(ask.numbers)
    shares = (torch.arange(options.steps) + 0.5) / options.steps
    total = torch.zeros_like(ask.numbers)
    for share in shares.tolist():
        total += ask.gradients((black + share * (ask.numbers - black))[None])[0]
    pixels = (ask.numbers - black) * total / options.steps
    with torch.no_grad():
        start = ask.scored(_stored(black[None], ask.survey.channels_last), GRADIENT)
    rise = ask.score - float(start[0])
    return _Made(pixels, (_sums_up(float(pixels.sum()), rise),))


def _sums_up(total: float, rise: float) -> str:
    return (
        f"all pixels add up to {total:.4g}; from a black picture to this one the score rises by "
        f"{rise:.4g}"
    )


def _black(net: Network) -> torch.Tensor:
    means, stds = torch.tensor(net.preprocessing.mean), torch.tensor(net.preprocessing.std)
    return (-means / stds)[:, None, None]


METHODS: dict[str, Callable[[_Ask, _Options], _Made]] = {
    "gradient": _gradient,
    "smoothgrad": _smoothgrad,
    "guided": partial(_gradient, book=GUIDED),
    "input_x_gradient": _input_x_gradient,
    "integrated": _integrated,
}
SIGNED = ("input_x_gradient", "integrated")
"""Methods whose pixels add up to something, and whose heat therefore has two signs."""


def _method(name: str) -> Callable[[_Ask, _Options], _Made]:
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f"there are {', '.join(METHODS)}"
        raise RetroscopeError(f"no saliency {name!r}; {hint}")
    return METHODS[name]
