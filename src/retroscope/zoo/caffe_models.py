"""Caffe's networks by name, without weights; with weights they come from a file."""

from retroscope.errors import ModelError, did_you_mean
from retroscope.imaging.image import Fit
from retroscope.network import Network
from retroscope.zoo.architectures import ARCHITECTURES, Architecture, imagenet

WHITE = 255


def open_named(name: str, trained: bool) -> Network:
    """The network of this name as it was published, but initialised by chance."""
    known = _known()
    if name not in known:
        hint = did_you_mean(name, known) or f"there are {', '.join(known)}"
        raise ModelError(f"no model {name!r} of Caffe's; {hint}")
    if trained:
        raise ModelError(
            f"nobody hands out the weights of caffe/{name} by name; give a file that has them "
            "(retroscope layers FILE), or random_weights (--random-weights SEED)"
        )
    row = known[name]
    shapes = row.published()
    return Network(
        row.build(shapes, ()),
        fit=fit(row, row.size(0)),
        labels=imagenet(),
        name=f"caffe/{name}",
        mean=of_one(row.mean),
        std=unscaled(row.mean),
    )


def names() -> list[str]:
    """Every network that is known, without what stands before the slash."""
    return list(_known())


def _known() -> dict[str, Architecture]:
    return {row.name.removeprefix("caffe/"): row for row in ARCHITECTURES}


def fit(row: Architecture, side: int) -> Fit:
    """The shorter side of a picture becomes 256 for a network that takes 224, then its centre."""
    return Fit((side, side), shorter=round(side * row.resized / row.size(0)))


def of_one(mean: tuple[float, ...]) -> tuple[float, ...]:
    """A mean of pixels from 0 to 255, for pixels from 0 to 1.

    >>> of_one((127.5,))
    (0.5,)
    """
    return tuple(one / WHITE for one in mean)


def unscaled(mean: tuple[float, ...]) -> tuple[float, ...]:
    """The std for each of these means that leaves pixels from 0 to 255 as they are."""
    return (1 / WHITE,) * len(mean)
