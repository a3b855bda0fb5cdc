"""A scan of four images against plain runs."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from tools.coverage.field_checks import forward, spread
from tools.coverage.report import Report
from tools.coverage.subject import Subject

import retroscope as rs
from retroscope.results.layers import Layer

PROJECTED_CHANNELS = 150
"""A scan of more channels stores no projections, to save time."""


def check_scan(subject: Subject, report: Report) -> None:
    """A scan of four images or clips ends, and its best hits are the maxima of plain runs."""
    layers = [layer for layer in subject.net.layers if ":" not in layer.name]
    if not layers:
        return
    chosen = list({layer.index: layer for layer in spread(layers, 3)}.values())
    channels = sum(layer.channels for layer in chosen)
    report.add("scans_with_projections", int(channels <= PROJECTED_CHANNELS))
    with tempfile.TemporaryDirectory() as folder:
        images = _write_images(Path(folder) / "images", subject)
        atlas = rs.scan(
            subject.net,
            Path(folder) / "images",
            to=Path(folder) / "net.atlas",
            layers=[layer.name for layer in chosen],
            top=2,
            projections=1 if channels <= PROJECTED_CHANNELS else "none",
            workers=1,
        )
        with atlas:
            for layer in chosen:
                _compare_hits(subject, report, layer, atlas=atlas, images=images)


def _write_images(folder: Path, subject: Subject) -> list[Path]:
    folder.mkdir()
    *depth, height, width = subject.net.input_size
    numbers = np.random.default_rng(0)
    paths = []
    for name in "abcd":
        pixels = numbers.integers(0, 256, (*depth, height + 3, width + 5, 3), dtype=np.uint8)
        paths.append(folder / f"{name}.{'npy' if depth else 'png'}")
        if depth:
            np.save(paths[-1], pixels)
        else:
            PIL.Image.fromarray(pixels).save(paths[-1])
    return paths


def _compare_hits(
    subject: Subject, report: Report, layer: Layer, *, atlas: rs.Atlas, images: Sequence[Path]
) -> None:
    inputs = [subject.net.prepare(path).tensor for path in images]
    maps = torch.stack([forward(subject, [layer], image)[layer.index][0] for image in inputs])
    channel = int(maps.transpose(0, 1).flatten(1).amax(1).argmax())
    expected = float(maps[:, channel].max())
    if not np.isfinite(expected):
        return
    patches = atlas[rs.Unit(layer.name, channel)].patches
    if expected == 0 and not patches:  # after a rectifier, zero is no hit
        return
    report.add("scanned_layers")
    tolerance = (1e-5 if subject.precise else 1e-2) * float(maps.abs().max())
    if not patches or abs(patches[0].score - expected) > tolerance:
        best = patches[0].score if patches else "nothing"
        report.answer_is_wrong(
            f"scan: {layer.name}:{channel} has {best} as its maximum, not {expected:.6g}"
        )
