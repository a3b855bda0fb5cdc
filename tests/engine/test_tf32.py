"""Networks run in float32 on a GPU too; the flags are torch's, and can be seen without one."""

import subprocess
import sys

import pytest

PRELUDE = """
import torch
import retroscope as rs
from retroscope.engine.isolation import preserve_state, without_tf32

cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul

def settings():
    return cudnn.allow_tf32, matmul.allow_tf32, torch.get_float32_matmul_precision()
"""
OLDER = """
cudnn.allow_tf32 = {convolutions}
torch.set_float32_matmul_precision({products!r})
before = settings()
with preserve_state(torch.nn.ReLU()):
    assert settings() == (False, False, "highest"), settings()
assert settings() == before
try:
    with without_tf32():
        raise ZeroDivisionError
except ZeroDivisionError:
    assert settings() == before
"""
NEWER = """
cudnn.conv.fp32_precision = "tf32"
cudnn.rnn.fp32_precision = "ieee"
matmul.fp32_precision = "tf32"

def precisions():
    return cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision

before = precisions()
with preserve_state(torch.nn.ReLU()):
    assert precisions() == ("ieee", "ieee", "ieee")
assert precisions() == before
"""
METHODS = """
seen = []
net = rs.open_model("demo")
net.module.features[0].register_forward_hook(lambda *_: seen.append(cudnn.allow_tf32))
cudnn.allow_tf32 = True
rs.deconv(net, "conv5:3", rs.scene(0))
rs.cam(net, rs.scene(0))
assert seen and not any(seen), seen
assert cudnn.allow_tf32
"""


def run(code: str) -> None:
    """In a process of its own: the flags belong to the whole process."""
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("products", ["highest", "high", "medium"])
@pytest.mark.parametrize("convolutions", [False, True])
def test_tf32_is_off_while_a_network_runs_and_as_before_afterwards(
    convolutions: bool, products: str
) -> None:
    run(OLDER.format(convolutions=convolutions, products=products))


def test_settings_by_operation_are_respected() -> None:
    run(NEWER)


def test_methods_run_without_tf32() -> None:
    run(METHODS)
