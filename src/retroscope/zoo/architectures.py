"""The table of networks whose weight files are known, and how the shapes of weights tell which."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torchvision
from torch import nn

from retroscope.errors import ModelError
from retroscope.zoo.caffe_alexnet import FULL_SIZE, KERNELS, alexnet, input_side
from retroscope.zoo.caffe_googlenet import HEAD, HELPERS, full_size, googlenet, module_of
from retroscope.zoo.caffe_vgg import BLOCKS, Shapes, vgg
from retroscope.zoo.caffe_vgg import full_size as vgg_full_size
from retroscope.zoo.weights.fingerprint import OXFORD
from retroscope.zoo.weights.foreign import Foreign, flattened, in_channels_first

BVLC = (122.67891, 116.66877, 104.00699)
"""The mean colour of Berkeley's training set: red, green, blue."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Architecture:
    """A network that weight files are of.

    `size` is that of its pictures, for the side of the maps that its first fully connected layer
    takes; `mean` is taken from pixels of 0 to 255. In a chain every layer takes what the one before
    it gives; elsewhere layers are found by name.
    """

    name: str
    words: str
    fits: Callable[[Foreign], bool]
    build: Callable[[Shapes, Sequence[str]], nn.Module]
    published: Callable[[], Shapes]
    size: Callable[[int], int]
    mean: Colour
    resized: int = 256
    chain: bool = True


def _is_vgg(name: str, foreign: Foreign) -> bool:
    return _kernels(foreign) == (3,) * sum(BLOCKS[name])


def _is_caffenet(foreign: Foreign) -> bool:
    return _kernels(foreign) == KERNELS


def _is_alexnet(foreign: Foreign) -> bool:
    """Where the file tells of norms and pools, the norms stand first."""
    order = [kind for kind in foreign.kinds if kind in ("LRN", "Pooling")]
    return _is_caffenet(foreign) and order[:1] != ["Pooling"]


def _is_googlenet(foreign: Foreign) -> bool:
    return HEAD in map(_flat, foreign.layers)


def _kernels(foreign: Foreign) -> tuple[int, ...]:
    return tuple(
        one.weight.shape[2] if one.weight.shape[2] == one.weight.shape[3] else 0
        for one in foreign.layers.values()
        if one.is_conv
    )


def _vgg_of(name: str) -> Architecture:
    return Architecture(
        f"caffe/{name}",
        f"{name.upper()}'s: {sum(BLOCKS[name])} convolutions of 3x3",
        partial(_is_vgg, name),
        lambda shapes, kinds: vgg(name, shapes, ceil_mode=bool(kinds)),
        partial(vgg_full_size, name),
        size=lambda side: 32 * side or 224,
        mean=OXFORD,
    )


def _alexnet_of(name: str, words: str, *, pool_first: bool) -> Architecture:
    return Architecture(
        f"caffe/{name}",
        words,
        _is_caffenet if pool_first else _is_alexnet,
        lambda shapes, _: alexnet(shapes, pool_first=pool_first),
        lambda: FULL_SIZE,
        size=lambda side: input_side(side or 6),
        mean=BVLC,
    )


ARCHITECTURES = (
    _alexnet_of(
        "alexnet",
        "BVLC AlexNet's: 5 convolutions of 11x11, 5x5 and 3x3, some in groups",
        pool_first=False,
    ),
    _alexnet_of("caffenet", "CaffeNet's: AlexNet's, but pools stand before norms", pool_first=True),
    *map(_vgg_of, BLOCKS),
    Architecture(
        "caffe/googlenet",
        "BVLC GoogLeNet's: the inceptions of its names",
        _is_googlenet,
        lambda shapes, _: googlenet(shapes),
        full_size,
        size=lambda _: 224,
        mean=BVLC,
        chain=False,
    ),
)


def recognised(
    foreign: Foreign, among: Sequence[Architecture] = ARCHITECTURES
) -> tuple[Architecture, Foreign, int]:
    """The network that the layers are of, the layers as it takes them, and the size of pictures."""
    for known in among:
        if known.fits(foreign):
            said = f"its shapes are {known.words}"
            if not known.chain:
                return known, _by_path(foreign).having(said), known.size(0)
            check_chain(foreign)
            _, side = flattened(foreign)
            return known, in_channels_first(foreign.having(said)), known.size(side)
    raise ModelError(
        f"{foreign.path}: its {_summary(foreign)} are not those of "
        f"{' or '.join(known.name for known in among)}; a layer is missing, or it is another "
        "network, which arch names (--arch NAME or --arch file.py:factory)"
    )


def check_chain(foreign: Foreign) -> None:
    """Each layer takes what the one before it gives, all or, in groups, a part of it."""
    for (before, one), (name, after) in pairwise(foreign.layers.items()):
        given = after.inputs if one.is_conv and not after.is_conv else one.outputs
        if given % after.inputs or (after.inputs != given and not after.is_conv):
            raise ModelError(
                f"{foreign.path}: {name!r} takes {after.inputs} channels, but {before!r} before it "
                f"gives {given}; a layer is missing or has the wrong shape"
            )


def _by_path(foreign: Foreign) -> Foreign:
    """The layers that look back through the network has, by their places in it."""
    flat = {_flat(name): one for name, one in foreign.layers.items()}
    kept = {name: one for name, one in flat.items() if not name.startswith(HELPERS)}
    missing = [name for name in full_size() if name not in kept]
    odd = [name for name in kept if name not in full_size()]
    if missing or odd:
        what = f"has no layer {missing[0]!r}" if missing else f"has a layer {odd[0]!r} besides"
        raise ModelError(f"{foreign.path} {what}, unlike BVLC GoogLeNet")
    left = len(flat) - len(kept)
    said = (f"{left} layers that only helped it train are left out",) if left else ()
    return replace(foreign, layers=kept).having(*said)


def _flat(name: str) -> str:
    return name.replace("/", "_")


def _summary(foreign: Foreign) -> str:
    sides = Counter(f"{side}x{side}" if side else "oblong" for side in _kernels(foreign))
    dense = sum(not one.is_conv for one in foreign.layers.values())
    convs = [f"{count} convolutions of {side}" for side, count in sides.items()]
    return ", ".join([*convs, f"{dense} fully connected layers"])


def places(known: Architecture, foreign: Foreign, module: nn.Module) -> dict[str, str]:
    """The layer of each module that has weights."""
    if not known.chain:
        return {module_of(name): name for name in foreign.layers}
    return dict(zip(weighty(module), foreign.layers, strict=True))


def weighty(module: nn.Module) -> list[str]:
    """The convolutions and fully connected layers of a network, in the order of its parts."""
    return [
        path for path, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)
    ]


def imagenet() -> tuple[str, ...]:
    """The names of ImageNet's thousand classes, in the order that everybody uses."""
    return tuple(torchvision.models.get_model_weights("alexnet").DEFAULT.meta["categories"])
