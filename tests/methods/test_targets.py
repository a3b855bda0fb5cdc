"""The target class: by number, by name, or the most probable one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import RetroscopeError
from retroscope.imaging.image import Image
from retroscope.methods.cam.cam import cam, cam_many
from retroscope.methods.explain import explain
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import saliency
from retroscope.network import Network
from retroscope.results.heat_maps import Target
from tests.conftest import built, numbers

SIZE = (13, 11)


def small() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(body, nn.Flatten(), nn.Linear(5, 4))


def random_image() -> Tensor:
    return numbers(3, *SIZE, seed=0).float()


def labelled(*labels: str) -> Network:
    return Network(built(small), input_size=SIZE, labels=labels, name="small")


def test_the_default_target_is_the_most_probable_class() -> None:
    net = labelled("cat", "dog", "owl", "elk")
    heat = cam(net, random_image())
    with torch.no_grad():
        shares = net.module(random_image()[None]).softmax(dim=1)[0]
    best = int(shares.argmax())
    assert heat.target == Target(best, net.labels[best])
    assert heat.probability == pytest.approx(shares[best].item(), abs=1e-6)


def test_a_class_may_be_given_by_any_of_its_names() -> None:
    net = labelled("tabby, tabby cat", "Great Dane", "owl", "7")
    expected = {"tabby, tabby cat": 0, "tabby cat": 0, "TABBY": 0, "great dane": 1, "2": 2, "7": 3}
    for name, index in expected.items():
        assert cam(net, random_image(), target=name).target == Target(index, net.labels[index])


def test_a_class_number_may_be_a_numpy_integer() -> None:
    net = labelled("tabby", "owl", "3", "1")
    forms: tuple[Any, ...] = (1, np.int64(1), np.uint8(1))
    for number in forms:
        assert cam(net, random_image(), target=number).target == Target(1, "owl")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("tabbi", r"no class 'tabbi' in small; did you mean 'tabby'"),
        ("zzz", r"it has 4 classes, 'tabby' to 'owl'"),
        (4, "no class 4 in small; it has 4, 0 to 3"),
        (-1, "no class -1"),
        (["tabby", "owl"], "a class is a name or a number, not .*; give one at a time"),
        ("owl", "2 classes of small are called 'owl'; give the number, 2 or 3"),
    ],
)
def test_an_unknown_class_is_refused(target: Any, says: str) -> None:
    with pytest.raises(RetroscopeError, match=says):
        cam(labelled("tabby", "dog", "owl", "owl"), random_image(), target=target)


def test_a_name_for_a_network_without_labels_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="no labels; give a number from 0 to 3"):
        cam(labelled(), random_image(), target="cat")


def test_a_wrong_number_of_labels_is_refused() -> None:
    with pytest.raises(
        RetroscopeError, match=r"^small has 4 outputs but 1 label; give one label per"
    ):
        cam(labelled("a"), random_image())
    with pytest.raises(RetroscopeError, match=r"^small has 4 outputs but 5 labels;"):
        saliency(labelled(*"abcde"), random_image())


# Scores that are not finite


class WithoutBrightScores(nn.Module):
    """Gives NaN scores for a bright image."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.mean(dim=(1, 2, 3))
        scores: Tensor = self.classifier(x) + (0.5 - brightness).sqrt()[:, None]
        return scores


EXPLANATIONS: list[Callable[..., Any]] = [cam, explain, partial(occlusion, size=4), saliency]


@pytest.mark.parametrize("explain_image", EXPLANATIONS)
@pytest.mark.parametrize("score", ["nan", "inf", "-inf"])
def test_nonfinite_scores_raise_one_line(explain_image: Callable[..., Any], score: str) -> None:
    net = labelled()
    head = list(net.module.modules())[-1]
    assert isinstance(head, nn.Linear)
    head.bias.data[2] = float(score)
    with pytest.raises(RetroscopeError) as refused:
        explain_image(net, random_image())
    message = f"the scores of small for this image are not finite ({score}); check its weights"
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_the_image_with_nonfinite_scores_is_named() -> None:
    dark, bright = (np.full((*SIZE, 3), n, np.uint8) for n in (0, 255))
    net = Network(WithoutBrightScores(built(small)), input_size=SIZE, name="blinded")
    requests = [(None, Image(dark, "dark.png")), (None, Image(bright, "bright.png"))]
    assert next(cam_many(net, requests[:1])).score < float("inf")
    with pytest.raises(RetroscopeError, match=r"of blinded for 'bright.png' are not finite"):
        list(cam_many(net, requests))
