"""Sketches of gates, attention, norms and clamps."""

import torch
import torch.nn.functional as F
from tools.coverage.sketches import Sketch, gate, sketch
from torch import Tensor


@sketch
def gate_by_expand_as(net: Sketch, x: Tensor) -> Tensor:
    return x * gate(net, x)[:, :, None, None].expand_as(x)


@sketch
def gate_by_view(net: Sketch, x: Tensor) -> Tensor:
    b, c, _, _ = x.size()
    y = F.adaptive_avg_pool2d(x, 1).view(b, c)
    return x * net.dense(y).sigmoid().view(b, c, 1, 1)


@sketch
def gate_by_view_as(_: Sketch, x: Tensor) -> Tensor:
    return x * x.flatten(2).softmax(-1).view_as(x)


@sketch
def gate_by_reshape_as(_: Sketch, x: Tensor) -> Tensor:
    return x * x.mean((2, 3), keepdim=True).expand(-1, -1, *x.shape[2:]).reshape_as(x)


@sketch
def gate_repeated(net: Sketch, x: Tensor) -> Tensor:
    return x * gate(net, x)[:, :, None, None].repeat(1, 1, x.shape[2], x.shape[3])


@sketch
def gate_broadcast_tensors(net: Sketch, x: Tensor) -> Tensor:
    weights, maps = torch.broadcast_tensors(  # type: ignore[no-untyped-call]
        gate(net, x)[:, :, None, None], x
    )
    product: Tensor = weights * maps
    return product


@sketch
def gate_eca(net: Sketch, x: Tensor) -> Tensor:
    y = x.mean((2, 3), keepdim=True)
    y = net.eca(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
    return x * y.sigmoid().expand_as(x)


@sketch
def gate_eca_by_view(net: Sketch, x: Tensor) -> Tensor:
    y = net.eca(x.mean((2, 3)).view(x.shape[0], 1, -1))
    return x * y.sigmoid().view(x.shape[0], -1, 1, 1)


@sketch
def gate_hard(net: Sketch, x: Tensor) -> Tensor:
    return x * (F.relu6(net.pointwise(F.adaptive_avg_pool2d(x, 1)) + 3) / 6)


@sketch
def gate_gather_excite(net: Sketch, x: Tensor) -> Tensor:
    context = F.avg_pool2d(x, 5, 2, 2, count_include_pad=False)
    context = F.interpolate(net.pointwise(context), size=x.shape[2:], mode="nearest")
    return x * context.sigmoid()


@sketch
def gate_of_maxima(net: Sketch, x: Tensor) -> Tensor:
    pooled = torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)
    return x * net.dense(pooled[:, :8] + pooled[:, 8:]).sigmoid()[..., None, None]


@sketch
def gate_of_deviation(_: Sketch, x: Tensor) -> Tensor:
    return x * x.flatten(2).std(-1)[:, :, None, None]


@sketch
def gate_added(net: Sketch, x: Tensor) -> Tensor:
    return x + gate(net, x).unsqueeze(2).unsqueeze(3)


@sketch
def gate_film(net: Sketch, x: Tensor) -> Tensor:
    scale, shift = net.dense(x.mean((2, 3))).repeat(1, 2).chunk(2, 1)
    return torch.addcmul(shift[..., None, None], x, 1 + scale[..., None, None])


@sketch
def attention_cbam(net: Sketch, x: Tensor) -> Tensor:
    x = x * gate(net, x)[:, :, None, None]
    summary = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
    return x * net.attend(summary).sigmoid()


@sketch
def attention_cbam_stacked(net: Sketch, x: Tensor) -> Tensor:
    summary = torch.stack([x.mean(1), x.amax(1)], dim=1)
    return x * net.attend(summary).sigmoid().expand_as(x)


@sketch
def attention_of_coordinates(net: Sketch, x: Tensor) -> Tensor:
    h, w = x.shape[2:]
    rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)
    mixed = F.relu(net.pointwise(torch.cat([rows, columns], 2)))
    by_row, by_column = torch.split(mixed, [h, w], 2)
    return x * by_row.sigmoid() * by_column.permute(0, 1, 3, 2).sigmoid()


@sketch
def attention_non_local(_: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    tokens = x.view(b, c, -1)
    weights = torch.bmm(tokens.transpose(1, 2), tokens).softmax(-1)
    return x + torch.bmm(tokens, weights.transpose(1, 2)).view(b, c, h, w)


@sketch
def attention_by_einsum(_: Sketch, x: Tensor) -> Tensor:
    tokens = x.flatten(2)
    weights = torch.einsum("bcn,bcm->bnm", tokens, tokens).softmax(-1)
    return x + torch.einsum("bnm,bcm->bcn", weights, tokens).view_as(x)


@sketch
def attention_scaled(_: Sketch, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    return mixed.transpose(1, 2).reshape(x.shape)


@sketch
def attention_in_windows(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    windows = x.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
    windows = net.dense(F.scaled_dot_product_attention(windows, windows, windows))
    windows = windows.view(b, h // 4, w // 4, 4, 4, c).permute(0, 5, 1, 3, 2, 4)
    return x + windows.reshape(b, c, h, w)


@sketch
def attention_split(net: Sketch, x: Tensor) -> Tensor:
    """ResNeSt's."""
    b, c, h, w = x.shape
    branches = torch.cat([net.conv(x), net.depthwise(x)], 1).view(b, 2, c, h, w)
    weights = net.dense(branches.sum(1).mean((2, 3))).repeat(1, 2).view(b, 2, c).softmax(1)
    return (branches * weights[..., None, None]).sum(1)


@sketch
def attention_selective_kernels(net: Sketch, x: Tensor) -> Tensor:
    branches = torch.stack([net.conv(x), net.depthwise(x)], dim=1)
    weights = net.dense(branches.sum(1).mean((-1, -2)))
    weights = torch.stack([weights, 1 - weights], dim=1).softmax(dim=1)
    return (branches * weights[..., None, None]).sum(dim=1)


@sketch
def attention_without_parameters(_: Sketch, x: Tensor) -> Tensor:
    """SimAM."""
    distance = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
    variance = distance.sum(dim=[2, 3], keepdim=True) / (x.shape[2] * x.shape[3] - 1)
    return x * torch.sigmoid(distance / (4 * (variance + 1e-4)) + 0.5)


@sketch
def attention_pooling_difference(_: Sketch, x: Tensor) -> Tensor:
    """PoolFormer's token mixer."""
    return x + F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) - x


@sketch
def norm_by_hand(_: Sketch, x: Tensor) -> Tensor:
    mean, var = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-6)


@sketch
def norm_channels_first(net: Sketch, x: Tensor) -> Tensor:
    """ConvNeXt's."""
    u = x.mean(1, keepdim=True)
    s = (x - u).pow(2).mean(1, keepdim=True)
    return net.scale[:, None, None] * ((x - u) / torch.sqrt(s + 1e-6))


@sketch
def norm_permuted(net: Sketch, x: Tensor) -> Tensor:
    return net.layer_norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@sketch
def norm_l2_clamped(_: Sketch, x: Tensor) -> Tensor:
    return x / x.pow(2).sum(1, keepdim=True).sqrt().clamp_min(1e-6)


@sketch
def norm_l2_functional(_: Sketch, x: Tensor) -> Tensor:
    return F.normalize(x, dim=1)


@sketch
def norm_l2_method(_: Sketch, x: Tensor) -> Tensor:
    length: Tensor = x.norm(p=2, dim=1, keepdim=True)
    return x / (length + 1e-3)


@sketch
def norm_l2_over_positions(_: Sketch, x: Tensor) -> Tensor:
    """ConvNeXt V2's response normalisation."""
    g: Tensor = torch.norm(x, p=2, dim=(2, 3), keepdim=True)
    return x * (g / (g.mean(dim=1, keepdim=True) + 1e-6)) + x


@sketch
def norm_rms(_: Sketch, x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-6)


@sketch
def norm_of_groups(net: Sketch, x: Tensor) -> Tensor:
    return net.group_norm(x)


@sketch
def norm_of_instances(_: Sketch, x: Tensor) -> Tensor:
    return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-3)


@sketch
def norm_local_response(_: Sketch, x: Tensor) -> Tensor:
    return F.local_response_norm(x, 5, alpha=1e-2)


@sketch
def norm_by_the_maximum(_: Sketch, x: Tensor) -> Tensor:
    return x / (x.abs().max() + 1e-3)


@sketch
def norm_local_contrast(_: Sketch, x: Tensor) -> Tensor:
    centred = x - F.avg_pool2d(x, 5, 1, 2)
    return centred / F.avg_pool2d(centred * centred, 5, 1, 2).sqrt().clamp(min=1e-2)


@sketch
def clamp_at_zero(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x).clamp(min=0)


@sketch
def clamp_between(net: Sketch, x: Tensor) -> Tensor:
    return torch.clamp(net.conv(x), -0.5, 0.5)


@sketch
def clamp_min_at_zero(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x).clamp_min(0)


@sketch
def clamp_max_alone(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x).clamp_max(0.5)


@sketch
def clamp_by_a_map(net: Sketch, x: Tensor) -> Tensor:
    return torch.clamp(net.conv(x), min=torch.roll(x, 3, 2) - 1)


@sketch
def rectified_by_maximum(net: Sketch, x: Tensor) -> Tensor:
    return torch.maximum(net.conv(x), torch.zeros_like(x))


@sketch
def rectified_by_mask(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return x * (x > 0)


@sketch
def rectified_by_where(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return torch.where(x > 0, x, 0.1 * x)


@sketch
def rectified_twice(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return torch.cat([F.relu(x), F.relu(-x)], 1)[:, ::2]


@sketch
def swish_by_hand(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return x * torch.sigmoid(x)


@sketch
def swish_in_place(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return x.mul_(x.sigmoid())


@sketch
def gelu_by_hand(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * torch.pow(x, 3))))


@sketch
def maxout(net: Sketch, x: Tensor) -> Tensor:
    b, _, h, w = x.shape
    return net.widen(x).view(b, 8, 4, h, w).max(dim=2)[0]


@sketch
def gated_linear(net: Sketch, x: Tensor) -> Tensor:
    return F.glu(torch.cat([net.conv(x), x], 1), dim=1)


@sketch
def prelu_of_channels(net: Sketch, x: Tensor) -> Tensor:
    return F.prelu(net.conv(x), net.scale * 0.2)
