"""What a target asks for, resolved in what the network returns: a class, box, segment or number."""

from collections.abc import Sequence

from retroscope.errors import RetroscopeError
from retroscope.methods.box_targets import box_scorer
from retroscope.methods.class_scores import NetworkOutput, check_finite_scores
from retroscope.methods.output_targets import function_scorer, is_path, path_scorer
from retroscope.methods.segment_targets import segment_scorer
from retroscope.methods.target_scorer import TargetScorer, class_scorer
from retroscope.methods.targets import TargetSpec, resolve_target
from retroscope.network import Network


def resolve_scorer(output: NetworkOutput, spec: TargetSpec, row: int = 0) -> TargetScorer:
    """The scorer of a target in one image of a batch.

    Without a target: the most probable class, the most confident box, or the largest segment.
    """
    scorer = _resolve(output, spec, row)
    if not output.has_class_scores or scorer.single_images:
        scorer.check_finite(output, row)
    return scorer


def _resolve(output: NetworkOutput, spec: TargetSpec, row: int) -> TargetScorer:
    if isinstance(spec, str) and is_path(spec):
        return path_scorer(output, spec)
    if callable(spec):
        return function_scorer(output, spec)
    if output.detections is not None:
        return box_scorer(output, spec, row)
    if output.logits is not None:
        return segment_scorer(output, spec, row)
    _refuse_detections(output.net, spec)
    return class_scorer(resolve_target(output.net, spec, output.class_scores.scores[row]))


def _refuse_detections(net: Network, spec: TargetSpec) -> None:
    """A classifier finds no boxes, but may have a class that is called like one."""
    for kind in ("box", "mask"):
        if isinstance(spec, str) and spec.startswith(f"{kind}:") and spec not in net.labels:
            raise RetroscopeError(
                f"{spec!r} is a {kind}, and {net.name} is not a detector; give a class"
            )


def needs_single_images(spec: TargetSpec) -> bool:
    """Whether a target can only be read in the outputs of a single image."""
    return callable(spec) or is_path(spec)


def check_scores(output: NetworkOutput, sources: Sequence[str] = ()) -> None:
    """Raises ModelError if a class score of an image is not finite."""
    if output.has_class_scores:
        check_finite_scores(output.net, output.class_scores, sources)
