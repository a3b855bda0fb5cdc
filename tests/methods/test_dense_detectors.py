"""Detections among boxes at every position: by definition, and of the bundled detector."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import retroscope as rs
from retroscope.methods.dense_detectors import LIMIT, BoxFilter, select_boxes
from retroscope.methods.detections import read_detections
from retroscope.world import Scene, scene

Corners = tuple[int, int, int, int]
FILTER = BoxFilter(min_score=0.3, max_overlap=0.4142)


def overlap(first: Corners, second: Corners) -> float:
    """The intersection over union of boxes (x, y, width, height), by counting pixels."""
    areas = []
    for x, y, width, height in (first, second):
        area = np.zeros((16, 16), bool)
        area[y : y + height, x : x + width] = True
        areas.append(area)
    return float((areas[0] & areas[1]).sum() / (areas[0] | areas[1]).sum())


rows = st.tuples(
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 8), st.integers(1, 8)),
    st.integers(0, 1),
)


def with_levels(
    drawn: list[tuple[Corners, int]],
) -> st.SearchStrategy[tuple[list[tuple[Corners, int]], list[float]]]:
    """Boxes with scores that are all different."""
    levels = [0.15 + 0.1 * number for number in range(len(drawn))]
    return st.tuples(st.just(drawn), st.permutations(levels))


@settings(max_examples=40)
@given(st.lists(rows, min_size=1, max_size=8).flatmap(with_levels))
def test_of_boxes_that_overlap_the_most_confident_of_a_class_stays(
    case: tuple[list[tuple[Corners, int]], list[float]],
) -> None:
    drawn, levels = case
    expected: list[int] = []
    for row in sorted(range(len(drawn)), key=lambda row: -levels[row]):
        box, label = drawn[row]
        rivals = [other for other in expected if drawn[other][1] == label]
        if levels[row] >= FILTER.min_score and all(
            overlap(box, drawn[other][0]) <= FILTER.max_overlap for other in rivals
        ):
            expected.append(row)
    corners = torch.tensor([(x, y, x + w, y + h) for (x, y, w, h), _ in drawn]).float()
    scores = torch.zeros(len(drawn), 2)
    for row, (_, label) in enumerate(drawn):
        scores[row, label] = levels[row]
    chosen, classes = select_boxes(corners, scores, FILTER)
    assert chosen.tolist() == expected
    assert classes.tolist() == [drawn[row][1] for row in expected]


def test_no_more_boxes_than_the_limit() -> None:
    edges = torch.arange(LIMIT + 50)[:, None] * 10.0
    corners = torch.cat([edges, edges, edges + 5, edges + 5], dim=1)
    assert len(select_boxes(corners, torch.ones(LIMIT + 50, 1), FILTER)[0]) == LIMIT


# The bundled detector


@pytest.fixture(scope="module")
def net() -> rs.Network:
    return rs.open_model("demo-detector", device="cpu")


@pytest.fixture(scope="module")
def crowd() -> Scene:
    return scene(7 * 10**9 + 4, objects=3)


def test_each_detection_is_the_class_and_box_of_a_position(net: rs.Network, crowd: Scene) -> None:
    with torch.no_grad():
        output = net.module(net.prepare(crowd.pixels).tensor[None])
    read = read_detections(net.module, output, (96, 96))
    assert read is not None
    (found,) = read
    assert len(found) >= 2
    logits, boxes = output["class_logits"][0], output["boxes"][0]
    for score, label, box in zip(found.scores, found.classes, found.boxes, strict=True):
        top, left, bottom, right = box
        corners = torch.stack([left, top, right, bottom])[:, None, None]
        y, x = (boxes - corners).abs().sum(dim=0).eq(0).nonzero()[0].tolist()
        assert int(logits[:, y, x].argmax()) == int(label)
        assert float(logits[label, y, x].sigmoid()) == pytest.approx(float(score))
        assert float(score) >= 0.25


def test_boxes_are_those_of_the_painter(net: rs.Network, crowd: Scene) -> None:
    """Each object of this scene is found, by the right class."""
    for item in crowd.objects:
        box = item.box
        edges = f"{box.top},{box.left},{box.bottom},{box.right}"
        heat = rs.cam(net, crowd.pixels, target=f"box:{edges}:{item.label}")
        assert heat.target.label == item.label


def test_heat_of_a_box_is_the_gradient_of_its_logit_by_direction(
    net: rs.Network, crowd: Scene
) -> None:
    """The gradient of a score after the sigmoid is that of the logit times a number."""
    heat = rs.cam(net, crowd.pixels, method="hirescam", layer="head", target="box:1")
    maps: list[torch.Tensor] = []
    hook = net.module.get_submodule("head").register_forward_hook(
        lambda *call: maps.append(call[2])
    )
    with torch.enable_grad():
        output = net.module(net.prepare(crowd.pixels).tensor[None].requires_grad_())
    hook.remove()
    best = output["class_logits"].max()
    (gradient,) = torch.autograd.grad(best, maps[0])
    expected = (gradient * maps[0]).sum(dim=1).clamp(min=0)[0].detach()
    computed = torch.from_numpy(heat.values)
    torch.testing.assert_close(
        computed / computed.max(), expected / expected.max(), rtol=1e-3, atol=1e-5
    )
