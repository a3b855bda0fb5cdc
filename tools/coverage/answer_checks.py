"""Values, projections, heat maps and scans against plain definitions."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations
from math import prod
from time import monotonic
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import torch
from tools.coverage.field_checks import at_position, forward, is_counted, spread
from tools.coverage.report import Report
from tools.coverage.rules_by_patching import (
    CountingMode,
    mended_batch_norm,
    replaced_rectifiers,
)
from tools.coverage.subject import Subject, run_plainly, seed_randomness

import retroscope as rs
from retroscope.methods.deconv import projector
from retroscope.results.layers import Layer

Array = npt.NDArray[np.floating]
SAMPLED_UNITS = 6
MOST_EXTRA_TOKENS = 8


def check_values(subject: Subject, report: Report) -> None:
    """A layer that bears a module's path has the values of that module's output."""
    by_path = subject.layers_of_modules()
    layers = list({layer.index: layer for layer in by_path.values()}.values())
    outputs = forward(subject, layers, subject.image)
    for path, layer in by_path.items():
        output = subject.plain.output(path)
        assert output is not None
        report.add("values")
        if not same_maps(output, outputs[layer.index][0], precise=subject.precise):
            report.answer_is_wrong(
                f"values: {layer.name} has the name {path}, but not the output of that module "
                f"{tuple(output.shape)}"
            )
    _refuse_absent_modules(subject, report)
    for path, layer in spread(list(by_path.items()), 3):
        output = subject.plain.output(path)
        assert output is not None
        maps = torch.from_numpy(rs.activations(subject.net, path, subject.image).maps)
        if not same_maps(output.float(), maps, precise=False):
            report.answer_is_wrong(f"values: activations of {layer.name} are not those of {path}")


def _refuse_absent_modules(subject: Subject, report: Report) -> None:
    """A layer whose module runs for a black image, but not for this one, has no maps to show."""
    modules = dict(subject.module.named_modules())
    with torch.no_grad():
        black = run_plainly(subject.module, torch.zeros_like(subject.image)[None])
    for layer in subject.net.layers:
        is_module = is_counted(modules.get(layer.name))
        runs = layer.name in black.outputs and layer.name not in subject.plain.outputs
        if is_module and runs:
            rs.activations(subject.net, layer, subject.image)
            report.answer_is_wrong(f"values: {layer.name} has maps, but that module does not run")


def tokens_as_maps(output: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The last tokens (1, tokens, channels) as maps; those in front have no position."""
    channels, *size = shape
    count = prod(size)
    if output.dim() == 4:  # the channels of each head, or all tokens in one window
        heads, tokens, width_of_head = output.shape[1:]
        if heads * width_of_head == channels and 0 <= tokens - count <= MOST_EXTRA_TOKENS:
            output = output.transpose(1, 2).flatten(2)
    is_grid = output.dim() == 3 and output.shape[2] == channels and size[-1] > 1
    if not is_grid or output.shape[1] < count:
        return output
    return output[:, -count:].transpose(1, 2).reshape(1, *shape)


def same_maps(output: torch.Tensor, maps: torch.Tensor, *, precise: bool) -> bool:
    """Whether a module's output has these maps (channels and axes), in any layout."""
    if output.is_quantized:
        output = output.dequantize()
    output = tokens_as_maps(output, tuple(maps.shape))
    if not 2 <= output.dim() <= maps.dim() + 1 or len(output) != 1:
        return False
    if output.numel() != maps.numel():
        return False
    padded = output[0].reshape(*output.shape[1:], *(1,) * (maps.dim() + 1 - output.dim()))
    tolerance = 1e-9 if precise else 1e-4
    scale = float(padded.abs().max())
    return any(
        padded.permute(order).shape == maps.shape
        and torch.allclose(
            padded.permute(order).to(maps), maps, tolerance, tolerance * scale, equal_nan=True
        )
        for order in permutations(range(maps.dim()))
    )


def check_projections(subject: Subject, report: Report) -> None:
    """Projections equal torch's own gradient, and rules that are written independently."""
    deadline = monotonic() + subject.seconds
    by_path = subject.layers_of_modules()
    sampled = spread(list(by_path.items()), SAMPLED_UNITS)
    rule_books = ["gradient"]
    if _sees_all_rectifiers(subject):
        rule_books += ["guided", "deconvnet"]
    else:
        report.facts["rules_unchecked"] = "rectifiers that cannot be replaced"
    for path, layer in sampled:
        for rules in rule_books:
            if monotonic() > deadline:
                report.facts["projections_cut_short"] = 1
                return
            _compare_projection(subject, report, layer, path=path, rules=rules)


def _compare_projection(
    subject: Subject, report: Report, layer: Layer, *, path: str, rules: str
) -> None:
    unit = sample_unit(subject, layer)
    seed_randomness()
    projection = rs.deconv(subject.net, unit, subject.image, rules=rules)
    expected = plain_projection(subject, layer, path=path, unit=unit, rules=rules)
    if expected is None:
        return
    difference = relative_difference(projection.full(), expected)
    report.add(f"projections_{rules}")
    if rules == "gradient" and subject.has_plain_slopes:
        _compare_slopes(subject, report, layer, projection=projection)
    if not difference < (1e-6 if subject.precise else 1e-2):
        if rules == "gradient" and equals_finite_differences(subject, layer, projection):
            report.add("plain_gradient_is_wrong")
            return
        report.answer_is_wrong(
            f"projection ({rules}) of {unit}: differs by {difference:.2g} from the plain definition"
        )


def _compare_slopes(
    subject: Subject, report: Report, layer: Layer, *, projection: rs.Projection
) -> None:
    report.add("slopes")
    if not equals_finite_differences(subject, layer, projection):
        report.answer_is_wrong(
            f"projection (gradient) of {projection.unit}: is not what small steps of the image do"
        )


def equals_finite_differences(subject: Subject, layer: Layer, projection: rs.Projection) -> bool:
    """Whether small steps in random directions change the unit as its projection says.

    Torch's own gradient can be wrong: that of a batch norm in torch 2.15 is, for some strides. A
    step may cross a kink, soon where the gradient is steep, and a small one may drown in rounding,
    so some sizes are tried.
    """
    lengths = (1e-8, 1e-9, 1e-7, 1e-10, 1e-11, 1e-12)
    return any(_step_agrees(subject, layer, projection, length) for length in lengths)


def _step_agrees(subject: Subject, layer: Layer, projection: rs.Projection, length: float) -> bool:
    unit = projection.unit
    assert unit.position is not None
    step = torch.randn_like(subject.image) * length
    ahead, behind = (
        forward(subject, [layer], subject.image + sign * step)[layer.index] for sign in (1, -1)
    )
    slope = at_position((ahead - behind) / 2, unit.position)[unit.channel]
    measured = float(slope) * projection.activation
    claimed = float((projection.full() * np.asarray(step.movedim(0, -1))).sum())
    rounding = 1e-13 * projection.activation**2
    return abs(measured - claimed) <= 1e-3 * max(abs(measured), abs(claimed)) + rounding


def sample_unit(subject: Subject, layer: Layer) -> rs.Unit:
    """The strongest channel at a position near the centre."""
    maps = forward(subject, [layer], subject.image)[layer.index]
    position = *(length // 2 for length in layer.size[:-1]), layer.size[-1] // 3
    return rs.Unit(layer.name, int(at_position(maps, position).nan_to_num().argmax()), position)


def plain_projection(
    subject: Subject, layer: Layer, *, path: str, unit: rs.Unit, rules: str
) -> Array | None:
    """The signal at the pixels, going back from the activation by rules on torch's functions."""
    assert unit.position is not None
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(mended_batch_norm())
        if rules != "gradient":
            stack.enter_context(replaced_rectifiers(rules))
        pixels = subject.image.clone().requires_grad_()
        run = run_plainly(subject.module, subject.in_survey_layout(pixels))
    output = run.output(path)
    maps = None if output is None else as_maps(output, layer)
    if maps is None or not maps.requires_grad:
        return None
    assert unit.channel is not None
    value = maps[unit.channel, *unit.position]
    (signal,) = torch.autograd.grad(
        value, pixels, value.detach(), materialize_grads=True, allow_unused=True
    )
    return np.asarray(signal.movedim(0, -1))


def as_maps(output: torch.Tensor, layer: Layer) -> torch.Tensor | None:
    """A module's output as channels and axes, if its layout is plain to see."""
    shape = layer.channels, *layer.size
    output = tokens_as_maps(output, shape)
    if not 2 <= output.dim() <= len(shape) + 1 or len(output) != 1:
        return None
    padded = output[0].reshape(*output.shape[1:], *(1,) * (len(shape) + 1 - output.dim()))
    first = tuple(range(len(shape)))
    orders = {2: [first], 3: [(1, 0, *first[2:])]}
    orders[len(shape) + 1] = [first, (first[-1], *first[:-1])]
    permuted = [padded.permute(order) for order in orders.get(output.dim(), [])]
    fitting = [maps for maps in permuted if maps.shape == shape]
    return fitting[0] if len(fitting) == 1 else None


def _sees_all_rectifiers(subject: Subject) -> bool:
    """Whether replacing torch's functions reaches every rectifier of the network."""
    with torch.no_grad(), CountingMode() as counted:
        subject.module(subject.image[None].clone())
    with torch.no_grad(), replaced_rectifiers("guided") as replaced:
        subject.module(subject.image[None].clone())
    return bool(counted.calls == replaced.calls)


def relative_difference(actual: Array, expected: Array) -> float:
    """The largest difference, relative to the largest value."""
    if not np.isfinite(expected).all():
        return 0.0 if np.array_equal(np.isfinite(actual), np.isfinite(expected)) else 1.0
    scale = float(np.abs(expected).max())
    difference = float(np.abs(actual - expected).max())
    return 0.0 if difference <= 1e-12 * scale else difference / scale if scale else float("inf")


def check_crops(subject: Subject, report: Report) -> None:
    """Crops give what whole images give, by every rule book."""
    deadline = monotonic() + subject.seconds
    local = [
        layer
        for layer in subject.net.layers
        if not (layer.field.whole or layer.field.global_context)
    ]
    for layer in spread(local, SAMPLED_UNITS):
        for unit in (sample_unit(subject, layer), _unit_at_corner(layer)):
            for rules in ("gradient", "guided", "deconvnet"):
                if monotonic() > deadline:
                    report.facts["crops_cut_short"] = 1
                    return
                seed_randomness()
                with always_crops():
                    cropped = rs.deconv(subject.net, unit, subject.image, rules=rules)
                seed_randomness()
                with never_crops():
                    whole = rs.deconv(subject.net, unit, subject.image, rules=rules)
                report.add("crops")
                difference = relative_difference(cropped.full(), whole.full())
                if not difference < (1e-6 if subject.precise else 1e-2):
                    report.answer_is_wrong(
                        f"crop ({rules}) of {unit}: differs by {difference:.2g} from the whole"
                    )


def _unit_at_corner(layer: Layer) -> rs.Unit:
    return rs.Unit(layer.name, 0, (*(0 for _ in layer.size[:-1]), layer.size[-1] - 1))


@contextmanager
def always_crops() -> Iterator[None]:
    """Inside, crops are run wherever they can be."""
    with patch.object(projector, "worth_cropping", lambda *_args, **_options: True):
        yield


@contextmanager
def never_crops() -> Iterator[None]:
    """Inside, every unit is projected from the whole image."""
    with patch.object(projector, "worth_cropping", lambda *_args, **_options: False):
        yield
