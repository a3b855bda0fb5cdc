"""A pass in bfloat16, and which images must be scored again to make its rankings exact.

The bfloat16 pass only decides which images may be among the best: it keeps more candidates than
hits, and the images of all candidates run again in the precision of the network.
"""

import platform
from copy import deepcopy
from enum import StrEnum

import torch

from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.errors import ModelError, RetroscopeError, choose
from retroscope.network import Network
from retroscope.scanning.one_pass import LayerSweeps
from retroscope.scanning.winners import ranked_images


class Precision(StrEnum):
    """The precision of the pass over all images; hits are exact in both."""

    FULL = "full"
    BF16 = "bf16"

    @classmethod
    def parse(cls, name: str) -> "Precision":
        """The precision of this name."""
        return choose("precision", name, {precision.value: precision for precision in cls})


def refuse_slow_precision(precision: Precision, device: torch.device) -> None:
    """Raises if a pass in this precision takes longer on the device than one in full precision."""
    if precision == Precision.BF16 and not has_bf16_instructions(device):
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "this processor"
        raise RetroscopeError(
            f"{name} has no bf16 instructions, without which a pass in bf16 takes several times as "
            "long as one in full precision; scan in full precision",
            parameter="precision",
        )


def has_bf16_instructions(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16: of NVIDIA's GPUs, those from Ampere on.

    No other GPU is known to be slower in bfloat16.
    """
    if device.type == "cpu":
        return _has_cpu_bf16_instructions()
    if device.type == "cuda" and torch.version.hip is None:
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return True


def _has_cpu_bf16_instructions() -> bool:
    """Whether torch has fast kernels for bfloat16 here, and the processor the instructions.

    Without oneDNN's kernels, convolutions run in plain loops. They need the instructions on ARM;
    on x86 they emulate them with AVX-512.
    """
    if not hasattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported"):  # a build without oneDNN
        return False
    has_kernels: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not (has_kernels and is_x86 and hasattr(torch.cpu, "get_capabilities")):  # from torch 2.11
        return has_kernels
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities["avx512_bf16"] or capabilities["amx_bf16"])


def candidate_count(top: int) -> int:
    """How many images a ranking keeps so that the best in full precision are among them."""
    return 3 * top // 2 + 7 if top else 0


def to_bfloat16(net: Network) -> Network:
    """A copy of the network that computes in bfloat16; the network itself is not changed."""
    try:
        with EXCLUSIVE_USE:
            module = deepcopy(net.module)
        copy = net.with_module(module.to(torch.bfloat16), net.preprocessing.fit)
        has_same_steps = _functions(copy) == _functions(net)
    except (RetroscopeError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{net.name} does not run in bf16; scan in full precision ({error})",
            parameter="precision",
        ) from error
    if not has_same_steps:
        raise ModelError(
            f"{net.name} runs other operations in bf16; scan in full precision",
            parameter="precision",
        )
    return copy


def _functions(net: Network) -> list[object]:
    return [step.function for step in net.survey().steps]


def candidate_images(sweeps: LayerSweeps) -> list[int]:
    """The images that are candidates for any channel, or sampled, in the order of the list."""
    return sorted(ranked_images(sweeps.sweep))
