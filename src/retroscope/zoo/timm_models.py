"""timm's networks, if the extra `timm` is installed."""

from math import floor
from types import ModuleType
from typing import Any

from retroscope.errors import ModelError, choose
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.source_conventions import build_error, download_error, split_arguments


def open_named(name: str, trained: bool) -> Network:
    """A timm network with its default weights, or initialised at random.

    The arguments in `resnet10t?in_chans=1` are passed to its builder.
    """
    timm = _import_timm()
    name, arguments = split_arguments(name)
    _check_name(timm, name)
    try:
        module = timm.create_model(name, pretrained=trained, **arguments)
    except TypeError as error:
        raise build_error(f"timm/{name}", arguments, error) from error
    except (OSError, RuntimeError) as error:
        raise download_error(f"timm/{name}", _first_line(error)) from error
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
        mean=_per_channel(config["mean"], arguments),
        std=_per_channel(config["std"], arguments),
        labels=_imagenet_subset_labels(timm, module),
        name=f"timm/{name}",
    )


def _per_channel(numbers: tuple[float, ...], arguments: dict[str, Any]) -> tuple[float, ...]:
    """A number per input channel; their average, if `in_chans` asks for another channel count."""
    channels = arguments.get("in_chans", len(numbers))
    return numbers if channels == len(numbers) else (sum(numbers) / len(numbers),) * channels


def _check_name(timm: ModuleType, name: str) -> None:
    """A name is an architecture, with or without the tag of its weights."""
    architecture, _, tag = name.partition(".")
    if timm.is_model(architecture) and not tag:
        return
    names = timm.list_models(pretrained=bool(tag))
    advice = "timm.list_models() lists them"
    choose("timm model", name, dict.fromkeys(names), error=ModelError, advice=advice)


def _import_timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ModelError(
            "timm's networks need the package timm; pip install 'retroscope[timm]'"
        ) from error
    else:
        return timm


def _imagenet_subset_labels(timm: ModuleType, module: Any) -> tuple[str, ...]:
    subset = timm.data.infer_imagenet_subset(module)
    if subset is None:
        return ()
    classes = timm.data.ImageNetInfo(subset)
    return tuple(classes.index_to_description(index) for index in range(classes.num_classes()))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
