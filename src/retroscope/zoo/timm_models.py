"""timm's networks, where the extra is installed."""

from math import floor
from types import ModuleType
from typing import Any

from retroscope.errors import ModelError, did_you_mean
from retroscope.imaging.image import Fit
from retroscope.network import Network, in_words
from retroscope.zoo.arguments import split


def open_named(name: str, trained: bool) -> Network:
    """A timm network, with its default weights or as it is initialised.

    `resnet10t?in_chans=1` hands arguments to its builder.
    """
    timm = _timm()
    name, arguments = split(name)
    _check_known(timm, name)
    try:
        module = timm.create_model(name, pretrained=trained, **arguments)
    except TypeError as error:
        raise ModelError(f"cannot build timm/{name} with {arguments}: {in_words(error)}") from error
    except (OSError, RuntimeError) as error:
        raise ModelError(
            f"cannot get the weights of timm/{name} ({_first_line(error)}); check the name and "
            "the connection, or give random_weights (--random-weights SEED)"
        ) from error
    config: dict[str, Any] = timm.data.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    return Network(
        module,
        fit=Fit(
            (height, width),
            mode="stretch" if config["crop_mode"] == "squash" else "network",
            shorter=floor(min(height, width) / config["crop_pct"]),
            resample=config["interpolation"],
        ),
        mean=_for_channels(config["mean"], arguments),
        std=_for_channels(config["std"], arguments),
        labels=_labels(timm, module),
        name=f"timm/{name}",
    )


def _for_channels(numbers: tuple[float, ...], arguments: dict[str, Any]) -> tuple[float, ...]:
    """A number for each channel that the network was asked to take; else the middle of its own."""
    channels = arguments.get("in_chans", len(numbers))
    return numbers if channels == len(numbers) else (sum(numbers) / len(numbers),) * channels


def _check_known(timm: ModuleType, name: str) -> None:
    """A network of timm's is a family, with or without the tag of its weights."""
    family, _, tag = name.partition(".")
    if timm.is_model(family) and not tag:
        return
    known = timm.list_models(pretrained=bool(tag))
    if name not in known:
        hint = did_you_mean(name, known) or "timm.list_models() lists them"
        raise ModelError(f"no model {name!r} in timm; {hint}")


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            "timm's models need the package timm; pip install 'retroscope[timm]'"
        ) from error
    else:
        return timm


def _labels(timm: ModuleType, module: Any) -> tuple[str, ...]:
    subset = timm.data.infer_imagenet_subset(module)
    if subset is None:
        return ()
    info = timm.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
