"""Whether heat maps depend on the weights: layers are re-drawn one after the other from the top.

Adebayo et al. 2018, "cascading randomization". A method whose maps stay the same does not show
what the network has learned.
"""

from collections.abc import Iterator
from copy import deepcopy

import numpy as np
import numpy.typing as npt
import torch

from retroscope.accountability.rank_correlation import rank_correlation
from retroscope.errors import ModelError
from retroscope.network import Network
from retroscope.scanning.scoring.dependence import redraw_weights


def randomise_from_top(net: Network, seed: int = 0) -> Iterator[tuple[str, Network]]:
    """The last layer that is re-drawn, and the network with it and all layers above re-drawn.

    Weights are drawn from a normal distribution around 0 with the root mean square that they had;
    biases and norms stay. The network itself keeps its weights.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 3)))
    >>> [layer for layer, _ in randomise_from_top(net)]
    ['1', '0']
    """
    generator = torch.Generator().manual_seed(seed)
    module = net.module
    for name in reversed(layers_with_weights(net)):
        module = deepcopy(module)
        weight = module.get_parameter(f"{name}.weight")
        with torch.no_grad():
            weight.copy_(redraw_weights(weight, generator))
        yield name, net.with_module(module, net.preprocessing.fit)


def layers_with_weights(net: Network) -> list[str]:
    """The layers that are a module with a weight of two or more dimensions, in running order."""
    weights = {
        name.removesuffix(".weight")
        for name, parameter in net.module.named_parameters()
        if name.endswith(".weight") and parameter.dim() > 1
    }
    layers = [layer.name for layer in net.layers if layer.name in weights]
    if not layers:
        raise ModelError(f"no layer of {net.name} is a module with weights that can be re-drawn")
    return layers


def map_similarity(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[float, float]:
    """Spearman's rank correlation of two maps, and the size of the cosine between them.

    A map without any difference between its pixels resembles nothing: both are 0.

    >>> map_similarity([[1, 2], [3, 4]], [[4, 3], [2, 1]])
    (-1.0, 0.6666666666666666)
    """
    a, b = (np.asarray(values, np.float64).ravel() for values in (first, second))
    correlation = rank_correlation(a, b)
    if np.isnan(correlation):
        return 0.0, 0.0
    return correlation, abs(float(a @ b)) / float(np.linalg.norm(a) * np.linalg.norm(b))
