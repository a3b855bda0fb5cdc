"""Sketches that move, split, join and resample positions."""

import torch
import torch.nn.functional as F
from tools.coverage.sketches import Sketch, sketch
from torch import Tensor
from torchvision.ops import deform_conv2d, roi_align


@sketch
def channel_shuffle(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
    return net.conv(x)


@sketch
def channel_shuffle_functional(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.channel_shuffle(x, 4))


@sketch
def unfold_and_fold(net: Sketch, x: Tensor) -> Tensor:
    columns = F.unfold(net.conv(x), 3, padding=1)
    return F.fold(columns, x.shape[2:], 3, padding=1)


@sketch
def convolution_by_unfold(net: Sketch, x: Tensor) -> Tensor:
    columns = F.unfold(x, 3, padding=1)
    return (net.conv.weight.flatten(1) @ columns).view(x.shape)


@sketch
def convolution_by_tensor_unfold(net: Sketch, x: Tensor) -> Tensor:
    windows = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1)
    return torch.einsum("bchwij,ocij->bohw", windows, net.conv.weight)


@sketch
def convolution_by_shifts(net: Sketch, x: Tensor) -> Tensor:
    padded = F.pad(x, (1, 1, 1, 1))
    shifted = [padded[:, :, i : i + x.shape[2], j : j + x.shape[3]] for i in (0, 2) for j in (0, 1)]
    return net.narrow(torch.cat(shifted, 1))


@sketch
def involution(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    kernels = net.widen(x)[:, :9].view(b, 1, 9, h, w)
    windows = F.unfold(x, 3, padding=1).view(b, c, 9, h, w)
    return (kernels * windows).sum(dim=2)


@sketch
def pad_reflect(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.pad(x, (2, 2, 2, 2), mode="reflect"))


@sketch
def pad_replicate(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.pad(x, (1, 2, 0, 3), mode="replicate"))


@sketch
def pad_circular(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.pad(x, (2, 2, 1, 1), "circular"))


@sketch
def pad_with_a_value(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.pad(x, (1, 1, 1, 1), value=0.7))


@sketch
def pad_by_module(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(torch.nn.ReflectionPad2d(1)(x))


@sketch
def pad_by_concatenation(net: Sketch, x: Tensor) -> Tensor:
    zeros = torch.zeros(x.shape[0], 8, 1, x.shape[3], dtype=x.dtype)
    return net.conv(torch.cat([zeros, x, zeros], dim=2))


@sketch
def pad_same_as_tensorflow(net: Sketch, x: Tensor) -> Tensor:
    h, w = x.shape[-2:]
    pad_h = max((-(-h // 2) - 1) * 2 + 3 - h, 0)
    pad_w = max((-(-w // 2) - 1) * 2 + 3 - w, 0)
    x = F.pad(x, [pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2])
    return F.conv2d(x, net.strided.weight, net.strided.bias, stride=2)


@sketch
def pad_channels(net: Sketch, x: Tensor) -> Tensor:
    return F.pad(net.conv(x)[:, :6], (0, 0, 0, 0, 1, 1))


@sketch
def split_unevenly(net: Sketch, x: Tensor) -> Tensor:
    a, b, c = torch.split(net.conv(x), [3, 4, 1], dim=1)
    return torch.cat([b, a * 2, c], 1)


@sketch
def split_rows(net: Sketch, x: Tensor) -> Tensor:
    top, bottom = torch.split(x, [5, x.shape[2] - 5], dim=2)
    return torch.cat([net.conv(top), net.depthwise(bottom)], 2)


@sketch
def chunk_channels(net: Sketch, x: Tensor) -> Tensor:
    a, b, c = net.conv(x).chunk(3, dim=1)
    return torch.cat([c, b, a], 1)


@sketch
def chunk_columns(net: Sketch, x: Tensor) -> Tensor:
    return torch.cat([net.conv(part) for part in x.chunk(2, dim=3)], dim=3)


@sketch
def unbind_channels(net: Sketch, x: Tensor) -> Tensor:
    return torch.stack(net.conv(x).unbind(1)[::-1], dim=1)


@sketch
def unbind_rows(net: Sketch, x: Tensor) -> Tensor:
    return torch.stack([row * (1 + n) for n, row in enumerate(net.conv(x).unbind(2))], dim=2)


@sketch
def unbind_the_batch(net: Sketch, x: Tensor) -> Tensor:
    return torch.stack([net.conv(image[None])[0] for image in x])


@sketch
def stack_in_front_of_the_batch(net: Sketch, x: Tensor) -> Tensor:
    return torch.stack([net.conv(x), net.pointwise(x)]).sum(0)


@sketch
def stack_new_dimension(net: Sketch, x: Tensor) -> Tensor:
    return torch.stack([net.conv(x), net.pointwise(x)], dim=-1).sum(-1)


@sketch
def narrow_and_select(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return torch.narrow(x, 2, 1, x.shape[2] - 2) * x.select(1, 0).unsqueeze(1)[:, :, 1:-1]


@sketch
def index_select_rows(net: Sketch, x: Tensor) -> Tensor:
    order = torch.arange(x.shape[2] - 1, -1, -1)
    return net.conv(torch.index_select(x, 2, order))


@sketch
def gather_channels(net: Sketch, x: Tensor) -> Tensor:
    order = x.argsort(dim=1)
    return net.conv(torch.gather(x, 1, order))


@sketch
def sort_channels(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x.sort(dim=1)[0])


@sketch
def top_values_of_rows(net: Sketch, x: Tensor) -> Tensor:
    return x * net.conv(x).topk(2, dim=3)[0].sum(3, keepdim=True)


@sketch
def cumulative_sums(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x.cumsum(2) / 10)


@sketch
def cumulative_sums_of_channels(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(torch.cumsum(x, dim=1))


@sketch
def roll_windows(net: Sketch, x: Tensor) -> Tensor:
    rolled = torch.roll(x, shifts=(-2, -2), dims=(2, 3))
    return torch.roll(net.conv(rolled), shifts=(2, 2), dims=(2, 3))


@sketch
def flip_and_add(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x) + torch.flip(net.conv(torch.flip(x, [3])), [3])


@sketch
def rotate(net: Sketch, x: Tensor) -> Tensor:
    return torch.rot90(net.conv(torch.rot90(x, 1, [2, 3])), -1, [2, 3])


@sketch
def shift_channels(net: Sketch, x: Tensor) -> Tensor:
    moved = torch.zeros_like(x)
    moved[:, :2, :, 1:] = x[:, :2, :, :-1]
    moved[:, 2:4, :, :-1] = x[:, 2:4, :, 1:]
    moved[:, 4:] = x[:, 4:]
    return net.pointwise(moved)


@sketch
def transposed_convolution(net: Sketch, x: Tensor) -> Tensor:
    return net.up(net.strided(x)) + x


@sketch
def transposed_convolution_overlapping(net: Sketch, x: Tensor) -> Tensor:
    weight = net.conv.weight
    return F.conv_transpose2d(net.strided(x), weight, stride=2, padding=1, output_padding=1)


@sketch
def convolution_of_rows(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    rows = x.permute(0, 2, 1, 3).reshape(b * h, c, w)
    return net.conv1d(rows).view(b, h, c, w).permute(0, 2, 1, 3)


@sketch
def convolution_of_flat_positions(net: Sketch, x: Tensor) -> Tensor:
    return net.conv1d(x.flatten(2)).view(x.shape)


@sketch
def convolution_over_channels(net: Sketch, x: Tensor) -> Tensor:
    return net.conv3d(x.unsqueeze(1)).squeeze(1)


@sketch
def grid_sample(net: Sketch, x: Tensor) -> Tensor:
    theta = torch.tensor([[[1.0, 0.1, 0.0], [0.0, 1.0, 0.1]]], dtype=x.dtype)
    grid = F.affine_grid(theta.expand(x.shape[0], -1, -1), list(x.shape), align_corners=False)
    return net.conv(F.grid_sample(x, grid, align_corners=False))


@sketch
def grid_sample_by_flow(net: Sketch, x: Tensor) -> Tensor:
    grid = net.conv(x)[:, :2].permute(0, 2, 3, 1).tanh()
    return F.grid_sample(x, grid, align_corners=True)


@sketch
def deformable(net: Sketch, x: Tensor) -> Tensor:
    offsets = net.widen(x)[:, :18] * 0.1
    maps: Tensor = deform_conv2d(x, offsets, net.conv.weight, padding=1)
    return maps


@sketch
def regions_of_interest(net: Sketch, x: Tensor) -> Tensor:
    boxes = torch.tensor([[0.0, 2.0, 2.0, 12.0, 14.0]], dtype=x.dtype)
    return net.conv(roi_align(x, boxes, (6, 6)))


@sketch
def fourier_filter(net: Sketch, x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft2(x, norm="ortho")
    return net.conv(torch.fft.irfft2(spectrum * 0.5, s=x.shape[2:], norm="ortho"))


@sketch
def fourier_real_and_imaginary(net: Sketch, x: Tensor) -> Tensor:
    spectrum = torch.view_as_real(torch.fft.fft2(x))
    return net.conv(spectrum[..., 0] * 0.1 + spectrum[..., 1] * 0.1)


@sketch
def matrix_product_with_position(net: Sketch, x: Tensor) -> Tensor:
    weights = torch.eye(x.shape[3], dtype=x.dtype).roll(2, 0)
    return net.conv(torch.matmul(x, weights))


@sketch
def kronecker_upsampling(net: Sketch, x: Tensor) -> Tensor:
    return torch.kron(net.strided(x), torch.ones(1, 1, 2, 2, dtype=x.dtype))


@sketch
def triangle_mask(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(torch.tril(x))


@sketch
def tokens_and_back(net: Sketch, x: Tensor) -> Tensor:
    tokens = net.layer_norm(x.flatten(2).transpose(1, 2))
    tokens = tokens + net.dense(tokens)
    return tokens.transpose(1, 2).reshape(x.shape)


@sketch
def tokens_mixed_by_linear(net: Sketch, x: Tensor) -> Tensor:
    rows = x.permute(0, 1, 3, 2)
    return net.dense(rows[..., :8]).permute(0, 1, 3, 2)
