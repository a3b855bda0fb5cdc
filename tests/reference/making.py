"""What a shape is: a small network with seeded weights, and the same network on a tape."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tests.reference.modules import Script
from tests.reference.operations import Array
from tests.reference.programs import Node, Tape

INPUT_SIZE = (3, 17, 14)
"""Neither square nor a multiple of any stride."""

Write = Callable[[Script, Node], Node]


@dataclass(frozen=True)
class Shape:
    """A way to wire a network.

    `build(seed)` gives the torch module (float64, evaluation mode); `program(net, tape, image)`
    writes it on a tape and names the node of each module call by its path, "" for the network.
    """

    build: Callable[[int], nn.Module]
    program: Callable[[nn.Module, Tape, Array], dict[str, Node]]
    input_size: tuple[int, int, int] = INPUT_SIZE

    def image(self, seed: int) -> Array:
        """A random image, strong enough to saturate what saturates."""
        return np.random.default_rng(seed).normal(scale=2.0, size=self.input_size)


def shape(make: Callable[[], nn.Module], write: Write | None = None) -> Shape:
    """A shape from a module and its script; an nn.Sequential is its own script."""

    def program(net: nn.Module, tape: Tape, image: Array) -> dict[str, Node]:
        script = Script(net, tape)
        x = tape.input(image)
        if write is None:
            script("", x)
        else:
            script.name("", write(script, x))
        return script.nodes

    return Shape(lambda seed: _seeded(make, seed), program)


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps the size (for an odd kernel)."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def _seeded(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """Weights of both signs; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        net = make().double().eval()
    random = np.random.default_rng(seed)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(_numbers(random, name, tuple(tensor.shape))))
    return net


def _numbers(random: np.random.Generator, name: str, size: tuple[int, ...]) -> Array:
    if name.endswith("running_var"):
        return random.uniform(0.5, 1.5, size)
    fan_in = int(np.prod(size[1:])) if len(size) > 1 else 4
    return random.normal(scale=np.sqrt(2 / fan_in), size=size)
