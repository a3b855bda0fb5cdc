"""What works on the image with weights and is not listed as a layer."""

from collections.abc import Iterator, Sequence, Set

import torch

from retroscope.engine.layer_names import LayerNamer
from retroscope.engine.operations import name_of
from retroscope.engine.program import Step
from retroscope.geometry import IMAGE_RANK
from retroscope.results.layers import UnlistedLayer


def is_layer_shape(step: Step) -> bool:
    """Whether an operation gives maps, tokens or a vector of one image.

    Tokens in front of the dimension of the batch must be known to be a grid.
    """
    shape = step.shapes[0] if step.shapes else ()
    batch_dim = step.operation.batch_dim if step.operation else 0
    is_known = batch_dim == 0 or (step.field is not None and step.field.tokens is not None)
    return _has_layer_dimensions(step) and shape[batch_dim] == 1 and is_known


def _has_layer_dimensions(step: Step) -> bool:
    """Those of a batch and its channels, and up to one for each axis."""
    rank = IMAGE_RANK if step.field is None else step.field.rank
    return len(step.shapes) > 0 and len("bc") <= len(step.shapes[0]) <= len("bc") + rank


_REGION_FUNCTIONS = frozenset(
    f"torchvision.{name}" for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
)
"""Functions that cut a map for each box out of the maps of the image."""

OF_REGIONS = (
    "one map for each proposed box, not one for the image; use a layer of the backbone, or the "
    "target box:N"
)


def reads_regions(step: Step, of_regions: Set[int]) -> bool:
    """Whether a step cuts boxes out of maps, or reads the result of a step that does.

    `of_regions` are the numbers of the earlier ones.
    """
    return name_of(step.function) in _REGION_FUNCTIONS or not of_regions.isdisjoint(step.inputs)


def unlisted_step(step: Step, module: str, *, of_regions: bool) -> Iterator[UnlistedLayer]:
    """A step that would be a layer if its maps had another shape; nothing without weights."""
    if step.operation is None or not step.parameters:
        return
    stacked = OF_REGIONS if of_regions else "maps stacked in the batch dimension"
    many = f"maps of {len(step.shapes[0])} dimensions"
    reason = stacked if _has_layer_dimensions(step) else many
    yield UnlistedLayer(module or step.operation.kind, step.operation.kind, reason)


def unlisted_modules(module: torch.nn.Module, namer: LayerNamer) -> Iterator[UnlistedLayer]:
    """Innermost modules with weights in which no step is a layer."""
    modules = dict(module.named_modules())
    for path in namer.modules_without_layers():
        part = modules.get(path)
        if path and part is not None and _has_weights(part):
            yield UnlistedLayer(path, type(part).__name__, "none of its operations is a layer")


def skipped_modules(
    module: torch.nn.Module, namer: LayerNamer, steps: Sequence[Step]
) -> Iterator[UnlistedLayer]:
    """Modules with weights that neither ran nor lent their weights to another's code.

    For another image they may run: the network may branch on values.
    """
    used, ran = {identity for step in steps for identity in step.parameters}, namer.module_paths()
    for path, part in module.named_modules():
        weights = {id(weight) for weight in part.parameters(recurse=False)}
        if weights and path not in ran and not weights & used:
            yield UnlistedLayer(path, type(part).__name__, "not run for a black image")


def _has_weights(module: torch.nn.Module) -> bool:
    is_quantized = "quantized" in type(module).__module__ and hasattr(module, "weight")
    return is_quantized or next(module.parameters(recurse=False), None) is not None
