"""The occlusion map of VGG16: ours and captum's `Occlusion`, with their largest difference."""

from functools import partial
from statistics import median
from warnings import catch_warnings, simplefilter

import numpy as np
import torch
from captum.attr import Occlusion
from torch import nn

import retroscope as rs
from benchmarks.timing import describe_machine, markdown_table, median_ratio, time_alternating
from retroscope.methods.occlusion.occlusion import occlusion

SIZE, OCCLUDER, STRIDE = 224, 32, 8


def report() -> str:
    """The results in Markdown."""
    net = _scale_weights(rs.open_model("vgg16", random_weights=0))
    image = torch.randn(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        target = int(net.module(image[None].to(net.device)).argmax())
    captum = partial(_captum, net, image.to(net.device), target)
    ours = partial(_ours, net, image, target)
    difference = float(np.abs(captum() - ours()).max())
    captum_times, our_times = time_alternating(captum, ours)
    row = [
        f"{median(captum_times):.1f}",
        f"{median(our_times):.1f}",
        f"{median_ratio(captum_times, our_times):.1f}",
        "4",
        f"{difference:.1e}",
    ]
    header = "captum, s", "retroscope, s", "speedup", "target speedup", "largest difference"
    return "\n\n".join(
        (
            f"# Occlusion map, VGG16 at {SIZE} px, {OCCLUDER} px occluder, stride {STRIDE}, "
            "float32",
            describe_machine("torchvision", "captum"),
            markdown_table(header, [row]),
            "Medians of 5 alternating rounds. Each pixel of both maps is the mean drop of the "
            "class probability over the occluders that cover it.\n",
        )
    )


@torch.no_grad()
def _scale_weights(net: rs.Network) -> rs.Network:
    """Scale the weights so that occluders change the probabilities enough to show differences."""
    generator = torch.Generator().manual_seed(0)
    for module in net.module.eval().modules():
        if isinstance(module, nn.Conv2d):
            weights = torch.randn(module.weight.shape, generator=generator)
            module.weight.copy_(weights * (2 / module.weight[0].numel()) ** 0.5)
    last = [module for module in net.module.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.mul_(5)
    return net


def _ours(
    net: rs.Network, image: torch.Tensor, target: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    prepared = net.prepare(image)
    result = occlusion(net, prepared, target=target, size=OCCLUDER, stride=STRIDE, fill=0.0)
    return result.heat.values


def _captum(
    net: rs.Network, image: torch.Tensor, target: int
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    def probabilities(images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = net.module(images)
        return scores.softmax(dim=1)

    with catch_warnings(), torch.no_grad():
        simplefilter("ignore")
        heat: torch.Tensor = Occlusion(probabilities).attribute(
            image[None],
            sliding_window_shapes=(3, OCCLUDER, OCCLUDER),
            strides=(3, STRIDE, STRIDE),
            baselines=0,
            target=target,
        )
    return heat[0, 0].float().cpu().numpy()
