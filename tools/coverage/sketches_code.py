"""Sketches of code that hides or changes what it does: in place, custom, scripted, conditional."""

import random

import torch
import torch.nn.functional as F
from tools.coverage.sketches import Sketch, sketch
from torch import Tensor


@sketch
def quantiser_by_detach(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return x + (torch.round(x * 8) / 8 - x).detach()


@sketch
def signs(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(torch.sign(x - 0.5))


@sketch
def comparisons(net: Sketch, x: Tensor) -> Tensor:
    mask = (x > x.mean(1, keepdim=True)) & (x < 2)
    return net.conv(x * mask.to(x.dtype))


@sketch
def where_by_another_map(net: Sketch, x: Tensor) -> Tensor:
    return torch.where(torch.roll(x, 4, 3) > 0.5, net.conv(x), x)


@sketch
def masked_fill(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x).masked_fill(net.pointwise(x) < 0, 0.0)


@sketch
def in_place_residual(net: Sketch, x: Tensor) -> Tensor:
    skip = x
    x = net.conv(x)
    x += skip
    return F.relu_(x)


@sketch
def in_place_slice(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, :4] = torch.relu(x[:, :4])
    return net.pointwise(x)


@sketch
def in_place_border(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    x[:, :, 0] = 0
    x[..., -1] *= 2
    return net.pointwise(x)


@sketch
def in_place_on_a_view(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.view(x.shape[0], -1).mul_(0.5)
    return net.conv(x)


@sketch
def in_place_on_a_chunk(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    first, _ = x.chunk(2, 1)
    first.add_(torch.roll(x[:, 4:], 3, 3))
    return net.conv(x)


@sketch
def in_place_through_data(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    x.data.mul_(0.5)
    return net.conv(x)


@sketch
def in_place_copy(net: Sketch, x: Tensor) -> Tensor:
    buffer = torch.empty_like(x)
    buffer.copy_(net.conv(x))
    return net.pointwise(buffer)


@sketch
def in_place_scatter(net: Sketch, x: Tensor) -> Tensor:
    index = torch.zeros_like(x, dtype=torch.long)
    return net.conv(torch.zeros_like(x).scatter_add_(2, index, x) + x)


@sketch
def in_place_masked_assignment(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x).clone()
    x[x < 0] = 0
    return net.pointwise(x)


@sketch
def in_place_concatenation_buffer(net: Sketch, x: Tensor) -> Tensor:
    buffer = x.new_zeros(x.shape[0], 32, *x.shape[2:])
    buffer[:, :8] = x
    buffer[:, 8:16] = net.conv(x)
    return net.narrow(buffer)


@sketch
def written_out(net: Sketch, x: Tensor) -> Tensor:
    y = torch.empty(0, dtype=x.dtype)
    torch.add(net.conv(x).detach(), x.detach(), out=y)
    return net.pointwise(y)


@sketch
def a_number_of_the_map(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x) * x.mean().item()


@sketch
def a_branch_on_values(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x) if x.mean() > 0.2 else net.depthwise(x)


@sketch
def a_loop_over_sizes(net: Sketch, x: Tensor) -> Tensor:
    while x.shape[2] > 8:
        x = F.relu(net.strided(x))
    return x


@sketch
def a_loop_of_one_module(net: Sketch, x: Tensor) -> Tensor:
    for _ in range(3):
        x = x + net.relu(net.norm(net.conv(x)))
    return x


@sketch
def a_recursion(net: Sketch, x: Tensor) -> Tensor:
    def descend(maps: Tensor, depth: int) -> Tensor:
        if depth == 0:
            return net.conv(maps)
        return maps + F.interpolate(descend(net.strided(maps), depth - 1), maps.shape[2:])

    return descend(x, 2)


@sketch
def random_depth(net: Sketch, x: Tensor) -> Tensor:
    for _ in range(random.randint(1, 3)):  # noqa: S311
        x = F.relu(net.conv(x))
    return x


@sketch
def random_numbers(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x + torch.randn_like(x))


@sketch
def dropouts(net: Sketch, x: Tensor) -> Tensor:
    x = F.dropout(net.conv(x), 0.3, net.training)
    x = F.dropout2d(x, 0.3, training=net.training)
    return F.alpha_dropout(x, 0.3, net.training) + F.feature_alpha_dropout(x, 0.2, net.training)


@sketch
def dropout_always(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.dropout(x, 0.3))


@sketch
def drop_path(net: Sketch, x: Tensor) -> Tensor:
    keep = x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(0.9)
    return x + net.conv(x) * (keep if net.training else 1)


@sketch
def half_precision_inside(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x.float().exp().to(x.dtype) * 0.1)


@sketch
def autocast_inside(net: Sketch, x: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return net.conv(x)


@sketch
def embedded_codes(net: Sketch, x: Tensor) -> Tensor:
    codes = torch.bucketize(x.detach()[:, 0], torch.linspace(0, 1, 7, dtype=x.dtype))
    return net.conv(x + F.embedding(codes, net.dense.weight).permute(0, 3, 1, 2))


@sketch
def nearest_codes(net: Sketch, x: Tensor) -> Tensor:
    """A vector quantiser."""
    flat = x.permute(0, 2, 3, 1).reshape(-1, 8)
    codes = torch.cdist(flat, net.dense.weight).argmin(1)
    b, _, h, w = x.shape
    found = F.embedding(codes, net.dense.weight).view(b, h, w, 8).permute(0, 3, 1, 2)
    return net.conv(x + (found - x).detach())


@sketch
def einsum_of_channels(net: Sketch, x: Tensor) -> Tensor:
    return torch.einsum("bchw,dc->bdhw", net.conv(x), net.dense.weight)


@sketch
def matmul_of_channels(net: Sketch, x: Tensor) -> Tensor:
    return net.conv((net.dense.weight @ x.flatten(2)).view_as(x))


@sketch
def tensordot_of_channels(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(torch.tensordot(x, net.dense.weight, dims=([1], [1])).permute(0, 3, 1, 2))


@sketch
def complex_magnitude(net: Sketch, x: Tensor) -> Tensor:
    numbers = torch.complex(net.conv(x), net.pointwise(x))
    return torch.abs(numbers)


@sketch
def log_sum_exp(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x - torch.logsumexp(x, dim=1, keepdim=True))


@sketch
def channels_last_memory(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x.contiguous(memory_format=torch.channels_last))


@sketch
def as_strided_windows(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = net.conv(x).contiguous()
    return x.as_strided((b, c, h - 1, w), x.stride(), w)


@sketch
def moved_axes(net: Sketch, x: Tensor) -> Tensor:
    return net.dense(torch.movedim(net.conv(x), 1, -1)).movedim(-1, 1)


@sketch
def attributes_of_tensors(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x).mT.mT + x.abs().real


@sketch
def mean_of_neighbours(net: Sketch, x: Tensor) -> Tensor:
    return torch.lerp(net.conv(x), torch.roll(x, 1, 2), 0.5)
