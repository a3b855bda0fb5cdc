"""Draw the gallery of photographs: `python tools/gallery.py docs/images [NAME ...]`.

The network is `imagenet`; the photographs are those of scikit-image that are free of rights.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data

import retroscope as rs
from retroscope.render.captions import percent
from retroscope.render.layout import TIGHT, column, grid, page, row
from retroscope.render.text import BODY, HEADING, LABEL, line
from retroscope.render.theme import MUTED
from retroscope.render.tone import DEFAULT_TONE, apply_tone

TILE = 150
UNITS = (
    "block5.expand.relu:142@10,8",
    "block8.expand.relu:331@7,11",
    "block8.expand.relu:237@11,10",
    "block12.expand.relu:453@5,4",
    "block12.expand.relu:663@5,2",
    "block12.expand.relu:9@3,5",
    "head.relu:756@5,4",
)
"""Units of the cat's photograph, from shallow to deep."""
PARTS = ("pupil", "lower eyelid", "edge of the nose", "nose", "whisker pad", "eye", "muzzle")
PHOTOGRAPHS = ("chelsea", "coffee", "astronaut", "camera")
NEIGHBOURS = ("head.relu:760@3,1", "head.relu:1044@3,1")
"""Two strong units at one position of the cat's photograph."""


PATTERN_UNITS = (
    "block3.expand.relu:43",
    "block8.expand.relu:237",
    "block12.expand.relu:453",
    "head.relu:756",
)
PATTERN_CLASSES = (
    *("golden retriever", "goldfish", "flamingo", "zebra"),
    *("volcano", "strawberry", "daisy", "castle"),
)


def photograph(name: str) -> rs.Image:
    """A photograph of scikit-image."""
    pixels = Image.fromarray(getattr(data, name)()).convert("RGB")
    return rs.Image(np.asarray(pixels), source=name)


def tile(pixels: Any, side: int = TILE) -> Image.Image:
    """Pixels as a square of one size."""
    return Image.fromarray(np.asarray(pixels)).resize((side, side), Image.Resampling.BICUBIC)


def captioned(image: Image.Image, title: str, below: str) -> Image.Image:
    """An image with two lines under it."""
    lines = [
        line(title, width=image.width, size=BODY),
        line(below, width=image.width, size=LABEL, colour=MUTED),
    ]
    return column([image, *lines], gap=TIGHT)


def units(net: rs.Network) -> Image.Image:
    """One photograph: what units of four depths see of it, and what in that makes them fire."""
    cat = photograph("chelsea")
    requests = [(unit, cat) for unit in UNITS]
    columns = []
    for part, projection in zip(PARTS, rs.deconv_many(net, requests), strict=True):
        layer, channel = projection.unit.layer.split(".")[0], projection.unit.channel
        tones = apply_tone(projection.pixels, DEFAULT_TONE)
        tiles = [tile(pixels) for pixels in (projection.patch, tones, projection.lit())]
        columns.append(captioned(column(tiles, gap=TIGHT), part, f"{layer}, channel {channel}"))
    heading = line(
        "Seven units of an EfficientNet, from shallow to deep: the patch each sees, what makes "
        "it fire, and both in one",
        width=columns[0].width * len(columns),
        size=HEADING,
    )
    return page([heading, row(columns, gap=TIGHT)])


def rules(net: rs.Network) -> Image.Image:
    """Two units at one position by each rule book."""
    cat = photograph("chelsea")
    names = ("deconvnet", "guided", "relevance", "contrast")
    rows = []
    for unit in NEIGHBOURS:
        projections = [rs.deconv(net, unit, cat, rules=name) for name in names]
        tiles = [tile(projections[0].patch)]
        tiles += [tile(apply_tone(each.pixels, DEFAULT_TONE)) for each in projections]
        tiles.append(tile(projections[2].lit()))
        channel = f"channel {rs.Unit.parse(unit).channel}"
        labels = ((channel, "head"), *((name, "") for name in names), ("lit by relevance", ""))
        cells = [captioned(image, *text) for image, text in zip(tiles, labels, strict=True)]
        rows.append(row(cells, gap=TIGHT))
    return page(rows)


def heat(net: rs.Network) -> Image.Image:
    """Grad-CAM for the best class of each photograph."""
    cells = []
    for name in PHOTOGRAPHS:
        result = rs.cam(net, photograph(name))
        overlaid = tile(rs.draw(result, bare=True), 2 * TILE - 30)
        cells.append(captioned(overlaid, str(result.target), percent(result.probability or 0)))
    return page([row(cells)])


def explanation(net: rs.Network) -> Image.Image:
    """The page of `explain`, as an image."""
    layers = ("block5.expand.norm", "block11.expand.norm", "head.norm")
    return rs.draw(rs.explain(net, photograph("coffee"), layers=layers))


def occlusion(net: rs.Network) -> Image.Image:
    """What the class score loses where a grey square hides the photograph."""
    return rs.draw(rs.occlusion(net, photograph("chelsea"), size=40, stride=12))


def patterns(net: rs.Network) -> Image.Image:
    """What excites units of four depths and eight classes most."""
    drawn = [(unit, "", rs.synthesize(net, unit)) for unit in PATTERN_UNITS]
    classes = [(name, rs.excite_class(name)) for name in PATTERN_CLASSES]
    drawn += [(name, "class", rs.synthesize(net, objective)) for name, objective in classes]
    cells = [
        captioned(tile(pattern.image, 2 * TILE - 30), title.replace(".expand.relu", ""), kind)
        for title, kind, pattern in drawn
    ]
    return page([grid(cells, columns=4)])


FIGURES: dict[str, Callable[[rs.Network], Image.Image]] = {
    "units": units,
    "rules": rules,
    "heat": heat,
    "explanation": explanation,
    "occlusion": occlusion,
    "patterns": patterns,
}


def main(target: Path, names: Sequence[str]) -> None:
    """Draws the figures with these names, or all."""
    net = rs.open_model("imagenet")
    for name in names or FIGURES:
        path = target / f"gallery-{name}.webp"
        FIGURES[name](net).save(path, quality=88, method=6)
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
