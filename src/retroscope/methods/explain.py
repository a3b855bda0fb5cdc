"""One image explained: what is predicted, heat maps, and units that respond unusually."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import overload

from retroscope.argument_types import check_arguments
from retroscope.engine.batching import NetworkInput, pass_bytes
from retroscope.engine.convolution_outputs import layers_with_outputs
from retroscope.engine.memory import refuse_too_large
from retroscope.engine.program import Survey
from retroscope.engine.rule_choice import AUTO
from retroscope.engine.rules import CONTRAST
from retroscope.errors import RetroscopeError
from retroscope.geometry import IMAGE_RANK, format_size
from retroscope.input_binding import show_others
from retroscope.methods.atlas_match import check_same_network, missing_layers_error
from retroscope.methods.cam.cam import cam_many
from retroscope.methods.class_scores import NetworkOutput
from retroscope.methods.deconv.deconv import project_requests
from retroscope.methods.image_lists import (
    AnImage,
    AnyImageList,
    ImageList,
    OneOrMany,
    is_image_list,
    map_images,
)
from retroscope.methods.network_parts import layers_before_head
from retroscope.methods.observation import observe, top_predictions
from retroscope.methods.rarity import RankedUnit, ReferenceAtlas, most_unusual_units
from retroscope.methods.target_choice import check_scores
from retroscope.methods.targets import TargetSpec
from retroscope.network import (
    AnyArray,
    AnyImage,
    AnyLayer,
    AnyNetwork,
    Network,
    OneImage,
    as_network,
)
from retroscope.progress import (
    ProgressListener,
    ProgressReporter,
    StagePart,
    ignore_progress,
)
from retroscope.results.caveats import caveats_of, projection_caveats
from retroscope.results.explanations import Explanation, LayerFinding, OtherImage, UnusualUnit
from retroscope.results.heat_maps import Prediction
from retroscope.results.layers import Layer
from retroscope.unit import Unit

_TOP_CLASSES = 5


@overload
def explain(
    net: AnyNetwork,
    image: OneImage,
    *,
    atlas: ReferenceAtlas | None = ...,
    layers: Sequence[AnyLayer] = ...,
    top: int = ...,
    target: TargetSpec = ...,
    method: str = ...,
    contrast: bool = ...,
    progress: ProgressListener = ...,
) -> Explanation: ...
@overload
def explain(
    net: AnyNetwork,
    image: ImageList[AnImage],
    *,
    atlas: ReferenceAtlas | None = ...,
    layers: Sequence[AnyLayer] = ...,
    top: int = ...,
    target: TargetSpec = ...,
    method: str = ...,
    contrast: bool = ...,
    progress: ProgressListener = ...,
) -> list[Explanation]: ...
@overload
def explain(
    net: AnyNetwork,
    image: AnyArray,
    *,
    atlas: ReferenceAtlas | None = ...,
    layers: Sequence[AnyLayer] = ...,
    top: int = ...,
    target: TargetSpec = ...,
    method: str = ...,
    contrast: bool = ...,
    progress: ProgressListener = ...,
) -> OneOrMany: ...
@check_arguments
def explain(
    net: AnyNetwork,
    image: AnyImage | AnyImageList,
    *,
    atlas: ReferenceAtlas | None = None,
    layers: Sequence[AnyLayer] = (),
    top: int = 4,
    target: TargetSpec = None,
    method: str = AUTO,
    contrast: bool = True,
    progress: ProgressListener = ignore_progress,
) -> Explanation | list[Explanation]:
    """What the network sees in an image: classes, a heat map, and unusual units of each layer.

    Units are ranked by the share of the atlas's images that excite them as much; without an atlas,
    by how far their peak stands out of their own map. The outermost positions of a map do not count
    where their fields reach further out of the image than those of the next: units there respond to
    the padding. The default layers are the output of the last convolution of each map size, after
    its norm and rectifier; of an atlas without convolutions, its last layer of each map size. Of a
    detector or a segmenter they are in the backbone. A volume or a clip is explained alike; the
    border is then that of the depth, too.

    A detector has a heat map for each of its most confident boxes, a segmenter for each of its
    largest segments; the default `method` fits the target, as in `cam`. Each unit has its
    projection and, with `contrast`, a second one: what it adds to what all channels at its position
    share. It takes longer than all the rest; `contrast=False` leaves it out. A list of images, a
    batch of them in one array, or a data set gives a list of explanations. `progress` counts the
    projections of each.

    >>> import torch
    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    >>> explanation = explain(net, torch.ones(3, 8, 8), top=2)
    >>> len(explanation.predictions), [finding.layer.name for finding in explanation.findings]
    (4, ['0'])
    """
    net = as_network(net)
    if net.rank < IMAGE_RANK:
        net.require_images("explanation", instead="activations, deconv, cam and saliency take them")
    _check_atlas(atlas)
    if top < 1:
        raise RetroscopeError(f"{top} units per layer; give at least 1")
    explain_input = partial(
        _explain,
        net,
        atlas=atlas,
        layers=layers,
        top=top,
        target=target,
        method=method,
        contrast=contrast,
        progress=progress,
    )
    if is_image_list(image, net.rank):
        return map_images(net, image, explain_input)
    return explain_input(net.prepare(image))


def _explain(
    net: Network,
    network_input: NetworkInput,
    *,
    atlas: ReferenceAtlas | None,
    layers: Sequence[AnyLayer],
    top: int,
    target: TargetSpec,
    method: str,
    contrast: bool,
    progress: ProgressListener,
) -> Explanation:
    resolved_layers = _resolve_layers(net, network_input, layers=layers, atlas=atlas)
    memory_bytes = _refuse_large_image(net, network_input, resolved_layers)
    observation = observe(net, network_input, resolved_layers)
    check_scores(observation.output)
    predictions = top_predictions(observation.output, _TOP_CLASSES)
    requests = [
        (spec, network_input)
        for spec in (target, *_predicted_targets(observation.output, predictions))
    ]
    heat, *heats = cam_many(net, requests, method=method)
    units = [
        (maps.layer, most_unusual_units(maps, top, atlas, size=network_input.size))
        for maps in observation.activations
    ]
    report = partial(ProgressReporter, "explain", listener=progress, memory_bytes=memory_bytes)
    found = _add_projections(net, network_input, units, contrast=contrast, report=report)
    findings = tuple(_add_names(finding, atlas) for finding in found)
    return Explanation(
        predictions=predictions,
        heat=heat,
        heats=tuple(heats),
        findings=findings,
        network=net.name,
        compared=_RANKING_WITHOUT_ATLAS if atlas is None else _RANKING_BY_ATLAS,
        caveats=(*caveats_of("explain"), *projection_caveats(_rules_of(findings))),
        image=network_input.rgb,
        source=network_input.source,
        remarks=net.remarks,
        image_name=net.inputs.image if net.inputs else "image",
        others=tuple(OtherImage(*named) for named in show_others(net, network_input).items()),
    )


def _predicted_targets(
    output: NetworkOutput, predictions: Sequence[Prediction]
) -> list[TargetSpec]:
    """The targets of the boxes or segments that a network predicts; none for a classifier."""
    if output.detections is not None:
        return [f"box:{rank}" for rank in range(1, len(predictions) + 1)]
    if output.logits is not None:
        return [prediction.target.index for prediction in predictions]
    return []


_RANKING_BY_ATLAS = "ranked by how few images of the atlas excite them as much"
_RANKING_WITHOUT_ATLAS = (
    "ranked by how far their peak stands out from their own map; give an atlas to compare them "
    "with other images"
)


def _check_atlas(atlas: object) -> None:
    if isinstance(atlas, str | Path):
        path = repr(str(atlas))
        raise RetroscopeError(f"{path} is not an Atlas; open it with rs.open_atlas({path})")
    if atlas is not None and not hasattr(atlas, "layers"):
        kind = type(atlas).__name__
        raise RetroscopeError(f"{kind} is not an Atlas; open one with rs.open_atlas(PATH)")


def _resolve_layers(
    net: Network,
    network_input: NetworkInput,
    *,
    layers: Sequence[AnyLayer],
    atlas: ReferenceAtlas | None,
) -> list[Layer]:
    survey = net.survey(network_input.size)
    available = layers_with_outputs(survey)
    if atlas is not None:
        check_same_network(atlas, net, available)
        scanned_names = {layer.name for layer in atlas.layers}
        available = tuple(layer for layer in available if layer.name in scanned_names)
    if isinstance(layers, str):
        raise RetroscopeError(f"layers is a list of layers, not {layers!r}; pass [{layers!r}]")
    if not layers:
        return inspected_layers(net, available, survey)
    names = [net.layer(layer, network_input.size).name for layer in layers]
    by_name = {layer.name: layer for layer in available}
    missing = [name for name in names if name not in by_name]
    if missing and atlas is not None:
        raise missing_layers_error(atlas, missing)
    return [by_name[name] for name in names]


def inspected_layers(net: Network, layers: Iterable[Layer], survey: Survey) -> list[Layer]:
    """The output of the last convolution of each map size, or else the last layer of each.

    `layers` come from `layers_with_outputs`. Of a known detector or segmenter, those of its
    backbone: what follows is made for its predictions. Convolutions over anything but positions, as
    in the head of YOLO, do not count.
    """
    layers = list(layers)
    before_head = {layer.index for layer in layers_before_head(net, survey)}
    layers = [layer for layer in layers if layer.index in before_head] or layers
    outputs = [
        layer
        for layer in layers
        if (layer.kind == "conv" or layer.convolution) and _has_positions(survey, layer)
    ]
    last = {layer.size: layer for layer in outputs if max(layer.size) > 1}
    last = last or {layer.size: layer for layer in layers}
    return sorted(last.values(), key=lambda layer: layer.index)


def _has_positions(survey: Survey, layer: Layer) -> bool:
    field = survey.steps[layer.index].field
    return field is not None and field.positions is not None


def _refuse_large_image(net: Network, network_input: NetworkInput, layers: Sequence[Layer]) -> int:
    """About the bytes that the projections need; raises if there are not as many."""
    survey = net.survey(network_input.size)
    needed = pass_bytes(survey, max(layer.index for layer in layers), survey.size)
    work = f"an explanation of {format_size(network_input.size)} pixels"
    refuse_too_large(needed, net.device, work=work, parameter="input_size")
    return needed


def _add_projections(
    net: Network,
    network_input: NetworkInput,
    units: Sequence[tuple[Layer, Sequence[RankedUnit]]],
    *,
    contrast: bool,
    report: Callable[..., ProgressReporter],
) -> Iterable[LayerFinding]:
    requests = [(ranked.unit, network_input) for _, ranking in units for ranked in ranking]
    comparable = {layer.name for layer, _ in units if contrast and layer.channels > 1}
    compared = [request for request in requests if request[0].layer in comparable]
    parts = [
        StagePart("projection", len(requests)),
        StagePart("contrast", len(compared), _CONTRAST_COST),
    ]
    total = len(requests) + len(compared)
    reporter = report(total, parts=parts)
    projections = project_requests(
        net, requests, rules=AUTO, after_pass=_count_passes(reporter, 0, len(requests))
    )
    contrasts = project_requests(
        net, compared, rules=CONTRAST, after_pass=_count_passes(reporter, len(requests), total)
    )
    for layer, ranking in units:
        unusual = [
            UnusualUnit(
                *ranked,
                projection=next(projections),
                contrast=next(contrasts) if layer.name in comparable else None,
            )
            for ranked in ranking
        ]
        yield LayerFinding(layer, tuple(unusual))
    reporter.update(total)


def _add_names(finding: LayerFinding, atlas: ReferenceAtlas | None) -> LayerFinding:
    if atlas is None:
        return finding
    units = (replace(unit, names=atlas.names(_channel_of(unit))) for unit in finding.units)
    return replace(finding, units=tuple(units))


def _channel_of(unusual: UnusualUnit) -> Unit:
    return Unit(unusual.unit.layer, unusual.unit.channel)


_CONTRAST_COST = 2.0
"""Passes back of a contrast: from the unit, and from all channels at its position."""


def _count_passes(reporter: ProgressReporter, start: int, stop: int) -> Callable[[], None]:
    """Reports a projection for each pass; a pass of small crops may be several."""
    completed = start

    def count() -> None:
        nonlocal completed
        completed = min(completed + 1, stop)
        reporter.update(completed)

    return count


def _rules_of(findings: Iterable[LayerFinding]) -> list[str]:
    return [
        projection.rules
        for finding in findings
        for unit in finding.units
        for projection in (unit.projection, unit.contrast)
        if projection is not None
    ]
