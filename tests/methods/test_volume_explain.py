"""Explanations of volumes: the units that stand out, the laws of images, and what is drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import RetroscopeError
from retroscope.methods.rarity import inner_positions
from retroscope.network import Network
from retroscope.render.draw import draw
from retroscope.render.explanation_slices import flatten_explanation, strongest_slice
from retroscope.results.as_json import explanation_json
from retroscope.results.explanations import OtherImage
from tests.conftest import built, no_trace, numbers
from tests.methods.test_volumes import IMAGE, as_3d, image_network, opened
from tests.reference.volumes import UNet

SIZE = (10, 24, 20)


def classifier() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv3d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool3d((1, 2, 2))),
        *(nn.Conv3d(6, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten()),
        nn.Linear(8, 4),
    )


@pytest.fixture(scope="module")
def net() -> Network:
    return Network(built(classifier).double(), input_size=SIZE, mean=[0.0])


@pytest.fixture(scope="module")
def scan() -> torch.Tensor:
    return numbers(1, *SIZE, seed=4)


@pytest.fixture(scope="module")
def explanation(net: Network, scan: torch.Tensor) -> rs.Explanation:
    explanation: rs.Explanation = rs.explain(net, scan, top=3)
    return explanation


def test_units_are_those_whose_peak_stands_out_of_their_map(
    net: Network, scan: torch.Tensor, explanation: rs.Explanation
) -> None:
    """The border of each axis, the depth too, is left out: there units respond to the padding."""
    finding = explanation.findings[0]
    assert finding.layer.name == "1"
    maps = rs.activations(net, "1", scan).maps.astype(np.float64)
    inner = maps[:, 1:-1, 1:-1, 1:-1].reshape(len(maps), -1)
    peaks = inner.max(axis=1)
    flat = maps.reshape(len(maps), -1)
    scores = np.where(peaks > 0, (peaks - flat.mean(1)) / flat.std(1), -np.inf)
    best = np.argsort(-scores)[:3]
    assert [unit.unit.channel for unit in finding.units] == best.tolist()
    for unit, channel in zip(finding.units, best, strict=True):
        assert unit.activation == pytest.approx(peaks[channel], rel=1e-5)
        assert unit.z_score == pytest.approx(scores[channel], rel=1e-5)
        assert unit.unit.position is not None
        assert maps[(channel, *unit.unit.position)] == pytest.approx(peaks[channel], rel=1e-5)


def test_the_first_and_the_last_slice_of_padded_maps_are_at_the_border(net: Network) -> None:
    expected = np.zeros(SIZE, bool)
    expected[1:-1, 1:-1, 1:-1] = True
    np.testing.assert_array_equal(inner_positions(net["1"], SIZE), expected)


def test_a_volume_of_one_slice_has_the_explanation_of_the_image() -> None:
    flat = built(image_network).double()
    assert isinstance(flat, nn.Sequential)
    image_net = Network(flat, input_size=(22, 18), mean=[0.0] * 3)
    deep = Network(as_3d(flat).double(), input_size=(1, 22, 18), mean=[0.0] * 3)
    image = rs.explain(image_net, IMAGE, top=2)
    volume = rs.explain(deep, IMAGE[:, None], top=2)
    assert [str(one.target) for one in volume.predictions] == [
        str(one.target) for one in image.predictions
    ]
    for finding, other in zip(image.findings, volume.findings, strict=True):
        assert finding.layer.name == other.layer.name
        for unit, twin in zip(finding.units, other.units, strict=True):
            assert unit.unit.position is not None
            assert twin.unit.position == (0, *unit.unit.position)
            assert twin.activation == pytest.approx(unit.activation, rel=1e-6)
            assert twin.z_score == pytest.approx(unit.z_score, rel=1e-6)
            np.testing.assert_allclose(
                twin.projection.full()[0],
                unit.projection.full(),
                0,
                1e-8 * abs(unit.projection.pixels).max(),
            )


# What is drawn


def test_each_unit_is_cut_out_of_its_slice_in_the_row(explanation: rs.Explanation) -> None:
    flat, slices = flatten_explanation(explanation)
    height, width = SIZE[1:]
    assert flat.image.shape == (height, len(slices) * (width + 1) - 1, 3)
    for finding, shown in zip(explanation.findings, flat.findings, strict=True):
        for unit, moved in zip(finding.units, shown.units, strict=True):
            projection = moved.projection
            z = strongest_slice(unit.projection)
            assert z in slices
            strength = abs(unit.projection.full()).sum(axis=(1, 2, 3))
            assert strength[z] == pytest.approx(strength.max())
            rows = slice(projection.box.top, projection.box.bottom)
            columns = slice(projection.box.left, projection.box.right)
            np.testing.assert_array_equal(projection.patch, flat.image[rows, columns])
            left = slices.index(z) * (width + 1)
            pixels = unit.projection.full()[z]
            np.testing.assert_array_equal(projection.full()[:, left : left + width], pixels)


def test_the_heat_is_laid_out_as_the_image(explanation: rs.Explanation) -> None:
    flat, slices = flatten_explanation(explanation)
    full = explanation.heat.full()
    for place, z in enumerate(slices):
        left = place * (SIZE[2] + 1)
        np.testing.assert_array_equal(flat.heat.values[:, left : left + SIZE[2]], full[z])
        piece = flat.image[:, left : left + SIZE[2]]
        np.testing.assert_array_equal(piece, explanation.image[z])
    assert int(full.max(axis=(1, 2)).argmax()) in slices


def test_other_volumes_are_laid_out_as_the_image(explanation: rs.Explanation) -> None:
    """One of the same depth in the same slices; of one that is not as deep, as many as it has."""
    other, shallow = explanation.image[:, ::-1], explanation.image[:3]
    others = (OtherImage("before", other), OtherImage("atlas", shallow))
    flat, slices = flatten_explanation(replace(explanation, others=others))
    for place, z in enumerate(slices):
        left = place * (SIZE[2] + 1)
        piece = flat.others[0].pixels[:, left : left + SIZE[2]]
        np.testing.assert_array_equal(piece, other[z])
    assert flat.others[1].pixels.shape == (SIZE[1], 3 * (SIZE[2] + 1) - 1, 3)
    assert draw(replace(explanation, others=others)).height > draw(explanation).height


def test_the_figure_and_the_page_show_slices(explanation: rs.Explanation, tmp_path: Path) -> None:
    figure = draw(explanation)
    assert figure.height > 400
    explanation.save(tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    _, slices = flatten_explanation(explanation)
    assert f"slices z {', '.join(map(str, slices))} of 0 to 9" in page
    assert "Each unit is shown in the slice in which its projection is strongest." in page
    assert "channels of 10\N{MULTIPLICATION SIGN}24\N{MULTIPLICATION SIGN}20" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_the_json_has_boxes_in_the_volume(explanation: rs.Explanation) -> None:
    facts = explanation_json(explanation)
    unit = explanation.findings[0].units[0]
    box = unit.projection.box
    found = facts["layers"][0]["units"][0]
    assert found["box"] == [box.front, box.top, box.left, box.back, box.bottom, box.right]
    assert found["unit"] == str(unit.unit)


def test_a_segmenter_of_volumes_has_a_row_for_each_segment(tmp_path: Path) -> None:
    size = (12, 16, 16)
    module = opened(lambda: UNet(nn.InstanceNorm3d), 1, size).module
    net = Network(module, input_size=size, mean=[0.0], labels=["background", "tumour"])
    scan = numbers(1, *size, seed=7)
    with torch.no_grad():
        head = module.get_submodule("head")
        assert isinstance(head.bias, torch.Tensor)
        head.bias[1] -= module(scan[None])[0].diff(dim=0).quantile(0.8)
    explanation = rs.explain(net, scan, top=1)
    assert [prediction.target.class_name for prediction in explanation.predictions] == [
        "tumour",
        "background",
    ]
    assert len(explanation.heats) == 2
    for heat in explanation.heats:
        assert heat.mask is not None
        assert heat.mask.shape == size
    flat, slices = flatten_explanation(explanation)
    mask, shown = explanation.heats[0].mask, flat.heats[0].mask
    assert mask is not None
    assert shown is not None
    fullest = int(mask.sum(axis=(1, 2)).argmax())
    assert fullest in slices
    assert shown.sum() == mask[fullest].sum()
    assert draw(explanation).height > 300
    explanation.save(tmp_path / "page.html")
    assert "Segments, the largest first" in (tmp_path / "page.html").read_text("utf-8")


def test_units_of_a_volume_are_compared_with_an_atlas(net: Network, tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for number in range(6):
        values = np.random.default_rng(number).random(SIZE).astype(np.float32)
        np.save(tmp_path / "scans" / f"{number}.npy", values)
    to = tmp_path / "scans.atlas"
    with rs.scan(net, tmp_path / "scans", to=to, layers=["1", "4"], projections="none") as atlas:
        explanation = rs.explain(net, tmp_path / "scans" / "2.npy", atlas=atlas, top=2)
        units = [unit for finding in explanation.findings for unit in finding.units]
        assert units
        for unit in units:
            stats = atlas.stats(rs.Unit(unit.unit.layer, unit.unit.channel))
            assert unit.activation <= stats.maximum * 1.0001
            assert unit.rarity is not None
            assert 0 <= unit.rarity <= 1
        assert any(unit.rarity for unit in units)


def test_explaining_a_volume_leaves_no_trace(net: Network, scan: torch.Tensor) -> None:
    with no_trace(net.module):
        rs.explain(net, scan, top=1)
    explanations = rs.explain(net, scan[None], top=1, contrast=False)
    assert len(explanations) == 1


def test_signals_are_not_explained() -> None:
    module = nn.Sequential(nn.Conv1d(1, 2, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    net = Network(module, input_size=(20,), mean=[0.0])
    with pytest.raises(RetroscopeError, match="no explanation of Sequential: it takes signals"):
        rs.explain(net, torch.rand(1, 20))
