"""Classes at places of a segmenter as targets: their scores and gradients, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import ModelError, RetroscopeError
from retroscope.imaging.image import Fit, Image
from retroscope.methods.cam.cam import cam
from retroscope.methods.explain import explain
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import saliency
from retroscope.methods.synthesis.canvas_view import CanvasView
from retroscope.methods.synthesis.objective_scorer import (
    ObjectiveScorer,
    label_classes,
    resolve_terms,
)
from retroscope.methods.synthesis.objectives import excite_class
from retroscope.network import Network
from retroscope.results.as_json import as_json
from retroscope.results.caveats import LAYERCAM_BY_DEFAULT
from retroscope.results.heat_maps import Target
from tests.conftest import no_trace, numbers
from tests.methods.localisers import LABELS, SEGMENTERS, fcn, network
from tests.reference import cams

SIZE = (24, 20)
Mask = npt.NDArray[np.bool_]
every_segmenter = pytest.mark.parametrize("make", SEGMENTERS.values(), ids=SEGMENTERS)


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed)


def logits_of(net: Network, image: Tensor) -> Tensor:
    """The documented output of torchvision's segmenters for one image (classes, height, width)."""
    logits: Tensor = net.module(image[None])["out"][0]
    return logits


def blob() -> Mask:
    mask = np.zeros(SIZE, bool)
    mask[4:12, 7:15] = True
    return mask


def mask_file(folder: Path, mask: Mask, name: str = "mask.png") -> str:
    path = folder / name
    PIL.Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    return str(path)


# Definitions


@every_segmenter
def test_the_score_and_gradient_at_a_pixel_are_those_of_its_logit(
    make: Callable[[], nn.Module],
) -> None:
    net, image = network(make), random_image().requires_grad_()
    logits = logits_of(net, image)
    (gradient,) = torch.autograd.grad(logits[2, 9, 13], image)
    heat = saliency(net, image.detach(), target="dog@9,13")
    assert heat.target == Target(2, "dog", description="dog at 9,13")
    assert heat.score == pytest.approx(float(logits[2, 9, 13].detach()))
    assert heat.probability == pytest.approx(float(logits.softmax(0)[2, 9, 13].detach()))
    expected = gradient.permute(1, 2, 0).numpy()
    assert abs(expected).max() > 0
    assert heat.pixels is not None
    np.testing.assert_allclose(heat.pixels, expected, rtol=0, atol=1e-6 * abs(expected).max())


@every_segmenter
def test_the_score_of_a_mask_is_the_sum_of_its_logits(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    net, image = network(make), random_image()
    mask = blob()
    heat = cam(net, image, method="gradcam", target=f"2@{mask_file(tmp_path, mask)}")
    recorded: list[Tensor] = []
    backbone: Any = net.module.backbone
    last = dict(net.module.named_modules())[heat.layer] if heat.layer else backbone
    hook = last.register_forward_hook(lambda *args: recorded.append(args[2]))
    logits = logits_of(net, image.clone().requires_grad_())
    hook.remove()
    score = logits[2][torch.from_numpy(mask)].sum()
    (gradient,) = torch.autograd.grad(score, recorded[0])
    expected = cams.gradcam(recorded[0][0].detach().numpy(), gradient[0].numpy())
    assert heat.score == pytest.approx(float(score.detach()))
    assert heat.layer == "backbone.second.1"
    np.testing.assert_allclose(heat.values, expected, rtol=0, atol=1e-6 * max(expected.max(), 1))
    np.testing.assert_array_equal(heat.mask, mask)


def largest_segment(net: Network, image: Tensor) -> tuple[int, Mask]:
    """The class that has the highest logit at most pixels; background counts only alone."""
    with torch.no_grad():
        winners = logits_of(net, image).argmax(0).numpy()
    counts = {index: int((winners == index).sum()) for index in range(1, len(LABELS))}
    best = max(counts, key=counts.__getitem__)
    best = best if counts[best] else 0
    return best, winners == best


def test_without_a_target_the_largest_segment_is_explained_and_named() -> None:
    net, image = network(fcn), random_image()
    index, mask = largest_segment(net, image)
    heat = cam(net, image)
    assert isinstance(heat.target, Target)
    assert heat.target.index == index
    share = f"{100 * mask.mean():.0f} % of the image"
    assert str(heat.target) == f"largest segment: {LABELS[index]}, {share}"
    np.testing.assert_array_equal(heat.mask, mask)
    with torch.no_grad():
        logits = logits_of(net, image)
    assert heat.score == pytest.approx(float(logits[index][torch.from_numpy(mask)].sum()))
    facts: Any = as_json(heat)
    assert (facts["index"], facts["label"]) == (index, LABELS[index])
    named = cam(net, image, target=LABELS[index])
    assert named.score == heat.score


def test_the_default_method_of_a_segment_and_a_pixel_keeps_to_the_place() -> None:
    net, image = network(fcn), random_image()
    for target in (None, "cat@3,4", "output[out][0, 1, 3, 4]"):
        default = cam(net, image, target=target)
        assert default.method == "layercam"
        assert LAYERCAM_BY_DEFAULT in default.notes
        expected = cam(net, image, method="layercam", target=target).values
        np.testing.assert_array_equal(default.values, expected)


def test_methods_that_change_the_image_score_the_same_mask(tmp_path: Path) -> None:
    net, image, mask = network(fcn), random_image(), blob()
    spec = f"cat@{mask_file(tmp_path, mask)}"
    result = occlusion(net, image, size=12, stride=8, target=spec, fill=0.0)
    for row, top in enumerate(result.tops):
        for column, left in enumerate(result.lefts):
            covered = image.clone()
            covered[:, top : top + 12, left : left + 12] = 0
            with torch.no_grad():
                shares = logits_of(net, covered).softmax(0)[1]
            expected = float(shares[torch.from_numpy(mask)].mean())
            assert result.probabilities[row, column] == pytest.approx(expected, abs=1e-6)
    for method in ("scorecam", "ablationcam", "guided-gradcam"):
        assert np.isfinite(cam(net, image, method=method, target=spec).values).all()


def test_images_of_a_list_have_segments_of_their_own() -> None:
    net = network(fcn)
    images = [random_image(seed) for seed in range(3)]
    for image, heat in zip(images, cam(net, images), strict=True):
        single = cam(net, image)
        assert heat.target == single.target
        np.testing.assert_allclose(heat.values, single.values, rtol=0, atol=1e-9)


def test_a_page_has_a_heat_map_for_each_segment() -> None:
    net, image = network(fcn), random_image()
    explanation = explain(net, image, top=1, contrast=False, layers=["backbone.second.0"])
    indices = [prediction.target.index for prediction in explanation.predictions]
    heats = [heat.target for heat in explanation.heats]
    assert [target.index for target in heats if isinstance(target, Target)] == indices


def test_segmenters_are_left_as_they_were() -> None:
    net = network(fcn)
    with no_trace(net.module):
        cam(net, random_image(), target="cat@3,4")


class OneMap(nn.Module):
    """Logits of the given number of classes: the brightness less a threshold, and more."""

    def __init__(self, classes: int, threshold: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, classes, 1)
        for parameter, value in zip(self.conv.parameters(), (1 / 3, -threshold), strict=True):
            nn.init.constant_(parameter, value)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.conv(x)
        return logits


def test_a_single_map_is_a_class_where_its_logit_is_positive() -> None:
    net = Network(OneMap(1).eval(), input_size=(8, 8), labels=["bright"], name="one")
    image = torch.zeros(3, 8, 8)
    image[:, 2:4] = 1
    heat = cam(net, image, layer="conv")
    np.testing.assert_array_equal(heat.mask, image[0].numpy() > 0)
    assert heat.probability == pytest.approx(float(torch.tensor(0.5).sigmoid()))
    with pytest.raises(ModelError, match="finds no segment in this image: no logit is above 0"):
        cam(net, torch.zeros(3, 8, 8), layer="conv")


def test_maps_of_an_unknown_network_need_a_class_and_a_place() -> None:
    net = Network(OneMap(3).eval(), input_size=(8, 8), name="maps")
    image = torch.rand(3, 8, 8)
    assert cam(net, image, target="1@2,3", layer="conv").score == pytest.approx(
        float(image[:, 2, 3].mean() - 0.5), abs=1e-6
    )
    with pytest.raises(ModelError, match="not one score per class; give a target, CLASS@Y,X"):
        cam(net, image, layer="conv")


# Masks in files


def test_a_mask_may_have_the_size_of_the_original_if_images_are_taken_whole(
    tmp_path: Path,
) -> None:
    module = network(fcn).module.float()
    fit = Fit((20, 20), "whole", shorter=20)
    net = Network(module, fit=fit, labels=LABELS, name="whole")
    mask = np.zeros((48, 40), bool)
    mask[:24] = True
    heat = cam(
        net, Image(np.full((48, 40, 3), 90, np.uint8)), target=f"1@{mask_file(tmp_path, mask)}"
    )
    assert heat.mask is not None
    assert heat.mask.shape == heat.size == (24, 20)
    assert heat.mask[:12].all()
    assert not heat.mask[12:].any()


def test_a_class_with_an_at_sign_is_still_a_class() -> None:
    net = network(fcn, labels=("background", "cat@home", "dog", "owl"))
    heat = cam(net, random_image(), target="cat@home@3,4")
    assert str(heat.target) == "cat@home at 3,4"


# What is refused


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("cow@3,4", r"no class 'cow' in fcn; did you mean 'owl'\?"),
        ("zebra", "no class 'zebra' in fcn"),
        ("7@3,4", "no class 7 in fcn; it has 4, 0 to 3"),
        ("cat@24,4", r"no pixel 24,4 in this image of 24x20; Y counts from the top"),
        ("cat@3,20", "no pixel 3,20"),
        ("cat@nowhere.png", r"no file 'nowhere.png' for a mask; a target is CLASS@Y,X"),
        ("cat@", "'cat@' has no place after the @; give CLASS@Y,X"),
    ],
)
def test_a_place_that_is_not_there_is_refused_in_one_line(target: str, says: str) -> None:
    with pytest.raises(RetroscopeError, match=says) as refused:
        cam(network(fcn), random_image(), target=target)
    assert "\n" not in str(refused.value)


def test_a_mask_of_another_size_or_without_white_is_refused(tmp_path: Path) -> None:
    net, image = network(fcn), random_image()
    large = mask_file(tmp_path, np.ones((30, 20), bool), "large.png")
    with pytest.raises(RetroscopeError, match=r"has 30x20 pixels, and the image 24x20 as fcn"):
        cam(net, image, target=f"cat@{large}")
    black = mask_file(tmp_path, np.zeros(SIZE, bool), "black.png")
    with pytest.raises(RetroscopeError, match="has no white pixel"):
        cam(net, image, target=f"cat@{black}")


def test_a_class_without_a_segment_is_refused_with_those_that_are_there() -> None:
    net = Network(OneMap(3).eval(), input_size=(8, 8), labels=["sky", "cat", "sea"], name="maps")
    with pytest.raises(
        RetroscopeError, match=r"cat has no segment in this image, .* takes for sky"
    ):
        cam(net, torch.rand(3, 8, 8), target="cat", layer="conv")


def test_labels_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ModelError, match="fcn has 4 outputs but 2 labels"):
        cam(network(fcn, labels=("a", "b")), random_image(), target="1@2,3")


# Patterns


@pytest.mark.parametrize("target", ["dog", "dog@9,13"])
def test_a_pattern_is_scored_by_the_logits_of_its_class(target: str) -> None:
    module = network(fcn).module.float()
    net = Network(module, input_size=SIZE, labels=LABELS, name="fcn")
    pixels = numbers(1, 3, *SIZE, seed=3).float()
    view = CanvasView.of_whole_image(net, SIZE)
    terms = list(resolve_terms(net, SIZE, label_classes(net, excite_class(target)), 0))
    score = ObjectiveScorer.of_terms(view, terms, 1)(pixels)
    with torch.no_grad():
        logits = logits_of(net, pixels[0])[2]
    expected = logits[9, 13] if "@" in target else logits.mean()
    assert float(score[0]) == pytest.approx(float(expected), rel=1e-5)
