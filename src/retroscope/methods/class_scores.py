"""What a network says of pictures: the score of every class, and its probability.

Where a network ends in a softmax or a sigmoid, the score is what goes into it: a probability near
1 hardly changes, whatever the picture does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from retroscope.engine.forward import Seen, plainly
from retroscope.engine.intercept import Handler, run
from retroscope.engine.operations import (
    Args,
    Function,
    Kwargs,
    asks_only,
    is_itself,
    name_of,
    named,
    tensors_in,
)
from retroscope.engine.survey import Survey, canonical
from retroscope.engine.tensor_map import Marks
from retroscope.errors import ModelError
from retroscope.network import Network

Ending = Callable[[torch.Tensor], torch.Tensor]


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return scores.softmax(dim=1)


ENDINGS: dict[Function, Ending] = dict.fromkeys(named("softmax", "log_softmax"), _softmax)
ENDINGS |= dict.fromkeys(named("sigmoid", "logsigmoid"), torch.sigmoid)
"""What makes probabilities of scores, by the function that a network ends in."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a network says of a batch: the score of each class (pictures, classes)."""

    scores: torch.Tensor
    ending: Ending

    @property
    def probabilities(self) -> torch.Tensor:
        return self.ending(self.scores.detach().float())


class Ends:
    """Remembers what went into a softmax or a sigmoid, in case the network ends there."""

    def __init__(self) -> None:
        self._before = Marks[tuple[torch.Tensor, Ending]]()

    def called(self, function: Function, args: Args, kwargs: Kwargs, result: object) -> None:
        """A function has run."""
        if function in ENDINGS and isinstance(result, torch.Tensor):
            self._before[result] = next(tensors_in(args, kwargs)), ENDINGS[function]

    def scores_of(self, output: torch.Tensor) -> tuple[torch.Tensor, Ending]:
        """The scores behind an output, and what makes probabilities of them.

        A single number that ends in nothing is taken for the score of a sigmoid.
        """
        alone = output.dim() > 1 and output.shape[1] == 1
        return self._before.get(output) or (output, torch.sigmoid if alone else _softmax)


def verdict_of(net: Network, result: object, ends: Ends, pictures: int) -> Verdict:
    """What the result of a forward pass says, which must be one score for each class."""
    output = next(tensors_in(result), None)
    if output is None:
        raise ModelError(f"{net.name} gives no tensor; a class needs a network that scores classes")
    scores, ending = ends.scores_of(output)
    if scores.dim() < 2 or scores.shape[0] != pictures or scores[0].numel() != scores.shape[1]:
        raise ModelError(
            f"{net.name} gives {tuple(output.shape)} for {pictures} pictures and not one score "
            "for each class; name a unit instead of a class"
        )
    _refuse_other_labels(net, scores.shape[1])
    return Verdict(scores.flatten(1), ending)


def _refuse_other_labels(net: Network, classes: int) -> None:
    """A label of another class would be worse than none."""
    if net.labels and len(net.labels) != classes:
        outputs = "1 output" if classes == 1 else f"{classes} outputs"
        labels = "1 label" if len(net.labels) == 1 else f"{len(net.labels)} labels"
        raise ModelError(
            f"{net.name} has {outputs}, {labels}; give a label for each output, or none"
        )


def refuse_not_finite(net: Network, verdict: Verdict, sources: Sequence[str] = ()) -> None:
    """Of scores that are no numbers no class is the most probable, and nothing leads back."""
    scores = verdict.scores.detach()
    strange = (~scores.isfinite()).nonzero().tolist()
    if strange:
        row, place = strange[0]
        picture = repr(sources[row]) if len(sources) > 1 else "this picture"
        raise ModelError(
            f"the scores of {net.name} for {picture} are not finite ({float(scores[row, place])}); "
            "check its weights, its mean and std, and whether half precision is too small for it"
        )


class _Pass:
    """Follows the survey's program to its end and shows the steps asked for on the way."""

    def __init__(self, survey: Survey, seen: Mapping[int, Seen], execute: Handler) -> None:
        self.steps = survey.steps
        self.seen = seen
        self.execute = execute
        self.ends = Ends()
        self.count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        result = self.execute(function, args, kwargs)
        self.ends.called(function, args, kwargs, result)
        first = next(tensors_in(result), None)
        if (first is None and asks_only(function)) or is_itself(function, args):
            return result
        if self.count in self.seen:
            self._show(function, first)
        self.count += 1
        return result

    def _show(self, function: Function, first: torch.Tensor | None) -> None:
        step = self.steps[self.count]
        if step.function != function or first is None or step.seen is None:
            raise ModelError(
                f"this network does not run the same way twice: {name_of(function)} where "
                f"{name_of(step.function)} was; its layers have no fixed place"
            )
        self.seen[self.count](canonical(first, step.seen.axes))


def judged(
    net: Network,
    survey: Survey,
    pictures: torch.Tensor,
    *,
    seen: Mapping[int, Seen] | None = None,
    execute: Handler = plainly,
) -> Verdict:
    """Runs pictures through the whole network; the steps asked for are shown on the way.

    What is shown may be changed in place: the network goes on with it.
    """
    handler = _Pass(survey, seen or {}, execute)
    result = run(net.module, pictures, handler)
    return verdict_of(net, result, handler.ends, len(pictures))
