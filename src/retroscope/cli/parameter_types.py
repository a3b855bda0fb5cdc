"""Values of options from their text; each parser raises `click.BadParameter`."""

from collections.abc import Iterator, Sequence
from math import isfinite

import click

from retroscope.cli.choices import DEVICES, FILLS, ILLUSTRATION_METHODS, RANKS, SCORES
from retroscope.errors import did_you_mean
from retroscope.geometry import AXES

_MAX_CHANNEL_DIGITS = 6


def parse_size(text: str) -> tuple[int, ...]:
    """Height and width; for volumes and video with the depth in front.

    >>> parse_size("96"), parse_size("96x128"), parse_size("16x112x112")
    ((96, 96), (96, 128), (16, 112, 112))
    """
    sides = text.split("x")
    if len(sides) > len(AXES) or not all(_is_number(side) and int(side) for side in sides):
        raise click.BadParameter(
            f"{text!r} is not a size; write 96, 96x128 for height and width, or 16x112x112 for "
            "depth, height and width"
        )
    numbers = tuple(map(int, sides))
    return numbers * 2 if len(numbers) == 1 else numbers


def parse_lengths(text: str) -> int | tuple[int, ...]:
    """One length for all axes, or one for each.

    >>> parse_lengths("32"), parse_lengths("16x48"), parse_lengths("4x28x28")
    (32, (16, 48), (4, 28, 28))
    """
    sides = text.split("x")
    if len(sides) > len(AXES) or not all(map(_is_number, sides)):
        raise click.BadParameter(
            f"{text!r} is not a length; write 32, 16x48 for height and width, or 4x28x28 for "
            "depth, height and width"
        )
    lengths = tuple(map(int, sides))
    return lengths[0] if len(lengths) == 1 else lengths


def parse_numbers(text: str) -> tuple[float, ...]:
    """One number per channel.

    >>> parse_numbers(".5,.25,0")
    (0.5, 0.25, 0.0)
    """
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of numbers; write .5,.5,.5") from error


def parse_bands(text: str) -> tuple[int, ...]:
    """The numbers of the channels that are shown as red, green and blue.

    >>> parse_bands("4,3,2")
    (4, 3, 2)
    """
    try:
        return tuple(int(band) for band in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is not a list of channels; write 4,3,2") from error


def parse_channels(text: str) -> tuple[int, ...]:
    """Channel numbers, in the order written, each once.

    >>> parse_channels("3,7,10-12")
    (3, 7, 10, 11, 12)
    """
    channels = (channel for part in text.split(",") for channel in _channel_range(part, text))
    return tuple(dict.fromkeys(channels))


def _channel_range(part: str, text: str) -> Iterator[int]:
    first, dash, last = (word.strip() for word in part.partition("-"))
    ends = (first, last if dash else first)
    is_readable = all(_is_number(end) and len(end) <= _MAX_CHANNEL_DIGITS for end in ends)
    if not is_readable or int(ends[0]) > int(ends[1]):
        raise click.BadParameter(f"{text!r} is not a list of channels; write 5, 0-15 or 3,7,10-12")
    yield from range(int(ends[0]), int(ends[1]) + 1)


def format_channels(channels: Sequence[int]) -> str:
    """The shortest text that `parse_channels` reads as these numbers.

    >>> format_channels((3, 7, 10, 11, 12))
    '3,7,10-12'
    """
    runs: list[list[int]] = []
    for channel in channels:
        if runs and channel == runs[-1][-1] + 1:
            runs[-1].append(channel)
        else:
            runs.append([channel])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def parse_device(text: str) -> str:
    """A kind of device, or one of several devices of a kind, such as `cuda:1`."""
    kind, colon, index = text.partition(":")
    if kind not in DEVICES or (colon and not _is_number(index)):
        raise click.BadParameter(
            f"{text!r} is not a device; choose from {', '.join(DEVICES)}, or a number of one, "
            "as cuda:1"
        )
    return text


def parse_part(text: str) -> tuple[int, int]:
    """The number of a part, and how many parts there are.

    >>> parse_part("3/16")
    (3, 16)
    """
    number, slash, parts = text.partition("/")
    is_part = slash and _is_number(number) and _is_number(parts)
    if not is_part or not 1 <= int(number) <= int(parts):
        raise click.BadParameter(
            f"{text!r} is not a part; write 1/16, 2/16 and so on up to 16/16 for sixteen parts"
        )
    return int(number), int(parts)


def parse_fill(text: str) -> str:
    """The name of a fill, or a number."""
    if text in FILLS or _is_finite(text):
        return text
    hint = did_you_mean(text, FILLS) or f"choose from {', '.join(FILLS)}, or a number"
    raise click.BadParameter(f"{text!r} is not a fill; {hint}")


def _is_finite(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def parse_ranks(text: str) -> str:
    """Which hits of each channel get a projection."""
    if text in RANKS or _is_number(text):
        return text
    raise click.BadParameter(f"{text!r} is not one of {', '.join(RANKS)}, or a number of hits")


def parse_names(
    _context: click.Context, _parameter: click.Parameter, texts: Sequence[str]
) -> tuple[str, ...]:
    """The names in a repeatable option that also takes several with commas between."""
    names = tuple(name for text in texts for name in text.replace(",", " ").split())
    if texts and not names:
        raise click.BadParameter(f"{texts[0]!r} contains no name")
    return names


def parse_classes(
    _context: click.Context, _parameter: click.Parameter, texts: Sequence[str]
) -> tuple[str, ...]:
    """Names of classes in a repeatable option, as they are written: only with the classes of the
    images at hand does a comma say whether it is part of a name.
    """
    names = tuple(text for text in texts if text.replace(",", " ").strip())
    if texts and not names:
        raise click.BadParameter(f"{texts[0]!r} contains no name")
    return names


def parse_methods(text: str) -> tuple[str, ...]:
    """What to illustrate an atlas with: one method, or several with commas between.

    >>> parse_methods("deconv, synthesize")
    ('deconv', 'synthesize')
    """
    return _parse_choices(text, ILLUSTRATION_METHODS, "methods")


def parse_scores(text: str) -> tuple[str, ...]:
    """Which numbers to compute: one, or several with commas between."""
    return _parse_choices(text, SCORES, "numbers")


def _parse_choices(text: str, choices: Sequence[str], what: str) -> tuple[str, ...]:
    names = tuple(text.replace(",", " ").split())
    unknown = [name for name in names if name not in choices]
    if names and not unknown:
        return names
    hint = did_you_mean(unknown[0], choices) if unknown else ""
    hint = hint or f"choose from {', '.join(choices)}"
    raise click.BadParameter(f"{text!r} is not a list of {what}; {hint}")
