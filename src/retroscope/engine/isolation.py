"""Leaves no trace: after a pass the network is bit for bit what it was before.

While a network runs it is changed: it is in evaluation mode, its buffers move, and the process's
random numbers are drawn from. Therefore one network runs at a time. A lock for each network would
not do: networks share modules, and the random state belongs to all (`docs/decisions/0015`).
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any, Self

import numpy as np
import torch

from retroscope.errors import ModelError

EXCLUSIVE_USE = RLock()
"""Held by the thread that runs a network, or reads what a run changes."""


@contextmanager
def preserve_state(module: torch.nn.Module) -> Iterator[None]:
    """Runs the network in evaluation mode and restores it afterwards, also after an error.

    float32 is float32 meanwhile, also on a GPU. Other threads wait, whatever network they want to
    run.
    """
    with (
        EXCLUSIVE_USE,
        without_tf32(),
        _preserve_random_state(module),
        torch.inference_mode(mode=False),
    ):
        modes = [(part, part.training) for part in module.modules()]
        buffers = [_Buffers.of(part) for part in module.modules()]
        try:
            for part, _ in modes:
                part.training = False
            yield
        finally:
            for part, training in modes:
                part.training = training
            with torch.no_grad():
                for snapshot in buffers:
                    snapshot.restore()


@dataclass(frozen=True, eq=False)
class _Buffers:
    """A module's buffers: the tensors, aliases of their memory, and a copy of their values."""

    part: torch.nn.Module
    tensors: dict[str, torch.Tensor | None]
    memory: dict[str, torch.Tensor]
    values: dict[str, torch.Tensor]
    non_persistent: set[str]

    @classmethod
    def of(cls, part: torch.nn.Module) -> Self:
        tensors: dict[str, torch.Tensor | None] = dict(part._buffers.items())
        memory = {name: buffer.detach() for name, buffer in tensors.items() if buffer is not None}
        values = {name: buffer.clone() for name, buffer in memory.items()}
        return cls(part, tensors, memory, values, set(part._non_persistent_buffers_set))

    def restore(self) -> None:
        if not isinstance(self.part, torch.jit.ScriptModule):  # a scripted one cannot rebind them
            self.part._buffers.clear()
            self.part._buffers.update(self.tensors)
            self.part._non_persistent_buffers_set.clear()
            self.part._non_persistent_buffers_set.update(self.non_persistent)
        for name, values in self.values.items():
            buffer, memory = self.tensors[name], self.memory[name]
            assert buffer is not None
            if not buffer.is_set_to(memory):  # the network has exchanged it, by `set_` or `resize_`
                storage, offset = memory.untyped_storage(), memory.storage_offset()
                buffer.set_(storage, offset, memory.shape, memory.stride())
            if not torch.equal(buffer, values):
                buffer.copy_(values)


@contextmanager
def _preserve_random_state(module: torch.nn.Module) -> Iterator[None]:
    device = device_of(module)
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    indices = [] if device.type == "cpu" else [device.index or 0]
    device_type = "cuda" if device.type == "cpu" else device.type
    try:
        with torch.random.fork_rng(devices=indices, device_type=device_type):
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextmanager
def without_tf32() -> Iterator[None]:
    """Convolutions and products of float32 are not rounded to TF32's ten bits (`decisions/0027`).

    torch does so in convolutions on a GPU unless told otherwise.
    """
    cudnn = torch.backends.cudnn
    try:
        before = cudnn.allow_tf32, torch.get_float32_matmul_precision()
    except RuntimeError:  # the user has set torch's newer settings, and these cannot be mixed
        with _without_tf32_by_operation():
            yield
        return
    try:
        cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


@contextmanager
def _without_tf32_by_operation() -> Iterator[None]:
    """By the settings that torch has since 2.9."""
    backends: Any = torch.backends
    parts = (backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul)
    before = [part.fp32_precision for part in parts]
    try:
        for part in parts:
            part.fp32_precision = "ieee"
        yield
    finally:
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = precision


def device_of(module: torch.nn.Module) -> torch.device:
    """The device of the network's parameters."""
    return next((tensor.device for tensor in _tensors(module)), torch.device("cpu"))


def dtype_of(module: torch.nn.Module) -> torch.dtype:
    """The floating-point type that the network computes in."""
    dtypes = (tensor.dtype for tensor in _tensors(module) if tensor.is_floating_point())
    return next(dtypes, torch.get_default_dtype())


def _tensors(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def unwrap(module: torch.nn.Module) -> torch.nn.Module:
    """The network inside torch's wrappers. Scripted and traced modules are refused."""
    for attribute in ("_orig_mod", "module"):
        inner = getattr(module, attribute, None)
        if isinstance(inner, torch.nn.Module) and type(module).__name__ in _WRAPPERS:
            return unwrap(inner)
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction):
        raise ModelError(
            "a scripted or traced network hides its operations; pass the nn.Module that it was "
            "made from"
        )
    return module


_WRAPPERS = {"OptimizedModule", "DataParallel", "DistributedDataParallel"}
