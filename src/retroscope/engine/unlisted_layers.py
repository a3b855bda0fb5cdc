"""What has weights for the image and is not listed as a layer."""

from collections.abc import Iterator, Sequence

import torch

from retroscope.engine.layer_names import LayerNamer
from retroscope.engine.program import Step
from retroscope.results.layers import UnlistedLayer


def is_layer_shape(step: Step) -> bool:
    """Whether an operation gives maps, tokens or a vector of one image.

    Tokens in front of the dimension of the batch must be known to be a grid.
    """
    shape = step.shapes[0] if step.shapes else ()
    batch_dim = step.operation.batch_dim if step.operation else 0
    is_known = batch_dim == 0 or (step.field is not None and step.field.tokens is not None)
    return len(shape) in (2, 3, 4) and shape[batch_dim] == 1 and is_known


def unlisted_step(step: Step, module: str) -> Iterator[UnlistedLayer]:
    """A step that would be a layer if its maps had another shape; nothing without weights."""
    if step.operation is None or not step.parameters:
        return
    shape = step.shapes[0]
    stacked = "maps stacked in the batch dimension"
    reason = stacked if len(shape) in (2, 3, 4) else f"maps of {len(shape)} dimensions"
    yield UnlistedLayer(module or step.operation.kind, step.operation.kind, reason)


def unlisted_modules(module: torch.nn.Module, namer: LayerNamer) -> Iterator[UnlistedLayer]:
    """Innermost modules with weights in which no step is in the table of operations."""
    modules = dict(module.named_modules())
    for path in namer.modules_without_layers():
        part = modules.get(path)
        if path and part is not None and _has_weights(part):
            yield UnlistedLayer(path, type(part).__name__, "not in the table of operations")


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
