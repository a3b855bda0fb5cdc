"""A scan keeps the memory that it frees, and shares its batches evenly among threads."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from retroscope.network import Network
from retroscope.scanning import one_pass

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
    """Fewer than half: some systems take back pages that are not used for a moment."""
    assert page_faults("keep") * 2 < page_faults("as usual")


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("images", [1, 2, 13, 30])
def test_each_thread_has_as_many_images_of_a_batch(
    monkeypatch: pytest.MonkeyPatch, threads: int, images: int
) -> None:
    net = Network(nn.Conv2d(3, 4, 1), input_size=(10, 10))
    floats = 3 * 4 * 10 * 10  # of three maps of four channels
    monkeypatch.setattr(one_pass, "memory_budget", lambda _device: 4 * floats * images)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    size = one_pass.choose_batch_size(net, net.layers)
    if images <= threads:
        assert size == images
    else:
        assert size % threads == 0
        assert images <= size < images + threads
