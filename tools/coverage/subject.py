"""A network ready to be checked: weights drawn so that nothing hides, and its plain run."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn

from retroscope.geometry import format_size
from retroscope.network import Network
from retroscope.results.layers import Layer

Size = tuple[int, ...]
LARGEST_DOUBLE = 1 << 18
"""The positions of the largest input that is run in double precision, to save memory."""
SIZES: tuple[Size, ...] = ((64, 64), (96, 96), (128, 128), (224, 224), (256, 256), (299, 299))


@dataclass(frozen=True)
class Case:
    """A network of a family, built by a function; `sizes` are tried in this order."""

    family: str
    name: str
    build: Callable[[Size], nn.Module]
    sizes: tuple[Size, ...] = SIZES
    channels: int = 3
    has_plain_slopes: bool = True
    group: str = ""
    """The kind of network within the family: the module that defines it."""
    inputs: tuple[str, ...] = ()
    """The arguments of a network that takes several images; it is looked back to the first."""

    @property
    def key(self) -> str:
        return f"{self.family}/{self.name}"


@dataclass(eq=False)
class PlainRun:
    """What forward hooks see: the outputs of each module, in the order of its calls."""

    outputs: dict[str, list[object]] = field(default_factory=dict)
    inputs: dict[str, list[float]] = field(default_factory=dict)
    result: object = None

    def output(self, path: str) -> torch.Tensor | None:
        """The output of a module that ran once and returned a tensor."""
        outputs = self.outputs.get(path, [])
        single = outputs[0] if len(outputs) == 1 else None
        return single if isinstance(single, torch.Tensor) else None


@dataclass(eq=False)
class Subject:
    """The network, one image of noise, and what a plain forward pass gives."""

    case: Case
    module: nn.Module
    net: Network
    image: torch.Tensor
    plain: PlainRun
    is_random: bool = False
    """Whether a pass draws random numbers."""
    has_plain_slopes: bool = False
    """Whether gradients are those of small steps: no code detaches maps or has its own gradient."""
    seconds: float = 5.0
    """How long each kind of check may take; it then ends early, and the report says so."""

    @property
    def precise(self) -> bool:
        """Whether it computes in double precision."""
        return self.image.dtype == torch.float64

    def in_survey_layout(self, image: torch.Tensor) -> torch.Tensor:
        """A batch of one in the memory layout of the survey.

        Torch's gradient of a batch norm depends on the layout, so both sides use the same one.
        """
        is_last = self.net.survey(self.net.input_size).channels_last and image.dim() == 3
        layout = torch.channels_last if is_last else torch.contiguous_format
        return image[None].clone(memory_format=layout)

    def layers_of_modules(self) -> dict[str, Layer]:
        """The layers that bear the path of a module which ran once and returned one tensor."""
        layers = self.net.layers
        by_name = {name: layer for layer in layers for name in (layer.name, *layer.aliases)}
        return {
            path: by_name[path]
            for path in self.plain.outputs
            if path in by_name and self.plain.output(path) is not None
        }


def run_plainly(module: nn.Module, image: torch.Tensor) -> PlainRun:
    """A forward pass with hooks on every module."""
    run = PlainRun()

    def record(path: str, _module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        copied = output.clone() if isinstance(output, torch.Tensor) else output
        run.outputs.setdefault(path, []).append(copied)
        source = next((value for value in args if isinstance(value, torch.Tensor)), None)
        run.inputs.setdefault(path, []).append(float("nan") if source is None else total(source))

    seed_randomness()
    with hooks(module, record):
        run.result = module(image.clone())  # clone keeps the layout
    return run


def total(values: torch.Tensor) -> float:
    """The sum of the values, also of int8 ones and of the real parts of complex ones."""
    values = values.detach()
    values = values.dequantize() if values.is_quantized else values
    return float((values.real if values.is_complex() else values).double().sum())


def seed_randomness() -> None:
    """Networks that draw numbers draw the same ones in every pass."""
    torch.manual_seed(1)
    random.seed(1)


@contextmanager
def hooks(module: nn.Module, record: Callable[..., None]) -> Iterator[None]:
    """Inside, `record(path, module, args, output)` is called after every module."""
    handles = [
        part.register_forward_hook(partial(record, path))
        for path, part in module.named_modules()
        if path and not isinstance(part, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def build_subject(case: Case, seed: int = 0) -> Subject:
    """The network at the smallest size that runs, in double precision if it can."""
    errors = []
    for size in case.sizes:
        is_single = case.family == "quantized" or prod(size) > LARGEST_DOUBLE
        for dtype in (torch.float32,) if is_single else (torch.float64, torch.float32):
            try:
                return _build(case, size, dtype, seed)
            except Exception as error:  # noqa: BLE001 - the next size or type is tried
                errors.append(f"{format_size(size)}: {type(error).__name__}: {str(error)[:200]}")
    raise NotImplementedError("; ".join(errors[-2:]))


def _build(case: Case, size: Size, dtype: torch.dtype, seed: int) -> Subject:
    torch.manual_seed(seed)
    original = case.build(size).eval()
    image = torch.randn(case.channels, *size, dtype=dtype)
    others = {name: torch.randn_like(image) for name in case.inputs[1:]}
    module = with_held_inputs(original, others)
    if case.family != "quantized":
        original.to(dtype).requires_grad_(requires_grad=False)
        draw_weights(original)
        calibrate(module, image[None])
    with torch.no_grad():
        plain = _run_in_layout(module, image[None])
        if case.family == "sketch":
            _warn_of_batches(module, image)
    net = as_declared(case, original, size)
    if others:
        net = net.hold(**others)
    return Subject(
        case,
        module,
        net,
        image,
        plain,
        _draws_numbers(module, image),
        case.has_plain_slopes and dtype == torch.float64,
    )


def as_declared(case: Case, module: nn.Module, size: Size) -> Network:
    """The network with its inputs, and with pixels that are its input as they are."""
    return Network(
        module,
        input_size=size,
        name=case.name.replace(":", "-"),
        mean=(0.0,) * case.channels,
        std=(1.0,) * case.channels,
        inputs=dict.fromkeys(case.inputs, "image") or None,
    )


def with_held_inputs(module: nn.Module, others: dict[str, torch.Tensor]) -> nn.Module:
    """A module that takes the first image alone, as plain code: the others are closed over."""
    if not others:
        return module

    class Held(type(module)):  # type: ignore[misc]
        def forward(self, image: torch.Tensor) -> object:
            batches = {name: other[None].to(image) for name, other in others.items()}
            return super().forward(image, **batches)

    held = copy(module)
    held.__class__ = Held
    return held


def _run_in_layout(module: nn.Module, image: torch.Tensor) -> PlainRun:
    """Stored channels last, as retroscope does where it can: some networks amplify rounding."""
    if image.dim() > 4:  # clips are not
        return run_plainly(module, image)
    try:
        return run_plainly(module, image.to(memory_format=torch.channels_last))
    except RuntimeError:
        return run_plainly(module, image)


def _warn_of_batches(module: nn.Module, image: torch.Tensor) -> None:
    """Runs two images, so that what the network's own code warns of in a batch is known."""
    with suppress(Exception):  # what a batch does is checked later; not all code takes one
        deepcopy(module)(torch.stack([image, image]))


def _draws_numbers(module: nn.Module, image: torch.Tensor) -> bool:
    """Whether a pass uses the random state of torch or of Python."""
    seed_randomness()
    states = torch.get_rng_state(), random.getstate()
    with torch.no_grad():
        module(image[None].clone())
    return not torch.equal(states[0], torch.get_rng_state()) or states[1] != random.getstate()


def open_network(case: Case) -> None:
    """Opens a network that does not run a single image, to see whether it is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = case.build(case.sizes[0]).eval()
    _ = Network(module, input_size=case.sizes[0], name=case.name).layers


def draw_weights(module: nn.Module) -> None:
    """No weight stays at a constant such as zero, behind which a path would be invisible."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not parameter.is_floating_point() or parameter.numel() < 2:
                continue
            if parameter.std() < 1e-3 * parameter.abs().mean() + 1e-4:
                is_vector = parameter.numel() == max(parameter.shape)
                is_scale = is_vector and not name.endswith("bias")
                parameter.copy_(torch.randn_like(parameter) * 0.1 + (0.8 if is_scale else 0.0))
            elif name.endswith("bias"):
                parameter.add_(torch.randn_like(parameter) * 0.05)


def calibrate(module: nn.Module, batch: torch.Tensor) -> None:
    """Batch norms take the statistics of this image, so that deep networks stay in range."""

    def set_statistics(part: nn.Module, args: tuple[torch.Tensor]) -> None:
        mean, variance = part.running_mean, part.running_var
        if isinstance(mean, torch.Tensor) and isinstance(variance, torch.Tensor):
            dims = [dim for dim in range(args[0].dim()) if dim != 1]
            mean.copy_(args[0].mean(dims) * 0.9)
            variance.copy_(args[0].var(dims, unbiased=False) + 0.1)

    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    parts = [part for part in module.modules() if isinstance(part, norms)]
    handles = [part.register_forward_pre_hook(set_statistics) for part in parts]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module(batch.clone())
    finally:
        for handle in handles:
            handle.remove()
