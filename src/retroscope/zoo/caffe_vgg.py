"""Oxford's VGG networks with the layer names of Caffe and Keras, without batch norm.

Simonyan & Zisserman 2014. They differ from torchvision's only in preprocessing and names.
"""

from collections.abc import Iterator, Mapping, Sequence

from torch import nn

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of the weights of every layer, in running order."""

BLOCKS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""Convolutions before each pool."""

WIDTHS = (64, 128, 256, 512, 512)


def vgg(name: str, shapes: Shapes, *, ceil_mode: bool = False) -> nn.Sequential:
    """The network of this name in the widths of these shapes.

    `ceil_mode`: pools include partial windows, as in Caffe.

    >>> [name for name, _ in vgg("vgg11", published_vgg_shapes("vgg11")).named_children()][:3]
    ['conv1_1', 'relu1_1', 'pool1']
    """
    convs = iter([shape for shape in shapes.values() if len(shape) == 4])
    net = nn.Sequential()
    for block, count in enumerate(BLOCKS[name], 1):
        for index in range(1, count + 1):
            outputs, inputs, *_ = next(convs)
            net.add_module(f"conv{block}_{index}", nn.Conv2d(inputs, outputs, 3, padding=1))
            net.add_module(f"relu{block}_{index}", nn.ReLU(inplace=True))
        net.add_module(f"pool{block}", nn.MaxPool2d(2, ceil_mode=ceil_mode))
    add_head(net, [shape for shape in shapes.values() if len(shape) == 2])
    return net


def add_head(net: nn.Sequential, dense: Sequence[tuple[int, ...]]) -> None:
    """Adds fully connected layers from `fc6` on, with ReLU and dropout after all but the last."""
    if dense:
        net.add_module("flatten", nn.Flatten())
    for number, (outputs, inputs) in enumerate(dense, 6):
        net.add_module(f"fc{number}", nn.Linear(inputs, outputs))
        if number < len(dense) + 5:
            net.add_module(f"relu{number}", nn.ReLU(inplace=True))
            net.add_module(f"drop{number}", nn.Dropout())


def published_vgg_shapes(name: str) -> Shapes:
    """The shapes of the published weights."""
    return dict(_iterate_shapes(name))


def _iterate_shapes(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    inputs = 3
    for block, (count, width) in enumerate(zip(BLOCKS[name], WIDTHS, strict=True), 1):
        for index in range(1, count + 1):
            yield f"conv{block}_{index}", (width, inputs, 3, 3)
            inputs = width
    yield from {"fc6": (4096, 25088), "fc7": (4096, 4096), "fc8": (1000, 4096)}.items()
