"""A tape: a network as plain Python, then a signal sent back through it.

>>> tape = Tape()
>>> x = tape.input(np.array([[[5.0, 0.0, -5.0, 10.0]]]))
>>> y = tape.relu(x)
>>> tape.project(y, np.array([[[1.0, 1.0, -1.0, -1.0]]]), "gradient").tolist()
[[[1.0, 0.0, 0.0, -1.0]]]
>>> tape.project(y, np.array([[[1.0, 1.0, -1.0, -1.0]]]), "deconvnet").tolist()
[[[1.0, 1.0, 0.0, 0.0]]]
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

import numpy as np

from tests.reference import activations, operations, pools
from tests.reference.operations import Array, Rules, Step

P = ParamSpec("P")


@dataclass(frozen=True, eq=False)
class Node:
    """One value on the tape, and the nodes that it was made from."""

    number: int
    step: Step
    parents: "tuple[Node, ...]"

    @property
    def value(self) -> Array:
        """What the operation gave."""
        return self.step.value


def one_unit(value: Array, place: tuple[int, ...]) -> Array:
    """Keep one activation and zero all others: where a projection starts."""
    start = np.zeros_like(value)
    start[place] = value[place]
    return start


def _of_one(
    operation: Callable[Concatenate[Array, P], Step],
) -> "Callable[Concatenate[Tape, Node, P], Node]":
    def write(tape: "Tape", x: Node, /, *args: P.args, **kwargs: P.kwargs) -> Node:
        return tape.record(operation(x.value, *args, **kwargs), x)

    return write


class Tape:
    """The operations of one forward pass, in running order."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def record(self, step: Step, *parents: Node) -> Node:
        """Append what an operation gave."""
        node = Node(len(self.nodes), step, parents)
        self.nodes.append(node)
        return node

    def input(self, image: Array) -> Node:
        """The image (channels, height, width); the first node, and where projections end."""
        assert not self.nodes, "a tape has one input"
        return self.record(Step(np.asarray(image, dtype=np.float64), lambda _signal, _rules: ()))

    def add(self, a: Node, b: Node) -> Node:
        """The sum of two nodes."""
        return self.record(operations.add(a.value, b.value), a, b)

    def multiply(self, a: Node, b: Node) -> Node:
        """The product of two nodes."""
        return self.record(operations.multiply(a.value, b.value), a, b)

    def concat(self, *parts: Node) -> Node:
        """The channels of several nodes."""
        return self.record(operations.concat(*(part.value for part in parts)), *parts)

    conv = _of_one(operations.conv2d)
    pad = _of_one(operations.zero_pad)
    linear = _of_one(operations.linear)
    reshape = _of_one(operations.reshape)
    flatten = _of_one(operations.flatten)
    identity = _of_one(operations.identity)
    batch_norm = _of_one(operations.batch_norm)
    local_response_norm = _of_one(operations.local_response_norm)
    channel_slice = _of_one(operations.channel_slice)
    channel_shuffle = _of_one(operations.channel_shuffle)
    max_pool = _of_one(pools.max_pool)
    avg_pool = _of_one(pools.avg_pool)
    adaptive_avg_pool = _of_one(pools.adaptive_avg_pool)
    global_mean = _of_one(pools.global_mean)
    relu = _of_one(activations.relu)
    relu6 = _of_one(activations.relu6)
    leaky_relu = _of_one(activations.leaky_relu)
    elu = _of_one(activations.elu)
    silu = _of_one(activations.silu)
    gelu = _of_one(activations.gelu)
    hardswish = _of_one(activations.hardswish)
    sigmoid = _of_one(activations.sigmoid)

    def project(self, output: Node, start: Array, rules: Rules) -> Array:
        """Send `start` from `output` down to the image.

        The tape is walked in reverse, so a node that was used several times has gathered the
        signals of all its uses, summed, before it passes them on.
        """
        assert start.shape == output.value.shape, (start.shape, output.value.shape)
        signals = {node.number: np.zeros_like(node.value) for node in self.nodes}
        signals[output.number] += start
        for node in reversed(self.nodes[: output.number + 1]):
            downs = node.step.back(signals[node.number], rules)
            for parent, down in zip(node.parents, downs, strict=True):
                signals[parent.number] += down
        return signals[0]
