"""What reads other inputs of a network than the image, and so has no field in it."""

from collections.abc import Iterable, Iterator, Sequence

import torch

from retroscope.engine.held_inputs import held_forward, held_tensors
from retroscope.engine.program import Step
from retroscope.engine.tensor_map import TensorMap
from retroscope.results.layers import UnlistedLayer

Names = frozenset[str]


class OtherInputFlow:
    """Follows the held inputs of a module from step to step, by their names."""

    def __init__(self, module: torch.nn.Module) -> None:
        forward = held_forward(module)
        self._image = "" if forward is None else forward.image
        self._names = TensorMap[Names]()
        self._layers: list[tuple[Step, UnlistedLayer]] = []
        for held in held_tensors(module):
            self._names[held.tensor] = frozenset([held.name])

    def record(
        self,
        step: Step,
        tensors: Iterable[torch.Tensor],
        outputs: Sequence[torch.Tensor],
        module: str,
    ) -> None:
        """A step has run in the module at this path."""
        if not self._image:
            return
        read = [self._names[tensor] for tensor in tensors if tensor in self._names]
        if not read or step.field is not None:
            return
        names = frozenset[str]().union(*read)
        for output in outputs:
            self._names[output] = names
        if step.operation is not None and step.operation.is_layer and step.parameters:
            kind, inputs = step.operation.kind, " and ".join(sorted(names))
            reason = f"reads {inputs}, and nothing of {self._image}"
            self._layers.append((step, UnlistedLayer(module or kind, kind, reason)))

    def unlisted(self, steps: Sequence[Step]) -> Iterator[UnlistedLayer]:
        """What would be a layer if the image were another input, but for what runs on both."""
        of_image = {
            identity for step in steps if step.field is not None for identity in step.parameters
        }
        for step, layer in self._layers:
            if not set(step.parameters) <= of_image:
                yield layer
