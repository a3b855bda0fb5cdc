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
    paths = [path for path, _ in net.module.named_modules()]
    for backbone in kind.backbones if kind is not None else ():
        ends = [path for path in paths if f".{path}".endswith(f".{backbone}")]
        inside = [layer for layer in survey.layers if _is_in(layer, ends)]
        if inside:
            return inside
    return ()


def layers_before_head(net: Network, survey: Survey) -> Sequence[Layer]:
    """The layers that features are read from: of the backbone of a known detector or segmenter, or
    of all but its head; all layers of other networks.
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
