"""Whole small networks: segmenters, detectors, parametrised weights, hooks, unusual outputs."""

from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from tools.coverage.sketches import network
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize


def block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution, its norm and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class UNet(nn.Module):
    """Two levels down and up again."""

    def __init__(self, resize: str) -> None:
        super().__init__()
        self.resize = resize
        self.first, self.second, self.third = block(3, 8), block(8, 16), block(16, 16)
        self.up = nn.ConvTranspose2d(16, 16, 2, 2)
        self.decode2, self.decode1 = block(32, 8), block(16, 8)
        self.classify = nn.Conv2d(8, 4, 1)

    def grow(self, x: Tensor) -> Tensor:
        """Twice the size."""
        if self.resize == "transposed":
            grown: Tensor = self.up(x)
            return grown
        corners = None if self.resize == "nearest" else self.resize == "corners"
        mode = "nearest" if self.resize == "nearest" else "bilinear"
        return F.interpolate(x, scale_factor=2, mode=mode, align_corners=corners)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = self.second(F.max_pool2d(a, 2))
        c = self.third(F.max_pool2d(b, 2))
        x = self.decode2(torch.cat([self.grow(c), b], 1))
        x = self.decode1(torch.cat([F.interpolate(x, a.shape[2:]), a], 1))
        maps: Tensor = self.classify(x)
        return maps


@network
def unet_transposed() -> nn.Module:
    return UNet("transposed")


@network
def unet_nearest() -> nn.Module:
    return UNet("nearest")


@network
def unet_bilinear() -> nn.Module:
    return UNet("bilinear")


@network
def unet_bilinear_to_corners() -> nn.Module:
    return UNet("corners")


class FeaturePyramid(nn.Module):
    """Top-down path with lateral convolutions; a dictionary of maps."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([block(3, 8, 2), block(8, 16, 2), block(16, 16, 2)])
        self.laterals = nn.ModuleList([nn.Conv2d(n, 8, 1) for n in (8, 16, 16)])
        self.smooth = nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        maps: list[Tensor] = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        top = self.laterals[2](maps[2])
        outputs = OrderedDict(p3=self.smooth(top))
        for number in (1, 0):
            lateral = self.laterals[number](maps[number])
            top = lateral + F.interpolate(top, size=lateral.shape[-2:], mode="nearest")
            outputs[f"p{number}"] = self.smooth(top)
        return outputs


@network
def feature_pyramid() -> nn.Module:
    return FeaturePyramid()


class DilatedPyramid(nn.Module):
    """DeepLab's head: dilated branches and a pooled one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(3, 8, 2)
        self.branches = nn.ModuleList(
            [nn.Conv2d(8, 8, 3, padding=rate, dilation=rate) for rate in (1, 2, 4)]
        )
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.ReLU())
        self.project = nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        x = self.stem(x)
        pooled = F.interpolate(self.pooled(x), size=x.shape[-2:], mode="bilinear")
        x = self.project(torch.cat([*(branch(x) for branch in self.branches), pooled], 1))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


@network
def deeplab() -> nn.Module:
    return DilatedPyramid()


class Yolo(nn.Module):
    """Focus, CSP blocks, a pyramid of pools, and an anchor head decoded on a grid."""

    def __init__(self) -> None:
        super().__init__()
        self.focus, self.down = block(12, 8), block(8, 16, 2)
        self.left, self.right = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1)
        self.bottleneck, self.join = block(8, 8), nn.Conv2d(16, 16, 1)
        self.pyramid = nn.Conv2d(64, 16, 1)
        self.detect = nn.Conv2d(16, 2 * 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[..., i::2, j::2] for j in (0, 1) for i in (0, 1)], 1)
        x = F.silu(self.down(self.focus(x)))
        left = self.left(x)
        x = self.join(torch.cat([left + self.bottleneck(left), self.right(x)], 1))
        pools = [F.max_pool2d(x, n, 1, n // 2) for n in (3, 5, 7)]
        x = self.detect(self.pyramid(torch.cat([x, *pools], 1)))
        b, _, h, w = x.shape
        x = x.view(b, 2, 7, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
        y, x_grid = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        grid = torch.stack((x_grid, y), 2).view(1, 1, h, w, 2).to(x.dtype)
        x[..., 0:2] = (x[..., 0:2] * 2 - 0.5 + grid) * 8
        return x.view(b, -1, 7)


@network
def yolo() -> nn.Module:
    return Yolo()


class PatchTransformer(nn.Module):
    """A small vision transformer with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.token, self.position = nn.Parameter(torch.zeros(1, 1, 16)), nn.Linear(1, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        scores: Tensor = self.head(self.encoder(x)[:, 0])
        return scores


@network
def patch_transformer() -> nn.Module:
    return PatchTransformer()


class Recurrent(nn.Module):
    """An LSTM over the columns, as text recognisers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(block(3, 8, 2), block(8, 8, 2))
        self.lstm = nn.LSTM(8, 6, bidirectional=True, batch_first=True)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).mean(2).transpose(1, 2)
        scores: Tensor = self.head(self.lstm(x)[0])
        return scores


@network
def recurrent() -> nn.Module:
    return Recurrent()


class StandardisedConv(nn.Conv2d):
    """A convolution that standardises its weights."""

    def forward(self, x: Tensor) -> Tensor:
        flat = self.weight.flatten(1)
        flat = (flat - flat.mean(1, keepdim=True)) / (flat.std(1, keepdim=True) + 1e-5)
        return F.conv2d(x, flat.view_as(self.weight), self.bias, self.stride, self.padding)


@network
def weights_standardised() -> nn.Module:
    return nn.Sequential(
        StandardisedConv(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), block(8, 8)
    )


@network
def weights_normalised() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), block(8, 8))


@network
def weights_normalised_by_spectrum() -> nn.Module:
    return nn.Sequential(parametrizations.spectral_norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), block(8, 8))


class Symmetric(nn.Module):
    """A parametrisation: kernels symmetric from left to right."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(3)


@network
def weights_symmetric() -> nn.Module:
    conv = nn.Conv2d(3, 8, 3)
    parametrize.register_parametrization(conv, "weight", Symmetric())
    return nn.Sequential(conv, nn.ReLU(), block(8, 8))


def _double(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output * 2


@network
def hook_that_changes_the_output() -> nn.Module:
    net = nn.Sequential(block(3, 8), nn.Conv2d(8, 8, 3), nn.ReLU())
    net[1].register_forward_hook(_double)
    return net


def _padded(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (F.pad(inputs[0], (1, 1, 1, 1)),)


@network
def hook_that_changes_the_input() -> nn.Module:
    net = nn.Sequential(block(3, 8), nn.Conv2d(8, 8, 3), nn.ReLU())
    net[1].register_forward_pre_hook(_padded)
    return net


class Outputs(nn.Module):
    """A network whose outputs come in some form."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.body, self.head = block(3, 8, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Any:
        maps = self.body(x)
        scores = self.head(maps.mean((2, 3)))
        forms = {
            "dictionary": {"out": scores, "maps": maps},
            "tuple": (scores, maps),
            "nested": [{"scores": [scores]}, maps],
            "nothing": None,
            "number": float(scores.detach().sum()),
        }
        return forms[self.form]


@network
def output_dictionary() -> nn.Module:
    return Outputs("dictionary")


@network
def output_tuple() -> nn.Module:
    return Outputs("tuple")


@network
def output_nested() -> nn.Module:
    return Outputs("nested")


@network
def output_nothing() -> nn.Module:
    return Outputs("nothing")


@network
def output_number() -> nn.Module:
    return Outputs("number")


class ListInput(nn.Module):
    """Takes a list of images, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = block(3, 8, 2)

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        return [self.body(image[None]) for image in images]


@network
def input_list() -> nn.Module:
    return ListInput()


class Clip(nn.Module):
    """Takes a clip of frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.conv(x)
        return maps.mean((2, 3, 4))


@network
def input_clip() -> nn.Module:
    return Clip()


@network
def input_grey() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3))


@network
def no_convolution() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 20, 16), nn.ReLU(), nn.Linear(16, 5))


@network
def no_layers() -> nn.Module:
    return nn.Identity()


class SharedModules(nn.Module):
    """One convolution under two names, one ReLU everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = self.left

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.relu(self.left(x)) + self.relu(self.right(F.max_pool2d(x, 3, 1, 1)))
        maps: Tensor = self.relu(self.left(x))
        return maps


@network
def shared_modules() -> nn.Module:
    return SharedModules()


@network
def inputs_checked() -> nn.Module:
    class Checked(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            if x.dim() != 4 or x.shape[2] % 4:
                raise ValueError(f"expected maps of a height divisible by 4, not {x.shape}")
            maps: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
            return maps

    return Checked(block(3, 8, 2), block(8, 8, 2))


@network
def lazy_modules() -> nn.Module:
    net = nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5))
    net(torch.zeros(1, 3, 24, 20))
    return net


@network
def training_statistics() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8, track_running_stats=False), nn.ReLU(), block(8, 8)
    )
