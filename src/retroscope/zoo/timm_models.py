"""timm's networks, where the extra is installed."""

from math import floor
from types import ModuleType
from typing import Any

from retroscope.errors import ModelError, did_you_mean
from retroscope.image import Fit
from retroscope.network import Network


def open_named(name: str, trained: bool) -> Network:
    """A timm network, with its default weights or as it is initialised."""
    timm = _timm()
    _check_known(timm, name)
    try:
        module = timm.create_model(name, pretrained=trained)
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
        mean=config["mean"],
        std=config["std"],
        labels=_labels(timm, module),
        name=f"timm/{name}",
    )


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
