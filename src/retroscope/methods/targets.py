"""Which class is asked for: by its number, by its name, or the most probable one."""

from numbers import Integral

from retroscope.errors import RetroscopeError, did_you_mean
from retroscope.network import Network
from retroscope.results.heat_maps import Target
from retroscope.unit import Unit

Wanted = str | int | None
"""A class by its name or number; none for the most probable one."""


def target_at(net: Network, index: int, classes: int) -> Target:
    """The class at this place of the network's output."""
    if not 0 <= index < classes:
        raise RetroscopeError(
            f"no class {index} in {net.name}; it has {classes}, 0 to {classes - 1}"
        )
    return Target(index, net.labels[index] if index < len(net.labels) else "")


def target_of(net: Network, wanted: str | int, classes: int) -> Target:
    """The class of this name or number; a name may be in any case, or one of several synonyms."""
    if isinstance(wanted, Integral):
        return target_at(net, int(wanted), classes)
    if not isinstance(wanted, str):
        raise RetroscopeError(f"a class is a name or a number, not {wanted!r}; name one at a time")
    text = wanted.strip()
    exact = [place for place, label in enumerate(net.labels) if label == text]
    found = exact or [n for n, label in enumerate(net.labels) if text.lower() in _names(label)]
    if len(found) > 1:
        raise RetroscopeError(
            f"{len(found)} classes of {net.name} are called {wanted!r}; say which by its "
            f"number, {' or '.join(map(str, found))}"
        )
    if found:
        return target_at(net, found[0], classes)
    if text.lstrip("-").isdecimal():
        return target_at(net, int(text), classes)
    raise RetroscopeError(f"no class {wanted!r} in {net.name}; {_hint(net, text, classes)}")


def _names(label: str) -> set[str]:
    """What a label may be called: itself, or what stands between its commas."""
    return {one.strip().lower() for one in (label, *label.split(","))}


def _hint(net: Network, text: str, classes: int) -> str:
    if not net.labels:
        return f"it has no labels; give a number from 0 to {classes - 1}"
    near = did_you_mean(text, net.labels)
    return near or f"it has {classes} classes, {net.labels[0]!r} to {net.labels[-1]!r}"


def refuse_both(target: Wanted, unit: str | Unit | None) -> None:
    """A class or a unit can be explained, not both at once."""
    if target is not None and unit is not None:
        raise RetroscopeError(f"both the class {target!r} and the unit {str(unit)!r}; give one")
