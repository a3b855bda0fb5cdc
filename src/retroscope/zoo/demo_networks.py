"""The small network of the picture world, which comes with the package: `demo`.

`demo-shortcut` is its twin, trained where one class bears a watermark; `demo@STEP` is `demo` as it
was after so many steps of training.
"""

from collections import OrderedDict
from importlib.resources import as_file, files

from torch import nn

from retroscope.errors import ModelError
from retroscope.network import Network
from retroscope.world import LABELS, SIZE
from retroscope.zoo.weights import safetensors

LAYERS = (24, "pool", 48, 48, "pool", 96, 96, "pool", 128, 128)
"""The channels of each convolution, and the pools between them."""

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
_FOLDER, _ENDING = files("retroscope.world") / "weights", ".safetensors"


def open_named(name: str, trained: bool) -> Network:
    """`demo`, `demo-shortcut` or `demo@STEP`, with its shipped weights or as it is initialised.

    >>> open_named("demo", False)
    <Network demo: 96x96 on cpu>
    """
    _check(name)
    module = demo_module()
    if trained:
        with as_file(_FOLDER / f"{name}{_ENDING}") as file:
            tensors = safetensors.read(file).tensors
        module.load_state_dict({key: one.float() for key, one in tensors.items()})
    return Network(
        module.eval(), input_size=(SIZE, SIZE), mean=MEAN, std=STD, labels=LABELS, name=name
    )


def is_ours(name: str) -> bool:
    """Whether a name is meant as one of these networks, also where there is none of that name."""
    return name == "demo" or name.startswith(("demo-", "demo@"))


def demo_module() -> nn.Sequential:
    """The network without its weights: 3 x 3 convolutions, a mean over the places, one matrix."""
    parts: list[nn.Module] = []
    channels = 3
    for kind in LAYERS:
        if isinstance(kind, str):
            parts.append(nn.MaxPool2d(2))
            continue
        parts += [nn.Conv2d(channels, kind, 3, padding=1), nn.ReLU(inplace=True)]
        channels = kind
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, len(LABELS)))
    return nn.Sequential(OrderedDict(features=nn.Sequential(*parts), classifier=head))


def names() -> list[str]:
    """Every network that is shipped: the trained ones, then the checkpoints from early to late."""
    there = [one.name for one in _FOLDER.iterdir()]
    found = [one.removesuffix(_ENDING) for one in there if one.endswith(_ENDING)]
    steps = sorted(int(one.partition("@")[2]) for one in found if "@" in one)
    return [*sorted(one for one in found if "@" not in one), *(f"demo@{step}" for step in steps)]


def _check(name: str) -> None:
    known = names()
    if name in known:
        return
    asked, at, step = name.partition("@")
    if asked == "demo" and at:
        steps = ", ".join(one.partition("@")[2] for one in known if "@" in one)
        raise ModelError(f"no checkpoint {step!r} of demo; there are {steps}: write demo@STEP")
    raise ModelError(f"no model {name!r} in the picture world; there are {', '.join(known)}")
