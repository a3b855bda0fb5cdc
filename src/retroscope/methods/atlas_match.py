"""Checks that an atlas was scanned with a network: same layers, weights and preprocessing."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import torch

from retroscope.engine.isolation import EXCLUSIVE_USE
from retroscope.engine.rule_choice import AUTO, choose_rules
from retroscope.errors import RetroscopeError
from retroscope.input_binding import preparing_network
from retroscope.module_inputs import ImageInput
from retroscope.network import Network
from retroscope.preprocessing import Preprocessing
from retroscope.results.as_json import JsonObject
from retroscope.results.layers import Layer

ASSUMED_RANGES = "0 to 255 of uint8, 0 to 65535 of uint16, 0 to 1 of floating point"
"""What counts as 0 to 1 in images of many channels, unless it is stated."""


class ScannedAtlas(Protocol):
    """The part of an atlas that describes the network of its scan."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The scanned layers."""

    @property
    def meta(self) -> Mapping[str, object]:
        """Facts about the scan; an atlas written by hand may have none."""


def fingerprint(module: torch.nn.Module) -> str:
    """A hash of all weights and buffers of a network.

    >>> len(fingerprint(torch.nn.Conv2d(3, 8, 5)))
    32
    """
    digest = blake2b(digest_size=16)
    with EXCLUSIVE_USE:
        for name, value in module.state_dict().items():
            for part in _fingerprint_parts(name, value):
                digest.update(part)
    return digest.hexdigest()


def _fingerprint_parts(name: str, value: object) -> Iterator[bytes | memoryview]:
    """What represents an entry of a state dict: its tensors and plain values, with their names.

    Modules may also save containers, data types or objects of their own. Of an object only the
    class counts, because its `repr` may differ from run to run.
    """
    if isinstance(value, torch.Tensor):
        yield from _tensor_parts(name, value)
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from _fingerprint_parts(f"{name}.{key}", member)
    elif isinstance(value, list | tuple):
        for index, member in enumerate(value):
            yield from _fingerprint_parts(f"{name}.{index}", member)
    else:
        is_plain = isinstance(value, _PLAIN_VALUES)
        yield f"{name}={value!r}".encode() if is_plain else f"{name}:{type(value)}".encode()


_PLAIN_VALUES = (type(None), bool, int, float, complex, str, bytes, torch.dtype)


_SPARSE = {
    torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc,
}  # fmt: skip


def _tensor_parts(name: str, tensor: torch.Tensor) -> Iterator[bytes | memoryview]:
    yield f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode()
    tensor = tensor.detach()
    if tensor.layout in _SPARSE:
        coordinates = tensor.to_sparse().coalesce()
        yield from _tensor_parts("indices", coordinates.indices())
        tensor = coordinates.values()
    if tensor.is_quantized:
        yield _quantisation(tensor).encode()
        tensor = tensor.int_repr()
    flat = tensor.cpu().contiguous().flatten()
    yield flat.view(torch.uint8).numpy().data if flat.numel() else b""


def _quantisation(tensor: torch.Tensor) -> str:
    """The scale and the zero point of a quantised tensor, or those of each channel."""
    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return f"{tensor.q_scale()} {tensor.q_zero_point()}"
    scales, zero_points = tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points()
    return f"{scales.tolist()} {zero_points.tolist()}"


def check_same_network(atlas: ScannedAtlas, net: Network, layers: Sequence[Layer]) -> None:
    """Raises RetroscopeError if the atlas has other layers or weights than the network.

    Its channels have another meaning then, and every response would look unusual.
    """
    by_name = {layer.name: layer for layer in layers}
    for atlas_layer in atlas.layers:
        layer = by_name.get(atlas_layer.name)
        if layer is None or layer.channels != atlas_layer.channels:
            difference = "does not have this layer" if layer is None else f"has {layer.channels}"
            raise RetroscopeError(
                f"the atlas is not of {net.name}: its {atlas_layer.name} has "
                f"{atlas_layer.channels} channels, {net.name} {difference}; give an atlas that "
                f"was scanned with {net.name}"
            )
    _check_weights(atlas, net, "the atlas")


def missing_layers_error(atlas: ScannedAtlas, names: Sequence[str]) -> RetroscopeError:
    """The error about layers that an atlas does not have, under their own names in the network.

    An output of a convolution is not the convolution, though the atlas also finds it by that name.
    """
    outputs = [layer for layer in atlas.layers if not set(names).isdisjoint(layer.convolution)]
    advice = [f"it has {layer.name}, {layer.note}" for layer in outputs]
    return RetroscopeError(
        f"the atlas does not have {', '.join(names)}; {'; '.join(advice) or 'scan these layers'}"
    )


def check_same_scan(atlas: ScannedAtlas, net: Network, name: str = "the atlas") -> None:
    """Raises RetroscopeError if the weights or the preprocessing differ from those of the scan.

    `name` is what the error calls the atlas.
    """
    _check_weights(atlas, net, name)
    stored = atlas.meta.get("preprocessing")
    if stored is not None and not is_same_preprocessing(stored, net.preprocessing):
        raise RetroscopeError(f"{name} was scanned with different preprocessing; give the same")
    check_same_inputs(atlas, net, name)


def check_same_inputs(atlas: ScannedAtlas, net: Network, name: str = "the atlas") -> None:
    """Raises RetroscopeError if other inputs came with the images of a scan, or were held for it.

    `name` is what the error calls the atlas.
    """
    stored, current = atlas.meta.get("inputs"), None if net.inputs is None else inputs_json(net)
    if stored == current:
        return
    difference = "was scanned with other inputs; give the same network"
    if isinstance(stored, dict) and current is not None:
        difference = _describe_other_inputs(stored, current)
    raise RetroscopeError(f"{name} {difference}", parameter="inputs")


def _describe_other_inputs(stored: Mapping[str, Any], current: JsonObject) -> str:
    """What is different about inputs, and what to do."""
    before, now = stored.get("held", {}), current["held"]
    if stored.get("image") != current["image"]:
        return f"was scanned with look_at={stored.get('image')!r}; open the network with that"
    for input_name in before:
        if input_name not in now:
            return f"was scanned with {input_name!r} held for all images; give it"
        if before[input_name] != now[input_name]:
            return f"was scanned with another {input_name!r} held for all images; give that"
    for input_name in now:
        if input_name not in before:
            return f"was scanned with a {input_name!r} for each image; do not hold one for all"
    return "was scanned with another preprocessing of its other inputs; give the same"


def rules_of_atlas(atlas: ScannedAtlas, net: Network) -> str:
    """The rules of the projections that an atlas shows; `auto` if those are what it chooses."""
    stored, chosen = atlas.meta.get("rules"), choose_rules(AUTO, net.survey(net.input_size))
    return AUTO if stored in (None, chosen.book.name) else str(stored)


def inputs_json(net: Network) -> JsonObject:
    """The inputs of a network of several as an atlas records them, with digests of what is held."""
    inputs = net.inputs
    assert inputs is not None
    given: JsonObject = {}
    for name, spec in inputs.per_image.items():
        if isinstance(spec, ImageInput):
            given[name] = preprocessing_json(preparing_network(net, spec).preprocessing)
        else:
            given[name] = {"shape": list(spec.size)}
    held: JsonObject = {}
    for name, value in sorted(inputs.held.items()):
        digest = blake2b(digest_size=16)
        for part in _fingerprint_parts(name, value):
            digest.update(part)
        held[name] = digest.hexdigest()
    return {"image": inputs.image, "given": given, "held": held}


def preprocessing_json(preprocessing: Preprocessing) -> JsonObject:
    """The preprocessing as an atlas records it."""
    fit = preprocessing.fit.of_one_size
    return {
        "size": list(fit.shape),
        "mode": fit.mode,
        "shorter": fit.shorter,
        "resample": fit.resample,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        **_channel_facts(preprocessing),
    }


def _channel_facts(preprocessing: Preprocessing) -> JsonObject:
    """What an atlas records of images that are no photographs."""
    facts: JsonObject = {}
    if preprocessing.shown_bands:
        facts["bands"] = list(preprocessing.shown_bands)
    if not preprocessing.takes_photos:
        span = preprocessing.value_range
        facts["value_range"] = list(span) if span else ASSUMED_RANGES
    return facts


def is_same_preprocessing(stored: object, preprocessing: Preprocessing) -> bool:
    """Whether an atlas records this preprocessing, as JSON or as the text of the first atlases."""
    current = preprocessing_json(preprocessing)
    same: list[object] = [current, _preprocessing_text(preprocessing)]
    if not preprocessing.bands and preprocessing.value_range is None:
        facts = _channel_facts(preprocessing)  # once nothing of these was recorded
        same.append({key: fact for key, fact in current.items() if key not in facts})
    return stored in same


def _preprocessing_text(preprocessing: Preprocessing) -> str:
    """What atlases recorded before they recorded JSON: a `repr` of that time."""
    fit = preprocessing.fit.of_one_size
    return (
        f"Preprocessing(fit=Fit(size={fit.size!r}, mode={fit.mode!r}, shorter={fit.shorter!r}, "
        f"resample={fit.resample!r}), mean={preprocessing.mean!r}, std={preprocessing.std!r})"
    )


def _check_weights(atlas: ScannedAtlas, net: Network, name: str) -> None:
    if atlas.meta.get("weights") in (None, fingerprint(net.module)):
        return
    model = atlas.meta.get("model")
    if model == net.name:
        raise RetroscopeError(
            f"{name} was scanned with different weights than {model} has now; if they are drawn "
            "anew each time, open the network with the same random_weights for the scan and for "
            "all later commands",
            parameter="random_weights",
        )
    raise RetroscopeError(
        f"{name} was scanned with {model or 'another network'}, and {net.name} has different "
        "weights; give the network of the scan, or scan these weights into another atlas"
    )
