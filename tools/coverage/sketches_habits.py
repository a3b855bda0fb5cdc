"""Sketches of habits: coordinates, state, early exits, groups as batches, rectifiers."""

import torch
import torch.nn.functional as F
from tools.coverage.sketches import Sketch, gate, sketch
from torch import Tensor
from torch.nn.functional import relu as imported_relu


@sketch
def coordinates_appended(net: Sketch, x: Tensor) -> Tensor:
    """CoordConv's."""
    y = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)[:, None].expand(1, 1, *x.shape[2:])
    return net.conv(torch.cat([x[:, :7], y], 1))


@sketch
def coordinates_on_a_grid(net: Sketch, x: Tensor) -> Tensor:
    rows, columns = torch.meshgrid(
        torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij"
    )
    return net.conv(x + 0.01 * (rows + columns).to(x.dtype))


@sketch
def coordinates_relative_to_the_size(net: Sketch, x: Tensor) -> Tensor:
    steps = torch.arange(x.shape[3], dtype=x.dtype) / x.shape[3]
    return net.conv(x * (1 + steps.sin()))


@sketch
def positions_embedded(net: Sketch, x: Tensor) -> Tensor:
    table = net.conv.weight.reshape(1, 8, 8, 9)
    return net.conv(x + F.interpolate(table, size=x.shape[2:], mode="bicubic"))


@sketch
def positions_rotated(net: Sketch, x: Tensor) -> Tensor:
    """Rotary embedding of rows."""
    angles = torch.arange(x.shape[2], dtype=x.dtype)[:, None] * 0.1
    first, second = x.chunk(2, dim=1)
    turned = [first * angles.cos() - second * angles.sin()]
    turned += [first * angles.sin() + second * angles.cos()]
    return net.conv(torch.cat(turned, 1))


@sketch
def scaled_by_the_size(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x * (x.shape[2] * x.shape[3]) ** -0.5)


@sketch
def scaled_by_the_number_of_values(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x / x.numel() * 1000)


@sketch
def padded_to_a_multiple(net: Sketch, x: Tensor) -> Tensor:
    below, right = -x.shape[2] % 7, -x.shape[3] % 7
    padded = net.conv(F.pad(x, (0, right, 0, below)))
    return padded[:, :, : x.shape[2], : x.shape[3]]


@sketch
def cropped_to_the_centre(net: Sketch, x: Tensor) -> Tensor:
    top, left = (x.shape[2] - 10) // 2, (x.shape[3] - 8) // 2
    return net.conv(x[:, :, top : top + 10, left : left + 8])


@sketch
def exit_by_confidence(net: Sketch, x: Tensor) -> Tensor:
    scores = net.head(x.mean((2, 3))).softmax(1)
    return net.conv(x) if scores.max() < 0.9 else x


@sketch
def experts_by_the_strongest(net: Sketch, x: Tensor) -> Tensor:
    experts = [net.conv, net.depthwise, net.pointwise]
    index = int(gate(net, x)[0, :3].argmax())
    return experts[index](x)


@sketch
def experts_weighted(net: Sketch, x: Tensor) -> Tensor:
    weights = gate(net, x)[:, :3].softmax(1)
    outputs = (net.conv(x), net.depthwise(x), net.pointwise(x))
    return sum(weights[:, n, None, None, None] * out for n, out in enumerate(outputs)) + x


@sketch
def experts_for_each_position(net: Sketch, x: Tensor) -> Tensor:
    choice = F.one_hot(x[:, :2].argmax(1), 2).permute(0, 3, 1, 2).to(x.dtype)
    return choice[:, :1] * net.conv(x) + choice[:, 1:] * net.depthwise(x)


@sketch
def kernels_mixed_by_the_image(net: Sketch, x: Tensor) -> Tensor:
    """Dynamic convolution."""
    share = gate(net, x)[0, 0]
    kernel = share * net.conv.weight + (1 - share) * net.last.weight
    return F.conv2d(x, kernel, padding=1)


@sketch
def state_of_the_last_image(net: Sketch, x: Tensor) -> Tensor:
    before = getattr(net, "remembered", None)
    net.remembered = x.detach()
    return net.conv(x if before is None or before.shape != x.shape else x + 0 * before)


@sketch
def groups_as_a_batch(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    folded = x.view(b * 2, c // 2, h, w)
    return F.conv2d(folded, net.conv.weight[:4, :4], padding=1).view(b, c, h, w)


@sketch
def dilation_by_space_to_batch(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    parts = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    parts = net.conv(parts.reshape(b * 4, c, h // 2, w // 2))
    parts = parts.view(b, 2, 2, c, h // 2, w // 2).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(b, c, h, w)


@sketch
def squeezed_without_a_dimension(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x.squeeze().unsqueeze(0))


@sketch
def centred_over_the_batch(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x - 0.5 * x.mean(0, keepdim=True))


@sketch
def norm_over_everything(net: Sketch, x: Tensor) -> Tensor:
    return net.conv((x - x.mean()) / (x.std() + 1e-3))


@sketch
def selected_by_a_mask(net: Sketch, x: Tensor) -> Tensor:
    bright = torch.masked_select(x, x > 0.5)
    return net.conv(x) * (1 + bright.sum() * 1e-3)


@sketch
def rows_of_nonzero_values(net: Sketch, x: Tensor) -> Tensor:
    count = torch.nonzero(x[:, 0] > 0.1).shape[0]
    return net.conv(x) / (1 + count)


@sketch
def quantile_of_the_map(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x.clamp(max=float(torch.quantile(x.detach(), 0.9))))


@sketch
def rectifier_imported(net: Sketch, x: Tensor) -> Tensor:
    return net.pointwise(imported_relu(net.conv(x)))


@sketch
def rectifier_in_place_before_a_skip(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    y = F.relu(x, inplace=True)
    return net.pointwise(y) + x


@sketch
def rectifier_before_a_skip(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return net.pointwise(torch.relu(net.norm(x))) + x


@sketch
def rectifier_six(net: Sketch, x: Tensor) -> Tensor:
    return F.hardtanh(F.relu6(net.conv(x) * 4), 0, 4)


@sketch
def rectifier_at_a_threshold(net: Sketch, x: Tensor) -> Tensor:
    return F.threshold(F.threshold(net.conv(x), 0, 0), 0.3, 0)


@sketch
def rectifier_in_place_clamp(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(x).clamp_(0).clamp_(max=1)


@sketch
def rectifier_between_zero_and_one(net: Sketch, x: Tensor) -> Tensor:
    return torch.clamp(net.conv(x), min=0.0, max=1.0)


@sketch
def rectifier_of_the_opposite(net: Sketch, x: Tensor) -> Tensor:
    return -F.relu(-net.conv(x))


@sketch
def rectifiers_smooth(net: Sketch, x: Tensor) -> Tensor:
    x = F.softplus(F.celu(net.conv(x)))
    return F.mish(F.gelu(net.pointwise(x), approximate="tanh"))


@sketch
def rectifier_leaky_by_maximum(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return torch.max(x, 0.2 * x)


@sketch
def rectifier_shifted(net: Sketch, x: Tensor) -> Tensor:
    return F.relu(net.conv(x) - 0.1, inplace=True) + 0.1


@sketch
def rectifier_of_half_the_channels(net: Sketch, x: Tensor) -> Tensor:
    x = net.conv(x)
    return torch.cat([F.relu(x[:, :4]), x[:, 4:].tanh()], 1)


@sketch
def pool_of_minima(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(-F.max_pool2d(-x, 3, 2, 1))


@sketch
def pool_of_means_with_a_divisor(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, divisor_override=5))


@sketch
def pool_without_its_padding(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(
        F.avg_pool2d(x, (3, 2), (2, 3), (1, 0), ceil_mode=True, count_include_pad=False)
    )


@sketch
def pool_and_stride_by_slicing(net: Sketch, x: Tensor) -> Tensor:
    return net.conv(F.max_pool2d(x, 2, 1)[:, :, ::2, ::2])


@sketch
def pool_of_everything_and_back(net: Sketch, x: Tensor) -> Tensor:
    pooled = F.adaptive_avg_pool2d(x, 1)
    return net.conv(torch.cat([x[:, :4], pooled[:, 4:].expand(-1, -1, *x.shape[2:])], 1))


@sketch
def columns_with_a_stride(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    columns = F.unfold(x, 3, dilation=2, padding=2, stride=2)
    return (net.conv.weight.flatten(1) @ columns).view(b, c, h // 2, w // 2)


@sketch
def convolution_of_a_short_clip(net: Sketch, x: Tensor) -> Tensor:
    clip = x.unsqueeze(2).expand(-1, -1, 3, -1, -1)
    kernel = net.conv.weight.unsqueeze(2).repeat(1, 1, 3, 1, 1)
    return F.conv3d(clip, kernel, padding=(0, 1, 1)).squeeze(2)


@sketch
def convolution_along_each_axis(net: Sketch, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    along_x = net.conv1d(x.permute(0, 2, 1, 3).flatten(0, 1)).view(b, h, c, w).permute(0, 2, 1, 3)
    along_y = net.conv1d(x.permute(0, 3, 1, 2).flatten(0, 1)).view(b, w, c, h).permute(0, 2, 3, 1)
    return along_x + along_y


@sketch
def tokens_after_a_norm(net: Sketch, x: Tensor) -> Tensor:
    """Torch's gradient of this batch norm is wrong where its input is contiguous."""
    x = net.norm(net.conv(x).contiguous())
    tokens = net.layer_norm(x.flatten(2).transpose(1, 2))
    return net.dense(tokens).transpose(1, 2).reshape(x.shape)


@sketch
def tokens_with_relative_bias(_: Sketch, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    count = tokens.shape[1]
    distance = (torch.arange(count)[:, None] - torch.arange(count)).abs().to(x.dtype)
    weights = (tokens @ tokens.transpose(1, 2) - 0.1 * distance).softmax(-1)
    return x + (weights @ tokens).transpose(1, 2).reshape(x.shape)
