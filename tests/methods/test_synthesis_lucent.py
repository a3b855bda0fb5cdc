"""Against lucent: equal steps, equal transforms, one judge."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.transforms import Normalize

from retroscope.methods.synthesis.recipes import OLAH, Recipe
from retroscope.methods.synthesis.synthesize import synthesize
from retroscope.methods.synthesis.transforms import Jitter, Pad, Rotate, Scale, Trim
from retroscope.network import Network
from retroscope.zoo.demo_networks import open_named
from tests.conftest import built

SIDE, STEPS, CHANNEL = 48, 20, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYERS = [("vgg16", 2), ("vgg16", 7), ("vgg16", 14), ("demo", 5), ("demo", 10), ("demo", 13)]
"""Of VGG16 with random weights conv1_2, conv2_2, conv3_3; of the embedded network conv3, 5, 6."""


@contextmanager
def quiet() -> Iterator[None]:
    """Lucent and what it imports warn of their age, and draw from everybody's chance."""
    state = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        yield
    np.random.set_state(state)  # noqa: NPY002


@pytest.fixture(scope="module")
def lucent() -> ModuleType:
    with quiet():
        found: ModuleType = pytest.importorskip("lucent.optvis.render", exc_type=ImportError)
    return found


@pytest.fixture(scope="module")
def nets() -> dict[str, Network]:
    """Convolutions without in-place steps, which would change what lucent is shown."""
    whole = built(torchvision.models.vgg16).get_submodule("features")
    demo = open_named("demo", trained=True)
    inner, own = demo.module.get_submodule("features"), demo.preprocessing
    return {
        "vgg16": Network(_apart(whole, 15), input_size=(224, 224), mean=MEAN, std=STD),
        "demo": Network(_apart(inner, 14), input_size=(96, 96), mean=own.mean, std=own.std),
    }


def _apart(whole: nn.Module, count: int) -> nn.Module:
    parts = list(whole.children())[:count]
    for part in parts:
        if isinstance(part, nn.ReLU):
            part.inplace = False
    return nn.Sequential(*parts)


def at_lucents_lengths() -> Recipe:
    """Lucent's lengths are in pixels, whatever the canvas; ours are for one of 128."""
    larger = 128 / SIDE
    moves = Pad(12 * larger), Jitter(8 * larger), Scale(0.9, 1.1), Rotate(-10, 10)
    return replace(OLAH, transforms=(*moves, Jitter(4 * larger), Trim()))


def reached(net: Network, layer: int, picture: torch.Tensor) -> float:
    """The mean of the channel's map for a picture (3, height, width) from 0 to 1."""
    own = net.preprocessing
    mean, std = (torch.tensor(each)[:, None, None] for each in (own.mean, own.std))
    with torch.no_grad():
        maps = net.module[: layer + 1](((picture - mean) / std)[None])  # type: ignore[index]
    return float(maps[0, CHANNEL].mean())


def by_lucent(lucent: ModuleType, net: Network, layer: int) -> torch.Tensor:
    """Lucent's picture; it is told to show the network no more than its padded canvas."""
    own = net.preprocessing
    with quiet():
        (shown,) = lucent.render_vis(
            net.module,
            f"{layer}:{CHANNEL}",
            param_f=lambda: lucent.param.image(SIDE),
            transforms=[*lucent.transform.standard_transforms, Normalize(own.mean, own.std)],
            preprocess=False,
            thresholds=(STEPS,),
            show_image=False,
            progress=False,
            fixed_image_size=SIDE + 24,
        )
    return torch.from_numpy(shown[0]).permute(2, 0, 1)


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_a_pattern_reaches_at_least_what_lucents_does(
    lucent: ModuleType, nets: dict[str, Network], name: str, layer: int
) -> None:
    net = nets[name]
    theirs = reached(net, layer, by_lucent(lucent, net, layer))
    pattern = synthesize(
        net, f"{layer}:{CHANNEL}@*", recipe=at_lucents_lengths(), steps=STEPS, size=SIDE
    )
    ours = reached(net, layer, torch.from_numpy(pattern.picture / 255).float().permute(2, 0, 1))
    assert ours >= theirs
    assert theirs > reached(net, layer, torch.full((3, SIDE, SIDE), 0.5))
