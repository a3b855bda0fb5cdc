"""A scan keeps the memory that it frees."""

import subprocess
import sys

import pytest

COUNT_PAGE_FAULTS = """
import resource, sys
import torch
from retroscope.scanning.freed_memory import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit("not glibc")
for step in range(20):
    if step == 4:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(40 << 18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    """How many fresh pages a process takes that allocates 40 MB, again and again."""
    command = [sys.executable, "-c", COUNT_PAGE_FAULTS, how]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "not glibc" in result.stderr:
        pytest.skip("only glibc can keep freed memory")
    return int(result.stdout)


def test_memory_that_is_freed_is_taken_again_without_fresh_pages() -> None:
    assert page_faults("keep") * 4 < page_faults("as usual")
