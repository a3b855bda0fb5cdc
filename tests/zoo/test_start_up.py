"""What opening a network imports: torchvision takes as long as torch, and is often not needed."""

import subprocess
import sys

OPENS_DEMO = """
import sys
import retroscope as rs
net = rs.open_model("demo")
rs.deconv(net, "conv5:36", rs.scene(7))
slow = {"torchvision", "torch._dynamo", "torch._inductor", "timm", "keras"}
print(sorted(slow & set(sys.modules)))
"""


def test_a_network_that_is_included_opens_without_torchvision() -> None:
    result = subprocess.run(
        [sys.executable, "-c", OPENS_DEMO], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
