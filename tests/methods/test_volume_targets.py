"""Classes at voxels of a segmenter of volumes, and at places of a signal, as targets."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.render.heat_figures import overlay_slices
from retroscope.render.slices import flatten_heat
from tests.conftest import built, numbers
from tests.methods.test_volumes import opened
from tests.reference.volumes import UNet

SIZE, VOXEL, TARGET = (8, 12, 8), (5, 7, 2), "1@5,7,2"


@pytest.fixture(scope="module")
def net() -> Network:
    return opened(lambda: UNet(nn.InstanceNorm3d), 1, SIZE)


@pytest.fixture(scope="module")
def scan() -> torch.Tensor:
    return numbers(1, *SIZE, seed=7)


def logits_of(net: Network, scan: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = net.module(scan[None])[0]
    return logits


def test_the_gradient_at_a_voxel_is_that_of_its_logit(net: Network, scan: torch.Tensor) -> None:
    image = scan.clone().requires_grad_()
    logits = logits_of(net, image)
    (gradient,) = torch.autograd.grad(logits[(1, *VOXEL)], image)
    heat = rs.saliency(net, scan, target=TARGET)
    assert str(heat.target) == "class 1 at 5,7,2"
    assert heat.score == pytest.approx(float(logits[(1, *VOXEL)].detach()))
    assert heat.probability == pytest.approx(float(logits.softmax(0)[(1, *VOXEL)].detach()))
    assert heat.pixels is not None
    expected = gradient.movedim(0, -1).numpy()
    assert abs(expected).max() > 0
    np.testing.assert_allclose(heat.pixels, expected, rtol=0, atol=1e-6 * abs(expected).max())
    assert heat.mask is not None
    assert np.argwhere(heat.mask).tolist() == [list(VOXEL)]


def test_the_cam_of_a_voxel_is_where_maps_and_their_gradient_coincide(
    net: Network, scan: torch.Tensor
) -> None:
    recorded: list[torch.Tensor] = []
    part = net.module.get_submodule("right2.1")
    hook = part.register_forward_hook(lambda _part, _inputs, maps: recorded.append(maps))
    logits = logits_of(net, scan.clone().requires_grad_())
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[(1, *VOXEL)], recorded[0])
    expected = (gradient.clamp(min=0) * recorded[0]).sum(1)[0].detach().clamp(min=0).numpy()
    heat = rs.cam(net, scan, layer="right2.1", target=TARGET)
    assert (heat.method, heat.values.shape) == ("layercam", (4, 6, 4))
    assert expected.max() > 0
    np.testing.assert_allclose(heat.values, expected, rtol=0, atol=1e-6 * expected.max())


def test_the_occlusion_map_of_a_voxel_is_that_of_covered_scans(
    net: Network, scan: torch.Tensor
) -> None:
    result = rs.occlusion(net, scan, target=TARGET, size=(2, 4, 4), stride=(3, 4, 2), fill=0.5)
    for place, starts in zip(
        np.ndindex(result.probabilities.shape), product(*result.starts), strict=True
    ):
        changed = scan.clone()
        front, top, left = starts
        changed[:, front : front + 2, top : top + 4, left : left + 4] = 0.5
        with torch.no_grad():
            share = logits_of(net, changed).softmax(0)[(1, *VOXEL)]
        assert result.probabilities[place] == pytest.approx(float(share), abs=1e-6)
    assert result.probabilities.std() > 1e-4


def test_a_segment_of_a_volume_is_where_its_class_wins(scan: torch.Tensor) -> None:
    module = opened(lambda: UNet(nn.InstanceNorm3d), 1, SIZE).module
    net = Network(module, input_size=SIZE, mean=[0.0], labels=["background", "tumour"])
    with torch.no_grad():
        difference = logits_of(net, scan).diff(dim=0)
        head = module.get_submodule("head")
        assert isinstance(head.bias, torch.Tensor)
        head.bias[1] -= difference.quantile(0.8)
        logits = logits_of(net, scan)
    mask = logits.argmax(0).numpy() == 1
    assert 0.1 < mask.mean() < 0.3
    for target in (None, "tumour", 1):
        heat = rs.saliency(net, scan, target=target)
        np.testing.assert_array_equal(heat.mask, mask)
        assert heat.score == pytest.approx(float(logits[1][torch.from_numpy(mask)].sum()))
    share = f"{100 * mask.mean():.0f} % of the volume"
    largest = rs.saliency(net, scan)
    assert str(largest.target) == f"largest segment: tumour, {share}"
    middle = largest.slice(4)
    np.testing.assert_array_equal(middle.mask, mask[4])


class Labeller(nn.Module):
    """A class for each moment of a signal, as of an electrocardiogram."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(2, 6, 5, padding=2), nn.ReLU())
        self.head = nn.Conv1d(6, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.body(x))
        return scores


def test_a_class_may_be_explained_at_a_moment_of_a_signal() -> None:
    net = Network(built(Labeller).double(), input_size=(30,), mean=[0.0, 0.0])
    image = numbers(2, 30).requires_grad_()
    (gradient,) = torch.autograd.grad(net.module(image[None])[0, 2, 11], image)
    heat = rs.saliency(net, image.detach(), target="2@11")
    assert heat.pixels is not None
    np.testing.assert_allclose(heat.pixels, gradient.T.numpy(), 0, 1e-7)
    with pytest.raises(RetroscopeError, match="no position 30 in this signal of 30; X counts from"):
        rs.saliency(net, image.detach(), target="2@30")


def test_a_voxel_is_marked_in_its_slice_alone(net: Network, scan: torch.Tensor) -> None:
    heat = rs.cam(net, scan, target=TARGET, layer="right2.1")
    _, slices = flatten_heat(heat)
    marked = overlay_slices(heat, colours="inferno", opacity=0.6)
    plain = overlay_slices(replace(heat, mask=None), colours="inferno", opacity=0.6)
    changed = np.flatnonzero((marked != plain).any(axis=(0, 2)))
    left = slices.index(VOXEL[0]) * (SIZE[2] + 1)
    assert changed.size
    assert left <= changed.min()
    assert changed.max() < left + SIZE[2]


def box_mask() -> npt.NDArray[np.bool_]:
    mask = np.zeros(SIZE, bool)
    mask[2:5, 3:9, 1:6] = True
    return mask


@pytest.mark.parametrize("kind", ["bool.npy", "bytes.npy", "ones.tif", "whites.tif"])
def test_a_mask_of_voxels_may_be_a_file(
    net: Network, scan: torch.Tensor, tmp_path: Path, kind: str
) -> None:
    mask, path = box_mask(), tmp_path / kind
    levels = mask.astype(np.uint8) * (1 if kind.startswith("ones") else 255)
    if kind.endswith("tif"):
        first, *others = map(PIL.Image.fromarray, levels)
        first.save(path, save_all=True, append_images=others)
    else:
        np.save(path, mask if kind.startswith("bool") else levels)
    heat = rs.saliency(net, scan, target=f"1@{path}")
    assert str(heat.target) == f"class 1 in {kind}"
    np.testing.assert_array_equal(heat.mask, mask)
    logits = logits_of(net, scan)
    assert heat.score == pytest.approx(float(logits[1][torch.from_numpy(mask)].sum().detach()))


def test_a_mask_of_another_size_and_an_empty_one_are_refused(
    net: Network, scan: torch.Tensor, tmp_path: Path
) -> None:
    np.save(tmp_path / "small.npy", np.ones((8, 12, 7), np.uint8))
    np.save(tmp_path / "empty.npy", np.zeros(SIZE, np.uint8))
    for name, says in (
        ("small", "has 8x12x7 voxels, and the volume 8x12x8 as UNet takes it; give a mask of that"),
        ("empty", "has no voxel above 0; those above half of the"),
    ):
        with pytest.raises(RetroscopeError, match=says):
            rs.cam(net, scan, target=f"1@{tmp_path / name}.npy")


@pytest.mark.parametrize("z", [3, 11, 18])
def test_the_slice_of_a_voxel_is_shown_whatever_the_heat(z: int) -> None:
    values = np.zeros((20, 4, 4), np.float32)
    values[17] = 1
    mask = np.zeros((20, 4, 4), bool)
    mask[z, 1, 2] = True
    heat = rs.HeatMap(values, "conv", rs.Target(0), 0.5, 1.0, "layercam", (), (20, 4, 4), mask=mask)
    _, slices = flatten_heat(heat)
    assert {z, 17} <= set(slices)
    assert len(slices) == 8
    assert list(slices) == sorted(set(slices))


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("1@7,2", "no voxel 7,2 in this volume of 8x12x8; Z counts from the front, Y from the top"),
        ("1@8,2,2", "no voxel 8,2,2 in this volume of 8x12x8;"),
        ("1@", "'1@' has no place after the @; give CLASS@Z,Y,X for a voxel, or CLASS@MASK.npy"),
        ("1@mask.npy", "no file 'mask.npy' for a mask; a target is CLASS@Z,Y,X for a voxel, or"),
        ("2@1,1,1", "no class 2 in UNet; it has 2, 0 to 1"),
        (None, "returns 2 maps of the size of the volume, not one score per class; give a target"),
        ("box:1", "no class 'box:1'"),
    ],
)
def test_a_wrong_place_gets_one_clear_line(
    net: Network, scan: torch.Tensor, target: str | None, says: str
) -> None:
    with pytest.raises(RetroscopeError) as refusal:
        rs.cam(net, scan, target=target)
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)
