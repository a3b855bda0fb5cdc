"""The occlusion map of VGG16: ours, and captum's `Occlusion`, in turn, and how far they differ."""

from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from captum.attr import Occlusion
from torch import nn

import retroscope as rs
from benchmarks.timing import in_turn, machine, ratio, table
from retroscope.methods.occlusion.occlusion import occlusion

SIZE, OCCLUDER, STRIDE = 224, 32, 8


def report() -> str:
    """The table, in Markdown."""
    net = _steep(rs.open_model("vgg16", random_weights=0))
    picture = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        target = int(net.module(picture[None].to(net.device)).argmax())
    theirs = partial(_captum, net, picture.to(net.device), target)
    ours = partial(_ours, net, picture, target)
    difference = float(np.abs(theirs() - ours()).max())
    slow, fast = in_turn(theirs, ours)
    row = [
        f"{median(slow):.1f}",
        f"{median(fast):.1f}",
        f"{ratio(slow, fast):.1f}",
        "4",
        f"{difference:.1e}",
    ]
    heads = "captum, s", "ours, s", "times faster", "target", "largest difference"
    return "\n\n".join(
        (
            f"# Occlusion of VGG16 at {SIZE}, {OCCLUDER} px occluder, stride {STRIDE}, float32",
            machine("torchvision", "captum"),
            table(heads, [row]),
            "Medians of 5 rounds run in turn. The difference is that of the two maps: the mean "
            "loss of the class's probability over the occluders that cover a pixel.\n",
        )
    )


@torch.no_grad()
def _steep(net: rs.Network) -> rs.Network:
    """Weights under which an occluder changes probabilities by much: differences then show."""
    generator = torch.Generator().manual_seed(0)
    for part in net.module.eval().modules():
        if isinstance(part, nn.Conv2d):
            drawn = torch.randn(part.weight.shape, generator=generator)
            part.weight.copy_(drawn * (2 / part.weight[0].numel()) ** 0.5)
    last = [part for part in net.module.modules() if isinstance(part, nn.Linear)][-1]
    last.weight.mul_(5)
    return net


def _ours(
    net: rs.Network, picture: torch.Tensor, target: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    shown = occlusion(net, picture, target=target, size=OCCLUDER, stride=STRIDE, fill=0.0)
    return shown.heat.values


def _captum(
    net: rs.Network, picture: torch.Tensor, target: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    def share(pictures: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = net.module(pictures)
        return scores.softmax(dim=1)

    with catch_warnings(), torch.no_grad():
        simplefilter("ignore")
        seen: torch.Tensor = Occlusion(share).attribute(
            picture[None],
            sliding_window_shapes=(3, OCCLUDER, OCCLUDER),
            strides=(3, STRIDE, STRIDE),
            baselines=0,
            target=target,
        )
    return seen[0, 0].float().cpu().numpy()
