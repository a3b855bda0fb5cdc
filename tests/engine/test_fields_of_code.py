import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import Permute, SqueezeExcitation, deform_conv2d

from retroscope.engine.forward import run_forward
from retroscope.geometry import Box
from retroscope.network import Network
from retroscope.results.layers import Layer
from tests.conftest import built, numbers

# Fields of code as people write it, against what perturbing each pixel finds


class Code(nn.Module):
    """Two 3x3 convolutions and a test's own code between them."""

    def __init__(self, code: "Forward") -> None:
        super().__init__()
        self.code = code
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.kept: dict[str, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.code(self, x)


Forward = Callable[[Code, torch.Tensor], torch.Tensor]
SIZE = (12, 10)


def network(code: Forward | nn.Module) -> Network:
    module = code if isinstance(code, nn.Module) else built(lambda: Code(code))
    return Network(module.eval().double(), input_size=SIZE)


def influence(net: Network) -> dict[int, torch.Tensor]:
    """For each layer, which pixels (y, x) change which units (y, x) when they are changed a lot."""
    picture = numbers(1, 3, *SIZE)
    before = _outputs(net, picture)
    found = {
        index: torch.zeros(*SIZE, *one.shape[2:], dtype=torch.bool) for index, one in before.items()
    }
    for y, x, amount in product(range(SIZE[0]), range(SIZE[1]), (100, -100)):
        other = picture.clone()
        other[:, :, y, x] += amount
        for index, after in _outputs(net, other).items():
            found[index][y, x] |= ((after - before[index])[0].abs() > 1e-9).any(0)
    return found


def _outputs(net: Network, picture: torch.Tensor) -> dict[int, torch.Tensor]:
    outputs: dict[int, torch.Tensor] = {}

    def keep(index: int, output: torch.Tensor) -> None:
        outputs[index] = output.clone()

    with torch.no_grad():
        seen = {one.index: partial(keep, one.index) for one in net.layers}
        run_forward(net.module, net.survey(), picture.clone(), seen)
    return outputs


def box_of(pixels: torch.Tensor) -> Box | None:
    """The smallest box around some pixels."""
    ys, xs = pixels.nonzero().T
    return Box.around(
        Box(y, x, y + 1, x + 1) for y, x in zip(ys.tolist(), xs.tolist(), strict=True)
    )


def units(layer: Layer) -> Iterator[tuple[int, int]]:
    return product(range(layer.size[0]), range(layer.size[1]))


def check_never_too_small(net: Network) -> dict[int, torch.Tensor]:
    found = influence(net)
    for layer in net.layers:
        if layer.field.global_context:
            continue
        for y, x in units(layer):
            box, seen = layer.field.box(y, x), found[layer.index][:, :, y, x]
            inside = torch.zeros(SIZE, dtype=torch.bool)
            clipped = box.clip(*SIZE)
            inside[clipped.top : clipped.bottom, clipped.left : clipped.right] = True
            assert not (seen & ~inside).any(), f"{layer.name} at {y},{x} sees more than {box}"
    return found


def space_to_depth(x: torch.Tensor) -> torch.Tensor:
    """As TResNet has it: blocks of 2x2 pixels become channels."""
    n, c, h, w = x.shape
    blocks = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, 4 * c, h // 2, w // 2)


def depth_to_space(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    blocks = x.view(n, 2, 2, c // 4, h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // 4, 2 * h, 2 * w)


def moved_by_a_write(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    canvas = x.new_zeros(1, 4, 14, 11)
    canvas[:, :, 2:, 1:] = x
    return F.relu(canvas)[:, :, :12, :10] + x


def image_by_image(net: Code, x: torch.Tensor) -> torch.Tensor:
    return F.relu(torch.stack([F.relu(maps) for maps in net.a(x)]))


def by_selection(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    return F.relu(torch.where(x > x.narrow(1, 0, 1), x, -x) * (x.select(1, 2)[:, None] <= 0.1))


def spatial_attention(net: Code, x: torch.Tensor) -> torch.Tensor:
    """As CBAM has it: a map of weights from the mean and the maximum over the channels."""
    x = net.a(x)
    summary = torch.cat([x.mean(1, keepdim=True), torch.max(x, 1, keepdim=True)[0]], 1)
    return x * torch.sigmoid(F.conv2d(summary, numbers(1, 2, 5, 5), padding=2))


def coordinates(net: Code, x: torch.Tensor) -> torch.Tensor:
    """As CoordConv has it: two more channels say where a pixel lies."""
    y = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)[:, None].expand(1, 1, *x.shape[2:])
    mixed: torch.Tensor = net.b(torch.cat([net.a(x)[:, :3], y], 1))
    return mixed


def shuffled(net: Code, x: torch.Tensor) -> torch.Tensor:
    maps = net.a(x).view(1, 2, 2, *SIZE).transpose(1, 2).contiguous()
    mixed: torch.Tensor = net.b(maps.view(1, 4, *SIZE))
    return mixed


def in_place(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x).mul_(2)
    x += 1
    x -= net.b(x)
    return F.relu_(x)


LOCAL: dict[str, Forward | nn.Module] = {
    "dilation": nn.Sequential(
        nn.Conv2d(3, 2, 2, dilation=3, padding=1), nn.Conv2d(2, 2, (2, 3), (2, 1), dilation=(1, 2))
    ),
    "padding of its own on each side": lambda net, x: net.b(F.pad(net.a(x), (0, 2, 1, 0))),
    "padding as a layer": nn.Sequential(nn.ZeroPad2d((2, 0, 1, 3)), nn.Conv2d(3, 2, 3)),
    "padding that crops": lambda net, x: net.b(F.pad(net.a(x), (-1, -2, -2, 1))),
    "slices with steps": lambda net, x: net.b(net.a(x)[:, :, 1::2, ::3]),
    "slices from the end": lambda net, x: net.b(net.a(x)[..., 1:-2, 2:]),
    "same padding of even kernels": nn.Conv2d(3, 2, (2, 4), padding="same"),
    "a pool over the end": lambda net, x: F.max_pool2d(net.a(x), 3, 2, ceil_mode=True),
    "a dilated pool": lambda net, x: F.max_pool2d(net.a(x), (2, 3), (2, 1), dilation=(3, 1)),
    "a padded mean pool": lambda net, x: F.avg_pool2d(net.a(x), 3, 2, 1),
    "even adaptive windows": lambda net, x: F.adaptive_max_pool2d(net.a(x), (3, 5)),
    "channel shuffle": shuffled,
    "spatial attention": spatial_attention,
    "coordinates": coordinates,
    "a reused module": lambda net, x: net.b(net.b(net.a(x))),
    "operations in place": in_place,
    "a skip": lambda net, x: F.relu(net.b(net.a(x)) + net.a(x)),
    "a skip that slices": lambda net, x: F.relu(net.a(x)[:, :, 2:] - net.a(x)[:, :, :-2]),
    "dense concatenation": lambda net, x: torch.cat([x, net.b(net.a(x))], 1),
    "a turned map": lambda net, x: F.relu(net.a(x).transpose(2, 3)),
    "channels last": lambda net, x: F.linear(
        F.layer_norm(net.a(x).permute(0, 2, 3, 1), (4,)), numbers(5, 4)
    ),
    "a picture without its batch": lambda net, x: F.relu(F.max_pool2d(net.a(x)[0], 2)[None]),
    "softmax over channels": lambda net, x: nn.Softmax2d()(net.a(x)),
    "reflected padding": nn.Conv2d(3, 2, 3, padding=1, padding_mode="reflect"),
    "replicated padding": nn.Conv2d(3, 2, 5, padding=2, padding_mode="replicate"),
    "padding with a number": lambda net, x: net.b(F.pad(net.a(x), (1, 0, 2, 1), value=3.0)),
    "padding of channels": lambda net, x: net.b(F.pad(net.a(x)[:, :3], (0, 0, 0, 0, 1, 0))),
    "nearest upsampling": nn.Sequential(nn.Upsample(scale_factor=2), nn.ReLU()),
    "an identical size": lambda net, x: net.b(F.interpolate(net.a(x), SIZE, mode="bilinear")),
    "half the size": lambda net, x: F.relu(F.interpolate(net.a(x), (6, 5), mode="bicubic")),
    "a factor that keeps the size": lambda net, x: F.relu(
        F.interpolate(net.a(x), scale_factor=1.05, mode="bicubic")
    ),
    "channels in another order": lambda net, x: F.relu(
        net.a(x)[:, [1, 0, 3]][:, torch.tensor([2, 1])]
    ),
    "pixel unshuffle": lambda net, x: F.relu(F.pixel_unshuffle(net.a(x), 2)),
    "space to depth by views": lambda net, x: F.relu(space_to_depth(net.a(x))),
    "a loop over the batch": image_by_image,
    "copying": lambda _, x: F.relu(torch.empty_like(x).copy_(x)),
    "writing into a larger map": moved_by_a_write,
    "a stack of maps": lambda net, x: torch.stack([net.a(x), x[:, [0, 1, 2, 0]]], -1).mean(-1),
    "the length of channels": lambda net, x: net.b(net.a(x) / net.a(x).norm(dim=1, keepdim=True)),
    "normalised channels": lambda net, x: net.b(F.normalize(net.a(x), dim=1)),
    "the similarity of channels": lambda net, x: F.relu(
        F.cosine_similarity(net.a(x), net.a(x)[:, [1, 0, 3, 2]], dim=1)[:, None]
    ),
    "comparisons and selections": by_selection,
    "einsum over channels": lambda net, x: F.relu(
        torch.einsum("nchw,oc->nohw", net.a(x), numbers(5, 4))
    ),
    "gathered channels": lambda net, x: F.relu(
        net.a(x).index_select(1, torch.tensor([2, 0])).unbind(1)[0][:, None]
    ),
    "a turned map without channels": lambda net, x: F.relu(net.a(x).mean(1).transpose(1, 2)),
    "another's device": lambda net, x: F.relu(net.a(x) * (torch.ones(1) * 2).to(x)),
    "arithmetic with numbers": lambda net, x: torch.sigmoid(1 - net.a(x) / 200) * 2,
    "branches of other strides that meet": lambda net, x: F.relu(
        net.a(x)[:, :, ::2, ::2] + F.avg_pool2d(net.a(x), 2)
    ),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("case", LOCAL)
def test_a_field_is_what_perturbing_pixels_finds(case: str) -> None:
    net = network(LOCAL[case])
    found = check_never_too_small(net)
    for layer in net.layers:
        assert not layer.field.whole
        assert not layer.field.global_context
        assert not layer.note
        y, x = layer.size[0] // 2, layer.size[1] // 2
        seen = box_of(found[layer.index][:, :, y, x])
        assert seen == layer.field.box(y, x).clip(*SIZE), layer.name


UPSAMPLED: dict[str, Forward | nn.Module] = {
    "of maps with a stride": lambda net, x: net.b(F.interpolate(net.a(x)[..., ::2, ::2], SIZE)),
    "bilinear": lambda net, x: net.b(
        F.interpolate(F.max_pool2d(net.a(x), 2), scale_factor=2, mode="bilinear")
    ),
    "aligned corners": lambda net, x: F.relu(
        F.interpolate(F.max_pool2d(net.a(x), 2), (9, 8), mode="bilinear", align_corners=True)
    ),
    "bicubic": lambda net, x: F.relu(F.interpolate(net.a(x), scale_factor=0.7, mode="bicubic")),
    "smooth": lambda net, x: F.relu(
        F.interpolate(net.a(x), (5, 4), mode="bilinear", antialias=True)
    ),
    "smooth, with aligned corners": lambda net, x: F.relu(
        F.interpolate(net.a(x), (5, 4), mode="bilinear", align_corners=True, antialias=True)
    ),
    "by area": lambda net, x: F.relu(F.interpolate(net.a(x), (7, 6), mode="area")),
    "nearest, exactly": lambda _, x: F.relu(F.interpolate(x, (17, 7), mode="nearest-exact")),
    "a factor that is not whole": lambda _, x: F.relu(F.interpolate(x, scale_factor=1.3)),
    "transposed convolution": lambda net, x: net.b(
        F.conv_transpose2d(F.max_pool2d(net.a(x), 2), numbers(4, 4, 3, 3), stride=2, padding=1)
    ),
    "dilated transposed convolution": lambda net, x: F.relu(
        F.conv_transpose2d(
            net.a(x)[..., ::2, ::3], numbers(4, 2, 2, 3), None, (2, 3), (1, 0), (1, 0), 1, 2
        )
    ),
    "pixel shuffle": lambda net, x: F.relu(F.pixel_shuffle(net.a(x)[..., ::2, ::2], 2)),
    "depth to space": lambda net, x: F.relu(depth_to_space(space_to_depth(net.a(x)))),
    "uneven adaptive windows": lambda net, x: F.adaptive_avg_pool2d(net.a(x), 7),
    "repeated columns": lambda net, x: F.relu(net.a(x)[..., ::2].repeat_interleave(2, dim=3)),
    "wide reflected padding": lambda net, x: F.relu(F.pad(net.a(x), (4, 3, 2, 5), "reflect")),
}


@pytest.mark.parametrize("case", UPSAMPLED)
def test_a_field_whose_part_depends_on_the_position_is_bounded(case: str) -> None:
    """No unit sees more, some unit sees each end of it, and a note says that it is a bound."""
    net = network(UPSAMPLED[case])
    found = check_never_too_small(net)
    layer = net.layers[-1]
    assert not layer.field.whole
    assert not layer.field.global_context
    assert "at most" in layer.note
    touched = torch.zeros(6, dtype=torch.bool)
    for y, x in units(layer):
        if not found[layer.index][:, :, y, x].any():  # between the inputs of a transposed one
            continue
        box, seen = layer.field.box(y, x).clip(*SIZE), box_of(found[layer.index][:, :, y, x])
        ends = zip(vars(seen).values(), vars(box).values(), strict=True)
        touched |= torch.tensor([a == b for a, b in ends])
    assert touched.all()


GATED: dict[str, Forward | nn.Module] = {
    "group norm": lambda net, x: F.relu(F.group_norm(net.a(x), 2)),
    "instance norm": lambda net, x: F.relu(F.instance_norm(net.a(x))),
    "layer norm of the map": lambda net, x: F.layer_norm(net.a(x), (4, *SIZE)),
    "batch norm that keeps no statistics": nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)
    ),
    "squeeze and excitation": nn.Sequential(
        nn.Conv2d(3, 4, 3), SqueezeExcitation(4, 4, nn.Sigmoid)
    ),
    "one number for all": lambda net, x: net.a(x) * x.mean(),
    "a gate by addition": lambda net, x: net.a(x) + x.amax((2, 3), keepdim=True)[:, :1],
}


@pytest.mark.parametrize("case", GATED)
def test_a_gate_keeps_the_local_field_and_says_that_the_whole_picture_scales_it(case: str) -> None:
    net = network(GATED[case])
    found = check_never_too_small(net)
    last = net.layers[-1]
    assert last.field.global_context
    assert not last.field.whole
    assert last.field.y == net.layers[0].field.y
    assert found[last.index].any(0).all()
    assert found[last.index][0, 0, -1, -1]


EDGE = numbers(12, 12)
WHOLE: dict[str, tuple[str, Forward | nn.Module]] = {
    "circular padding": ("at most", nn.Conv2d(3, 2, 3, padding=1, padding_mode="circular")),
    "unpooling": (
        "max_unpool2d",
        lambda net, x: F.relu(
            F.max_unpool2d(*F.max_pool2d(net.a(x), 2, return_indices=True), [2, 2])
        ),
    ),
    "deformable convolution": (
        "deform_conv2d",
        lambda net, x: F.relu(deform_conv2d(net.a(x), numbers(1, 18, 10, 8), net.b.weight)),
    ),
    "a flip": ("^$", lambda net, x: F.relu(torch.flip(net.a(x), [2]) + net.a(x))),
    "running sums": ("^$", lambda net, x: F.relu(net.a(x).cumsum(2))),
    "rows in another order": ("^$", lambda net, x: F.relu(net.a(x)[:, :, [3, 1]])),
    "a roll": ("^$", lambda net, x: F.relu(net.a(x) + torch.roll(net.a(x), 5, 2))),
    "einsum": ("^$", lambda net, x: F.relu(torch.einsum("nchw,hg->ncgw", net.a(x), EDGE))),
    "a product with a matrix": ("^$", lambda net, x: F.relu(EDGE @ net.a(x))),
    "linear along the width": ("^$", lambda net, x: F.linear(net.a(x), numbers(10, 10))),
    "attention": ("^$", lambda net, x: F.relu(attention(net.a(x)))),
    "the mean of each row": (
        "^$",
        lambda net, x: F.relu(net.a(x) + net.a(x).mean(2, keepdim=True)),
    ),
    "pooling to one": ("^$", lambda net, x: F.relu(F.adaptive_avg_pool2d(net.a(x), 1))),
    "flattening": ("^$", lambda net, x: F.linear(net.a(x).flatten(1), numbers(5, 4 * 12 * 10))),
    "splitting in two halves": ("^$", lambda net, x: F.relu(net.a(x).chunk(2, dim=2)[1])),
    "the input's own convolution": ("^$", lambda net, x: F.relu(by_its_own_numbers(net, x))),
}


def attention(x: torch.Tensor) -> torch.Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
    return mixed.transpose(1, 2).reshape(x.shape)


def by_its_own_numbers(net: Code, x: torch.Tensor) -> torch.Tensor:
    """A linear layer whose weights are computed from the picture."""
    x = net.a(x).permute(0, 2, 3, 1)
    return F.linear(x, x.mean((1, 2)) * numbers(6, 4))


@pytest.mark.parametrize("case", WHOLE)
def test_what_may_read_anything_is_said_to_read_the_whole_picture(case: str) -> None:
    """And where nobody described the operation, a note names it."""
    note, code = WHOLE[case]
    net = network(code)
    check_never_too_small(net)
    assert net.layers[-1].field.whole
    assert re.search(note, net.layers[-1].note)


# Code on which a survey easily goes wrong


def shifted_into_itself(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    moved = x.clone()
    moved[:, :, 3:] = x[:, :, :-3]
    return F.relu(moved)


def written_into_a_buffer(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    buffer = torch.zeros(1, 4, *SIZE, dtype=x.dtype)
    buffer[:, :, 3:] = x[:, :, :-3]
    return F.relu(x + buffer)


def copied_into_a_part(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    buffer = torch.zeros(1, 4, *SIZE, dtype=x.dtype)
    buffer[:, :, 3:].copy_(x[:, :, :-3])
    return F.relu(x + buffer)


def changed_through_a_view(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    x[:, :2].add_(x.mean((2, 3), keepdim=True)[:, :2])
    return F.relu(x)


def changed_under_a_view(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    view = x[:, :2]
    x += torch.roll(x, 3, 2)
    return F.relu(view)


def written_out(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    total = x.clone()
    torch.add(x, torch.roll(x, 3, 2), out=total[:, :])
    return F.relu(total)


def written_out_in_two(net: Code, x: torch.Tensor) -> torch.Tensor:
    x = net.a(x)
    largest, where = torch.zeros(2, 1, *SIZE, dtype=x.dtype), torch.zeros(1, *SIZE).long()
    torch.max(torch.roll(x, 3, 2), 1, out=(largest[0], where))
    return F.relu(net.b(x) + largest[:1])


def write_where_the_image_says(net: Code, x: torch.Tensor) -> torch.Tensor:
    x, start = net.a(x), x[0, 0, :, 0].argmax() % 2
    x[:, :, start : start + 8] = 2 * x[:, :, 1:9]
    return F.relu(x)


def kept_from_the_first_run(net: Code, x: torch.Tensor) -> torch.Tensor:
    """As LeViT and TinyViT keep the biases of their attention."""
    if not net.kept:
        net.kept["scale"] = net.b.weight.detach()[:, 0, 0, 0] * 2
    return F.relu(net.a(x) * net.kept["scale"][None, :, None, None])


def unseen(x: torch.Tensor) -> torch.Tensor:
    """What an extension of somebody's computes without torch's knowledge."""
    return torch.from_numpy(np.flip(x.detach().numpy(), 2).copy())


PITFALLS: dict[str, Forward] = {
    "writing to slices": shifted_into_itself,
    "writing to slices of a buffer": written_into_a_buffer,
    "copying into a slice": copied_into_a_part,
    "a picture turned in place": lambda net, x: F.relu(net.a(x.transpose_(2, 3))),
    "in place on a view": changed_through_a_view,
    "in place under a view": changed_under_a_view,
    "out=": written_out,
    "out= of two": written_out_in_two,
    "numpy": lambda _, x: F.relu(x + unseen(x)),
    "numpy alone": lambda _, x: F.relu(unseen(x)),
    "a number": lambda net, x: F.relu(net.a(x) * x.mean().item()),
    "a float": lambda net, x: F.relu(net.a(x) / float(x.abs().max())),
    "a list": lambda net, x: F.relu(net.a(x) + torch.tensor(x.mean((2, 3)).tolist()[0][0])),
    "channels as rows": lambda net, x: F.conv2d(net.a(x).permute(0, 2, 1, 3), numbers(5, 12, 3, 3)),
    "a wide kernel on a turned map": lambda net, x: F.conv2d(
        net.a(x).transpose(2, 3), numbers(2, 4, 1, 5)
    ),
    "a pool of channels": lambda net, x: F.max_pool2d(net.a(x).permute(0, 2, 3, 1), 2),
    "a response norm of rows": lambda net, x: F.local_response_norm(
        net.a(x).permute(0, 2, 3, 1), 3, alpha=1
    ),
    "weights from the picture": lambda net, x: F.conv2d(
        net.a(x), net.b.weight * x.mean((2, 3))[:, :1, None, None]
    ),
    "a template from the picture": lambda _, x: F.conv2d(numbers(1, 3, 9, 9), x[:, :, :3, 3:6]),
    "axis for dim": lambda net, x: net.a(x).permute(0, 2, 3, 1).softmax(axis=1),
    "keepdims for keepdim": lambda net, x: F.relu(net.a(x).mean(1, keepdims=True)),
    "dim before input": lambda net, x: torch.softmax(dim=1, input=net.a(x).permute(0, 2, 3, 1)),
    "True for a new dimension": lambda net, x: F.relu(net.a(x)[True][0]),
    "maps without channels": lambda net, x: F.relu(net.a(x).mean(1)),
    "no dimensions for all": lambda net, x: F.relu(net.a(x) + x.sum(dim=())),
    "softmax without a dimension": lambda net, x: F.softmax(net.a(x), dim=None),
    "a constant of the first run": kept_from_the_first_run,
    "a gate of another's shape": lambda net, x: net.b(
        net.a(x) * x.mean((2, 3)).sigmoid()[:, :1, None, None].expand_as(net.a(x))
    ),
    "a map of another's shape": lambda net, x: net.b(
        net.a(x) * net.a(x).flatten(2).softmax(-1).view_as(net.a(x))
    ),
    "a map reshaped as another": lambda net, x: net.b(
        net.a(x) * net.a(x).flatten(2).softmax(-1).reshape_as(net.a(x))
    ),
    "rows from where the image says": lambda net, x: F.relu(
        net.a(x)[:, :, x[0, 0, :, 0].argmax() % 2 :][:, :, :8]
    ),
    "a write where the image says": write_where_the_image_says,
    "a single position in the dimension of the batch": lambda net, x: F.relu(
        F.adaptive_avg_pool2d(net.a(x), 1).permute(2, 1, 0, 3)
    ),
    "a map of another's type": lambda net, x: net.b(
        net.a(x) * torch.roll(net.a(x), 3, 2).type_as(net.a(x))
    ),
    "the attribute data": lambda net, x: F.relu(net.a(x).data),
    "the attribute T": lambda net, x: F.relu(net.a(x)[0, 0].T[None, None]),
}


@pytest.mark.filterwarnings("ignore:Implicit dimension choice for softmax")
@pytest.mark.parametrize("case", PITFALLS)
def test_no_code_makes_a_field_too_small_or_the_survey_fail(case: str) -> None:
    net = network(PITFALLS[case])
    check_never_too_small(net)
    assert net.layers[-1].kind in ("relu", "conv", "pool", "norm", "softmax")


def test_channels_stay_channels_where_it_is_not_known_what_lies_along_them() -> None:
    """Swin v2 normalises windows of tokens before it adds them to the map."""
    turned = Permute([0, 2, 3, 1])
    net = network(built(lambda: nn.Sequential(nn.Conv2d(3, 4, 3), turned, Roll(), nn.LayerNorm(4))))
    assert net.layers[-1].channels == 4
    assert net.layers[-1].size == (10, 8)


class Roll(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.roll(x, (1, 1), (1, 2))
