"""A pass in bf16 is refused where the device has no instructions for it: it would be slower."""

import platform
from pathlib import Path

import pytest
import torch

from retroscope.errors import RetroscopeError
from retroscope.scanning import precision
from retroscope.scanning.job import scan
from retroscope.scanning.precision import Precision, has_bf16_instructions, refuse_slow_precision
from tests.scanning.scans import tiny, write_images

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
CPU_FACTS = Path("/proc/cpuinfo")


@pytest.fixture
def no_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16_instructions", lambda _device: False)


@pytest.mark.usefixtures("no_instructions")
def test_without_instructions_a_scan_in_bf16_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "photos", 3)
    with pytest.raises(RetroscopeError) as caught:
        scan(tiny(), folder, to=tmp_path / "a", precision="bf16")
    assert str(caught.value).startswith("this processor has no bf16 instructions, without which")
    assert "scan in full precision" in str(caught.value)
    assert caught.value.parameter == "precision"
    assert not (tmp_path / "a").exists()
    scan(tiny(), folder, to=tmp_path / "a", precision="full", projections=False).close()


def test_with_instructions_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16_instructions", lambda _device: True)
    for name in Precision:
        refuse_slow_precision(name, CPU)


@pytest.mark.skipif(
    not CPU_FACTS.is_file() or platform.machine() not in ("x86_64", "aarch64"),
    reason="the kernel lists no instructions here",
)
def test_the_processors_answer_is_that_of_the_kernel() -> None:
    """Linux lists AVX512_BF16 and AMX_BF16 of x86, and BF16 of ARM."""
    lines = CPU_FACTS.read_text("utf-8").splitlines()
    flags = next(line for line in lines if line.startswith(("flags", "Features"))).split()
    expected = {"avx512_bf16", "amx_bf16", "bf16"} & set(flags)
    assert has_bf16_instructions(CPU) == bool(expected)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False}, False),
    ],
)
def test_emulation_with_avx512_is_not_enough(
    flags: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_processor(monkeypatch, "x86_64", has_kernels=True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert has_bf16_instructions(CPU) is expected


@pytest.mark.parametrize("has_kernels", [True, False])
def test_on_arm_the_kernels_of_torch_decide(
    has_kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_processor(monkeypatch, "aarch64", has_kernels=has_kernels)
    assert has_bf16_instructions(CPU) is has_kernels


def pretend_processor(monkeypatch: pytest.MonkeyPatch, name: str, *, has_kernels: bool) -> None:
    monkeypatch.setattr(platform, "machine", lambda: name)
    monkeypatch.setattr(
        torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has_kernels, raising=False
    )


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), False), ((8, 0), True)])
def test_of_nvidias_gpus_those_before_ampere_are_refused(
    capability: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "Tesla T4")
    assert has_bf16_instructions(GPU) is expected
    if not expected:
        with pytest.raises(RetroscopeError, match="Tesla T4 has no bf16 instructions"):
            refuse_slow_precision(Precision.BF16, GPU)
