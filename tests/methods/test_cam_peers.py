"""The heat equals that of pytorch-grad-cam, if installed, on well-known networks."""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from retroscope.imaging.image import resize_array
from retroscope.methods.activations import activations
from retroscope.methods.cam.cam import cam
from retroscope.network import Network
from retroscope.results.heat_maps import HeatMap
from retroscope.zoo import open_model
from tests.conftest import numbers

pytestmark = pytest.mark.skipif(
    find_spec("pytorch_grad_cam") is None, reason="pytorch-grad-cam is not installed"
)

SIZE, SMALL = 64, 32
LAYERS = {"vgg16": "features.29", "resnet50": "layer4.2", "densenet121": "features.denseblock4"}
FEW_MAPS = "features.3"
"""A layer for the methods that need a forward pass for each map."""
PEERS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGradCAM",
    "scorecam": "ScoreCAM",
    "ablationcam": "AblationCAM",
}
CHEAP = ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam")
CASES = [(model, method) for model in LAYERS for method in CHEAP]
CASES += [("vgg16", "scorecam"), ("vgg16", "ablationcam")]


@pytest.fixture(scope="module")
def nets() -> dict[str, Network]:
    return {name: steep(open_model(name, random_weights=0, device="cpu")) for name in LAYERS}


@torch.no_grad()
def steep(net: Network) -> Network:
    """Large gradients, beside which the 1e-6 and 1e-7 in the denominators of the peer vanish."""
    for part in net.module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=torch.Generator().manual_seed(1))
    last = [part for part in net.module.modules() if isinstance(part, nn.Linear)][-1]
    last.weight.mul_(1e7)
    return net


@pytest.mark.parametrize(("model", "method"), CASES)
def test_heat_equals_that_of_the_peer(nets: dict[str, Network], model: str, method: str) -> None:
    size = SIZE if method in CHEAP else SMALL
    net, image, target = nets[model], numbers(3, size, size).float(), 7
    layer = LAYERS[model] if method in CHEAP else FEW_MAPS
    heat = cam(net, image, method=method, layer=layer, target=target)
    expected = peer(net.module, layer, method, image=image, target=target)
    scaled = _scale_like_peer(heat)
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-4)
    assert expected.max() - expected.min() > 0.5


@pytest.mark.parametrize("model", LAYERS)
def test_the_first_component_equals_that_of_the_peer_up_to_its_sign(
    nets: dict[str, Network], model: str
) -> None:
    net, image = nets[model], numbers(3, SIZE, SIZE).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
    projection = get_2d_projection(activations(net, LAYERS[model], image).maps[None])[0]
    heat = cam(net, image, method="eigencam", layer=LAYERS[model]).values
    distances = [np.abs(heat - np.maximum(sign * projection, 0)).max() for sign in (1, -1)]
    assert min(distances) < 1e-4 * heat.max()
    assert heat.max() > 0


def peer(
    module: nn.Module, layer: str, method: str, *, image: torch.Tensor, target: int
) -> npt.NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        kind = getattr(pytorch_grad_cam, PEERS[method])
        with kind(module, [module.get_submodule(layer)]) as explainer:
            heat: npt.NDArray[Any] = explainer(image[None], [ClassifierOutputTarget(target)])[0]
    return heat


def _scale_like_peer(heat: HeatMap) -> npt.NDArray[Any]:
    """Scales to 0-1, enlarges, and scales to 0-1 again."""
    height, width = heat.size
    small = _min_max_scale(heat.values).astype(np.float32)
    return _min_max_scale(resize_array(small, (height, width)))


def _min_max_scale(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    shifted = values - values.min()
    return np.asarray(shifted / (1e-7 + shifted.max()))
