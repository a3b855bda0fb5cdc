"""Sketches that change the size of maps: resizing, pooling, space to depth."""

import torch
import torch.nn.functional as F
from tools.coverage.sketches import Sketch, sketch
from torch import Tensor


@sketch
def resize_nearest(net: Sketch, x: Tensor) -> Tensor:
    return F.interpolate(net.strided(x), scale_factor=2, mode="nearest") + x


@sketch
def resize_bilinear(net: Sketch, x: Tensor) -> Tensor:
    small = net.strided(x)
    return x + F.interpolate(small, size=x.shape[2:], mode="bilinear", align_corners=False)


@sketch
def resize_bilinear_to_corners(net: Sketch, x: Tensor) -> Tensor:
    small = net.strided(x)
    return x + F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=True)


@sketch
def resize_bicubic(net: Sketch, x: Tensor) -> Tensor:
    return F.interpolate(net.strided(x), scale_factor=2.0, mode="bicubic", align_corners=False)


@sketch
def resize_by_three_halves(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.interpolate(x, scale_factor=1.5, mode="bilinear"))


@sketch
def resize_down(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.interpolate(x, size=(9, 7)))


@sketch
def resize_down_smoothly(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True))


@sketch
def resize_by_area(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.interpolate(x, scale_factor=0.5, mode="area"))


@sketch
def resize_exactly(net: Sketch, x: Tensor) -> Tensor:
    return F.interpolate(net.strided(x), size=list(x.shape[2:]), mode="nearest-exact")


@sketch
def resize_by_upsample_module(net: Sketch, x: Tensor) -> Tensor:
    up: Tensor = torch.nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)(
        net.strided(x)
    )
    return up


@sketch
def resize_by_repeat_interleave(net: Sketch, x: Tensor) -> Tensor:
    return net.strided(x).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


@sketch
def resize_by_expand(net: Sketch, x: Tensor) -> Tensor:
    x = net.strided(x)
    b, c, h, w = x.shape
    return x[:, :, :, None, :, None].expand(b, c, h, 2, w, 2).reshape(b, c, h * 2, w * 2)


@sketch
def pixel_shuffle(net: Sketch, x: Tensor) -> Tensor:
    return F.pixel_shuffle(net.widen(net.strided(x)), 2)


@sketch
def pixel_unshuffle(net: Sketch, x: Tensor) -> Tensor:
    return net.narrow(F.pixel_unshuffle(x, 2))


@sketch
def space_to_depth_by_view(net: Sketch, x: Tensor) -> Tensor:
    """TResNet's."""
    n, c, h, w = x.size()
    x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4).contiguous()
    return net.narrow(x.view(n, c * 4, h // 2, w // 2))


@sketch
def space_to_depth_by_slices(net: Sketch, x: Tensor) -> Tensor:
    """YOLOv5's focus."""
    parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
    return net.narrow(torch.cat(parts, 1))


@sketch
def depth_to_space_by_view(net: Sketch, x: Tensor) -> Tensor:
    x = net.widen(net.strided(x))
    b, _, h, w = x.shape
    x = x.view(b, 8, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(b, 8, h * 2, w * 2)


@sketch
def pool_by_view(_: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.view(b, c, h // 2, 2, w // 2, 2).mean((3, 5))


@sketch
def pool_by_view_of_maxima(_: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2).amax(dim=(-1, -3))


@sketch
def pool_unevenly(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.adaptive_avg_pool2d(x, (7, 5)))


@sketch
def pool_unevenly_by_maximum(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.adaptive_max_pool2d(x, 5))


@sketch
def pool_pyramid(net: Sketch, x: Tensor) -> Tensor:
    levels = [
        F.interpolate(F.adaptive_avg_pool2d(x, n), x.shape[2:], mode="bilinear") for n in (1, 2, 3)
    ]
    return net.narrow(torch.cat([x, *levels], 1))


@sketch
def pool_strips(net: Sketch, x: Tensor) -> Tensor:
    rows = F.adaptive_avg_pool2d(x, (x.shape[2], 1))
    columns = F.adaptive_avg_pool2d(x, (1, x.shape[3]))
    return net.conv(x * (rows + columns).sigmoid())


@sketch
def pool_by_power(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.lp_pool2d(x + 0.1, 2, 2))


@sketch
def pool_softly(net: Sketch, x: Tensor) -> Tensor:
    weights = x.exp()
    return net.conv(F.avg_pool2d(x * weights, 2) / F.avg_pool2d(weights, 2))


@sketch
def pool_blurred(net: Sketch, x: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 2.0, 1.0], dtype=x.dtype)
    kernel = (kernel[:, None] * kernel)[None, None].repeat(8, 1, 1, 1) / 16
    return net.conv(F.conv2d(F.pad(x, (1, 1, 1, 1), "reflect"), kernel, stride=2, groups=8))


@sketch
def pool_and_unpool(net: Sketch, x: Tensor) -> Tensor:
    pooled, switches = F.max_pool2d(x, 2, return_indices=True)
    return F.max_unpool2d(net.conv(pooled), switches, [2, 2], output_size=x.shape[2:])
