"""The layer that heat maps of a detector use by default: what the neck reads of the backbone."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v2, resnet18
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

import retroscope as rs
from retroscope.methods.activations import last_spatial_layer
from retroscope.zoo import torchvision_models
from tests.conftest import built, numbers

SIDE = 64
STAGES = {"layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}


def pyramid(*stages: str, extra: bool = False) -> nn.Module:
    """A feature pyramid on these stages of a ResNet-18."""
    names = {name: str(number) for number, name in enumerate(stages)}
    channels = [STAGES[name] for name in stages]
    module: nn.Module = BackboneWithFPN(
        resnet18(), names, channels, 64, LastLevelP6P7(64, 64) if extra else None
    )
    return module


def faster_rcnn(*stages: str) -> nn.Module:
    levels = len(stages) + 1
    module: nn.Module = FasterRCNN(
        pyramid(*stages),
        3,
        min_size=SIDE,
        max_size=SIDE,
        rpn_anchor_generator=AnchorGenerator(((16,),) * levels, ((1.0,),) * levels),
    )
    return module


def retinanet() -> nn.Module:
    module: nn.Module = RetinaNet(
        pyramid("layer2", "layer3", "layer4", extra=True), 3, min_size=SIDE, max_size=SIDE
    )
    return module


def fcos() -> nn.Module:
    module: nn.Module = FCOS(
        pyramid("layer2", "layer3", "layer4", extra=True), 3, min_size=SIDE, max_size=SIDE
    )
    return module


def network(make: Callable[[], nn.Module]) -> rs.Network:
    return rs.Network(built(make).eval(), name="detector")


PYRAMIDS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "faster_rcnn": (lambda: faster_rcnn(*STAGES), 1, 8),
    "retinanet": (retinanet, 0, 8),
    "fcos": (fcos, 0, 8),
    "coarse": (lambda: faster_rcnn("layer3", "layer4"), 0, 16),
    "fine": (lambda: faster_rcnn("layer1"), 0, 4),
}
"""A network, which of the levels of its pyramid is the finest from stride 8, and its stride."""


@pytest.mark.parametrize(("make", "level", "stride"), PYRAMIDS.values(), ids=PYRAMIDS)
def test_heat_is_of_the_finest_maps_that_the_pyramid_reads_from_stride_8(
    make: Callable[[], nn.Module], level: int, stride: int
) -> None:
    """What its lateral convolution is given, value by value."""
    net, image = network(make), numbers(3, SIDE, SIDE).mul(0.25).add(0.5).float()
    layer = last_spatial_layer(net, (SIDE, SIDE))
    given: list[torch.Tensor] = []
    lateral = net.module.get_submodule(f"backbone.fpn.inner_blocks.{level}")
    hook = lateral.register_forward_pre_hook(lambda _, args: given.append(args[0].detach().clone()))
    with torch.no_grad():
        net.module([image])
    hook.remove()
    assert layer.field.y.stride == stride
    maps = rs.activations(net, layer, image).maps
    np.testing.assert_allclose(maps, given[0][0].numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [40, 64, 150])
def test_the_layer_does_not_depend_on_how_the_network_resizes_an_image(side: int) -> None:
    """All sides are resized to one, so the backbone is given the same."""
    layer = last_spatial_layer(network(retinanet), (side, side))
    assert layer.name == "backbone.body.layer2.1.relu~2"


@pytest.fixture
def _zero_weights() -> Iterator[None]:
    with torchvision_models.leave_weights_zero():
        yield


@pytest.mark.usefixtures("_zero_weights")
def test_of_equally_fine_maps_the_last_is_taken() -> None:
    """The pyramid reads the 14th and the last block of a MobileNetV3, both at stride 32."""
    net = rs.open_model("fasterrcnn_mobilenet_v3_large_320_fpn", random_weights=0, device="cpu")
    layer = last_spatial_layer(net, (SIDE, SIDE))
    assert (layer.name, layer.channels) == ("backbone.body.16.2", 960)


def test_heat_of_an_ssd_is_of_the_first_maps_that_its_head_reads() -> None:
    with torchvision_models.leave_weights_zero():
        net = rs.open_model("ssd300_vgg16", random_weights=0, device="cpu")
    layer = last_spatial_layer(net, net.input_size)
    assert (layer.channels, layer.size, layer.field.y.stride) == (512, (38, 38), 8)


def test_a_backbone_without_a_pyramid_keeps_its_last_layer() -> None:
    def make() -> nn.Module:
        backbone = mobilenet_v2().features
        backbone.out_channels = 1280
        anchors = AnchorGenerator(((16,),), ((1.0,),))
        module: nn.Module = FasterRCNN(
            backbone, 3, min_size=SIDE, max_size=SIDE, rpn_anchor_generator=anchors
        )
        return module

    net = network(make)
    layer = last_spatial_layer(net, (SIDE, SIDE))
    assert (layer.name, layer.field.y.stride) == ("backbone.18.2", 32)
