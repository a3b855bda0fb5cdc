"""Class activation maps against their definitions, and what a user meets on the way."""

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
from retroscope.methods.deconv.deconv import deconv
from retroscope.network import Network
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


class Halves(nn.Module):
    """A network in two halves, so that a definition can use each by itself."""

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


class Across(Halves):
    """What comes after the layer also reads what came before it, and works in place."""

    def first(self, x: Tensor) -> Tensor:
        self.before = self.body(x)
        return F.relu(self.deep(self.before), inplace=True)

    def second(self, maps: Tensor) -> Tensor:
        maps = maps.mul_(1.5)
        maps += self.before[:, :5]
        return super().second(maps)


def network(make: Callable[[], nn.Module] = Halves) -> Network:
    return Network(built(lambda: make().double()), input_size=SIZE, name="small")


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    return numbers(3, *size, seed=seed)


def split(net: Network, image: Tensor, index: int) -> tuple[Array, Array]:
    """The maps of the layer and the gradient of the class's score by them, by plain autograd."""
    module = net.module
    assert isinstance(module, Halves)
    maps = module.first(image[None]).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(module.second(maps.clone())[0, index], maps)
    return maps.detach()[0].numpy(), gradient[0].numpy()


def same(found: Array, expected: Array) -> None:
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected.max())


# What the methods are


@pytest.mark.parametrize("make", [Halves, Across])
@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_a_method_is_its_definition(name: str, make: Callable[[], nn.Module]) -> None:
    net = network(make)
    for index in range(3):
        expected = GRADIENT_METHODS[name](*split(net, picture(), index))
        heat = cam(net, picture(), method=name, layer="relu2", target=index)
        same(heat.values, expected)


def with_maps(net: Network, maps: Array, index: int) -> float:
    """The score that follows from other maps of the layer."""
    assert isinstance(net.module, Halves)
    net.module.first(picture()[None])  # leaves behind what `Across` reads
    with torch.no_grad():
        return float(net.module.second(torch.from_numpy(maps)[None].clone())[0, index])


@pytest.mark.parametrize("make", [Halves, Across])
def test_ablation_is_its_definition(make: Callable[[], nn.Module]) -> None:
    net = network(make)
    maps, _ = split(net, picture(), 2)
    expected = cams.ablationcam(maps.copy(), lambda changed: with_maps(net, changed, 2))
    same(cam(net, picture(), method="ablationcam", layer="relu2", target=2).values, expected)


@pytest.mark.parametrize(("make", "answers"), [(Halves, True), (Across, False)])
def test_only_the_second_half_runs_again_unless_it_reads_more_than_the_layer(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[], nn.Module], answers: bool
) -> None:
    told: list[bool] = []

    def watched(*args: Any, **options: Any) -> Tensor | None:
        scores = replay_from_layer(*args, **options)
        told.append(scores is not None)
        return scores

    monkeypatch.setattr(cam_methods, "replay_from_layer", watched)
    cam(network(make), picture(), method="ablationcam", layer="relu2")
    assert set(told) == {answers}


def test_scores_through_masks_are_their_definition() -> None:
    net = network()
    maps, _ = split(net, picture(), 1)

    def scores(masked: Array) -> float:
        with torch.no_grad():
            return float(net.module(torch.from_numpy(masked)[None])[0, 1])

    expected = cams.scorecam(maps, picture().numpy(), scores)
    same(cam(net, picture(), method="scorecam", layer="relu2", target=1).values, expected)


def pooled() -> nn.Sequential:
    body = [nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU()]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))


def test_gradcam_is_cam_where_a_linear_head_reads_the_mean_of_each_map() -> None:
    """CAM (Zhou 2016): the maps weighed by the head's weights; Grad-CAM divides by their size."""
    net = network(pooled)
    with torch.no_grad():
        maps = net.module[:4](picture()[None])[0]  # type: ignore[index]
        for index in range(4):
            weights = net.module[6].weight[index]  # type: ignore[index]
            classic = torch.einsum("k,kyx->yx", weights, maps).clamp(min=0)
            heat = cam(net, picture(), target=index)
            assert heat.layer == "3"
            np.testing.assert_allclose(
                heat.values * maps[0].numel(), classic.numpy(), rtol=0, atol=1e-6
            )


def test_hirescam_and_gradcam_agree_where_gradients_are_even() -> None:
    net = network(pooled)
    one, other = (cam(net, picture(), method=name, target=1) for name in ("gradcam", "hirescam"))
    np.testing.assert_allclose(one.values, other.values, rtol=0, atol=1e-7)


def test_guided_gradcam_is_the_guided_picture_under_the_heat() -> None:
    net = network(pooled)
    heat = cam(net, picture(), method="guided-gradcam", target=2)
    score = heat.score
    guided = deconv(net, "6:2", picture(), rules="guided").full() / score
    coarse = cam(net, picture(), target=2).full()
    assert heat.pixels is not None
    np.testing.assert_allclose(heat.pixels, guided * coarse[..., None], rtol=0, atol=1e-7)
    assert heat.values.shape == SIZE


# Which layer, and which class


def test_the_layer_is_the_last_map_before_the_head() -> None:
    assert cam(network(), picture()).layer == "head.0"
    assert cam(network(pooled), picture()).layer == "3"


def test_a_layer_may_be_written_as_any_of_its_names() -> None:
    assert cam(network(), picture(), layer="conv2").layer == "deep"


@pytest.mark.parametrize("ending", [nn.Softmax(dim=1), nn.LogSoftmax(dim=1)])
def test_a_softmax_at_the_end_is_left_out(ending: nn.Module) -> None:
    bare, ended = network(pooled), network(lambda: nn.Sequential(*pooled(), ending))
    ended.module.load_state_dict(bare.module.state_dict())
    for one, other in zip(*([cam(net, picture(), target=1)] for net in (bare, ended)), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-9)
        assert one.probability == pytest.approx(other.probability, abs=1e-7)


def test_one_number_is_the_score_of_a_sigmoid() -> None:
    net = network(lambda: nn.Sequential(*pooled(), nn.Linear(4, 1)))
    heat = cam(net, picture())
    with torch.no_grad():
        share = net.module(picture()[None]).sigmoid().item()
    assert heat.probability == pytest.approx(share, abs=1e-6)


# Many


def test_many_requests_equal_single_requests_in_their_order() -> None:
    net = network(pooled)
    small, large = picture(1), picture(3, (17, 20))
    requests = [
        (1, small),
        (None, large),
        (3, picture(2)),
        (0, small),
        (2, large),
        (None, small),
    ]
    for (target, image), heat in zip(requests, cam_many(net, requests), strict=True):
        single = cam(net, image, target=target)
        assert (heat.target, heat.values.shape) == (single.target, single.values.shape)
        np.testing.assert_allclose(heat.values, single.values, rtol=0, atol=1e-9)


def test_a_network_that_mixes_a_batch_is_given_pictures_alone() -> None:
    def mixing() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4, track_running_stats=False),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    net = network(mixing)
    images = [picture(seed) for seed in range(3)]
    many = list(cam_many(net, [(1, image) for image in images], layer="0"))
    for image, heat in zip(images, many, strict=True):
        np.testing.assert_allclose(heat.values, cam(net, image, layer="0", target=1).values)


# How it is done


def test_nothing_before_the_layer_and_no_parameter_asks_for_a_gradient() -> None:
    net = network()
    asking: dict[str, bool] = {}
    for name in ("body", "deep", "head.0", "head"):
        part = net.module.get_submodule(name)
        part.register_forward_hook(
            lambda _part, _given, made, name=name: asking.update({name: made.requires_grad})
        )
    cam(net, picture(), layer="relu2")
    assert asking == {"body": False, "deep": False, "head.0": True, "head": True}
    assert all(one.grad is None for one in net.module.parameters())


@pytest.mark.parametrize("make", [Halves, pooled])
@pytest.mark.parametrize("name", CAM_METHODS)
def test_a_heat_map_leaves_no_trace(name: str, make: Callable[[], nn.Module]) -> None:
    net, image = network(make), picture()
    kept = image.clone()
    with no_trace(net.module):
        cam(net, image, method=name)
    assert torch.equal(image, kept)


def test_a_failing_heat_map_leaves_no_trace() -> None:
    net = network()
    net.module.train()
    with no_trace(net.module), pytest.raises(RetroscopeError):
        cam(net, picture(), target=99)


def test_gradients_switched_off_around_it_do_not_matter() -> None:
    net = network(pooled)
    expected = cam(net, picture(), target=1).values
    with torch.no_grad():
        np.testing.assert_array_equal(cam(net, picture(), target=1).values, expected)


# What cannot be shown


def test_a_grey_network_has_heat_maps() -> None:
    net = Network(built(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), *pooled()[1:2], Means())))
    assert cam(net, torch.rand(1, 9, 9), target=2).values.shape == (7, 7)


class Means(nn.Module):
    """The mean of each map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


@pytest.mark.parametrize(
    ("make", "options", "says"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(429, 4)), {}, "no convolution with maps"),
        (pooled, {"layer": "6"}, r"no heat map of 6: it has 4 channels of 1x1; 3 is the last"),
        (lambda: nn.Conv2d(3, 4, 3), {}, "not one score per class; give a unit"),
        (pooled, {"method": "gradcan"}, "did you mean 'gradcam'"),
        (pooled, {"layer": "conv9"}, "no layer 'conv9'"),
    ],
)
def test_what_has_no_heat_map_is_told_in_a_line(
    make: Callable[[], nn.Module], options: dict[str, str], says: str
) -> None:
    with pytest.raises((ModelError, RetroscopeError, UnitError), match=says) as refusal:
        cam(network(make), picture(), **options)
    assert "\n" not in str(refusal.value)


class Chunked(nn.Module):
    """One half of the maps."""

    def forward(self, x: Tensor) -> Tensor:
        kept, _ = x.chunk(2, dim=1)
        return kept.mean(dim=(2, 3))


def test_a_piece_of_a_map_is_told_to_have_no_heat() -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Chunked()))
    with no_trace(net.module), pytest.raises(ModelError, match=r"1\.split: it gives pieces of"):
        cam(net, picture(), layer="split1")


class Cut(nn.Module):
    """A network that detaches its maps."""

    def forward(self, x: Tensor) -> Tensor:
        return x.detach()


def test_a_network_that_leads_nowhere_is_told() -> None:
    net = network(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Cut(), Means()))
    with pytest.raises(ModelError, match="no gradient leads back from here"):
        cam(net, picture())


def test_a_class_that_nothing_speaks_for_says_so() -> None:
    net = network(pooled)
    with torch.no_grad():
        net.module[6].weight[1] = -1  # type: ignore[index]
    heat = cam(net, picture(), target=1)
    assert not heat.values.any()
    assert heat.notes == ("no evidence for class 1 in 3 by this method",)


def test_each_heat_map_says_how_far_to_trust_it() -> None:
    for name in CAM_METHODS:
        heat = cam(network(pooled), picture(), method=name)
        assert heat.caveats
        assert heat.method == name
    assert "HiResCAM does not (Draelos 2020)" in cam(network(pooled), picture()).caveats[0]
