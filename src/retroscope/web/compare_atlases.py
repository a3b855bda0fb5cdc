"""How much each unit changed between atlases of one network, as the viewer's pages show it."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from heapq import nlargest
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.results.comparisons import AtlasComparison, LayerComparison, UnitComparison
from retroscope.results.layers import Layer
from retroscope.unit import Unit
from retroscope.web.site.comparison import UnitChange, common_layers, layer_changes

AtlasFile = str | Path | Atlas


@check_arguments
def compare(
    first: AtlasFile, *others: AtlasFile, layers: Sequence[str | Layer] = (), top: int = 12
) -> AtlasComparison:
    """How much each unit changed from the first of some atlases to each of the others.

    The change of a unit goes from 0 to 1: one less the mean of the share of its nine best images
    that both atlases have, and of the cosine between its responses to the classes. A unit that is
    dead in only one of the two changed completely. Without `layers`, all layers that every atlas
    has are compared. The `top` units that changed most have their plates in every atlas.

    An atlas is the path of a file or an open `Atlas`, and stays open then.

    >>> compare("before.atlas")
    Traceback (most recent call last):
    retroscope.errors.RetroscopeError: compare takes two atlases or more; give another one
    """
    if not others:
        raise RetroscopeError("compare takes two atlases or more; give another one")
    if top < 0:
        raise RetroscopeError(f"{top} units; give 0 or more", parameter="top")
    with ExitStack() as stack:
        atlases = [_open(stack, atlas) for atlas in (first, *others)]
        compared = [_compare_layer(atlases, layer) for layer in _common_layers(atlases, layers)]
        units = [(layer.layer.index, unit) for layer in compared for unit in layer.units]
        most_changed = nlargest(
            top, units, key=lambda pair: (pair[1].change, -pair[0], -(pair[1].unit.channel or 0))
        )
        return AtlasComparison(
            atlases=tuple(_distinct_names(atlases)),
            layers=tuple(compared),
            units=tuple(_add_plates(atlases, unit) for _, unit in most_changed),
        )


def _open(stack: ExitStack, atlas: AtlasFile) -> Atlas:
    if isinstance(atlas, str | Path):
        return stack.enter_context(open_atlas(atlas))
    if not isinstance(atlas, Atlas):
        kind = type(atlas).__name__
        raise RetroscopeError(f"{kind} is not an Atlas; give the path of one, or open_atlas(PATH)")
    return atlas


def _common_layers(atlases: Sequence[Atlas], names: Sequence[str | Layer]) -> list[Layer]:
    """The layers that all atlases have, or those of these names."""
    first, *others = atlases
    layers = {layer.name: layer for layer in first.layers}
    for other in others:
        common = {layer.name for layer in common_layers(first, other)}
        layers = {name: layer for name, layer in layers.items() if name in common}
        if not common:
            raise RetroscopeError(
                f"{str(other.path)!r} has no layer of {str(first.path)!r} with as many channels; "
                "compare atlases of one network"
            )
    if isinstance(names, str):
        raise RetroscopeError(f"layers is a list of layers, not {names!r}; pass [{names!r}]")
    if not names:
        return list(layers.values())
    wanted = [first.layer(name).name for name in names]
    missing = [name for name in wanted if name not in layers]
    if missing:
        raise RetroscopeError(
            f"not every atlas has {', '.join(missing)}; all have {', '.join(layers) or 'no layer'}",
            parameter="layers",
        )
    return [layers[name] for name in wanted]


def _compare_layer(atlases: Sequence[Atlas], layer: Layer) -> LayerComparison:
    first, *others = atlases
    by_atlas = [layer_changes(first, other, layer) for other in others]
    units = [_unit(layer, changes) for changes in zip(*by_atlas, strict=True)]
    means = (sum(change.change for change in changes) / len(changes) for changes in by_atlas)
    return LayerComparison(layer, tuple(means), tuple(units))


def _unit(layer: Layer, changes: Sequence[UnitChange]) -> UnitComparison:
    """A unit, from its changes to each of the other atlases."""
    return UnitComparison(
        unit=Unit(layer.name, changes[0].channel),
        changes=tuple(change.change for change in changes),
        shared_images=tuple(change.shared_images for change in changes),
        class_similarities=tuple(change.class_similarity for change in changes),
        dead=(changes[0].dead[0], *(change.dead[1] for change in changes)),
    )


def _add_plates(atlases: Sequence[Atlas], unit: UnitComparison) -> UnitComparison:
    return replace(unit, plates=tuple(atlas.plate(unit.unit) for atlas in atlases))


def _distinct_names(atlases: Sequence[Atlas]) -> list[str]:
    """The stem of each file, with its folder or its number where that is not distinct."""
    paths = [atlas.path.absolute() for atlas in atlases]
    for names in (
        [path.stem for path in paths],
        [f"{path.parent.name}/{path.stem}" for path in paths],
    ):
        if len(set(names)) == len(names):
            return names
    return [f"{path.stem} ({number})" for number, path in enumerate(paths, start=1)]
