"""The second half of a network again and again, for other maps of the layer where it begins."""

from collections.abc import Callable
from functools import partial

import torch

from retroscope.engine.intercept import run
from retroscope.engine.operations import (
    Args,
    Function,
    Kwargs,
    asks_only,
    is_itself,
    makes_anew,
    tensors_in,
    with_tensors,
)
from retroscope.engine.placeholders import Lost, blank, next_step, refuse_layout
from retroscope.engine.survey import Step, Survey, canonical, written
from retroscope.engine.tensor_map import Marks, instead
from retroscope.methods.class_scores import Ends, judged, verdict_of
from retroscope.network import Network
from retroscope.results.values import Layer

Change = Callable[[torch.Tensor], None]
"""Changes a layer's maps (batch, channels, height, width) in place."""


def replayed(
    net: Network, survey: Survey, layer: Layer, *, picture: torch.Tensor, maps: torch.Tensor
) -> torch.Tensor | None:
    """The scores that follow from these maps (batch, channels, height, width) of the layer.

    Nothing before the layer runs. None where what comes after it reads more than its maps.
    """
    handler = _Replay(survey, layer.index, maps)
    stand_in = blank((len(maps), *picture.shape[1:]), picture)
    handler.unknown[stand_in] = True
    try:
        result = run(net.module, stand_in, handler)
    except Lost:
        return None
    return verdict_of(net, result, handler.ends, len(maps)).scores


def rerun(
    net: Network,
    survey: Survey,
    layer: Layer,
    *,
    picture: torch.Tensor,
    times: int,
    change: Change,
) -> torch.Tensor:
    """The scores of a picture, run so many times from its pixels with the layer's maps changed."""
    pictures = picture.expand(times, *picture.shape[1:]).clone()
    return judged(net, survey, pictures, seen={layer.index: change}).scores


class _Replay:
    """Stand-ins up to the layer, its given maps there, the network itself from there on."""

    def __init__(self, survey: Survey, begin: int, maps: torch.Tensor) -> None:
        self.steps = survey.steps
        self.begin = begin
        self.maps = maps
        self.ends = Ends()
        self.unknown = Marks[bool]()
        self.swaps = Marks[torch.Tensor]()
        self.count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        current = partial(instead, self.swaps)
        args, kwargs = with_tensors(args, current), with_tensors(kwargs, current)
        known = not any(one in self.unknown for one in tensors_in(args, kwargs))
        if asks_only(function):
            if not known:
                refuse_layout(function)
            answer = function(*args, **kwargs)
            if next(tensors_in(answer), None) is None:
                return answer
        if is_itself(function, args):
            return args[0]
        step = next_step(self.steps, self.count, function)
        self.count += 1
        if self.count <= self.begin or known or makes_anew(function):
            return self._answer(step, args, kwargs, known=known or makes_anew(function))
        return self._begun(step, args, kwargs)

    def _answer(self, step: Step, args: Args, kwargs: Kwargs, *, known: bool) -> object:
        if known:
            result = step.function(*args, **kwargs)
            self.ends.called(step.function, args, kwargs, result)
            return result
        changed = written(step.function, args, kwargs)
        if changed is not None and changed in self.unknown:
            return changed
        if changed is not None or not step.shapes or step.form not in (torch.Tensor, tuple, list):
            raise Lost
        made = [blank((len(self.maps) * shape[0], *shape[1:]), self.maps) for shape in step.shapes]
        for one in made:
            self.unknown[one] = True
        return made[0] if step.form is torch.Tensor else step.form(made)

    def _begun(self, step: Step, args: Args, kwargs: Kwargs) -> object:
        """The layer's own step gives its maps; any later one that is not known reads too much."""
        if self.count != self.begin + 1 or step.form is not torch.Tensor or step.seen is None:
            raise Lost
        shape = (len(self.maps), *step.shapes[0][1:]) if step.shapes else ()
        given = torch.empty(shape, dtype=self.maps.dtype, device=self.maps.device)
        canonical(given, step.seen.axes).copy_(self.maps)
        changed = written(step.function, args, kwargs)
        if changed is not None:
            self.swaps[changed] = given
        return given
