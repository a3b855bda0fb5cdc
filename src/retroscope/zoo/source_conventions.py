"""What all sources of networks share: arguments in a name, preprocessing, labels, errors."""

from ast import literal_eval
from importlib.resources import files
from typing import Any

from retroscope.errors import ModelError, describe_error

BYTE_MAX = 255
IMAGENET_CLASSES = 1000

_CLASS_NAMES = files("retroscope.zoo") / "imagenet_classes.txt"
"""torchvision's names, whose import takes as long as that of torch."""

UNKNOWN_PREPROCESSING = (
    "the file does not record how images are preprocessed; pixels are red, green, blue from 0 to "
    "1, unless mean and std are given"
)

NAME_FORMS = (
    "write torchvision/NAME, timm/NAME, ultralytics/NAME, smp/ARCHITECTURE/ENCODER, keras/NAME, "
    "caffe/NAME, package.module:factory, file.py:factory, demo or imagenet, or give the path of a "
    "weight file"
)


def split_arguments(name: str) -> tuple[str, dict[str, Any]]:
    """A name without its arguments, and the arguments: Python literals, else texts.

    >>> split_arguments("nets.py:make?width=2&sizes=(3,5)&kind=wide")
    ('nets.py:make', {'width': 2, 'sizes': (3, 5), 'kind': 'wide'})
    """
    base, _, query = name.partition("?")
    arguments: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        key, sign, text = part.partition("=")
        if not sign or not key.isidentifier() or key in arguments:
            problem = "is repeated" if key in arguments else "is not an argument"
            raise ModelError(f"{part!r} in {name!r} {problem}; write {base}?width=2&name=x")
        arguments[key] = _parse_value(text)
    return base, arguments


def refuse_arguments(name: str) -> None:
    """Raises if arguments follow the name of a network that takes none."""
    base, question_mark, _ = name.partition("?")
    if question_mark:
        raise ModelError(f"{base} takes no arguments; write {base} instead of {name!r}")


def _parse_value(text: str) -> object:
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def download_error(model: str, reason: str) -> ModelError:
    """The error for a network whose trained weights cannot be downloaded."""
    return ModelError(
        f"cannot get the trained weights of {model} ({reason}); check the connection, or give a "
        "seed as random_weights to use the network without them",
        parameter="random_weights",
    )


def build_error(model: str, arguments: dict[str, Any], error: Exception) -> ModelError:
    """The error for a network whose builder does not accept its arguments."""
    return ModelError(f"cannot build {model} with {arguments}: {describe_error(error)}")


def imagenet_labels(class_count: int) -> tuple[str, ...]:
    """ImageNet's class names in the usual order for a network of 1000 classes, else no labels."""
    if class_count != IMAGENET_CLASSES:
        return ()
    return tuple(_CLASS_NAMES.read_text("utf-8").splitlines())


def scale_mean(byte_mean: tuple[float, ...]) -> tuple[float, ...]:
    """The mean of pixels from 0 to 255 as a mean of pixels from 0 to 1.

    >>> scale_mean((127.5,))
    (0.5,)
    """
    return tuple(channel_mean / BYTE_MAX for channel_mean in byte_mean)


def byte_std(byte_mean: tuple[float, ...]) -> tuple[float, ...]:
    """The std, one number per mean, that scales pixels from 0 to 1 back to 0 to 255."""
    return (1 / BYTE_MAX,) * len(byte_mean)
