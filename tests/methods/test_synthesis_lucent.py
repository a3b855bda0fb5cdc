"""Comparison with lucent: equal steps, equal transforms, one measure."""

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

from retroscope.methods.synthesis.colour_space import WHITE, bounded_logit, colour_matrix
from retroscope.methods.synthesis.parametrisation import FourierCanvas, Shape
from retroscope.methods.synthesis.recipes import OLAH, Recipe
from retroscope.methods.synthesis.synthesize import synthesize
from retroscope.methods.synthesis.transforms import Jitter, Pad, Rotate, Scale, Trim
from retroscope.network import Network
from retroscope.zoo.demo_networks import open_named
from tests.conftest import built, numbers

MISSING = "torch-lucent cannot be imported; the extra `bench` installs it"
SIDE, STEPS, CHANNEL = 48, 20, 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYERS = [("vgg16", 2), ("vgg16", 7), ("vgg16", 14), ("demo", 5), ("demo", 10), ("demo", 13)]
"""conv1_2, conv2_2, conv3_3 of VGG16 with random weights; conv3, 5, 6 of the bundled network."""


@contextmanager
def isolate() -> Iterator[None]:
    """Lucent and its imports emit deprecation warnings and use global random state."""
    state = np.random.get_state()  # noqa: NPY002
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        yield
    np.random.set_state(state)  # noqa: NPY002


@pytest.fixture(scope="module")
def lucent() -> ModuleType:
    with isolate():
        module: ModuleType = pytest.importorskip(
            "lucent.optvis.render", reason=MISSING, exc_type=ImportError
        )
    return module


@pytest.fixture(scope="module")
def nets() -> dict[str, Network]:
    """Networks without in-place modules, which would change the maps that lucent reads."""
    vgg16_features = built(torchvision.models.vgg16).get_submodule("features")
    demo = open_named("demo", trained=True)
    demo_features, preprocessing = demo.module.get_submodule("features"), demo.preprocessing
    return {
        "vgg16": Network(
            _first_modules(vgg16_features, 15), input_size=(224, 224), mean=MEAN, std=STD
        ),
        "demo": Network(
            _first_modules(demo_features, 14),
            input_size=(96, 96),
            mean=preprocessing.mean,
            std=preprocessing.std,
        ),
    }


def _first_modules(features: nn.Module, count: int) -> nn.Module:
    modules = list(features.children())[:count]
    for child in modules:
        if isinstance(child, nn.ReLU):
            child.inplace = False
    return nn.Sequential(*modules)


def recipe_with_lucent_lengths() -> Recipe:
    """Lucent's lengths are in pixels of any canvas; ours are for a canvas of 128."""
    factor = 128 / SIDE
    transforms = Pad(12 * factor), Jitter(8 * factor), Scale(0.9, 1.1), Rotate(-10, 10)
    return replace(OLAH, transforms=(*transforms, Jitter(4 * factor), Trim()))


def activation(net: Network, layer: int, image: torch.Tensor) -> float:
    """The mean of the channel's map for an image (3, height, width) from 0 to 1."""
    preprocessing = net.preprocessing
    mean, std = (
        torch.tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std)
    )
    with torch.no_grad():
        maps = net.module[: layer + 1](((image - mean) / std)[None])  # type: ignore[index]
    return float(maps[0, CHANNEL].mean())


def render_with_lucent(lucent: ModuleType, net: Network, layer: int) -> torch.Tensor:
    """Lucent's image, with the network's input limited to the padded canvas."""
    preprocessing = net.preprocessing
    with isolate():
        (image,) = lucent.render_vis(
            net.module,
            f"{layer}:{CHANNEL}",
            param_f=lambda: lucent.param.image(SIDE),
            transforms=[
                *lucent.transform.standard_transforms,
                Normalize(preprocessing.mean, preprocessing.std),
            ],
            preprocess=False,
            thresholds=(STEPS,),
            show_image=False,
            progress=False,
            fixed_image_size=SIDE + 24,
        )
    return torch.from_numpy(image[0]).permute(2, 0, 1)


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_a_pattern_reaches_at_least_the_activation_of_lucents(
    lucent: ModuleType, nets: dict[str, Network], name: str, layer: int
) -> None:
    net = nets[name]
    theirs = activation(net, layer, render_with_lucent(lucent, net, layer))
    pattern = synthesize(
        net, f"{layer}:{CHANNEL}@*", recipe=recipe_with_lucent_lengths(), steps=STEPS, size=SIDE
    )
    ours = activation(net, layer, torch.from_numpy(pattern.image / 255).float().permute(2, 0, 1))
    assert ours >= theirs
    assert theirs > activation(net, layer, torch.full((3, SIDE, SIDE), 0.5))


def test_the_decorrelated_colours_are_lucents(lucent: ModuleType) -> None:
    theirs = lucent.param.color.color_correlation_normalized
    np.testing.assert_allclose(colour_matrix(3).numpy(), theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize("decay", [1.0, 1.25])
@pytest.mark.parametrize("size", [(32, 32), (24, 40), (17, 30)])
def test_a_spectrum_is_decoded_as_by_lucent(
    lucent: ModuleType, size: tuple[int, int], decay: float
) -> None:
    """All but the sigmoid, which lucent does not stretch to black and white."""
    shape: Shape = (2, 3, *size)
    with isolate():
        (spectrum,), planes = lucent.param.spatial.fft_image(shape, decay_power=decay)
    with torch.no_grad():
        spectrum.copy_(numbers(*spectrum.shape) / 5)
        theirs = lucent.param.color._linear_decorrelate_color(planes())
        ours = bounded_logit(FourierCanvas(decay=decay).to_pixels(spectrum, shape))
    assert float(theirs.abs().max()) < WHITE
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
