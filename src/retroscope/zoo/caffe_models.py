"""Caffe's networks: matched with weight files by the shapes of their weights, or opened by name.

Opened by name they have no trained weights: those come from a weight file.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

from torch import nn

from retroscope.errors import ModelError, choose
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.caffe_alexnet import KERNEL_SIDES, PUBLISHED_SHAPES, alexnet, input_side
from retroscope.zoo.caffe_googlenet import (
    AUXILIARY_CLASSIFIERS,
    CLASSIFIER_LAYER,
    googlenet,
    module_path,
    published_googlenet_shapes,
)
from retroscope.zoo.caffe_vgg import BLOCKS, Shapes, published_vgg_shapes, vgg
from retroscope.zoo.source_conventions import (
    IMAGENET_CLASSES,
    byte_std,
    imagenet_labels,
    scale_mean,
)
from retroscope.zoo.weights.imported_weights import (
    ImportedWeights,
    convert_to_channels_first,
    first_dense_layer,
)
from retroscope.zoo.weights.oxford_fingerprint import OXFORD_MEAN

BVLC_MEAN = (122.67891, 116.66877, 104.00699)
"""The mean colour of Berkeley's training set: red, green, blue."""

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Architecture:
    """An architecture that weight files are matched with.

    `input_side` gives the side of the input from the side of the maps that the first fully
    connected layer takes (0: as published). `mean` is subtracted from pixels of 0-255. `shorter` is
    the length to which the shorter side of an image is resized for the published input. In a chain
    every layer takes the output of the one before it; in other networks layers are matched by name.
    """

    name: str
    description: str
    matches: Callable[[ImportedWeights], bool]
    build: Callable[[Shapes, Sequence[str]], nn.Module]
    published_shapes: Callable[[], Shapes]
    input_side: Callable[[int], int]
    mean: Colour
    shorter: int = 256
    is_chain: bool = True


def _is_vgg(name: str, weights: ImportedWeights) -> bool:
    return _kernel_sides(weights) == (3,) * sum(BLOCKS[name])


def _is_caffenet(weights: ImportedWeights) -> bool:
    return _kernel_sides(weights) == KERNEL_SIDES


def _is_alexnet(weights: ImportedWeights) -> bool:
    """CaffeNet has the same shapes; only files that record operations distinguish them."""
    order = [name for name in weights.operations if name in ("LRN", "Pooling")]
    return _is_caffenet(weights) and order[:1] != ["Pooling"]


def _is_googlenet(weights: ImportedWeights) -> bool:
    return CLASSIFIER_LAYER in map(_replace_slashes, weights.layers)


def _kernel_sides(weights: ImportedWeights) -> tuple[int, ...]:
    """The side of every square kernel, 0 for a kernel that is not square."""
    shapes = [layer.weight.shape for layer in weights.layers.values() if layer.is_conv]
    return tuple(height if height == width else 0 for _, _, height, width in shapes)


def _vgg_row(name: str) -> Architecture:
    return Architecture(
        f"caffe/{name}",
        f"{name.upper()}: {sum(BLOCKS[name])} convolutions of 3x3",
        partial(_is_vgg, name),
        lambda shapes, operations: vgg(name, shapes, ceil_mode=bool(operations)),
        partial(published_vgg_shapes, name),
        input_side=lambda side: 32 * side or 224,
        mean=OXFORD_MEAN,
    )


def _alexnet_row(name: str, description: str, *, pool_first: bool) -> Architecture:
    return Architecture(
        f"caffe/{name}",
        description,
        _is_caffenet if pool_first else _is_alexnet,
        lambda shapes, _: alexnet(shapes, pool_first=pool_first),
        lambda: PUBLISHED_SHAPES,
        input_side=lambda side: input_side(side or 6),
        mean=BVLC_MEAN,
    )


ARCHITECTURES = (
    _alexnet_row(
        "alexnet",
        "BVLC AlexNet: 5 convolutions of 11x11, 5x5 and 3x3, some in groups",
        pool_first=False,
    ),
    _alexnet_row("caffenet", "CaffeNet: AlexNet with pools before norms", pool_first=True),
    *map(_vgg_row, BLOCKS),
    Architecture(
        "caffe/googlenet",
        "BVLC GoogLeNet: inception modules, by the names of its layers",
        _is_googlenet,
        lambda shapes, _: googlenet(shapes),
        published_googlenet_shapes,
        input_side=lambda _: 224,
        mean=BVLC_MEAN,
        is_chain=False,
    ),
)

CAFFE_MODELS = {row.name.removeprefix("caffe/"): row for row in ARCHITECTURES}


def identify_architecture(
    weights: ImportedWeights, candidates: Sequence[Architecture] = ARCHITECTURES
) -> tuple[Architecture, ImportedWeights, int]:
    """The architecture that the weights match, the weights as it takes them, its input side."""
    for architecture in candidates:
        if architecture.matches(weights):
            sentence = f"the shapes are those of {architecture.description}"
            if not architecture.is_chain:
                layers = _drop_auxiliary_classifiers(weights)
                return architecture, layers.evolve(sentence), architecture.input_side(0)
            check_chain(weights)
            _, side = first_dense_layer(weights)
            converted = convert_to_channels_first(weights.evolve(sentence))
            return architecture, converted, architecture.input_side(side)
    raise ModelError(
        f"{weights.path}: its {_summarise_shapes(weights)} do not match "
        f"{' or '.join(architecture.name for architecture in candidates)}; a layer is missing, or "
        "it is another network: name it as arch, such as timm/NAME or file.py:factory",
        parameter="arch",
    )


def check_chain(weights: ImportedWeights) -> None:
    """Raises unless each layer takes the output of the one before it, or a group's share of it."""
    for (name_before, before), (name, layer) in pairwise(weights.layers.items()):
        flattened = before.is_conv and not layer.is_conv
        available = layer.inputs if flattened else before.outputs
        if available % layer.inputs or (layer.inputs != available and not layer.is_conv):
            raise ModelError(
                f"{weights.path}: {name!r} takes {layer.inputs} channels, but {name_before!r} "
                f"before it has {available}; a layer is missing or has the wrong shape"
            )


def _drop_auxiliary_classifiers(weights: ImportedWeights) -> ImportedWeights:
    """The layers of GoogLeNet that lead to its output."""
    published = published_googlenet_shapes()
    layers = {_replace_slashes(name): layer for name, layer in weights.layers.items()}
    main = {
        name: layer for name, layer in layers.items() if not name.startswith(AUXILIARY_CLASSIFIERS)
    }
    missing = [name for name in published if name not in main]
    extra = [name for name in main if name not in published]
    if missing or extra:
        problem = f"has no layer {missing[0]!r}" if missing else f"has an extra layer {extra[0]!r}"
        raise ModelError(f"{weights.path} {problem}, unlike BVLC GoogLeNet; download it again")
    dropped = len(layers) - len(main)
    sentences = (f"{dropped} layers of auxiliary classifiers are left out",) if dropped else ()
    return replace(weights, layers=main).evolve(*sentences)


def _replace_slashes(name: str) -> str:
    return name.replace("/", "_")


def _summarise_shapes(weights: ImportedWeights) -> str:
    counts = Counter(
        f"convolutions of {side}x{side}" if side else "convolutions that are not square"
        for side in _kernel_sides(weights)
    )
    dense_count = sum(not layer.is_conv for layer in weights.layers.values())
    convolutions = [f"{count} {description}" for description, count in counts.items()]
    return ", ".join([*convolutions, f"{dense_count} fully connected layers"])


def match_modules(
    architecture: Architecture, weights: ImportedWeights, module: nn.Module
) -> dict[str, str]:
    """The layer of the file for each module that has weights."""
    if not architecture.is_chain:
        return {module_path(name): name for name in weights.layers}
    return dict(zip(weighted_modules(module), weights.layers, strict=True))


def weighted_modules(module: nn.Module) -> list[str]:
    """The convolutions and fully connected layers of a network, in the order of its modules."""
    return [
        path
        for path, submodule in module.named_modules()
        if isinstance(submodule, nn.Conv2d | nn.Linear)
    ]


def open_named(name: str, trained: bool) -> Network:
    """The published network of this name, initialised at random."""
    row = choose("Caffe model", name, CAFFE_MODELS, error=ModelError)
    if trained:
        raise ModelError(
            f"caffe/{name} has no weights to download; open the path of a weight file, or give a "
            "seed as random_weights",
            parameter="random_weights",
        )
    return Network(
        row.build(row.published_shapes(), ()),
        fit=architecture_fit(row, row.input_side(0)),
        labels=imagenet_labels(IMAGENET_CLASSES),
        name=f"caffe/{name}",
        mean=scale_mean(row.mean),
        std=byte_std(row.mean),
    )


def architecture_fit(row: Architecture, side: int) -> Fit:
    """Resizes the shorter side and crops the centre, in the proportions of the published input."""
    return Fit((side, side), shorter=round(side * row.shorter / row.input_side(0)))
