"""The bundled detector and segmenter: what they are, and how well they find objects."""

import json
from importlib.resources import files

import pytest
import torch
from tools.train_localisers import (
    MIN_SIDE,
    augment,
    collate,
    crowd_scene,
    detector_score,
    paint,
    segmenter_score,
)

import retroscope as rs
from retroscope.world import LABELS
from retroscope.zoo.demo_localisers import STRIDE, DemoDetector

FRESH, COUNT = 6 * 10**9, 60
WEIGHTS = files("retroscope.world") / "weights"
NAMES = ("demo-detector", "demo-segmenter")


@pytest.fixture(scope="module", params=NAMES)
def net(request: pytest.FixtureRequest) -> rs.Network:
    return rs.open_model(request.param, device="cpu")


def test_weights_are_small_and_in_half_precision(net: rs.Network) -> None:
    content = (WEIGHTS / f"{net.name}.safetensors").read_bytes()
    tensors = list(net.module.parameters())
    assert len(content) < 900_000
    assert len(content) < 2 * sum(tensor.numel() for tensor in tensors) + 8192
    assert all(torch.equal(tensor, tensor.half().float()) for tensor in tensors)


def test_labels_are_those_of_the_world() -> None:
    assert rs.open_model("demo-detector", random_weights=0).labels == LABELS
    segmenter = rs.open_model("demo-segmenter", random_weights=0)
    assert segmenter.labels == ("background", *LABELS)


def test_every_convolution_is_a_layer_with_an_exact_field(net: rs.Network) -> None:
    """The field of a position of `head` or of the last map, by the gradient at the pixels."""
    convolutions = [
        name for name, part in net.module.named_modules() if isinstance(part, torch.nn.Conv2d)
    ]
    layers = {layer.name: layer for layer in net.layers}
    assert set(convolutions) <= set(layers)
    for name in convolutions:
        if layers[name].field.whole or layers[name].field.y.size > 100:
            continue
        check_field(net, layers[name])


def check_field(net: rs.Network, layer: rs.Layer) -> None:
    maps: list[torch.Tensor] = []
    part = net.module.get_submodule(layer.name)
    hook = part.register_forward_hook(lambda *call: maps.append(call[2]))
    image = torch.randn(1, 3, *net.input_size, generator=torch.Generator().manual_seed(0))
    net.module(image.requires_grad_())
    hook.remove()
    y, x = layer.size[0] // 2, layer.size[1] // 2
    (gradient,) = torch.autograd.grad(maps[0][0, :, y, x].sum(), image)
    rows, columns = gradient[0].abs().amax(dim=0).nonzero(as_tuple=True)
    box = layer.field.box(y, x)
    seen = rs.Box(*(int(edge) for edge in (rows.min(), columns.min(), rows.max(), columns.max())))
    assert box.union(seen) == box, layer.name


# Boxes


def test_a_box_is_the_distances_of_its_position_in_cells() -> None:
    detector = DemoDetector().eval()
    bias = dict(detector.named_parameters())["distances.bias"]
    with torch.no_grad():
        detector.distances.weight.zero_()
        bias.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).log())
        boxes = detector(torch.zeros(1, 3, 64, 128))["boxes"]
    assert boxes.shape == (1, 4, 8, 16)
    for row, column in ((0, 0), (3, 11)):
        y, x = (row + 0.5) * STRIDE, (column + 0.5) * STRIDE
        wanted = [x - STRIDE, y - 2 * STRIDE, x + 3 * STRIDE, y + 4 * STRIDE]
        assert boxes[0, :, row, column].tolist() == pytest.approx(wanted)


# Training data


def test_batches_hold_the_boxes_and_classes_of_the_scenes() -> None:
    seeds = range(FRESH, FRESH + 8)
    batch = collate(paint(seeds))
    for index, seed in enumerate(seeds):
        painted = crowd_scene(seed)
        visible = [
            item for item in painted.objects if min(item.box.height, item.box.width) >= MIN_SIDE
        ]
        assert [LABELS[label] for label in batch.labels[index]] == [item.label for item in visible]
        corners = [(b.left, b.top, b.right, b.bottom) for b in (item.box for item in visible)]
        assert batch.boxes[index].tolist() == [list(map(float, box)) for box in corners]
        for item in painted.objects:
            assert (batch.class_maps[index][item.mask] == LABELS.index(item.label) + 1).all()
        assert (batch.class_maps[index] > 0).sum() == (painted.object_map > 0).sum()


def test_augmented_scenes_keep_image_and_objects_together() -> None:
    """Where a colour is painted on an object, and nowhere else, it stays on it."""
    (crowd,) = paint([FRESH + 60])
    crowd.image[:] = crowd.object_map
    for seed in range(6):
        changed = augment(crowd, torch.Generator().manual_seed(seed))
        assert torch.equal(changed.image[0], changed.object_map)
        assert changed.image.shape == crowd.image.shape


# Scores


def record(name: str) -> dict[str, float]:
    content: dict[str, float] = json.loads((WEIGHTS / f"{name}.json").read_text("utf-8"))
    return content


def test_the_detector_finds_objects_that_it_has_not_seen() -> None:
    net = rs.open_model("demo-detector", device="cpu")
    measured = detector_score(net.module, paint(range(FRESH, FRESH + COUNT)))
    assert measured == pytest.approx(record(net.name)["AP50"], abs=0.08)
    assert measured > 0.5


def test_the_segmenter_finds_pixels_that_it_has_not_seen() -> None:
    net = rs.open_model("demo-segmenter", device="cpu")
    measured = segmenter_score(net.module, paint(range(FRESH, FRESH + COUNT)))
    assert measured == pytest.approx(record(net.name)["mIoU"], abs=0.08)
    assert measured > 0.4
