"""Draws a small scene to try the commands on: `python tools/scene.py FILE`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE, FINER = (320, 240), 4


def scene(seed: int = 0) -> Image.Image:
    """A face, a house and a tree under a sky, antialiased, with the grain of a photograph."""
    width, height = (side * FINER for side in SIZE)
    sky = np.linspace((150, 190, 225), (215, 225, 230), height)[:, None].repeat(width, 1)
    picture = Image.fromarray(sky.astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    _ground(pen)
    _tree(pen)
    _house(pen)
    _face(pen)
    small = np.asarray(picture.resize(SIZE, Image.Resampling.LANCZOS), np.float32)
    grain = np.random.default_rng(seed).normal(0, 5, small.shape)
    smooth = Image.fromarray(np.clip(small + grain, 0, 255).astype(np.uint8))
    return smooth.filter(ImageFilter.GaussianBlur(0.4))


def _at(*places: float) -> list[float]:
    return [place * FINER for place in places]


def _ground(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle(_at(0, 170, 320, 240), fill=(104, 146, 84))
    for row in range(176, 240, 9):
        pen.line(_at(0, row, 320, row - 4), fill=(94, 134, 74), width=2 * FINER)


def _tree(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle(_at(288, 130, 298, 190), fill=(96, 66, 44))
    for x, y, radius in ((280, 118, 20), (304, 114, 18), (292, 96, 22)):
        pen.ellipse(_at(x - radius, y - radius, x + radius, y + radius), fill=(58, 110, 62))


def _house(pen: ImageDraw.ImageDraw) -> None:
    pen.polygon(_at(176, 118, 222, 76, 268, 118), fill=(158, 66, 52))
    pen.rectangle(_at(184, 118, 260, 196), fill=(232, 218, 192))
    pen.rectangle(_at(214, 156, 234, 196), fill=(92, 62, 46))
    for x in (192, 240):
        pen.rectangle(_at(x, 128, x + 14, 144), fill=(120, 160, 190), outline=(70, 60, 50))
        pen.line(_at(x + 7, 128, x + 7, 144), fill=(70, 60, 50), width=FINER)


def _face(pen: ImageDraw.ImageDraw) -> None:
    pen.ellipse(_at(36, 62, 148, 186), fill=(236, 190, 150), outline=(120, 80, 60), width=FINER)
    for x in (70, 112):
        pen.ellipse(_at(x - 13, 102, x + 13, 120), fill=(250, 250, 248))
        pen.ellipse(_at(x - 6, 104, x + 6, 118), fill=(62, 92, 120))
        pen.ellipse(_at(x - 3, 107, x + 3, 115), fill=(15, 15, 20))
        pen.arc(_at(x - 16, 88, x + 16, 116), 200, 340, fill=(90, 60, 40), width=3 * FINER)
    pen.polygon(_at(92, 116, 84, 142, 100, 142), fill=(216, 164, 126))
    pen.arc(_at(68, 130, 116, 168), 20, 160, fill=(170, 60, 60), width=4 * FINER)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    scene().save(target)
