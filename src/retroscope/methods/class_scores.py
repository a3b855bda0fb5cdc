"""Class scores and probabilities of a batch of images.

If the network ends in a softmax or a sigmoid, the scores are its input, since a probability near 1
barely responds to changes of the image.
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

ProbabilityFunction = Callable[[torch.Tensor], torch.Tensor]


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return scores.softmax(dim=1)


PROBABILITY_FUNCTIONS: dict[Function, ProbabilityFunction] = {
    **dict.fromkeys(named("softmax", "log_softmax"), _softmax),
    **dict.fromkeys(named("sigmoid", "logsigmoid"), torch.sigmoid),
}
"""How scores become probabilities, by the function that ends the network."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The score of each class for each image of a batch (images, classes)."""

    scores: torch.Tensor
    to_probabilities: ProbabilityFunction

    @property
    def probabilities(self) -> torch.Tensor:
        return self.to_probabilities(self.scores.detach().float())


class ScoreTracker:
    """Records the input of each softmax and sigmoid, in case the network ends there."""

    def __init__(self) -> None:
        self._inputs = Marks[tuple[torch.Tensor, ProbabilityFunction]]()

    def record(self, function: Function, args: Args, kwargs: Kwargs, result: object) -> None:
        """Records a call if it turns scores into probabilities."""
        if function in PROBABILITY_FUNCTIONS and isinstance(result, torch.Tensor):
            self._inputs[result] = next(tensors_in(args, kwargs)), PROBABILITY_FUNCTIONS[function]

    def scores_behind(self, output: torch.Tensor) -> tuple[torch.Tensor, ProbabilityFunction]:
        """The scores behind an output, and the function that makes them probabilities.

        A single raw output counts as the score of a sigmoid, several as those of a softmax.
        """
        is_single_score = output.dim() > 1 and output.shape[1] == 1
        return self._inputs.get(output) or (output, torch.sigmoid if is_single_score else _softmax)


def read_class_scores(
    net: Network, network_output: object, *, tracker: ScoreTracker, batch_size: int
) -> ClassScores:
    """The class scores in a network's output, which must be one score per class and image."""
    output = next(tensors_in(network_output), None)
    if output is None:
        raise ModelError(
            f"{net.name} does not return a tensor of class scores; give a unit instead of a class"
        )
    scores, to_probabilities = tracker.scores_behind(output)
    if scores.dim() < 2 or scores.shape[0] != batch_size or scores[0].numel() != scores.shape[1]:
        raise ModelError(
            f"{net.name} returns shape {tuple(output.shape)} for {batch_size} "
            f"{'image' if batch_size == 1 else 'images'}, not one score per class; give a unit "
            "instead of a class"
        )
    _check_label_count(net, scores.shape[1])
    return ClassScores(scores.flatten(1), to_probabilities)


def _check_label_count(net: Network, class_count: int) -> None:
    """A missing label is harmless; the label of another class is not."""
    if net.labels and len(net.labels) != class_count:
        outputs = "1 output" if class_count == 1 else f"{class_count} outputs"
        labels = "1 label" if len(net.labels) == 1 else f"{len(net.labels)} labels"
        raise ModelError(
            f"{net.name} has {outputs} but {labels}; give one label per output, or none"
        )


def check_finite_scores(
    net: Network, class_scores: ClassScores, sources: Sequence[str] = ()
) -> None:
    """NaN and infinite scores have neither a most probable class nor a useful gradient."""
    scores = class_scores.scores.detach()
    nonfinite = (~scores.isfinite()).nonzero().tolist()
    if nonfinite:
        row, class_index = nonfinite[0]
        image = repr(sources[row]) if len(sources) > 1 else "this image"
        score = float(scores[row, class_index])
        raise ModelError(
            f"the scores of {net.name} for {image} are not finite ({score}); check its weights, "
            "its mean and std, and whether it overflows in half precision"
        )


class _ClassifierPass:
    """A whole forward pass that tracks scores and calls the hooks of single steps."""

    def __init__(self, survey: Survey, hooks: Mapping[int, Seen], execute: Handler) -> None:
        self.steps = survey.steps
        self.hooks = hooks
        self.execute = execute
        self.tracker = ScoreTracker()
        self.step_count = 0

    def __call__(self, function: Function, args: Args, kwargs: Kwargs) -> object:
        result = self.execute(function, args, kwargs)
        self.tracker.record(function, args, kwargs, result)
        first = next(tensors_in(result), None)
        if (first is None and asks_only(function)) or is_itself(function, args):
            return result
        if self.step_count in self.hooks:
            self._call_hook(function, first)
        self.step_count += 1
        return result

    def _call_hook(self, function: Function, first: torch.Tensor | None) -> None:
        step = self.steps[self.step_count]
        if step.function != function or first is None or step.seen is None:
            raise ModelError(
                f"this network does not run the same operations twice: {name_of(function)} where "
                f"{name_of(step.function)} was expected; its layers cannot be identified"
            )
        self.hooks[self.step_count](canonical(first, step.seen.axes))


def run_classifier(
    net: Network,
    survey: Survey,
    batch: torch.Tensor,
    *,
    hooks: Mapping[int, Seen] | None = None,
    execute: Handler = plainly,
) -> ClassScores:
    """Runs a batch through the whole network.

    `hooks` are called with the maps of their step (batch, channels, height, width) and may edit
    them in place: the network continues with the edited maps.
    """
    handler = _ClassifierPass(survey, hooks or {}, execute)
    network_output = run(net.module, batch, handler)
    return read_class_scores(net, network_output, tracker=handler.tracker, batch_size=len(batch))
