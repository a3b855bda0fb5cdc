"""ultralytics' YOLO: opened with random weights, fields, projections, scans, and heat of boxes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.errors import ModelError
from retroscope.methods.activations import last_spatial_layer
from retroscope.methods.detections import read_detections
from retroscope.zoo.ultralytics_models import unchanged_process

with unchanged_process(offline=True):
    ultralytics: Any = pytest.importorskip("ultralytics", reason="the extra yolo is not installed")
NAME, SIZE = "ultralytics/yolov8n?nc=3", 64
CONFIDENT = 3.0


def image(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net() -> rs.Network:
    """A YOLO whose head is sure of itself; with random weights it would find nothing."""
    opened = rs.open_model(NAME, random_weights=0, device="cpu", input_size=SIZE)
    be_confident(opened)
    return opened


def be_confident(opened: rs.Network) -> None:
    for branch in opened.module.get_submodule("model.22.cv3").children():
        last = branch.get_submodule("2")
        assert isinstance(last, torch.nn.Conv2d)
        assert last.bias is not None
        with torch.no_grad():
            last.weight.mul_(20)
            last.bias.copy_(torch.tensor([CONFIDENT, -CONFIDENT, -CONFIDENT]))


def test_every_convolution_is_a_layer(net: rs.Network) -> None:
    names = {layer.name for layer in net.layers}
    convolutions = {
        name for name, part in net.module.named_modules() if isinstance(part, torch.nn.Conv2d)
    }
    assert convolutions - names <= {"model.22.dfl.conv"}  # over bins of a distance, not positions


@pytest.mark.parametrize("name", ["model.0.conv", "model.4.cv2.conv", "model.15.cv2.conv"])
def test_a_field_holds_what_a_unit_of_backbone_and_neck_sees(net: rs.Network, name: str) -> None:
    layer = net.layer(name)
    y, x = layer.size[0] // 2, layer.size[1] // 2
    maps: list[torch.Tensor] = []
    hook = net.module.get_submodule(name).register_forward_hook(lambda *call: maps.append(call[2]))
    pixels = image().requires_grad_()
    with torch.enable_grad():
        net.module.eval()(pixels[None])
    hook.remove()
    (gradient,) = torch.autograd.grad(maps[0][0, :, y, x].sum(), pixels)
    outside = gradient.abs().sum(dim=0)
    box = layer.field.box(y, x).clip(SIZE, SIZE)
    outside[box.top : box.bottom, box.left : box.right] = 0
    assert not outside.any()


def test_a_projection_by_the_gradient_is_that_of_torch(net: rs.Network) -> None:
    unit = rs.Unit("model.22.cv3.0.2", 1, (5, 2))
    projection = rs.deconv(net, unit, image(), rules="gradient")
    maps: list[torch.Tensor] = []
    hook = net.module.get_submodule(unit.layer).register_forward_hook(
        lambda *call: maps.append(call[2])
    )
    pixels = image().requires_grad_()
    with torch.enable_grad():
        net.module.eval()(pixels[None])
    hook.remove()
    activation = maps[0][0, 1, 5, 2]
    (gradient,) = torch.autograd.grad(activation, pixels)
    expected = (gradient * activation.detach()).permute(1, 2, 0)
    difference = torch.from_numpy(projection.full()) - expected
    assert difference.abs().max().item() < 1e-4 * expected.abs().max().item()


# Detections


@torch.no_grad()
def test_detections_are_those_of_ultralytics(net: rs.Network) -> None:
    """By its own non-maximum suppression, with its default thresholds."""
    from ultralytics.utils.nms import non_max_suppression

    output = net.module.eval()(image()[None])
    read = read_detections(net.module, output, (SIZE, SIZE))
    assert read is not None
    (expected,) = non_max_suppression(output[0].clone(), conf_thres=0.25, iou_thres=0.7)
    (ours,) = read
    assert len(ours) == len(expected) > 1
    order = ours.order
    torch.testing.assert_close(ours.scores[order], expected[:, 4])
    torch.testing.assert_close(ours.boxes[order], expected[:, [1, 0, 3, 2]], rtol=0, atol=1e-3)
    assert torch.equal(ours.classes[order], expected[:, 5].long())


def test_the_heat_of_a_box_is_of_its_score(net: rs.Network) -> None:
    heat = rs.cam(net, image(), method="hirescam", layer="model.15", target="box:2")
    maps: list[torch.Tensor] = []
    hook = net.module.get_submodule("model.15").register_forward_hook(
        lambda *call: maps.append(call[2])
    )
    with torch.enable_grad():
        output = net.module.eval()(image()[None].requires_grad_())
    hook.remove()
    read = read_detections(net.module, output, (SIZE, SIZE))
    assert read is not None
    (gradient,) = torch.autograd.grad(read[0].scores[read[0].order[1]], maps[0])
    expected = (gradient * maps[0]).sum(dim=1).clamp(min=0)[0].detach().numpy()
    np.testing.assert_allclose(heat.values, expected, rtol=1e-3, atol=1e-7)
    assert heat.target.box is not None


def test_without_a_target_the_most_confident_box_is_explained(net: rs.Network) -> None:
    assert str(rs.cam(net, image()).target).startswith("box 1: ")


def test_the_default_layer_is_the_last_of_the_backbone_at_stride_8(net: rs.Network) -> None:
    layer = net.layer(rs.cam(net, image()).layer)
    assert "model.4" in layer.aliases
    assert (layer.name, layer.kind) == ("model.4.cv2.act", "silu")
    assert (layer.field.y.stride, layer.size) == (8, (SIZE // 8, SIZE // 8))


@pytest.mark.parametrize("name", ["yolov5nu", "yolov9t", "yolov10n", "yolo26n"])
def test_it_is_the_one_that_the_neck_reads_in_other_families(name: str) -> None:
    """By their YAML files, which say what the neck takes from the fourth block."""
    other = rs.open_model(
        f"ultralytics/{name}", random_weights=0, device="cpu", input_size=(SIZE, SIZE)
    )
    assert "model.4" in last_spatial_layer(other, (SIZE, SIZE)).aliases


def test_units_of_a_page_are_in_layers_before_the_head(net: rs.Network) -> None:
    page = rs.explain(net, image(), top=1, contrast=False)
    names = [finding.layer.name for finding in page.findings]
    assert len(names) >= 3
    assert any(layer.name.startswith("model.22.") for layer in net.layers)
    assert not any(name.startswith("model.22.") for name in names)


def test_a_module_of_ones_own_is_a_detector_too(net: rs.Network) -> None:
    own = rs.Network(net.module, fit=rs.Fit((SIZE, SIZE), mode="letterbox"), labels=["a", "b", "c"])
    heats = [rs.cam(network, image(), target="box:1") for network in (net, own)]
    np.testing.assert_array_equal(heats[0].values, heats[1].values)
    assert heats[1].target.label == "a"


def test_a_layer_of_the_neck_is_scanned(net: rs.Network, tmp_path: Path) -> None:
    folder = rs.write_world(tmp_path / "world", count=4)
    with rs.scan(
        net, folder, to=tmp_path / "yolo.atlas", layers="model.15", projections="none"
    ) as atlas:
        assert len(atlas.images) == 4
        assert atlas.layers[0].channels == net.layer("model.15").channels


@torch.no_grad()
def test_masks_are_those_of_ultralytics() -> None:
    """By its own non-maximum suppression and combination of prototypes."""
    from ultralytics.utils.nms import non_max_suppression
    from ultralytics.utils.ops import process_mask

    net = rs.open_model(
        "ultralytics/yolov8n-seg?nc=3", random_weights=0, device="cpu", input_size=SIZE
    )
    be_confident(net)
    output = net.module.eval()(image()[None])
    (predictions, prototypes), _ = output
    (expected,) = non_max_suppression(predictions.clone(), conf_thres=0.25, iou_thres=0.7, nc=3)
    masks = process_mask(
        prototypes[0], expected[:, 6:], expected[:, :4].clone(), (SIZE, SIZE), upsample=True
    ).bool()
    read = read_detections(net.module, output, (SIZE, SIZE))
    assert read is not None
    (ours,) = read
    assert len(ours) == len(masks) > 1
    assert masks.any()
    assert not masks.all()
    for number, mask in zip(ours.order, masks, strict=True):
        np.testing.assert_array_equal(ours.mask(number), mask.numpy())
    np.testing.assert_array_equal(rs.cam(net, image(), target="box:2").mask, masks[1].numpy())


def test_without_detections_the_target_is_refused() -> None:
    net = rs.open_model("ultralytics/yolov8n", random_weights=1, device="cpu", input_size=SIZE)
    with pytest.raises(ModelError, match="finds no box in this image"):
        rs.cam(net, image())


# Opening


def test_images_are_fitted_as_ultralytics_fits_them() -> None:
    """Its LetterBox; it resizes without antialiasing, so only an image that is enlarged agrees."""
    from ultralytics.data.augment import LetterBox

    net = rs.open_model(NAME, random_weights=0, device="cpu", input_size=SIZE)
    pixels = rs.scene(3, size=40).pixels[:, :30]
    expected = LetterBox((SIZE, SIZE), auto=False)(image=pixels)
    prepared = net.prepare(rs.Image(np.ascontiguousarray(pixels)))
    difference = np.abs(prepared.rgb.astype(int) - expected)
    bars = np.all(expected == 114, axis=2)
    assert np.array_equal(prepared.rgb[bars], expected[bars])
    assert difference.max() <= 3
    assert torch.equal(prepared.tensor, torch.from_numpy(prepared.rgb).permute(2, 0, 1) / 255)


def test_the_seed_decides_the_weights() -> None:
    states = [
        rs.open_model(NAME, random_weights=seed, device="cpu").module.state_dict()
        for seed in (4, 4, 5)
    ]
    key = "model.0.conv.weight"
    assert torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[0][key], states[2][key])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ultralytics/yolov8q", "no ultralytics model 'yolov8q'; did you mean 'yolov8"),
        ("ultralytics/yolov8n?classes=3", "cannot build ultralytics/yolov8n with .*classes"),
        ("ultralytics/yolo_nas_s", "no ultralytics model .yolo_nas_s."),
    ],
)
def test_an_unknown_network_is_refused_with_what_there_is(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        rs.open_model(name, random_weights=0)


def test_without_ultralytics_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(ModelError, match=r"pip install 'retroscope\[yolo\]'"):
        rs.open_model(NAME, random_weights=0)


def test_a_network_without_a_yaml_file_needs_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError("yolov8n.yaml")

    monkeypatch.setattr(ultralytics, "YOLO", fail)
    with pytest.raises(ModelError, match="has no YAML file of yolov8n, from which it could") as no:
        rs.open_model("ultralytics/yolov8n", random_weights=0)
    assert no.value.parameter == "random_weights"
    with pytest.raises(ModelError, match="cannot get the trained weights of ultralytics/yolov8n"):
        rs.open_model("ultralytics/yolov8n")


@torch.no_grad()
def test_boxes_of_a_head_without_suppression_are_read_as_they_come() -> None:
    net = rs.open_model("ultralytics/yolov10n?nc=2", random_weights=0, device="cpu")
    module = net.module
    head: Any = module.get_submodule("model.23")
    head.end2end = True
    for branch in head.one2one_cv3:
        branch[-1].bias.copy_(torch.tensor([CONFIDENT, -CONFIDENT]))
    output = module(image()[None])
    read = read_detections(module, output, (SIZE, SIZE))
    assert read is not None
    rows = output[0][0]
    rows = rows[rows[:, 4] >= 0.25]
    assert len(read[0]) == len(rows) > 1
    torch.testing.assert_close(read[0].boxes, rows[:, [1, 0, 3, 2]])
    torch.testing.assert_close(read[0].scores, rows[:, 4])


def test_importing_it_changes_nothing_in_the_process() -> None:
    code = """
import os, numpy, torch
import retroscope as rs
def settings():
    return dict(os.environ), numpy.get_printoptions(), str(torch.tensor([0.1234567, 1e9])), (
        torch.get_num_threads()
    )
before = settings()
rs.open_model("ultralytics/yolov8n", random_weights=0, device="cpu")
assert settings() == before, (before, settings())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
