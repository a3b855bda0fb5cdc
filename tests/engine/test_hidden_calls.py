"""Functions that torch's override mode does not see: scripted code, and modules made of it."""

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from retroscope.methods.cam.cam import cam
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.network import Network
from tests.conftest import built, numbers

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning"),
]
SIZE = (16, 16)


def _blur(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 5, 1, 2)


class Hidden(nn.Module):
    """Two convolutions with a scripted blur between them, alone or beside the map."""

    def __init__(self, *, beside: bool) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.blur = torch.jit.script(_blur)
        self.beside = beside

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.a(image)
        x = x + self.blur(x) if self.beside else self.blur(x)
        result: torch.Tensor = self.head(self.b(x))
        return result


def network(*, beside: bool) -> Network:
    return Network(built(lambda: Hidden(beside=beside)).double(), input_size=SIZE)


@pytest.mark.parametrize("beside", [False, True])
def test_no_layer_is_lost_and_its_field_is_the_whole_image_by_name(beside: bool) -> None:
    layer = network(beside=beside).layer("b")
    assert layer.field.whole
    assert "scripted" in layer.note


@pytest.mark.parametrize("beside", [False, True])
def test_a_projection_through_hidden_code_is_the_gradient_of_the_whole_image(beside: bool) -> None:
    net, image = network(beside=beside), numbers(3, *SIZE)
    pixels = image[None].clone().requires_grad_()
    module: Any = net.module
    maps = module.b(_between(module, pixels))
    (gradient,) = torch.autograd.grad(maps[0, 2, 7, 8], pixels)
    projection = deconv(net, "b:2@7,8", image, rules="gradient")
    expected = gradient[0].permute(1, 2, 0) * maps[0, 2, 7, 8].detach()
    torch.testing.assert_close(torch.from_numpy(projection.full()), expected)


def _between(module: Any, image: torch.Tensor) -> torch.Tensor:
    x = module.a(image)
    blurred: torch.Tensor = F.avg_pool2d(x, 5, 1, 2)
    return x + blurred if module.beside else blurred


@pytest.mark.parametrize("beside", [False, True])
def test_occlusion_runs_hidden_code_on_real_maps(beside: bool) -> None:
    net, image = network(beside=beside), numbers(3, *SIZE)
    result = occlusion(net, image, size=8, stride=8, fill=0.0, target=1)
    covered = image.clone()
    covered[:, :8, :8] = 0
    with torch.no_grad():
        probability = net.module(covered[None]).softmax(1)[0, 1]
    assert result.probabilities[0, 0] == pytest.approx(float(probability), abs=1e-6)


@pytest.mark.parametrize("beside", [False, True])
def test_ablation_runs_hidden_code_on_real_maps(beside: bool) -> None:
    net, image = network(beside=beside), numbers(3, *SIZE)
    module: Any = net.module
    weights = []
    with torch.no_grad():
        scores = module(image[None])[0]
        for channel in range(4):
            x = module.a(image[None])
            x[:, channel] = 0
            x = x + _blur(x) if beside else _blur(x)
            loss = scores[1] - module.head(module.b(x))[0, 1]
            weights.append(loss / scores[1])
        maps = module.a(image[None])[0]
    heat = (torch.stack(weights)[:, None, None] * maps).sum(0).clamp(min=0)
    result = cam(net, image, method="ablationcam", layer="a", target=1)
    torch.testing.assert_close(torch.from_numpy(result.values), heat.float())


class ScriptedPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.jit.script(nn.BatchNorm2d(3))
        self.b = nn.Conv2d(3, 2, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.b(self.norm(image))
        return result


def test_a_scripted_submodule_is_left_as_it_was() -> None:
    net = Network(built(ScriptedPart), input_size=SIZE)
    assert [layer.name for layer in net.layers] == ["b"]
    assert net.layers[0].field.whole


def test_constants_of_a_network_are_not_taken_for_hidden_results() -> None:
    class WithConstants(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 4, 3)
            self.scales = [torch.full((1, 4, 1, 1), 2.0)]

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            offset = torch.arange(4.0)[None, :, None, None] / 2
            return F.relu(self.a(image) * self.scales[0] * OUTSIDE + offset)

    net = Network(built(WithConstants), input_size=SIZE)
    assert str(net.layers[-1].field) == "3/1/0"
    assert not net.survey().has_hidden_calls


OUTSIDE = torch.full((4, 1, 1), 3.0)


class SetsMemory(nn.Module):
    """Gives a tensor the memory of a map of the image, by a call that no handler sees."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.register_buffer("state", torch.zeros(1))
        self.kind = kind

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.a(image)
        y = F.avg_pool2d(x, 5, 1, 2)
        targets = {"new tensor": torch.empty(0), "map": x, "buffer": self.state}
        target = targets[self.kind]
        target.set_(y)
        result: torch.Tensor = self.b(target)
        return result


@pytest.mark.parametrize("kind", ["new tensor", "map", "buffer"])
def test_a_tensor_whose_memory_is_exchanged_is_taken_for_the_whole_image(kind: str) -> None:
    layer = Network(built(lambda: SetsMemory(kind)), input_size=SIZE).layer("b")
    assert layer.field.whole
    assert "set_" in layer.note


class Searches(nn.Module):
    """A map sorted into bins, which torch prefers contiguous."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        bins = torch.bucketize(self.a(image), torch.linspace(-1, 1, 5))
        result: torch.Tensor = self.b(bins.float())
        return result


def test_the_layout_of_our_images_is_not_a_warning_for_the_user() -> None:
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from retroscope.network import Network\n"
        "from tests.engine.test_hidden_calls import Searches\n"
        "assert Network(Searches(), input_size=(16, 16)).layer('b').field.whole\n"
    )  # torch shows this warning once in a process
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
