"""One picture explained: what it is taken for, where that is seen, and what fires unusually."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import torch

from retroscope.engine.batching import Prepared
from retroscope.engine.isolation import undisturbed
from retroscope.errors import RetroscopeError
from retroscope.methods.atlas_match import refuse_another
from retroscope.methods.cam.cam import cam
from retroscope.methods.class_requests import stack
from retroscope.methods.class_scores import ClassScores, check_finite_scores, run_classifier
from retroscope.methods.deconv.deconv import deconv_many
from retroscope.methods.rarity import Ranked, Reference, most_unusual
from retroscope.methods.targets import Wanted, target_at
from retroscope.network import AnyImage, Network, refuse_no_network
from retroscope.results.caveats import caveats_of
from retroscope.results.heat_maps import Explanation, Finding, Prediction, Unusual
from retroscope.results.layers import Layer
from retroscope.results.projections import Activations

_TOP = 5


def explain(
    net: Network,
    image: AnyImage,
    *,
    atlas: Reference | None = None,
    layers: Sequence[str | Layer] = (),
    top: int = 4,
    target: Wanted = None,
    method: str = "gradcam",
) -> Explanation:
    """What the network sees in a picture: classes, a heat map, and unusual units of each layer.

    Without `layers`, those that end a size of map: the last convolution of each. Units are ranked
    by how few images of the atlas excite them as much, or, without an atlas, by how far their peak
    stands out of their own map.

    >>> net = Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1)))
    >>> told = explain(net, torch.rand(3, 8, 8), top=2)
    >>> len(told.predictions), [finding.layer.name for finding in told.findings]
    (4, ['0'])
    """
    refuse_no_network(net)
    _refuse_no_atlas(atlas)
    if top < 1:
        raise RetroscopeError(f"{top} units of each layer; give 1 or more")
    prepared = net.prepare(image)
    chosen = _chosen(net, prepared, layers, atlas)
    verdict, seen = _looked_at(net, prepared, chosen)
    found = [(one.layer, most_unusual(one, top, atlas)) for one in seen]
    return Explanation(
        predictions=_top(net, verdict),
        heat=cam(net, prepared, method=method, target=target),
        findings=tuple(_with_projections(net, prepared, found)),
        network=net.name,
        compared=COMPARED[atlas is not None],
        caveats=caveats_of("explain"),
        picture=prepared.picture,
        source=prepared.source,
        remarks=net.remarks,
    )


COMPARED = {
    True: "ranked by how few images of the atlas excite them as much",
    False: "ranked by how far their peak stands out of their own map; an atlas would compare them "
    "with other images",
}


def _refuse_no_atlas(given: object) -> None:
    if isinstance(given, str | Path):
        raise RetroscopeError(
            f"{str(given)!r} is no Atlas; open it with rs.open_atlas({str(given)!r})"
        )


def _chosen(
    net: Network, prepared: Prepared, names: Sequence[str | Layer], atlas: Reference | None
) -> list[Layer]:
    every = net.survey(prepared.size).layers
    if atlas is not None:
        refuse_another(atlas, net, every)
        known = {layer.name for layer in atlas.layers}
        every = tuple(layer for layer in every if layer.name in known)
    if not names:
        return ends_of_sizes(every)
    asked = [net.layer(name, prepared.size) for name in names]
    missing = [layer.name for layer in asked if layer not in every]
    if missing:
        raise RetroscopeError(f"the atlas does not keep {', '.join(missing)}; scan these layers")
    return asked


def ends_of_sizes(layers: Iterable[Layer]) -> list[Layer]:
    """The last convolution of each size of map, in running order."""
    last = {one.size: one for one in layers if one.kind == "conv" and max(one.size) > 1}
    return sorted(last.values(), key=lambda layer: layer.index)


def _looked_at(
    net: Network, prepared: Prepared, layers: Sequence[Layer]
) -> tuple[ClassScores, list[Activations]]:
    """The scores of the classes and the maps of the layers, from one forward pass."""
    survey = net.survey(prepared.size)
    kept: dict[int, torch.Tensor] = {}

    def keep(index: int, maps: torch.Tensor) -> None:
        kept[index] = maps[0].float().cpu().clone()

    with undisturbed(net.module), torch.no_grad():
        picture = stack(net, [prepared], channels_last=survey.channels_last)
        watched = {one.index: partial(keep, one.index) for one in layers}
        verdict = run_classifier(net, survey, picture, hooks=watched)
    check_finite_scores(net, verdict)
    shown = [Activations(one, kept[one.index].numpy(), prepared.source) for one in layers]
    return verdict, shown


def _top(net: Network, verdict: ClassScores) -> tuple[Prediction, ...]:
    shares = verdict.probabilities[0]
    best = shares.argsort(descending=True, stable=True)[:_TOP].tolist()
    return tuple(
        Prediction(target_at(net, index, len(shares)), float(shares[index])) for index in best
    )


def _with_projections(
    net: Network, prepared: Prepared, found: Sequence[tuple[Layer, Sequence[Ranked]]]
) -> Iterable[Finding]:
    asked = [(ranked[0], prepared) for _, units in found for ranked in units]
    projections = deconv_many(net, asked)
    for layer, units in found:
        made = [
            Unusual(unit, activation, contrast, share, next(projections))
            for unit, activation, contrast, share in units
        ]
        yield Finding(layer, tuple(made))
