"""Layers and their fields: what is listed, and whether anything outside a claimed field matters."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from time import monotonic
from typing import TypeVar

import torch
from tools.coverage.report import Report
from tools.coverage.subject import Subject, run_plainly, seed_randomness
from torch import nn

from retroscope.engine.forward import run_forward
from retroscope.geometry import Box
from retroscope.results.layers import Layer

Item = TypeVar("Item")
Maps = dict[int, torch.Tensor]

SAMPLED_LAYERS = 12
COUNTED_MODULES = (
    nn.modules.conv._ConvNd,  # noqa: SLF001
    nn.Linear,
    nn.modules.batchnorm._NormBase,  # noqa: SLF001
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Some items spread evenly, the ends among them; a part from the front is spread as well."""
    count = min(count, len(items))
    steps = sorted(range(count), key=lambda n: (n * 0.618034 % 1, n))
    return [items[round(n * (len(items) - 1) / max(count - 1, 1))] for n in steps]


def check_layers(subject: Subject, report: Report) -> None:
    """Counts layers, kinds of fields and notes, and the modules that ran and are not listed."""
    layers, missing = subject.net.layers, missing_modules(subject)
    unlisted = [layer.name for layer in subject.net.unlisted]
    for entry in missing:
        path = entry.partition(" ")[0]
        if not any(name == path or name.startswith(f"{path}.") for name in unlisted):
            report.answer_is_wrong(f"layer missing without a word: {entry}")
    report.facts |= {
        "layers": len(layers),
        "whole": sum(layer.field.whole for layer in layers),
        "whole_with_note": sum(layer.field.whole and bool(layer.note) for layer in layers),
        "gated": sum(layer.field.global_context for layer in layers),
        "notes": dict(Counter(layer.note for layer in layers if layer.note and layer.field.whole)),
        "inferred": list(subject.net.inferred),
        "missing": missing,
    }


def missing_modules(subject: Subject) -> list[str]:
    """Convolutions, linear layers and norms that read the image and are not among the layers."""
    names = {name for layer in subject.net.layers for name in (layer.name, *layer.aliases)}
    covered = {name.partition("~")[0] for name in names}
    with torch.no_grad():
        changed = run_plainly(subject.module, (subject.image * 1.7 + 0.3)[None])
    paths: dict[nn.Module, list[str]] = {}
    for path, part in subject.module.named_modules(remove_duplicate=False):
        paths.setdefault(part, []).append(path)  # modules that several share have several
    return [
        f"{path} ({type(subject.module.get_submodule(path)).__name__})"
        for path in subject.plain.outputs
        if is_counted(subject.module.get_submodule(path))
        and subject.plain.inputs[path] != changed.inputs.get(path)
        and not any(
            name == other or name.startswith(f"{other}.")
            for name in covered
            for other in paths[subject.module.get_submodule(path)]
        )
    ]


def is_counted(module: nn.Module | None) -> bool:
    """Whether a module is a convolution, a linear layer or a norm, with weights."""
    is_quantised = "quantized" in type(module).__module__ and hasattr(module, "weight")
    has_weights = module is not None and next(module.parameters(recurse=False), None) is not None
    return (isinstance(module, COUNTED_MODULES) and has_weights) or is_quantised


def check_fields(subject: Subject, report: Report) -> None:
    """Large random changes outside a claimed field must not change the unit."""
    deadline = monotonic() + subject.seconds
    layers = [layer for layer in subject.net.layers if _claims_less_than_all(layer)]
    sampled = spread(layers, SAMPLED_LAYERS)
    clean = forward(subject, sampled, subject.image)
    for layer in sampled:
        for position in positions(layer):
            if monotonic() > deadline:
                report.facts["fields_cut_short"] = 1
                return
            box = layer.field.box(*position).clip_to(subject.net.input_size)
            if box != Box.whole(subject.net.input_size):
                _perturb(subject, report, layer, position=position, box=box, clean=clean)


def _perturb(
    subject: Subject,
    report: Report,
    layer: Layer,
    *,
    position: tuple[int, ...],
    box: Box,
    clean: Maps,
) -> None:
    maps = clean[layer.index]
    before = at_position(maps, position)
    tolerance = (1e-9 if subject.precise else 1e-4) * (
        float(before.abs().max()) + 1e-3 * float(maps.abs().max())
    )
    for amount in (2.0, 60.0):
        noise = torch.randn_like(subject.image) * amount
        noise[:, *box.slices(len(position))] = 0
        after = at_position(forward(subject, [layer], subject.image + noise)[layer.index], position)
        difference = float((after - before).abs().max())
        report.add("field_perturbations")
        if not difference <= tolerance and bool(before.isfinite().all()):
            report.answer_is_wrong(
                f"field too small: {_place(layer, position)} claims {layer.field}, but pixels "
                f"outside change it by {difference:.2g} (largest value "
                f"{float(before.abs().max()):.2g})"
            )
            return


def check_gradient_support(subject: Subject, report: Report) -> None:
    """The gradient of a unit is zero outside its claimed field; how tight the field is."""
    deadline = monotonic() + subject.seconds
    listed = [layer for layer in subject.net.layers if layer.channels > 0]
    sampled = spread(listed, SAMPLED_LAYERS)
    with torch.enable_grad():
        pixels = subject.image.clone().requires_grad_()
        try:
            outputs = forward(subject, sampled, pixels, keep_graph=True)
        except RuntimeError as error:
            report.facts["support"] = f"torch cannot differentiate it: {str(error)[:100]}"
            return
        for layer in sampled:
            for position in positions(layer):
                if monotonic() > deadline:
                    report.facts["support_cut_short"] = 1
                    return
                unit = at_position(outputs[layer.index], position)
                if unit.requires_grad and not unit.is_complex():
                    _compare_support(
                        subject, report, layer, position=position, unit=unit, at=pixels
                    )


def _compare_support(
    subject: Subject,
    report: Report,
    layer: Layer,
    *,
    position: tuple[int, ...],
    unit: torch.Tensor,
    at: torch.Tensor,
) -> None:
    weights = torch.rand_like(unit) + 0.5
    (gradient,) = torch.autograd.grad(
        (unit * weights).sum(), at, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    strength = gradient.abs().amax(0)
    is_seen = strength > 1e-9 * strength.max()
    if not is_seen.any():
        return
    box = Box.whole(subject.net.input_size)
    if not layer.field.whole:
        box = layer.field.box(*position).clip_to(subject.net.input_size)
        outside = is_seen.clone()
        outside[box.slices(len(position))] = False
        if outside.any() and not layer.field.global_context:
            if not _changes_outside(subject, layer, position=position, box=box):
                report.add("plain_gradient_is_wrong")
                return
            report.answer_is_wrong(
                f"field too small: {_place(layer, position)} claims {layer.field}, but its "
                "gradient is not zero outside"
            )
    _record_tightness(report, layer, box, is_seen)


def _changes_outside(
    subject: Subject, layer: Layer, *, position: tuple[int, ...], box: Box
) -> bool:
    """Whether pixels outside a box change a unit. Torch's own gradient can be wrong there."""
    before = at_position(forward(subject, [layer], subject.image)[layer.index], position)
    noise = torch.randn_like(subject.image) * 2
    noise[:, *box.slices(len(position))] = 0
    after = at_position(forward(subject, [layer], subject.image + noise)[layer.index], position)
    return not float((after - before).abs().max()) <= 1e-12 * float(before.abs().max())


def _record_tightness(report: Report, layer: Layer, box: Box, is_seen: torch.Tensor) -> None:
    rank = is_seen.dim()
    places = is_seen[box.slices(rank)].nonzero()
    if len(places) == 0:
        return
    extents = (places.amax(0) - places.amin(0) + 1).tolist()
    is_tight = all(
        extent >= 0.8 * length for extent, length in zip(extents, box.size(rank), strict=True)
    )
    scope = "whole" if layer.field.whole else "gated" if layer.field.global_context else "local"
    report.add(f"support_{scope}")
    report.add(f"support_{scope}_tight", int(is_tight))


def forward(
    subject: Subject, layers: Sequence[Layer], image: torch.Tensor, *, keep_graph: bool = False
) -> Maps:
    """The maps of some layers, copied when they are computed."""
    outputs: Maps = {}

    def keep(index: int, maps: torch.Tensor) -> None:
        outputs[index] = maps.clone()

    if not layers:
        return outputs
    listeners = {layer.index: partial(keep, layer.index) for layer in layers}
    survey, batch = subject.net.survey(subject.net.input_size), subject.in_survey_layout(image)
    seed_randomness()
    with torch.set_grad_enabled(keep_graph):
        run_forward(subject.net.module, survey, batch, listeners)
    return outputs


def positions(layer: Layer) -> Iterator[tuple[int, ...]]:
    """A corner, the centre, and one in between."""
    size = layer.size
    corner = tuple(0 if layer.index % 2 else length - 1 for length in size)
    centre = tuple(length // 2 for length in size)
    between = *(length // 3 for length in size[:-1]), 2 * size[-1] // 3
    yield from dict.fromkeys((corner, centre, between))


def at_position(maps: torch.Tensor, position: tuple[int, ...]) -> torch.Tensor:
    """All channels of the first image at a position."""
    return maps[0].movedim(0, -1)[position]


def _place(layer: Layer, position: tuple[int, ...]) -> str:
    return f"{layer.name}@{','.join(map(str, position))}"


def _claims_less_than_all(layer: Layer) -> bool:
    return not (layer.field.whole or layer.field.global_context)


def clean_name(note: str) -> str:
    """The operation that a note names, without where torch keeps it."""
    name = re.sub(r" (is not in|is called|takes|works).*", "", note)
    return re.sub(r"^torch\.(nn\.functional\.|functional\.|Tensor\.)?", "", name)
