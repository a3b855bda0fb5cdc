"""A call whose tensors have position labels, and what is known of its results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from retroscope.engine.interpreter import Call
from retroscope.engine.motion import Grid, Mix, Motion, Move, Shape, Stay
from retroscope.engine.operations import Operation
from retroscope.engine.position_labels import PositionLabels


@dataclass(frozen=True, eq=False)
class LabelledCall:
    """A call that has run: the labels of its tensors, and which of these depend on the image."""

    call: Call
    operation: Operation
    labels: Mapping[int, PositionLabels]
    """By the identity of the tensor."""
    of_image: frozenset[int]
    constants: tuple[Shape, ...]
    outputs: Sequence[Tensor]

    def labels_of(self, tensor: object) -> PositionLabels | None:
        return self.labels.get(id(tensor))

    @property
    def labelled(self) -> list[tuple[Tensor, PositionLabels]]:
        """The tensors with labels, in the order of the arguments."""
        tensors = {id(tensor): tensor for tensor in self.call.tensors()}
        return [(tensors[key], self.labels[key]) for key in tensors if key in self.labels]

    @property
    def shape(self) -> Shape:
        return tuple(self.outputs[0].shape)

    @property
    def has_pairs(self) -> bool:
        """Whether elements of a tensor stand for pairs of positions."""
        return any(labels.is_pairs for _, labels in self.labelled)


@dataclass(frozen=True, eq=False)
class LabelledResult:
    """The numbers of each output on a grid, None where there are none.

    `mixes`: positions read each other, `attends`: by attention. `reads` says of tensors, by their
    identity, which positions are read instead. `gated`: each is scaled by what reads all of them.
    `cuts`: the positions inside a window are along another dimension. `weights` are tensors whose
    values only weigh those of others: the result is where the others are.
    """

    numbers: Sequence[Tensor | None]
    grid: Grid
    mixes: bool = False
    gated: bool = False
    attends: bool = False
    is_pairs: bool = False
    cuts: bool = False
    reads: Mapping[int, Motion] = field(default_factory=dict)
    weights: frozenset[int] = frozenset()

    def is_at(self, tensor: Tensor) -> bool:
        """Whether the result is where a tensor of the same grid is."""
        return id(tensor) not in self.weights

    def motion_of(self, tensor: Tensor) -> Motion:
        """Which positions of a tensor a position of the result reads."""
        return self.reads.get(id(tensor), Mix() if self.mixes else Stay())


LabelRule = Callable[[LabelledCall], LabelledResult | None]


def renumber(labels: PositionLabels, motions: Mapping[int, Motion], result: Shape) -> Tensor | None:
    """The numbers along the dimensions of the result, with length 1 along all others."""
    added = len(result) - labels.numbers.dim()
    targets = [
        motion.axes[0] if isinstance(motion, Move) else dim + added
        for dim, motion in motions.items()
    ]
    order = sorted(range(len(targets)), key=targets.__getitem__)
    others = [dim for dim in range(labels.numbers.dim()) if dim not in motions]
    numbers = labels.distinct.squeeze(tuple(others)).permute(order)
    lengths = dict(zip(sorted(targets), numbers.shape, strict=True))
    if any(not 0 <= dim < len(result) or result[dim] != lengths[dim] for dim in lengths):
        return None
    return numbers.reshape([lengths.get(dim, 1) for dim in range(len(result))])
