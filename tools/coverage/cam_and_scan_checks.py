"""Grad-CAM against its definition, and a scan of four images."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from tools.coverage.answer_checks import as_maps, relative_difference
from tools.coverage.field_checks import forward, spread
from tools.coverage.report import Report
from tools.coverage.rules_by_patching import mended_batch_norm
from tools.coverage.subject import Subject, seed_randomness

import retroscope as rs
from retroscope.results.layers import Layer

PROJECTED_CHANNELS = 150
"""A scan of more channels stores no projections, to save time."""


def check_cam(subject: Subject, report: Report) -> None:
    """Grad-CAM of the last spatial layer equals its definition (Selvaraju 2017)."""
    seed_randomness()
    heat_map = rs.cam(subject.net, subject.image, method="gradcam")
    report.facts["cam"] = "not comparable: the layer is no module's output"
    layer = subject.net.layer(heat_map.layer)
    paths = [path for path, named in subject.layers_of_modules().items() if named == layer]
    if not paths or not isinstance(heat_map.target, rs.Target):
        return
    output, result = _run_and_keep(subject, paths[0])
    maps, score = as_maps(output, layer), _plain_score(result, heat_map, heat_map.target)
    if score is None or maps is None:
        report.facts["cam"] = "not comparable: no scores of a known kind"
        return
    if abs(float(score.detach()) - heat_map.score) > 1e-4 * max(abs(heat_map.score), 1e-3):
        report.facts["cam"] = "not comparable: the score is not the output"
        return
    if not score.requires_grad:
        report.facts["cam"] = "not comparable: torch cannot differentiate it"
        return
    (gradient,) = torch.autograd.grad(score, output, allow_unused=True, materialize_grads=True)
    slopes = as_maps(gradient, layer)
    assert slopes is not None
    expected = (slopes.mean((1, 2))[:, None, None] * maps).sum(0).clamp(min=0)
    difference = relative_difference(heat_map.values, np.asarray(expected.detach()))
    report.facts["cam"] = "compared"
    if not difference < (1e-4 if subject.precise else 1e-2):
        report.answer_is_wrong(f"gradcam of {layer.name}: differs by {difference:.2g}")


def _run_and_keep(subject: Subject, path: str) -> tuple[torch.Tensor, object]:
    """The output of a module as the rest of the network reads it, and what the network returns."""
    kept: list[torch.Tensor] = []

    def keep(_module: object, _args: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.clone())
        return kept[-1].clone()  # what follows may change its input in place

    seed_randomness()
    handle = subject.module.get_submodule(path).register_forward_hook(keep)
    try:
        with torch.enable_grad(), mended_batch_norm():
            pixels = subject.image.clone().requires_grad_()
            result = subject.module(subject.in_survey_layout(pixels))
    finally:
        handle.remove()
    return kept[0], result


def _plain_score(result: Any, heat_map: rs.HeatMap, target: rs.Target) -> torch.Tensor | None:
    """The score of a class, of the most confident box, or of a segment's pixels."""
    if isinstance(result, list | tuple) and result:
        return _plain_score(result[0], heat_map, target)
    if isinstance(result, dict) and target.box is not None:
        best: torch.Tensor = result["scores"].max()
        return best
    result = result.get("out") if isinstance(result, dict) else result
    if not isinstance(result, torch.Tensor) or len(result) != 1:
        return None
    if heat_map.mask is not None:
        return result[0, target.index][torch.from_numpy(heat_map.mask)].sum()
    return result[0, target.index] if result.dim() == 2 else None


def check_scan(subject: Subject, report: Report) -> None:
    """A scan of four images ends, and its best hits are the maxima of plain runs."""
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
    height, width = subject.net.input_size
    numbers = np.random.default_rng(0)
    paths = []
    for name in "abcd":
        paths.append(folder / f"{name}.png")
        pixels = numbers.integers(0, 256, (height + 3, width + 5, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(paths[-1])
    return paths


def _compare_hits(
    subject: Subject, report: Report, layer: Layer, *, atlas: rs.Atlas, images: Sequence[Path]
) -> None:
    inputs = [subject.net.prepare(path).tensor for path in images]
    maps = torch.stack([forward(subject, [layer], image)[layer.index][0] for image in inputs])
    channel = int(maps.amax((0, 2, 3)).argmax())
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
