"""Which rules make a projection that depends on the image: decided by what the survey found."""

from collections.abc import Iterator
from dataclasses import dataclass

from retroscope.engine.motion import Resample, Slide
from retroscope.engine.operations import Role, WindowReduction
from retroscope.engine.program import Step, Survey
from retroscope.engine.rules import DECONVNET, RELEVANCE, RuleBook, rule_book

AUTO = "auto"
"""The rules that suit the network."""


@dataclass(frozen=True)
class RuleChoice:
    """A rule book, and why it was chosen; no reason where it was asked for by name."""

    book: RuleBook
    reason: str = ""


def choose_rules(rules: str | RuleBook, survey: Survey) -> RuleChoice:
    """The rule book of this name, or for `auto` the one that suits the network.

    A deconvnet depends on the image through the switches of max pooling alone (Mahendran & Vedaldi
    2016). It is chosen where nothing else makes the maps smaller, but for the first convolution.
    """
    if isinstance(rules, RuleBook):
        return RuleChoice(rules)
    if rules != AUTO:
        return RuleChoice(rule_book(rules))
    reductions = list(_reductions(survey))
    if not reductions and survey.has_attention:
        reason = "attention mixes the positions, and a deconvnet has no rule for it"
        return RuleChoice(RELEVANCE, reason)
    if not reductions:
        reason = f"without max pooling {_NO_IMAGE}"
        return RuleChoice(RELEVANCE, reason)
    other = next((step for step in reductions if not _is_max_pooling(step)), None)
    if other is not None:
        reason = f"{_describe(other)} the maps smaller, not max pooling alone, so {_NO_IMAGE}"
        return RuleChoice(RELEVANCE, reason)
    return RuleChoice(
        DECONVNET, "max pooling alone makes the maps smaller; its switches come from the image"
    )


_NO_IMAGE = "a deconvnet projection would barely depend on the image"


def depends_on_image(survey: Survey, target: int) -> bool:
    """Whether a deconvnet projection of a step can depend on the image.

    False only if all that the step reads, directly or not, is linear, or a rectifier or response
    norm, which on the way back do not ask what the image was.
    """
    return not all(_ignores_image(survey.steps[number]) for number in ancestors(survey, target))


def ancestors(survey: Survey, target: int) -> set[int]:
    """The step and all whose results it depends on."""
    pending, ancestors = [target], set[int]()
    while pending:
        number = pending.pop()
        if number not in ancestors:
            ancestors.add(number)
            pending += survey.steps[number].inputs
    return ancestors


_INDEPENDENT_ROLES = {Role.LINEAR, Role.RECTIFIER, Role.BATCH_NORM, Role.RESPONSE_NORM}
_LINEAR_KINDS = {"add", "concat", "split"}


def _ignores_image(step: Step) -> bool:
    row = step.operation
    if row is None:
        return False
    is_linear = row.kind in _LINEAR_KINDS or row.keeps_values or row.is_view
    is_linear = is_linear or row.reduction not in (None, WindowReduction.MAXIMUM)
    return is_linear or row.role in _INDEPENDENT_ROLES


def _reductions(survey: Survey) -> Iterator[Step]:
    """The steps between the first and the last convolution that give smaller maps."""
    convolutions = [
        number for number, step in enumerate(survey.steps) if _is_convolution(step)
    ] or [0]
    for step in survey.steps[convolutions[0] + 1 : convolutions[-1] + 1]:
        if isinstance(step.motion, Slide | Resample) and _reduces(step):
            yield step


def _is_convolution(step: Step) -> bool:
    return step.operation is not None and step.operation.kind == "conv" and step.field is not None


def _reduces(step: Step) -> bool:
    """Whether it at least halves a map, but not to a single position, as for a gate."""
    assert step.field is not None
    if step.field.axes is None:
        return False
    lengths = [step.shapes[0][axis] for axis in step.field.axes]
    halved = [2 * length <= before for length, before in zip(lengths, step.lengths, strict=True)]
    return any(halved) and set(lengths) != {1}


def _is_max_pooling(step: Step) -> bool:
    return step.operation is not None and step.operation.reduction is WindowReduction.MAXIMUM


def _describe(step: Step) -> str:
    phrases = {"conv": "strided convolutions make", "pool": "mean pooling makes"}
    return phrases.get(step.operation.kind if step.operation else "", "strided operations make")
