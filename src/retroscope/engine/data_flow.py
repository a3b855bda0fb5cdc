"""Which step computed each tensor of a pass, and how deep in the network that is."""

from collections.abc import Iterable, Sequence

import torch

from retroscope.engine.tensor_map import TensorMap


class DataFlow:
    """Follows the tensors of the image from step to step.

    The depth of a tensor is the number of linear operations on the longest path to it.
    """

    def __init__(self) -> None:
        self._steps = TensorMap[int]()
        self._depths = TensorMap[int]()

    def inputs(self, tensors: Iterable[torch.Tensor]) -> tuple[int, ...]:
        """The steps that computed these tensors, each once, in running order."""
        steps = (self._steps.get(tensor) for tensor in tensors)
        return tuple(sorted({step for step in steps if step is not None}))

    def depth(self, tensors: Iterable[torch.Tensor]) -> int:
        """The depth of the deepest of these tensors; 0 for pixels and constants."""
        return max((self._depths.get(tensor) or 0 for tensor in tensors), default=0)

    def record(self, step: int, depth: int, results: Sequence[torch.Tensor]) -> None:
        """A step has computed these tensors, or written to them."""
        for tensor in results:
            self._steps[tensor], self._depths[tensor] = step, depth

    def record_copy(self, source: torch.Tensor, copies: Iterable[torch.Tensor]) -> None:
        """These tensors are another one under new names."""
        step = self._steps.get(source)
        if step is not None:
            for copy in copies:
                self._steps[copy], self._depths[copy] = step, self.depth([source])
