"""Scans of detectors and segmenters, whose images differ in size and in what is found in them."""

from pathlib import Path

import pytest

import retroscope as rs
from tests.methods.localisers import LABELS, faster_rcnn, fcn, network


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, (height, width) in enumerate([(64, 64), (40, 72), (90, 50)]):
        image = rs.Image(rs.scene(seed, size=64).pixels).to_pil().resize((width, height))
        image.save(folder / f"{seed}.png")
    return folder


def test_a_detector_is_scanned_one_image_at_a_time(images: Path, tmp_path: Path) -> None:
    """It runs other steps for two images than for one, and other ones after it has found boxes."""
    net = rs.Network(network(faster_rcnn).module.float(), labels=LABELS, name="detector")
    check_maxima(net, images, tmp_path)
    fixed = net.for_batches
    assert fixed.survey().needs_single_images
    explanation = rs.explain(
        net, images / "1.png", atlas=rs.open_atlas(tmp_path / "net.atlas"), top=1, contrast=False
    )
    assert [finding.layer.name for finding in explanation.findings] == ["backbone.body.3"]


def test_a_segmenter_is_scanned_in_batches(images: Path, tmp_path: Path) -> None:
    fit = rs.Fit((32, 32), "whole", shorter=32)
    net = rs.Network(network(fcn).module.float(), fit=fit, labels=LABELS, name="segmenter")
    assert not net.for_batches.survey().needs_single_images
    check_maxima(net, images, tmp_path, layer="backbone.second.1")


def check_maxima(
    net: rs.Network, images: Path, folder: Path, *, layer: str = "backbone.body.3"
) -> None:
    """The maximum of each channel is that of the images, as the scan fits them."""
    to = folder / "net.atlas"
    with rs.scan(net, images, to=to, layers=[layer], top=1, projections=1, workers=1) as atlas:
        paths = sorted(images.iterdir())
        maps = [rs.activations(net.for_batches, layer, path).maps for path in paths]
        for channel in range(4):
            best = max(float(image_maps[channel].max()) for image_maps in maps)
            maximum = atlas.stats(f"{layer}:{channel}").maximum
            assert maximum == pytest.approx(best, rel=1e-5)
