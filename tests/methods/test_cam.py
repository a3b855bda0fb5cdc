"""Class activation maps against their definitions, and their errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retroscope.errors import ModelError, RetroscopeError, UnitError
from retroscope.methods.cam import cam_methods
from retroscope.methods.cam.cam import cam, cam_many
from retroscope.methods.cam.cam_methods import CAM_METHODS
from retroscope.methods.cam.replay import replay_from_layer
from retroscope.methods.class_scores import NetworkOutput
from retroscope.methods.deconv.deconv import deconv
from retroscope.methods.saliency import SALIENCY_METHODS
from retroscope.network import Network
from retroscope.results.heat_maps import METHOD_TITLES
from tests.conftest import built, no_trace, numbers
from tests.reference import cams

SIZE = (13, 11)
Array = npt.NDArray[Any]

GRADIENT_METHODS: dict[str, Callable[[Array, Array], Array]] = {
    "gradcam": cams.gradcam,
    "gradcam++": cams.gradcam_pp,
    "xgradcam": cams.xgradcam,
    "hirescam": cams.hirescam,
    "layercam": cams.layercam,
    "eigencam": cams.eigencam,
}


class TwoParts(nn.Module):
    """A network in two parts, which a definition can call separately."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.deep = nn.Conv2d(6, 5, 3, padding=1)
        self.head = nn.Sequential(nn.Conv2d(5, 4, 2), nn.Flatten(), nn.Linear(80, 7))

    def first(self, x: Tensor) -> Tensor:
        return F.relu(self.deep(self.body(x)))

    def second(self, maps: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.tanh(maps))
        return scores

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))


class WithSkip(TwoParts):
    """The second part also reads maps from before the layer, and works in place."""

    def first(self, x: Tensor) -> Tensor:
        self.before = self.body(x)
        return F.relu(self.deep(self.before), inplace=True)

    def second(self, maps: Tensor) -> Tensor:
        maps = maps.mul_(1.5)
        maps += self.before[:, :5]
        return super().second(maps)


def network(make: Callable[[], nn.Module] = TwoParts) -> Network:
    return Network(built(lambda: make().double()), input_size=SIZE, name="small")


def random_image(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return numbers(3, *size, seed=seed)


def maps_and_gradient(net: Network, image: Tensor, index: int) -> tuple[Array, Array]:
    """The maps of the layer and the gradient of the class score at them, by plain autograd."""
    module = net.module
    assert isinstance(module, TwoParts)
    maps = module.first(image[None]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module.second(maps.clone())[0, index], maps)
    return maps.detach()[0].numpy(), gradient[0].numpy()


def assert_same_heat(heat: Array, expected: Array) -> None:
    assert expected.max() > 0
    np.testing.assert_allclose(heat, expected, rtol=0, atol=1e-6 * expected.max())


# Definitions


@pytest.mark.parametrize("make", [TwoParts, WithSkip])
@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_a_method_is_its_definition(name: str, make: Callable[[], nn.Module]) -> None:
    net = network(make)
    for index in range(3):
        expected = GRADIENT_METHODS[name](*maps_and_gradient(net, random_image(), index))
        heat = cam(net, random_image(), method=name, layer="relu2", target=index)
        assert_same_heat(heat.values, expected)


def score_from_maps(net: Network, maps: Array, index: int) -> float:
    """The class score for these maps of the layer."""
    assert isinstance(net.module, TwoParts)
    net.module.first(random_image()[None])  # stores the maps that `WithSkip` reads
    with torch.no_grad():
        return float(net.module.second(torch.from_numpy(maps)[None].clone())[0, index])


@pytest.mark.parametrize("make", [TwoParts, WithSkip])
def test_ablationcam_is_its_definition(make: Callable[[], nn.Module]) -> None:
    net = network(make)
    maps, _ = maps_and_gradient(net, random_image(), 2)
    expected = cams.ablationcam(maps.copy(), lambda edited: score_from_maps(net, edited, 2))
    assert_same_heat(
        cam(net, random_image(), method="ablationcam", layer="relu2", target=2).values, expected
    )


@pytest.mark.parametrize(("make", "can_replay"), [(TwoParts, True), (WithSkip, False)])
def test_ablationcam_replays_only_what_follows_the_layer_unless_it_reads_more(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module], can_replay: bool
) -> None:
    replayed: set[bool] = set()

    def record_replay(*args: Any, **options: Any) -> NetworkOutput | None:
        scores = replay_from_layer(*args, **options)
        replayed.add(scores is not None)
        return scores

    monkeypatch.setattr(cam_methods, "replay_from_layer", record_replay)
    cam(network(make), random_image(), method="ablationcam", layer="relu2")
    assert replayed == {can_replay}


def test_scorecam_is_its_definition() -> None:
    net = network()
    maps, _ = maps_and_gradient(net, random_image(), 1)

    def scores(masked: Array) -> float:
        with torch.no_grad():
            return float(net.module(torch.from_numpy(masked)[None])[0, 1])

    expected = cams.scorecam(maps, random_image().numpy(), scores)
    assert_same_heat(
        cam(net, random_image(), method="scorecam", layer="relu2", target=1).values, expected
    )


def average_pooling() -> nn.Sequential:
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))


def test_gradcam_equals_cam_for_a_linear_head_on_average_pooling() -> None:
    """CAM (Zhou 2016) weights maps with those of the head; Grad-CAM divides by the map size."""
    net = network(average_pooling)
    with torch.no_grad():
        maps = net.module[:4](random_image()[None])[0]  # type: ignore[index]
        for index in range(4):
            weights = net.module[6].weight[index]  # type: ignore[index]
            classic = torch.einsum("k,kyx->yx", weights, maps).clamp(min=0)
            heat = cam(net, random_image(), target=index)
            assert heat.layer == "3"
            np.testing.assert_allclose(
                heat.values * maps[0].numel(), classic.numpy(), rtol=0, atol=1e-6
            )


def test_the_default_method_of_a_class_is_gradcam_without_a_note() -> None:
    net, image = network(), random_image()
    for target in (1, None, "output[0, 1]", lambda output: output[0, 1] - output[0, 2]):
        default = cam(net, image, target=target)
        chosen = cam(net, image, method="gradcam", target=target)
        np.testing.assert_array_equal(default.values, chosen.values)
        assert (default.method, default.notes) == ("gradcam", chosen.notes)
    automatic = cam(net, image, method="auto", target=1)
    np.testing.assert_array_equal(automatic.values, cam(net, image, target=1).values)


def test_hirescam_and_gradcam_agree_for_uniform_gradients() -> None:
    net = network(average_pooling)
    gradcam = cam(net, random_image(), method="gradcam", target=1)
    hirescam = cam(net, random_image(), method="hirescam", target=1)
    np.testing.assert_allclose(gradcam.values, hirescam.values, rtol=0, atol=1e-7)


def test_guided_gradcam_is_the_guided_gradient_times_the_heat() -> None:
    net = network(average_pooling)
    heat = cam(net, random_image(), method="guided-gradcam", target=2)
    score = heat.score
    guided = deconv(net, "6:2", random_image(), rules="guided").full() / score
    coarse = cam(net, random_image(), target=2).full()
    assert heat.pixels is not None
    np.testing.assert_allclose(heat.pixels, guided * coarse[..., None], rtol=0, atol=1e-7)
    assert heat.values.shape == SIZE


# Layer and class


def test_the_default_layer_is_the_last_one_with_maps_before_the_head() -> None:
    assert cam(network(), random_image()).layer == "head.0"
    assert cam(network(average_pooling), random_image()).layer == "3"


def test_a_layer_may_be_given_by_any_of_its_names() -> None:
    assert cam(network(), random_image(), layer="conv2").layer == "deep"


@pytest.mark.parametrize("ending", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_a_final_softmax_is_left_out(ending: nn.Module) -> None:
    plain, with_softmax = (
        network(average_pooling),
        network(lambda: nn.Sequential(*average_pooling(), ending)),
    )
    with_softmax.module.load_state_dict(plain.module.state_dict())
    heat, expected = (cam(net, random_image(), target=1) for net in (with_softmax, plain))
    np.testing.assert_allclose(heat.values, expected.values, atol=1e-9)
    assert heat.probability == pytest.approx(expected.probability, abs=1e-7)


def test_a_single_output_is_the_score_of_a_sigmoid() -> None:
    net = network(lambda: nn.Sequential(*average_pooling(), nn.Linear(4, 1)))
    heat = cam(net, random_image())
    with torch.no_grad():
        share = net.module(random_image()[None]).sigmoid().item()
    assert heat.probability == pytest.approx(share, abs=1e-6)


# Many requests


def test_many_requests_equal_single_requests_in_their_order() -> None:
    net = network(average_pooling)
    small, large = random_image(1), random_image(3, (17, 20))
    requests = [
        (1, small),
        (None, large),
        (3, random_image(2)),
        (0, small),
        (2, large),
        (None, small),
    ]
    for (target, image), heat in zip(requests, cam_many(net, requests), strict=True):
        single = cam(net, image, target=target)
        assert (heat.target, heat.values.shape) == (single.target, single.values.shape)
        np.testing.assert_allclose(heat.values, single.values, rtol=0, atol=1e-9)


def test_a_network_that_mixes_its_batch_gets_single_images() -> None:
    def mixing() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4, track_running_stats=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    net = network(mixing)
    images = [random_image(seed) for seed in range(3)]
    many = list(cam_many(net, [(1, image) for image in images], layer="0"))
    for image, heat in zip(images, many, strict=True):
        np.testing.assert_allclose(heat.values, cam(net, image, layer="0", target=1).values)


# Side effects


def test_nothing_before_the_layer_and_no_parameter_requires_a_gradient() -> None:
    net = network()
    requires_grad: dict[str, bool] = {}
    for name in ("body", "deep", "head.0", "head"):
        part = net.module.get_submodule(name)
        part.register_forward_hook(
            lambda _part, _inputs, maps, name=name: requires_grad.update({name: maps.requires_grad})
        )
    cam(net, random_image(), layer="relu2")
    assert requires_grad == {"body": False, "deep": False, "head.0": True, "head": True}
    assert all(parameter.grad is None for parameter in net.module.parameters())


@pytest.mark.parametrize("make", [TwoParts, average_pooling])
@pytest.mark.parametrize("name", CAM_METHODS)
def test_cam_leaves_no_trace(name: str, make: Callable[[], nn.Module]) -> None:
    net, image = network(make), random_image()
    original = image.clone()
    with no_trace(net.module):
        cam(net, image, method=name)
    assert torch.equal(image, original)


def test_a_failing_cam_leaves_no_trace() -> None:
    net = network()
    net.module.train()
    with no_trace(net.module), pytest.raises(RetroscopeError):
        cam(net, random_image(), target=99)


def test_cam_works_under_no_grad() -> None:
    net = network(average_pooling)
    expected = cam(net, random_image(), target=1).values
    with torch.no_grad():
        np.testing.assert_array_equal(cam(net, random_image(), target=1).values, expected)


# Errors and notes


def test_a_grey_network_has_heat_maps() -> None:
    net = Network(
        built(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), *average_pooling()[1:2], Means()))
    )
    assert cam(net, torch.rand(1, 9, 9), target=2).values.shape == (7, 7)


class Means(nn.Module):
    """The mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(429, 4)), {}, "no convolution with maps"),
        (
            average_pooling,
            {"layer": "6"},
            r"no heat map of 6: it has 4 channels of 1x1; 3 is the last",
        ),
        (lambda: nn.Conv2d(3, 4, 3), {}, "not one score per class; give a unit"),
        (average_pooling, {"method": "gradcan"}, "did you mean 'gradcam'"),
        (average_pooling, {"layer": "conv9"}, "no layer 'conv9'"),
    ],
)
def test_requests_without_a_heat_map_raise_one_line(
    make: Callable[[], nn.Module], options: dict[str, str], says: str
) -> None:
    with pytest.raises((ModelError, RetroscopeError, UnitError), match=says) as refusal:
        cam(network(make), random_image(), **options)
    assert "\n" not in str(refusal.value)


class Chunked(nn.Module):
    """One half of the maps."""

    def forward(self, x: Tensor) -> Tensor:
        half, _ = x.chunk(2, dim=1)
        return half.mean(dim=(2, 3))


def test_a_chunk_of_a_map_is_refused() -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Chunked()))
    with no_trace(net.module), pytest.raises(ModelError, match=r"1\.split: it gives pieces of"):
        cam(net, random_image(), layer="split1")


class Detached(nn.Module):
    """A network that detaches its maps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def test_a_network_that_detaches_its_maps_is_refused() -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Detached(), Means()))
    with pytest.raises(ModelError, match="no gradient leads back from here"):
        cam(net, random_image())


def test_a_class_without_evidence_has_a_note() -> None:
    net = network(average_pooling)
    with torch.no_grad():
        net.module[6].weight[1] = -1  # type: ignore[index]
    heat = cam(net, random_image(), target=1)
    assert not heat.values.any()
    assert heat.notes == ("no evidence for class 1 in 3 by this method",)


def test_every_heat_map_has_caveats() -> None:
    for name in CAM_METHODS:
        heat = cam(network(average_pooling), random_image(), method=name)
        assert heat.caveats
        assert heat.method == name
    assert (
        "HiResCAM does not (Draelos 2020)"
        in cam(network(average_pooling), random_image()).caveats[0]
    )


def test_every_method_of_heat_has_a_title() -> None:
    assert set(METHOD_TITLES) == {*CAM_METHODS, *SALIENCY_METHODS, "occlusion"}
