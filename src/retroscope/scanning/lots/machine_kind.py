"""What the last bits of a sweep depend on, besides the plan."""

import platform

import torch


def describe_machine(device: torch.device) -> str:
    """The processor's instructions or the GPU, and the version of torch.

    Machines of one kind give the same bits; others give the same rankings up to rounding.
    """
    name = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif device.type != "cpu":
        name = f"{device.type} {platform.machine()}"
    return f"{name}, torch {torch.__version__}"
