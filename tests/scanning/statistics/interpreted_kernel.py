"""Runs the kernel for GPUs on the processor, and compares it with torch; a script of its own.

Triton decides when it is imported whether it interprets its kernels.
"""

import sys
from itertools import product

import torch

from retroscope.scanning.statistics.plain_summary import summarise_finite_values
from retroscope.scanning.statistics.triton_summary import can_reduce, summarise_by_kernel

SHAPES = [(2, 3, 5, 7), (1, 40, 20, 20)]
DTYPES = torch.float32, torch.float16, torch.bfloat16
LAYOUTS = torch.contiguous_format, torch.channels_last
PROGRAMS = 1, 64
"""One part of a map for each block of channels, and several."""


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    cases = list(product(SHAPES, DTYPES, LAYOUTS, PROGRAMS))
    for shape, dtype, layout, programs in cases:
        maps = (2 * torch.randn(shape, generator=generator)).round().to(dtype)
        maps[0, 0, 0, 0], maps[-1, 1, -1, -1], maps[-1, -1] = torch.nan, torch.inf, -torch.inf
        maps = maps.contiguous(memory_format=layout)
        assert can_reduce(maps)
        found = vars(summarise_by_kernel(maps, programs=programs))
        for name, expected in vars(summarise_finite_values(maps)).items():
            case = name, shape, dtype, layout, programs
            assert found[name].double().equal(expected.double()), case
    sys.stdout.write(f"{len(cases)} batches equal\n")


if __name__ == "__main__":
    main()
