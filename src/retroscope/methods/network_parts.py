"""The parts of a detector or a segmenter: the layers of its backbone, and those before its head."""

from collections.abc import Iterator, Sequence

from retroscope.engine.program import Survey
from retroscope.methods.detections import Detector, detector_of
from retroscope.methods.segmentation import segmenter_of
from retroscope.network import Network
from retroscope.results.layers import Layer


def backbone_layers(net: Network, survey: Survey) -> Sequence[Layer]:
    """The layers of the backbone of a known detector or segmenter; none if it has no name."""
    kind = detector_of(net.module) or segmenter_of(net.module)
    if kind is None:
        return ()
    paths = [path for path, _ in net.module.named_modules()]
    for backbone in kind.backbones:
        ends = [path for path in paths if f".{path}".endswith(f".{backbone}")]
        inside = [layer for layer in survey.layers if _is_in(layer, ends)]
        if inside:
            return inside
    return ()


def layers_for_heat(net: Network, survey: Survey) -> Sequence[Layer]:
    """The layers of which the last one with maps is the default of heat maps.

    Of a known detector or segmenter those of its backbone. Of a detector that predicts boxes from
    maps of several strides those up to the finest of these maps, but none finer than
    `finest_stride`. All layers of other networks.
    """
    kind = detector_of(net.module)
    backbone = backbone_layers(net, survey)
    layers = backbone or survey.layers
    if kind is None or kind.finest_stride is None:
        return layers
    if backbone:
        return _layers_to_output(backbone, survey, kind.finest_stride)
    return _layers_to_stride(layers, survey, kind.finest_stride) or layers


def _layers_to_output(
    backbone: Sequence[Layer], survey: Survey, finest_stride: int
) -> Sequence[Layer]:
    """The layers up to the last of the finest that are read from outside the backbone, from this
    stride. Strides are in pixels of what the backbone is given: detectors resize images themselves.
    """
    length, *_ = survey.steps[backbone[0].index].lengths or backbone[0].size
    outside = survey.steps[max(layer.index for layer in backbone) + 1 :]
    read = {number for step in outside for number in step.inputs}
    strides = {
        number: round(length / layer.size[0])
        for number, layer in enumerate(backbone, 1)
        if layer.index in read
    }
    coarse = [number for number, stride in strides.items() if stride >= finest_stride]
    end = min(coarse, key=lambda number: (strides[number], -number), default=len(backbone))
    return backbone[:end]


def _layers_to_stride(layers: Sequence[Layer], survey: Survey, stride: int) -> Sequence[Layer]:
    """The layers up to the last one of at most this stride that is read again after the first
    coarser one.
    """
    coarse = (layer.index for layer in layers if _stride(layer) > stride)
    first_coarse = next(coarse, len(survey.steps))
    fine = [layer for layer in layers if layer.index < first_coarse]
    read_again = {number for step in survey.steps[first_coarse + 1 :] for number in step.inputs}
    ends = [number for number, layer in enumerate(fine, 1) if layer.index in read_again]
    return fine[: max(ends, default=len(fine))]


def _stride(layer: Layer) -> float:
    """How many pixels its positions are apart; 0 if that is not known, as for a gate's vector."""
    return 0.0 if layer.field.whole else float(layer.field.y.stride)


def layers_before_head(net: Network, survey: Survey) -> Sequence[Layer]:
    """The layers that compute features: of a known detector or segmenter those of its backbone, or
    all but those of its head; all layers of other networks.
    """
    backbone = backbone_layers(net, survey)
    if backbone:
        return backbone
    heads = list(_paths_of_heads(net))
    return [layer for layer in survey.layers if not _is_in(layer, heads)]


def _paths_of_heads(net: Network) -> Iterator[str]:
    kind = detector_of(net.module)
    if not isinstance(kind, Detector):
        return
    paths = {part: path for path, part in net.module.named_modules()}
    heads = (kind.head_of(part) for part in paths if kind.is_kind(part))
    yield from (paths[head] for head in heads if head is not None)


def _is_in(layer: Layer, paths: Sequence[str]) -> bool:
    """Whether a module of one of these paths computes a layer."""
    return any(layer.name.startswith(f"{path}.") for path in paths)
