"""The way up: a batch of canvases, changed until each excites what it is made for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from retroscope.engine.memory import is_out_of_memory
from retroscope.engine.operations import Role
from retroscope.engine.rules import GRADIENT, Rule, RuleBook
from retroscope.errors import ModelError
from retroscope.methods.synthesis.ascent import stepped
from retroscope.methods.synthesis.batch_objective import Scorer
from retroscope.methods.synthesis.canvas import Fourier, Shape
from retroscope.methods.synthesis.recipes import Recipe
from retroscope.methods.synthesis.transforms import GREY, seen
from retroscope.network import Preprocessing

FIRST_STEPS = 16
"""So long a canvas whose gradient is zero is given one that passes shut rectifiers."""
_BACKGROUND = Fourier(spread=0.2, decay=1.5)


def _opened(signal: torch.Tensor, fires: torch.Tensor | None) -> torch.Tensor:
    """The gradient; where the rectifier is shut, only what would open it."""
    assert fires is not None
    return torch.where(fires, signal, signal.clamp(min=0))


REDIRECTED = RuleBook(
    "redirected", {Role.RECTIFIER: Rule("open what is shut", _opened, asks_where_it_fires=True)}
)
"""For starts at which everything is shut, as lucid redirects the gradients of its rectifiers."""

Told = Callable[[int, torch.Tensor], object]
"""Is told the step, from 1, and the pictures as they are then."""


@dataclass(frozen=True, eq=False)
class Climb:
    """One batch of canvases of one size under one recipe."""

    recipe: Recipe
    scorer: Scorer
    preprocessing: Preprocessing
    shape: Shape
    generator: torch.Generator
    told: Told
    alive: torch.Tensor = field(init=False)
    redirected: torch.Tensor = field(init=False)
    pulled: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        nothing = torch.zeros(self.shape[0], dtype=torch.bool)
        object.__setattr__(self, "alive", nothing)
        object.__setattr__(self, "redirected", nothing.clone())
        pulled = torch.zeros(self.shape[0], *self.shape[2:])
        object.__setattr__(self, "pulled", pulled)

    def run(self, numbers: torch.Tensor) -> None:
        """Changes the numbers in place, all steps of the recipe."""
        ascent = self.recipe.ascent
        optimiser = ascent.optimiser(numbers.requires_grad_())
        for step in range(1, ascent.steps + 1):
            gradient = self._gradient(numbers, step)
            stepped(optimiser, numbers, ascent.direction(gradient))
            self._settle(numbers, step)
            self.told(step, numbers)
            if step == FIRST_STEPS and not (self.alive | self.redirected).any():
                return

    def _settle(self, numbers: torch.Tensor, step: int) -> None:
        with torch.no_grad():
            for after in self.recipe.ascent.after:
                numbers.copy_(after(numbers, step))
            self.recipe.canvas.settle(numbers)

    def _gradient(self, numbers: torch.Tensor, step: int) -> torch.Tensor:
        """The gradient of each row; a row that has none at the start gets a redirected one."""
        before = self.generator.get_state()
        gradient = self._back(numbers, GRADIENT)
        if step > FIRST_STEPS and bool(self.alive.all()):
            return gradient
        moves = _moves(gradient)
        self.alive.logical_or_(moves.cpu())
        if step > FIRST_STEPS or bool(moves.all()):
            return gradient
        self.generator.set_state(before)
        other = self._back(numbers, REDIRECTED)
        self.redirected.logical_or_((~moves & _moves(other)).cpu())
        chosen = moves.view(-1, *[1] * (gradient.dim() - 1))
        return torch.where(chosen, gradient, other)

    def _back(self, numbers: torch.Tensor, book: RuleBook) -> torch.Tensor:
        with torch.enable_grad():
            planes, opacity = self.parted(numbers)
            scores = self.scorer(self._fed(planes, opacity), book)
            if opacity is not None:
                scores = scores * (1 - opacity.mean((1, 2, 3)))
            wanted = [numbers, planes] if self.recipe.opacity == "trace" else [numbers]
            found = _gradients(scores.sum(), wanted)
        for pull in found[1:]:
            self.pulled.add_(pull.abs().mean(1).cpu())
        return found[0]

    def parted(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The pictures, and their opacity where they have a channel for it."""
        channels, canvas = self.preprocessing.channels, self.recipe.canvas
        picture = canvas.picture(numbers[:, :channels], _with(self.shape, channels))
        if self.recipe.opacity != "alpha":
            return picture, None
        return picture, canvas.picture(numbers[:, channels:], _with(self.shape, 1))

    def _fed(self, planes: torch.Tensor, opacity: torch.Tensor | None) -> torch.Tensor:
        """What the network is shown in one step: the copies of each picture side by side."""
        if opacity is not None:
            shape = (1, *planes.shape[1:])
            behind = _BACKGROUND.start(_whole(shape), self.generator).to(planes)
            planes = planes * opacity + _BACKGROUND.picture(behind, _whole(shape)) * (1 - opacity)
        recipe = self.recipe
        shown = [seen(planes, recipe.transforms, self.generator) for _ in range(recipe.copies)]
        views = shown[0] if len(shown) == 1 else torch.stack(shown, dim=1).flatten(0, 1)
        if recipe.noise:
            grain = torch.randn(views.shape[1:], generator=self.generator)
            views = views + recipe.noise * grain.to(views)
        return standardised(views, self.preprocessing)

    def opacity(self, numbers: torch.Tensor) -> torch.Tensor | None:
        """Which parts of each picture matter, from 0 to 1."""
        if self.recipe.opacity == "trace":
            most = self.pulled.flatten(1).quantile(0.98, dim=1).clamp(min=1e-30)
            return (self.pulled / most[:, None, None]).clamp(max=1)
        own = self.parted(numbers)[1]
        return None if own is None else own[:, 0]

    def composed(self, numbers: torch.Tensor) -> torch.Tensor:
        """The pictures as they are shown: over grey where they are transparent."""
        planes, opacity = self.parted(numbers)
        return planes if opacity is None else GREY + (planes - GREY) * opacity


def _with(shape: Shape, channels: int) -> Shape:
    return (shape[0], channels, *shape[2:])


def _whole(shape: Sequence[int]) -> Shape:
    batch, channels, height, width = shape
    return batch, channels, height, width


def _moves(gradient: torch.Tensor) -> torch.Tensor:
    """Whether each row has a gradient at all."""
    return gradient.flatten(1).any(dim=1)


def standardised(pictures: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Pictures from 0 to 1 as the network takes them."""
    mean, std = (
        torch.tensor(numbers, dtype=pictures.dtype, device=pictures.device)[:, None, None]
        for numbers in (preprocessing.mean, preprocessing.std)
    )
    return (pictures - mean) / std


def _gradients(score: torch.Tensor, wanted: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    if not score.requires_grad:
        raise ModelError(
            "nothing leads back from this layer to the picture: the network detaches it, or runs "
            "it with gradients switched off"
        )
    try:
        return torch.autograd.grad(score, wanted, materialize_grads=True)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"torch cannot look back through this network: {error}") from error
