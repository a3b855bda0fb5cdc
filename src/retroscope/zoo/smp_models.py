"""Segmenters of segmentation_models_pytorch, if the extra `smp` is installed."""

from inspect import signature
from types import ModuleType
from typing import Any

import torch

from retroscope.errors import ModelError, choose, describe_error
from retroscope.network import Network
from retroscope.zoo.source_conventions import build_error, split_arguments

SOURCE = "smp"
_SIZE, _DEFAULT_ENCODER, _TIMM_PREFIX = 224, "resnet34", "tu-"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def open_named(name: str, trained: bool) -> Network:
    """`ARCHITECTURE/ENCODER`, such as `Unet/resnet18`, initialised at random.

    The arguments in `Unet/resnet18?classes=5` are passed to its builder. There are trained weights
    of encoders only, for which `encoder_weights=imagenet` asks.
    """
    smp = _import_smp()
    base, arguments = split_arguments(name)
    architecture, _, encoder = base.partition("/")
    encoder = encoder or _DEFAULT_ENCODER
    _check_architecture(smp, architecture)
    _check_encoder(smp, encoder)
    if trained:
        raise ModelError(
            f"{SOURCE}/{base} has no trained weights, only its encoder has; give a seed as "
            f"random_weights, or the path of a weight file with arch={SOURCE + '/' + base!r}",
            parameter="random_weights",
        )
    kind = smp.MODEL_ARCHITECTURES_MAPPING[architecture.lower()]
    if not encoder.startswith(_TIMM_PREFIX):  # whose other arguments go to timm
        _check_arguments(kind, f"{SOURCE}/{base}", arguments)
    module = _build(smp, architecture, encoder, arguments)
    channels = arguments.get("in_channels", 3)
    return Network(
        module,
        input_size=(_SIZE, _SIZE),
        mean=_IMAGENET_MEAN if channels == 3 else (0.5,) * channels,
        std=_IMAGENET_STD if channels == 3 else (0.25,) * channels,
        name=f"{SOURCE}/{name}",
        inferred=("images are normalised as ImageNet's, unless mean and std are given",),
    )


def _check_architecture(smp: ModuleType, name: str) -> None:
    names = [kind.__name__ for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()]
    choose(f"architecture of {SOURCE}", name, dict.fromkeys(names), error=ModelError)


def _check_encoder(smp: ModuleType, name: str) -> None:
    """An encoder is one of the package, or one of timm with the prefix `tu-`."""
    if name.startswith(_TIMM_PREFIX):
        return
    names = dict.fromkeys(smp.encoders.get_encoder_names())
    advice = f"segmentation_models_pytorch.encoders lists them; {_TIMM_PREFIX}NAME is one of timm"
    choose(f"encoder of {SOURCE}", name, names, error=ModelError, advice=advice)


def _check_arguments(kind: type, name: str, arguments: dict[str, Any]) -> None:
    """Raises for an argument that the architecture does not have, and would ignore."""
    parameters = dict(list(signature(kind).parameters.items()))
    parameters.pop("kwargs", None)
    for argument in arguments:
        choose(f"argument of {name}", argument, parameters, error=ModelError)


def _build(
    smp: ModuleType, architecture: str, encoder: str, arguments: dict[str, Any]
) -> torch.nn.Module:
    options = {"encoder_weights": None, **arguments}
    try:
        module: torch.nn.Module = smp.create_model(architecture, encoder, **options)
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        if arguments:
            raise build_error(f"{SOURCE}/{architecture}/{encoder}", arguments, error) from error
        raise ModelError(
            f"{SOURCE} cannot build {architecture} on {encoder}: {describe_error(error)}"
        ) from error
    return module


def _import_smp() -> ModuleType:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise ModelError(
            "segmenters of segmentation_models_pytorch need that package; "
            "pip install 'retroscope[smp]'"
        ) from error
    module: ModuleType = segmentation_models_pytorch
    return module
