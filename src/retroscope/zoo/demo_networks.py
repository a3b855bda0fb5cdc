"""The small networks that come with the package, trained on the synthetic world.

`demo` is the trained network, `demo@STEP` a checkpoint of its training. `demo-shortcut` has the
same architecture and was trained on images in which one class bears a watermark. `demo-detector`
finds the objects of a scene, `demo-segmenter` their pixels.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files

from torch import nn

from retroscope.errors import ModelError, choose
from retroscope.network import Network
from retroscope.world import LABELS, SIZE
from retroscope.zoo.demo_localisers import (
    BACKGROUND_LABELS,
    LOCALISER_SIZE,
    DemoDetector,
    DemoSegmenter,
)
from retroscope.zoo.source_conventions import refuse_arguments
from retroscope.zoo.weights.state_dict_files import read_safetensors

LAYERS = (24, "pool", 48, 48, "pool", 96, 96, "pool", 128, 128)
"""Channels of each convolution, and the pools between them."""

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
_FOLDER, _SUFFIX = files("retroscope.world") / "weights", ".safetensors"


@dataclass(frozen=True)
class DemoArchitecture:
    """How a network is built, the side of its images in pixels, and its classes."""

    build: Callable[[], nn.Module]
    size: int
    labels: Sequence[str]


LOCALISERS = {
    "demo-detector": DemoArchitecture(DemoDetector, LOCALISER_SIZE, LABELS),
    "demo-segmenter": DemoArchitecture(DemoSegmenter, LOCALISER_SIZE, BACKGROUND_LABELS),
}
"""The networks that say where things are. All others are classifiers of one architecture."""


def open_named(name: str, trained: bool) -> Network:
    """One of `names()`, with its weights or initialised at random.

    >>> open_named("demo", False)
    <Network demo: 96x96 on cpu>
    """
    refuse_arguments(name)
    _check_name(name)
    architecture = LOCALISERS.get(name) or DemoArchitecture(demo_module, SIZE, LABELS)
    module = architecture.build()
    if trained:
        with as_file(_FOLDER / f"{name}{_SUFFIX}") as file:
            tensors = read_safetensors(file).tensors
            module.load_state_dict({key: half.float() for key, half in tensors.items()})
    return Network(
        module.eval(),
        input_size=(architecture.size, architecture.size),
        mean=MEAN,
        std=STD,
        labels=architecture.labels,
        name=name,
    )


def is_demo_name(name: str) -> bool:
    """Whether a name refers to these networks, even if no network has it."""
    return name == "demo" or name.startswith(("demo-", "demo@"))


def demo_module() -> nn.Sequential:
    """The architecture: 3x3 convolutions, global average pooling, a fully connected layer."""
    layers: list[nn.Module] = []
    channels = 3
    for layer in LAYERS:
        if isinstance(layer, str):
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, layer, 3, padding=1), nn.ReLU(inplace=True)]
        channels = layer
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(LABELS)))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*layers), classifier=head))


def names() -> list[str]:
    """All networks with weights: the trained ones, then the checkpoints in order of training."""
    files_in_folder = [file.name for file in _FOLDER.iterdir()]
    networks = [file.removesuffix(_SUFFIX) for file in files_in_folder if file.endswith(_SUFFIX)]
    steps = sorted(int(name.partition("@")[2]) for name in networks if "@" in name)
    trained = sorted(name for name in networks if "@" not in name)
    return [*trained, *(f"demo@{step}" for step in steps)]


def _check_name(name: str) -> None:
    base, at, step = name.partition("@")
    if base == "demo" and at:
        steps = [checkpoint.partition("@")[2] for checkpoint in names() if "@" in checkpoint]
        choose("demo checkpoint", step, dict.fromkeys(steps), error=ModelError)
    else:
        choose("demo model", name, dict.fromkeys(names()), error=ModelError)
