"""What a network returns for a batch of images, and the class scores and probabilities in it.

If the network ends in a softmax or a sigmoid, the scores are its input, since a probability near 1
barely responds to changes of the image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from retroscope.engine.batching import Size
from retroscope.engine.call_arguments import Function, tensors_in
from retroscope.engine.forward import MapListener, notify
from retroscope.engine.intercept import Handler, execute_plainly, run
from retroscope.engine.interpreter import Call, Interpreter, matches, refuse_divergence
from retroscope.engine.operations import functions_named
from retroscope.engine.program import Survey
from retroscope.engine.tensor_map import TensorMap
from retroscope.errors import ModelError
from retroscope.methods.detections import Detections, read_detections, returns_like_torchvision
from retroscope.methods.segmentation import read_logits
from retroscope.network import Network

ProbabilityFunction = Callable[[torch.Tensor], torch.Tensor]


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    return scores.softmax(dim=1)


PROBABILITY_FUNCTIONS: dict[Function, ProbabilityFunction] = {
    **dict.fromkeys(functions_named("softmax", "log_softmax"), _softmax),
    **dict.fromkeys(functions_named("sigmoid", "logsigmoid"), torch.sigmoid),
}
"""How scores become probabilities, by the function that ends the network."""


@dataclass(frozen=True, eq=False)
class ClassScores:
    """The score of each class for each image of a batch (images, classes)."""

    scores: torch.Tensor
    to_probabilities: ProbabilityFunction

    @cached_property
    def probabilities(self) -> torch.Tensor:
        """The probability of each class for each image (images, classes)."""
        return self.to_probabilities(self.scores.detach().float())


class ScoreTracker:
    """Records the input of each softmax and sigmoid, in case the network ends there."""

    def __init__(self) -> None:
        self._inputs = TensorMap[tuple[torch.Tensor, ProbabilityFunction]]()

    def record(self, call: Call, result: object) -> None:
        """Records a call if it turns scores into probabilities."""
        if call.function in PROBABILITY_FUNCTIONS and isinstance(result, torch.Tensor):
            self._inputs[result] = next(call.tensors()), PROBABILITY_FUNCTIONS[call.function]

    def scores_behind(self, output: torch.Tensor) -> tuple[torch.Tensor, ProbabilityFunction]:
        """The scores behind an output, and the function that makes them probabilities.

        A single raw output counts as the score of a sigmoid, several as those of a softmax.
        """
        is_single_score = output.dim() > 1 and output.shape[1] == 1
        return self._inputs.get(output) or (output, torch.sigmoid if is_single_score else _softmax)

    def without_repeated_scores(self, outputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Without the scores of which the probabilities are among the outputs too."""
        recorded = [self._inputs.get(output) for output in outputs]
        repeated = {id(entry[0]) for entry in recorded if entry is not None}
        return [output for output in outputs if id(output) not in repeated]


def read_class_scores(
    net: Network, network_output: object, *, tracker: ScoreTracker, batch_size: int
) -> ClassScores:
    """The class scores in a network's output, which must be one score per class and image."""
    output = _score_output(net, network_output, batch_size, tracker)
    if output is None:
        raise ModelError(
            f"{net.name} does not return a tensor of class scores; give a unit instead of a class"
        )
    scores, to_probabilities = tracker.scores_behind(output)
    if not _has_score_per_class(scores, batch_size):
        raise ModelError(
            f"{net.name} returns shape {tuple(output.shape)} for {batch_size} "
            f"{'image' if batch_size == 1 else 'images'}, not one score per class; give a unit "
            "instead of a class"
        )
    check_label_count(net, scores.shape[1])
    return ClassScores(scores.flatten(1), to_probabilities)


def _score_output(
    net: Network, network_output: object, batch_size: int, tracker: ScoreTracker
) -> torch.Tensor | None:
    """The tensor of class scores among those that a network returns: the only one that may be, the
    `logits`, or that with a score for each label.
    """
    outputs = list(tensors_in(network_output))
    logits = network_output.get("logits") if isinstance(network_output, Mapping) else None
    if isinstance(logits, torch.Tensor):
        return logits
    if not outputs or not _has_score_per_class(outputs[0], batch_size):
        return outputs[0] if outputs else None
    candidates = tracker.without_repeated_scores(
        [output for output in outputs if _has_score_per_class(output, batch_size)]
    )
    labelled = [output for output in candidates if output.shape[1] == len(net.labels)]
    if len(candidates) > 1 and len(labelled) != 1:
        shapes = " and ".join(str(tuple(output.shape)) for output in candidates)
        raise ModelError(
            f"{net.name} returns {len(candidates)} tensors that may be class scores, {shapes}; "
            "wrap it in a module that returns one of them"
        )
    return (labelled or candidates)[0]


def _has_score_per_class(output: torch.Tensor, batch_size: int) -> bool:
    return (
        output.dim() > 1 and output.shape[0] == batch_size and output[0].numel() == output.shape[1]
    )


def check_label_count(net: Network, class_count: int) -> None:
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


class _ScoringPass(Interpreter):
    """A whole forward pass that tracks scores and shows the maps of single steps.

    Only a step with a listener has to be the surveyed one: scores need no program.
    """

    def __init__(
        self, survey: Survey, listeners: Mapping[int, MapListener], execute: Handler
    ) -> None:
        super().__init__(execute)
        self.steps = survey.steps
        self.listeners = listeners
        self.tracker = ScoreTracker()

    def step(self, call: Call) -> object:
        result = call.run(self.execute)
        self.tracker.record(call, result)
        if self.count in self.listeners:
            step = self.steps[self.count]
            if not matches(step, call):
                refuse_divergence(step, call)
            notify(self.listeners[self.count], step, result)
        return result


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """What a network returned for a batch of images of one size.

    It holds class scores, detections, or logits of each pixel; of another network none of them.
    """

    net: Network
    value: object
    tracker: ScoreTracker
    batch_size: int
    size: Size

    @cached_property
    def class_scores(self) -> ClassScores:
        """The score of each class. Raises ModelError if there is not one per class and image."""
        return read_class_scores(
            self.net, self.value, tracker=self.tracker, batch_size=self.batch_size
        )

    @cached_property
    def has_class_scores(self) -> bool:
        """Whether there is one score per class and image."""
        if returns_like_torchvision(self.value):
            return False
        output = _score_output(self.net, self.value, self.batch_size, self.tracker)
        return output is not None and _has_score_per_class(output, self.batch_size)

    @cached_property
    def detections(self) -> list[Detections] | None:
        """The detections of each image; None if the network is not a detector."""
        if self.has_class_scores:
            return None
        return read_detections(self.net.module, self.value, self.size)

    @cached_property
    def logits(self) -> torch.Tensor | None:
        """The logits of each pixel (images, classes, height, width); None if not a segmenter."""
        if self.has_class_scores or self.detections is not None:
            return None
        return read_logits(self.net.module, self.value, self.size)


def run_network(
    net: Network,
    survey: Survey,
    batch: torch.Tensor,
    *,
    listeners: Mapping[int, MapListener] | None = None,
    execute: Handler = execute_plainly,
) -> NetworkOutput:
    """Runs a batch through the whole network.

    `listeners` receive the maps of their step (batch, channels, height, width) and may edit them
    in place: the network continues with the edited maps.
    """
    handler = _ScoringPass(survey, listeners or {}, execute)
    value = run(net.module, batch, handler)
    return NetworkOutput(net, value, handler.tracker, len(batch), survey.size)


def run_classifier(
    net: Network,
    survey: Survey,
    batch: torch.Tensor,
    *,
    listeners: Mapping[int, MapListener] | None = None,
    execute: Handler = execute_plainly,
) -> ClassScores:
    """The class scores of a batch, as `run_network` runs it."""
    return run_network(net, survey, batch, listeners=listeners, execute=execute).class_scores
