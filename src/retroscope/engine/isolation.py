"""Leaves no trace: after a pass the network is bit for bit what it was before."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch

from retroscope.errors import ModelError


@contextmanager
def undisturbed(module: torch.nn.Module) -> Iterator[None]:
    """Runs the network in evaluation mode and leaves it as it was, whatever happens inside."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [_Buffers.of(part) for part in module.modules()]
    with _same_randomness(module), torch.inference_mode(mode=False):
        try:
            for part, _ in modes:
                part.training = False
            yield
        finally:
            for part, training in modes:
                part.training = training
            with torch.no_grad():
                for one in buffers:
                    one.restore()


@dataclass(frozen=True, eq=False)
class _Buffers:
    """The buffers of one part of a network, and what they hold."""

    part: torch.nn.Module
    were: dict[str, torch.Tensor | None]
    held: dict[str, torch.Tensor]
    unsaved: set[str]

    @classmethod
    def of(cls, part: torch.nn.Module) -> Self:
        were = dict(part._buffers)
        held = {name: one.detach().clone() for name, one in were.items() if one is not None}
        return cls(part, were, held, set(part._non_persistent_buffers_set))

    def restore(self) -> None:
        for home, kept in (
            (self.part._buffers, self.were),
            (self.part._non_persistent_buffers_set, self.unsaved),
        ):
            home.clear()
            home.update(kept)  # type: ignore[arg-type]  # a dict with a dict, a set with a set
        for name, held in self.held.items():
            buffer = self.were[name]
            if buffer is not None and not torch.equal(buffer, held):
                buffer.copy_(held)


@contextmanager
def _same_randomness(module: torch.nn.Module) -> Iterator[None]:
    device = device_of(module)
    kept = np.random.get_state(), random.getstate()  # noqa: NPY002
    places = [] if device.type == "cpu" else [device.index or 0]
    kind = "cuda" if device.type == "cpu" else device.type
    try:
        with torch.random.fork_rng(devices=places, device_type=kind):
            yield
    finally:
        np.random.set_state(kept[0])  # noqa: NPY002
        random.setstate(kept[1])


def device_of(module: torch.nn.Module) -> torch.device:
    """Where the network's numbers lie."""
    return next((one.device for one in _numbers(module)), torch.device("cpu"))


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    """The kind of floating-point number that the network computes with."""
    kinds = (one.dtype for one in _numbers(module) if one.is_floating_point())
    return next(kinds, torch.get_default_dtype())


def _numbers(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def original(module: torch.nn.Module) -> torch.nn.Module:
    """The network inside a wrapper of torch's; a scripted one is refused."""
    for wrapped in ("_orig_mod", "module"):
        inner = getattr(module, wrapped, None)
        if isinstance(inner, torch.nn.Module) and type(module).__name__ in _WRAPPERS:
            return original(inner)
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise ModelError(
            "a scripted or traced network hides its operations; give the nn.Module it was made of"
        )
    return module


_WRAPPERS = {"OptimizedModule", "DataParallel", "DistributedDataParallel"}
