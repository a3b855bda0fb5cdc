"""AlexNet as the Berkeley Vision and Learning Center trained it (Krizhevsky et al. 2012).

Unlike torchvision's AlexNet it has filters in two groups, local response norms, other widths, no
padding before the first layer, and an input of 227 pixels. CaffeNet is the same with pools before
norms.
"""

from torch import nn

from retroscope.zoo.caffe_vgg import Shapes, add_head

KERNEL_SIDES = (11, 5, 3, 3, 3)
_STRIDES = ((4, 0), (1, 2), (1, 1), (1, 1), (1, 1))
"""Stride and padding of each convolution."""
_NORM_AFTER = (1, 2)
_POOL_AFTER = (1, 2, 5)

PUBLISHED_SHAPES: Shapes = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
"""Shapes of the published weights; filters take only the channels of their group."""


def alexnet(shapes: Shapes, *, pool_first: bool = False) -> nn.Sequential:
    """The network in the widths and groups that the shapes of its weights imply.

    >>> alexnet(PUBLISHED_SHAPES).conv2.groups
    2
    """
    net = nn.Sequential()
    convs = [shape for shape in shapes.values() if len(shape) == 4]
    channels = convs[0][1]
    order = (("pool", _POOL_AFTER), ("norm", _NORM_AFTER))
    for number, (outputs, inputs, kernel, _) in enumerate(convs, 1):
        stride, padding = _STRIDES[number - 1]
        groups = channels // inputs
        conv = nn.Conv2d(channels, outputs, kernel, stride, padding, groups=groups)
        net.add_module(f"conv{number}", conv)
        net.add_module(f"relu{number}", nn.ReLU(inplace=True))
        for kind, after in order if pool_first else order[::-1]:
            if number in after:
                net.add_module(f"{kind}{number}", _pool() if kind == "pool" else _norm())
        channels = outputs
    add_head(net, [shape for shape in shapes.values() if len(shape) == 2])
    return net


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def input_side(side: int) -> int:
    """The input side for which `fc6` takes maps of this side, with no partial pooling window.

    >>> input_side(6)
    227
    """
    for _pool_number in _POOL_AFTER:
        side = 2 * (side - 1) + 3
    return 4 * (side - 1) + 11
