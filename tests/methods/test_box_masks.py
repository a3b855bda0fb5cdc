"""Masks that detectors predict for their boxes: what is drawn, and as targets of their own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from retroscope.methods.cam.cam import cam
from retroscope.methods.explain import explain
from retroscope.methods.occlusion.occlusion import occlusion
from retroscope.methods.saliency import saliency
from retroscope.results.as_json import as_json
from tests.conftest import numbers
from tests.methods.localisers import Entry, boxes_of, mask_rcnn, network, overlap, run_plainly

SIZE = (40, 56)


def random_image(seed: int = 0) -> Tensor:
    return numbers(3, *SIZE, seed=seed).mul(0.25).add(0.5)


def ranked(entry: Entry) -> list[int]:
    order: list[int] = entry["scores"].argsort(descending=True).tolist()
    return order


def pixels_of_mask(entry: Entry, number: int) -> Any:
    """The pixels from a probability of a half on, as torchvision's tutorials draw them."""
    return entry["masks"][number, 0].detach().numpy() > 0.5


def with_mask(entry: Entry) -> int:
    """The rank, from 1, of a box that has a mask."""
    return next(
        rank for rank, n in enumerate(ranked(entry), 1) if pixels_of_mask(entry, n).sum() > 4
    )


def test_a_box_has_the_mask_that_the_detector_predicts() -> None:
    net, image = network(mask_rcnn), random_image()
    with torch.no_grad():
        entry = run_plainly(net, image)
    heats = explain(net, image, top=1, contrast=False, layers=["backbone.body.3"]).heats
    assert len(heats) > 1
    for heat, number in zip(heats, ranked(entry), strict=False):
        np.testing.assert_array_equal(heat.mask, pixels_of_mask(entry, number))
    assert any(heat.mask is not None and heat.mask.any() for heat in heats)


def test_the_score_of_a_mask_is_the_sum_of_its_logits() -> None:
    net, image = network(mask_rcnn), random_image().requires_grad_()
    entry = run_plainly(net, image)
    rank = with_mask(entry)
    number = ranked(entry)[rank - 1]
    probabilities = entry["masks"][number, 0][torch.from_numpy(pixels_of_mask(entry, number))]
    logits = torch.log(probabilities / (1 - probabilities))
    (gradient,) = torch.autograd.grad(logits.sum(), image)
    heat = saliency(net, image.detach(), target=f"mask:{rank}")
    assert heat.score == pytest.approx(float(logits.sum().detach()))
    assert heat.probability == pytest.approx(float(probabilities.mean().detach()))
    assert str(heat.target).startswith(f"mask {rank}: ")
    assert heat.pixels is not None
    assert abs(gradient).max() > 0
    expected = gradient.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(heat.pixels, expected, rtol=0, atol=1e-6 * abs(expected).max())


def test_a_mask_is_explained_at_its_place_like_its_box() -> None:
    net, image = network(mask_rcnn), random_image()
    with torch.no_grad():
        rank = with_mask(run_plainly(net, image))
    box, mask = (cam(net, image, target=f"{kind}:{rank}") for kind in ("box", "mask"))
    assert mask.method == "layercam"
    np.testing.assert_array_equal(box.mask, mask.mask)
    facts: Any = as_json(mask)
    of_box: Any = as_json(box)
    assert facts["target"] == of_box["target"].replace("box", "mask")
    assert facts["box"] == of_box["box"]
    assert mask.score != box.score


def test_occlusion_of_a_mask_is_its_probability_at_the_same_pixels() -> None:
    net, image = network(mask_rcnn), random_image()
    with torch.no_grad():
        entry = run_plainly(net, image)
    rank = with_mask(entry)
    number = ranked(entry)[rank - 1]
    box, label = boxes_of(entry)[number], int(entry["labels"][number])
    inside = pixels_of_mask(entry, number)
    result = occlusion(net, image, target=f"mask:{rank}", size=20, stride=20, fill=0.0)
    for row, top in enumerate(result.tops):
        for column, left in enumerate(result.lefts):
            covered = image.clone()
            covered[:, top : top + 20, left : left + 20] = 0
            with torch.no_grad():
                found = run_plainly(net, covered)
            shares = [
                (overlap(other, box) if int(of) == label else 0.0, float(score), n)
                for n, (other, score, of) in enumerate(
                    zip(boxes_of(found), found["scores"], found["labels"], strict=True)
                )
            ]
            share, _, same = max(shares)
            expected = float(found["masks"][same, 0].numpy()[inside].mean()) if share >= 0.5 else 0
            assert result.probabilities[row, column] == pytest.approx(expected, abs=1e-6)
    assert 0 < result.probabilities.max() <= 1
