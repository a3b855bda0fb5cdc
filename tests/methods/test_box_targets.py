"""Boxes of detectors as targets: their scores and gradients, and what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from retroscope.errors import ModelError, RetroscopeError
from retroscope.methods.cam.cam import cam, cam_many
from retroscope.methods.explain import explain
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import saliency
from retroscope.network import Network
from retroscope.results.as_json import as_json
from retroscope.results.caveats import LAYERCAM_BY_DEFAULT
from retroscope.results.heat_maps import Target
from tests.conftest import no_trace, numbers
from tests.methods.localisers import (
    DETECTORS,
    LABELS,
    Entry,
    boxes_of,
    faster_rcnn,
    network,
    overlap,
    retinanet,
    run_plainly,
)
from tests.reference import cams

SIZE = (40, 56)
every_detector = pytest.mark.parametrize("make", DETECTORS.values(), ids=DETECTORS)


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed).mul(0.25).add(0.5)


def target_of(heat: Any) -> Target:
    assert isinstance(heat.target, Target)
    return heat.target


def assert_box(heat: Any, expected: list[float]) -> None:
    box = target_of(heat).box
    assert box is not None
    np.testing.assert_allclose(np.array(box), np.array(expected), rtol=1e-5)


def spec_of(box: list[float], *, shift: float = 0.0) -> str:
    return "box:" + ",".join(f"{edge + shift:.3f}" for edge in box)


# Definitions


@every_detector
def test_boxes_are_those_that_the_module_returns_for_a_list_of_images(
    make: Callable[[], nn.Module],
) -> None:
    net, image = network(make), random_image()
    with torch.no_grad():
        entry = run_plainly(net, image)
    order = entry["scores"].argsort(descending=True)
    heats = list(cam_many(net, [(f"box:{n + 1}", image) for n in range(len(order))]))
    assert len(heats) > 1
    for heat, number in zip(heats, order.tolist(), strict=True):
        target = target_of(heat)
        label = int(entry["labels"][number])
        assert (target.index, target.label) == (label, LABELS[label])
        assert_box(heat, boxes_of(entry)[number])
        assert heat.score == pytest.approx(float(entry["scores"][number]))
        assert heat.score == target.score
        assert heat.probability == pytest.approx(target.score, rel=1e-6)


@every_detector
def test_the_gradient_is_that_of_the_score_of_the_box_that_overlaps_most(
    make: Callable[[], nn.Module],
) -> None:
    net, image = network(make), random_image().requires_grad_()
    entry = run_plainly(net, image)
    number = next(
        n for n, box in enumerate(boxes_of(entry)) if min(box[2] - box[0], box[3] - box[1]) > 4
    )
    wanted = [edge + 0.5 for edge in boxes_of(entry)[number]]
    shares = [overlap(box, wanted) for box in boxes_of(entry)]
    best = max(range(len(shares)), key=lambda n: (shares[n], float(entry["scores"][n].detach())))
    assert shares[best] >= 0.5
    (gradient,) = torch.autograd.grad(entry["scores"][best], image)
    heat = saliency(net, image.detach(), target=spec_of(wanted))
    assert heat.score == pytest.approx(float(entry["scores"][best].detach()))
    assert heat.pixels is not None
    assert abs(gradient).max() > 0
    expected = gradient.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(heat.pixels, expected, rtol=0, atol=1e-6 * abs(expected).max())


@every_detector
def test_class_activation_maps_of_a_box_are_their_definitions(
    make: Callable[[], nn.Module],
) -> None:
    net, image = network(make), random_image()
    backbone: Any = net.module.backbone
    recorded: list[Tensor] = []
    hook = backbone.body.register_forward_hook(lambda *args: recorded.append(args[2]))
    entry = run_plainly(net, image.clone().requires_grad_())
    hook.remove()
    (gradient,) = torch.autograd.grad(entry["scores"].max(), recorded[0])
    for method in ("gradcam", "layercam"):
        expected = getattr(cams, method)(recorded[0][0].detach().numpy(), gradient[0].numpy())
        heat = cam(net, image, method=method)
        assert heat.layer == "backbone.body.3"
        assert expected.max() > 0
        np.testing.assert_allclose(heat.values, expected, rtol=0, atol=1e-6 * expected.max())


def test_the_default_method_of_a_box_keeps_to_its_place_and_says_so() -> None:
    net, image = network(faster_rcnn), random_image()
    default, chosen = cam(net, image), cam(net, image, method="layercam")
    np.testing.assert_array_equal(default.values, chosen.values)
    assert (default.method, default.caveats) == ("layercam", chosen.caveats)
    assert [note for note in default.notes if note not in chosen.notes] == [LAYERCAM_BY_DEFAULT]
    explanation = explain(net, image, top=1, contrast=False, layers=["backbone.body.3"])
    assert {heat.method for heat in explanation.heats} == {"layercam"}


def test_a_class_narrows_the_boxes() -> None:
    net, image = network(faster_rcnn), random_image()
    with torch.no_grad():
        entry = run_plainly(net, image)
    label = int(entry["labels"][-1])
    best = next(n for n, found in enumerate(entry["labels"].tolist()) if found == label)
    for spec in (LABELS[label], label, f"{spec_of(boxes_of(entry)[best])}:{LABELS[label]}"):
        heat = cam(net, image, target=spec)
        assert target_of(heat).index == label
        assert_box(heat, boxes_of(entry)[best])


def test_without_a_target_the_most_confident_box_is_explained_and_named() -> None:
    net, image = network(retinanet), random_image()
    heat = cam(net, image)
    assert heat.target == target_of(cam(net, image, target="box:1"))
    assert str(heat.target).startswith(f"box 1: {target_of(heat).label} at ")
    facts: Any = as_json(heat)
    assert facts["target"] == str(heat.target)
    assert (facts["label"], tuple(facts["box"])) == (target_of(heat).label, target_of(heat).box)


def test_detectors_are_left_as_they_were() -> None:
    net = network(faster_rcnn)
    with no_trace(net.module):
        cam(net, random_image())
        saliency(net, random_image(), method="guided")


def test_other_methods_explain_boxes() -> None:
    net, image = network(faster_rcnn), random_image()
    for method in ("scorecam", "ablationcam", "guided-gradcam", "eigencam", "layercam"):
        heat = cam(net, image, method=method)
        assert target_of(heat).box == target_of(cam(net, image)).box
        assert np.isfinite(heat.values).all()
    integrated = saliency(net, image, method="integrated", steps=4)
    assert integrated.values.shape == SIZE


def test_occlusion_is_the_score_of_the_same_box_in_each_covered_image() -> None:
    net, image = network(faster_rcnn), random_image()
    result = occlusion(net, image, size=20, stride=20, target="box:2", fill=0.0)
    box, label = result.target.box, result.target.index
    assert box is not None
    for row, top in enumerate(result.tops):
        for column, left in enumerate(result.lefts):
            covered = image.clone()
            covered[:, top : top + 20, left : left + 20] = 0
            with torch.no_grad():
                entry = run_plainly(net, covered)
            expected = score_of_same_box(entry, list(box), label)
            assert result.probabilities[row, column] == pytest.approx(expected, abs=1e-6)
    lost = int((result.probabilities == 0).sum())
    assert 0 < lost < result.probabilities.size
    assert result.notes == (
        f"the box is not found at {lost} of {result.probabilities.size} positions, where its "
        "probability is 0",
    )
    assert result.classes is None
    facts: Any = as_json(result)
    assert facts["classes"] is None


def score_of_same_box(entry: Entry, box: list[float], label: int | None) -> float:
    """The score of the detection of a class that overlaps a box most, by half at least; else 0."""
    scored = [
        (overlap(found, box), float(score))
        for found, score, of in zip(boxes_of(entry), entry["scores"], entry["labels"], strict=True)
        if int(of) == label
    ]
    share, score = max(scored, default=(0.0, 0.0))
    return score if share >= 0.5 else 0.0


def test_a_page_has_a_heat_map_for_each_box() -> None:
    net, image = network(faster_rcnn), random_image()
    explanation = explain(net, image, top=1, contrast=False, layers=["backbone.body.3"])
    targets = [prediction.target for prediction in explanation.predictions]
    assert [heat.target for heat in explanation.heats] == targets
    assert explanation.heat.target == targets[0]
    scores = [prediction.probability for prediction in explanation.predictions]
    assert scores == sorted(scores, reverse=True)


@every_detector
def test_the_units_of_a_page_are_in_the_backbone(make: Callable[[], nn.Module]) -> None:
    """A layer that predicts edges or classes says less of what is in the image."""
    page = explain(network(make), random_image(), top=1, contrast=False)
    names = [finding.layer.name for finding in page.findings]
    assert names
    assert all(name.startswith("backbone.body.") for name in names)


# Matching


class FixedBoxes(nn.Module):
    """Returns these boxes (x0, y0, x1, y1), with scores that depend on the image."""

    def __init__(self, *boxes: tuple[float, float, float, float], labels: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, max(len(boxes), 1), 3)
        self.boxes = torch.tensor(boxes).reshape(-1, 4)
        self.labels = torch.tensor(labels, dtype=torch.long)

    def forward(self, images: Tensor) -> list[Entry]:
        scores = self.conv(images).mean((2, 3)).sigmoid()[:, : len(self.boxes)]
        return [{"boxes": self.boxes, "labels": self.labels, "scores": score} for score in scores]


def fixed(
    *boxes: tuple[float, float, float, float], labels: tuple[int, ...] | None = None
) -> Network:
    module = FixedBoxes(*boxes, labels=labels or (1,) * len(boxes)).eval()
    with torch.no_grad():
        weight, bias = module.conv.parameters()
        weight.zero_()
        bias.copy_(torch.arange(len(bias), 0, -1))
    return Network(module, input_size=(16, 16), labels=LABELS, name="fixed")


BLACK = torch.zeros(3, 16, 16)


def rank(net: Network, target: str) -> int:
    """Which box a target is, by its score: the first has the highest."""
    scores: list[float] = net.module(BLACK[None])[0]["scores"].tolist()
    score = cam(net, BLACK, target=target, layer="conv").score
    return min(range(len(scores)), key=lambda number: abs(scores[number] - score))


def test_an_overlap_of_exactly_a_half_is_a_match_and_less_is_none() -> None:
    net = fixed((0, 0, 8, 8))
    assert rank(net, "box:0,0,4,8") == 0
    with pytest.raises(RetroscopeError, match=r"by half .*the nearest is box 1: cat .*\(0.48\)"):
        cam(net, BLACK, target="box:0,0,3.84,8")


def test_of_boxes_that_overlap_equally_the_most_confident_is_meant() -> None:
    assert rank(fixed((0, 0, 8, 8), (0, 0, 8, 8)), "box:0,0,8,8") == 0
    assert rank(fixed((0, 0, 8, 8), (0, 0, 8, 7), (0, 0, 8, 8)), "box:0,0,7,8") == 1


def test_a_class_decides_between_boxes_at_one_place() -> None:
    net = fixed((0, 0, 8, 8), (0, 0, 8, 8), labels=(1, 2))
    assert (rank(net, "box:0,0,8,8:dog"), rank(net, "dog"), rank(net, "box:0,0,8,8")) == (1, 1, 0)


def test_boxes_are_ranked_by_score_in_whatever_order_they_come() -> None:
    net = fixed((0, 0, 8, 8), (8, 8, 16, 16))
    with torch.no_grad():
        net.module.conv.bias.copy_(torch.tensor([1.0, 2.0]))  # type: ignore[operator, union-attr]
    assert target_of(cam(net, BLACK, layer="conv")).box == (8, 8, 16, 16)


def test_a_box_without_an_area_is_itself() -> None:
    """Detectors return such boxes; an overlap of 0 with itself would make its score 0."""
    net = fixed((2, 2, 2, 8), (2, 2, 2, 9))
    scores = net.module(BLACK[None])[0]["scores"].tolist()
    for number in (0, 1):
        heat = cam(net, BLACK, target=f"box:{number + 1}", layer="conv")
        assert heat.score == pytest.approx(scores[number])


# What is refused


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("box:0", r"no box 0: boxes are numbered from 1, classes from 0; fixed finds 2 boxes in"),
        ("box:3", r"no box 3 in this image: fixed finds 2 boxes"),
        ("box:-1", "no box -1"),
        ("mask:1", r"fixed finds boxes without masks; give box:1"),
        ("mask:one", r"'mask:one' is not a mask; give mask:N, the mask of box:N"),
        ("mask:0", r"no box 0: boxes are numbered from 1"),
        ("box:one", r"'box:one' is not a box; give box:N .* or box:Y0,X0,Y1,X1"),
        ("box:1,2,3", "is not a box"),
        ("box:0,0,nan,4", "is not a box"),
        ("box:4,4,4,8", "'box:4,4,4,8' has no area"),
        ("box:8,8,4,4", "has no area"),
        ("box:20,0,24,4", "is outside the image, which has 16x16 pixels"),
        ("box:-8,0,-4,4", "is outside the image"),
        ("box:0,12,4,16", r"finds no box that overlaps 'box:0,12,4,16' by half"),
        ("box:0,0,8,8:owl", "finds no box of owl that overlaps"),
        ("box:0,0,8,8:cow", r"no class 'cow' in fixed; did you mean 'owl'\?"),
        ("owl", r"fixed finds no owl here; it finds box 1: cat at 0,0,8,8; box 2: dog"),
        ("horse", "no class 'horse' in fixed"),
        (9, "no class 9 in fixed; it has 4, 0 to 3"),
    ],
)
def test_a_box_that_is_not_found_is_refused_in_one_line(target: Any, says: str) -> None:
    net = fixed((0, 0, 8, 8), (8, 8, 16, 16), labels=(1, 2))
    with pytest.raises(RetroscopeError, match=says) as refused:
        cam(net, BLACK, target=target, layer="conv")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("explain_image", [cam, saliency, occlusion, explain])
def test_an_image_without_boxes_is_refused_in_one_line(
    explain_image: Callable[..., Any],
) -> None:
    options = {"size": 8} if explain_image is occlusion else {}
    with pytest.raises(ModelError, match=r"^fixed finds no box in this image; give") as refused:
        explain_image(fixed(), BLACK, **options)
    assert "\n" not in str(refused.value)


def test_a_classifier_has_neither_boxes_nor_masks() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    net = Network(module, input_size=(16, 16), name="plain")
    with pytest.raises(
        RetroscopeError, match="'box:1' is a box, and plain is not a detector; give a c"
    ):
        cam(net, BLACK, target="box:1")
    with pytest.raises(
        RetroscopeError, match="'mask:1' is a mask, and plain is not a detector; give a c"
    ):
        cam(net, BLACK, target="mask:1")


def test_a_detector_without_labels_has_numbers() -> None:
    net = Network(fixed((0, 0, 8, 8)).module, input_size=(16, 16), name="unlabelled")
    assert str(cam(net, BLACK, layer="conv").target) == "box 1: class 1 at 0,0,8,8"
    assert target_of(cam(net, BLACK, target="1", layer="conv")).index == 1
    with pytest.raises(RetroscopeError, match="no labels; give a number"):
        cam(net, BLACK, target="cat", layer="conv")
