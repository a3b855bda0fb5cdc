"""AlexNet as the Berkeley Vision and Learning Center trained it (Krizhevsky et al. 2012).

Not torchvision's: its filters come in two groups, it has local response norms, other widths, no
padding before its first layer, and takes 227 pixels. CaffeNet is the same, but pools first.
"""

from torch import nn

from retroscope.zoo.caffe_vgg import Shapes, add_head

KERNELS = (11, 5, 3, 3, 3)
_STEPS = ((4, 0), (1, 2), (1, 1), (1, 1), (1, 1))
"""The stride and the padding of each convolution."""
_NORMED = (1, 2)
_POOLED = (1, 2, 5)

FULL_SIZE: Shapes = {
    "conv1": (96, 3, 11, 11),
    "conv2": (256, 48, 5, 5),
    "conv3": (384, 256, 3, 3),
    "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3),
    "fc6": (4096, 9216),
    "fc7": (4096, 4096),
    "fc8": (1000, 4096),
}
"""The shapes of the weights as published: filters take the channels of their group only."""


def alexnet(shapes: Shapes, *, pool_first: bool = False) -> nn.Sequential:
    """The network, as wide as its weights are; their shapes tell the groups.

    >>> alexnet(FULL_SIZE).conv2.groups
    2
    """
    net = nn.Sequential()
    convs = [shape for shape in shapes.values() if len(shape) == 4]
    before = convs[0][1]
    order = (("pool", _POOLED), ("norm", _NORMED))
    for number, (outputs, inputs, kernel, _) in enumerate(convs, 1):
        stride, padding = _STEPS[number - 1]
        groups = before // inputs
        conv = nn.Conv2d(before, outputs, kernel, stride, padding, groups=groups)
        net.add_module(f"conv{number}", conv)
        net.add_module(f"relu{number}", nn.ReLU(inplace=True))
        for kind, after in order if pool_first else order[::-1]:
            if number in after:
                net.add_module(f"{kind}{number}", _pool() if kind == "pool" else _norm())
        before = outputs
    add_head(net, [shape for shape in shapes.values() if len(shape) == 2])
    return net


def _norm() -> nn.Module:
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1)


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def input_side(side: int) -> int:
    """The size of pictures that gives maps of this size to `fc6`, every window full.

    >>> input_side(6)
    227
    """
    for _pool_after in _POOLED:
        side = 2 * (side - 1) + 3
    return 4 * (side - 1) + 11
