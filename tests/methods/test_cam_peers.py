"""The same heat as pytorch-grad-cam's, where that is installed, on well-known networks."""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from retroscope.methods.activations import activations
from retroscope.methods.cam.cam import cam
from retroscope.network import Network
from retroscope.results.heat_maps import HeatMap, resized
from retroscope.zoo import open_model
from tests.conftest import numbers

pytestmark = pytest.mark.skipif(
    find_spec("pytorch_grad_cam") is None, reason="pytorch-grad-cam is not installed"
)

SIZE, SMALL = 64, 32
LAYERS = {"vgg16": "features.29", "resnet50": "layer4.2", "densenet121": "features.denseblock4"}
FEW_MAPS = "features.3"
"""Where each map costs a run of the network."""
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
    """Classes far apart: the peer adds 1e-6 and 1e-7 to denominators, which then do not count."""
    for part in net.module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, generator=torch.Generator().manual_seed(1))
    last = [part for part in net.module.modules() if isinstance(part, nn.Linear)][-1]
    last.weight.mul_(1e7)
    return net


@pytest.mark.parametrize(("model", "method"), CASES)
def test_heat_is_the_peers(nets: dict[str, Network], model: str, method: str) -> None:
    size = SIZE if method in CHEAP else SMALL
    net, image, target = nets[model], numbers(3, size, size).float(), 7
    layer = LAYERS[model] if method in CHEAP else FEW_MAPS
    ours = cam(net, image, method=method, layer=layer, target=target)
    theirs = peer(net.module, layer, method, image=image, target=target)
    shown = _as_the_peer_scales(ours)
    np.testing.assert_allclose(shown, theirs, rtol=0, atol=1e-4)
    assert theirs.max() - theirs.min() > 0.5


@pytest.mark.parametrize("model", LAYERS)
def test_the_first_component_is_the_peers_up_to_its_sign(
    nets: dict[str, Network], model: str
) -> None:
    net, image = nets[model], numbers(3, SIZE, SIZE).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection
    along = get_2d_projection(activations(net, LAYERS[model], image).maps[None])[0]
    ours = cam(net, image, method="eigencam", layer=LAYERS[model]).values
    distances = [np.abs(ours - np.maximum(sign * along, 0)).max() for sign in (1, -1)]
    assert min(distances) < 1e-4 * ours.max()
    assert ours.max() > 0


def peer(
    module: nn.Module, layer: str, method: str, *, image: torch.Tensor, target: int
) -> npt.NDArray[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        kind = getattr(pytorch_grad_cam, PEERS[method])
        with kind(module, [module.get_submodule(layer)]) as shown:
            found: npt.NDArray[Any] = shown(image[None], [ClassifierOutputTarget(target)])[0]
    return found


def _as_the_peer_scales(heat: HeatMap) -> npt.NDArray[Any]:
    """To 0..1, enlarged, and to 0..1 again."""
    return _scaled(resized(_scaled(heat.values).astype(np.float32), *heat.size))


def _scaled(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    lifted = values - values.min()
    return np.asarray(lifted / (1e-7 + lifted.max()))
