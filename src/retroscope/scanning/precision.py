"""A pass in bfloat16, and which pictures must be scored again for its rankings to be exact.

The narrow numbers only decide who might be among the best: more candidates than winners are kept,
and the pictures of all candidates run again as the network computes.
"""

from copy import deepcopy

import torch

from retroscope.errors import ModelError, RetroscopeError
from retroscope.network import Network
from retroscope.scanning.one_pass import Gathered


def candidates(top: int) -> int:
    """How many pictures of each ranking are kept, so that the best in full precision are there."""
    return 3 * top // 2 + 7


def narrowed(net: Network) -> Network:
    """A copy of the network that computes in bfloat16; the network itself stays as it is."""
    try:
        copy = net.of_module(deepcopy(net.module).to(torch.bfloat16), net.preprocessing.fit)
        same = _program(copy) == _program(net)
    except (RetroscopeError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{net.name} does not run in bf16; scan in full precision ({error})"
        ) from error
    if not same:
        raise ModelError(f"{net.name} runs other steps in bf16; scan in full precision")
    return copy


def _program(net: Network) -> list[object]:
    return [step.function for step in net.survey().steps]


def to_score_again(gathered: Gathered) -> list[int]:
    """The pictures that are candidates anywhere, in the order of their numbers."""
    rankings = gathered.sweep.by_max.image, gathered.sweep.by_mean.image
    numbers = {number for images in rankings for number in images.flatten().tolist()}
    return sorted(numbers - {-1})
