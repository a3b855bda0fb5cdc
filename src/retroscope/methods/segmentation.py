"""The class scores of a segmenter at each pixel, whatever the segmenter returns.

To add a kind of segmenter, give it a row in `SEGMENTERS`; `read` returns its logits. All else
follows: targets (`cat@120,80`, `cat@mask.png`), heat maps, and the page of `explain`. A network
without a row is read too if it returns maps of the size of its images, one for each class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F

from retroscope.engine.batching import Size
from retroscope.engine.call_arguments import tensors_in
from retroscope.methods.by_rank import INTERPOLATION
from retroscope.zoo.demo_localisers import DemoSegmenter

Reader = Callable[[torch.nn.Module, object], torch.Tensor | None]
"""Reads the logits (images, classes, height, width) from a module and what it returned; those of
volumes have a depth, those of signals a length alone.
"""

LOGIT_KEYS = ("out", "logits")
"""Under which networks return the logits in a dictionary: torchvision's, and transformers'."""


@dataclass(frozen=True)
class Segmenter:
    """A kind of segmenter.

    `is_kind` says whether a module is one. `read` gives the logits, differentiable, at any size:
    they are interpolated to that of the images. `backbones` are the paths that the backbone may
    have in the module; its last maps are those that heat maps use by default.
    """

    name: str
    is_kind: Callable[[torch.nn.Module], bool]
    read: Reader
    backbones: Sequence[str] = ("backbone", "encoder")


def read_maps(_module: torch.nn.Module, output: object) -> torch.Tensor | None:
    """The logits in a tensor, in a dictionary, or first among several tensors."""
    if isinstance(output, Mapping):
        named = [output[key] for key in LOGIT_KEYS if key in output]
        output = named[0] if named else output
    first = next(tensors_in(output), None)
    return first if first is not None and first.dim() > 2 else None


def _is_from(package: str) -> Callable[[torch.nn.Module], bool]:
    """Whether a module is of a class of this package, or derived from one."""
    return lambda module: any(
        kind.__module__.startswith(f"{package}.") for kind in type(module).__mro__
    )


SEGMENTERS: tuple[Segmenter, ...] = (
    Segmenter("torchvision", _is_from("torchvision.models.segmentation"), read_maps),
    Segmenter("segmentation_models_pytorch", _is_from("segmentation_models_pytorch"), read_maps),
    Segmenter("demo-segmenter", lambda module: isinstance(module, DemoSegmenter), read_maps),
)
"""The known kinds of segmenters; the first that fits is used."""


_KNOWN_MODULES = WeakKeyDictionary[torch.nn.Module, Segmenter | None]()
"""What each module is: to look at all parts of a large one takes milliseconds."""


def segmenter_of(module: torch.nn.Module) -> Segmenter | None:
    """The kind of segmenter that a module is, or that it wraps; None if it is not a known one."""
    if module not in _KNOWN_MODULES:
        kinds = ((kind, part) for part in module.modules() for kind in SEGMENTERS)
        found = next((kind for kind, part in kinds if kind.is_kind(part)), None)
        _KNOWN_MODULES[module] = found
    return _KNOWN_MODULES[module]


def read_logits(module: torch.nn.Module, output: object, size: Size) -> torch.Tensor | None:
    """The logits of each pixel of the images (images, classes, height, width), or of each voxel.

    None if the module is not a known segmenter and does not return maps of the images' size.

    >>> read_logits(torch.nn.Identity(), torch.zeros(1, 4, 8, 8), (8, 8)).shape
    torch.Size([1, 4, 8, 8])
    """
    segmenter = segmenter_of(module)
    logits = (read_maps if segmenter is None else segmenter.read)(module, output)
    if logits is None or logits.dim() != len(size) + 2:
        return None
    if segmenter is None and tuple(logits.shape[2:]) != size:
        return None
    if tuple(logits.shape[2:]) != size:
        mode = INTERPOLATION[len(size)]
        logits = F.interpolate(logits, size=size, mode=mode, align_corners=False)
    return logits
