"""Masks of concepts: an image of numbers beside each image, and a CSV file of their names.

`write_world` writes such a folder with its part maps; any folder of label images will do.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import numpy as np
import PIL.ExifTags
import PIL.Image

from retroscope.errors import RetroscopeError
from retroscope.imaging.frames import FrameFolder
from retroscope.imaging.image import Fit, Image, fit_image
from retroscope.scanning.scoring.dissection import LabelMap
from retroscope.scanning.sources import ImageList

_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
_MAX_NUMBER = 2**16 - 1
_TURNED = frozenset({5, 6, 7, 8})
"""The orientations of an image file whose rows are columns when it is upright."""


@dataclass(frozen=True)
class ConceptMasks:
    """A folder of label images. `names` are the concepts by their numbers; 0 is no concept."""

    folder: Path
    names: dict[int, str]

    @property
    def numbers(self) -> list[int]:
        return list(self.names)

    def fingerprint(self, keys: Iterable[str]) -> str:
        """A digest of the names, and of the size and the time of the label image of each key."""
        digest = blake2b(json.dumps(self.names).encode(), digest_size=4)
        for path in filter(None, map(self.path, keys)):
            status = path.stat()
            digest.update(
                f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode(
                    errors="surrogateescape"
                )
            )
        return digest.hexdigest()

    def path(self, key: str) -> Path | None:
        """The label image of an image: of the same path, or with the ending .png."""
        relative = PurePosixPath(key)
        if relative.is_absolute():
            relative = PurePosixPath(relative.name)
        paths = (self.folder / relative, self.folder / relative.with_suffix(".png"))
        return next((path for path in paths if path.is_file()), None)

    def read(self, key: str, fit: Fit) -> LabelMap:
        """The numbers of the concepts under the pixels of the network's input."""
        path = self.path(key)
        assert path is not None, "images without a mask are left out"
        labels = _read_labels(path)
        unknown = set(np.unique(labels).tolist()) - {0, *self.names}
        if unknown:
            raise RetroscopeError(
                f"{str(path)!r} has the number {min(unknown)}, which the CSV file of "
                f"{str(self.folder)!r} does not name; add a row for it",
                parameter="masks",
            )
        return _fit_labels(labels, fit)


def open_masks(folder: str | Path, keys: Sequence[str]) -> ConceptMasks:
    """The masks in a folder. Raises if there are none for these images."""
    path = Path(folder)
    if not path.is_dir():
        raise RetroscopeError(
            f"no folder {str(folder)!r}; give a folder of label images with a CSV file of names",
            parameter="masks",
        )
    masks = ConceptMasks(path, _read_concepts(_find_table(path)))
    if not any(masks.path(key) is not None for key in keys):
        raise RetroscopeError(
            f"{str(folder)!r} has no mask of any image; the mask of {keys[0]!r} would be "
            f"{str(PurePosixPath(keys[0]).with_suffix('.png'))!r} in it",
            parameter="masks",
        )
    return masks


def refuse_other_shape(image_list: ImageList, index: int, mask: Path | None) -> None:
    """Raises if the mask of an image in a file has other proportions than the image."""
    if image_list.files is None or mask is None:
        return
    with image_list.files.open(index) as image:
        if isinstance(image.file, FrameFolder):  # which has no masks
            return
        with PIL.Image.open(image.file) as opened:
            is_turned = opened.getexif().get(PIL.ExifTags.Base.Orientation, 1) in _TURNED
            width, height = opened.size[::-1] if is_turned else opened.size
    with PIL.Image.open(mask) as opened:
        mask_width, mask_height = opened.size
    if abs(width * mask_height - height * mask_width) > max(width, height, mask_width, mask_height):
        raise RetroscopeError(
            f"the mask {str(mask)!r} has {mask_height}x{mask_width} pixels, its image "
            f"{height}x{width}; a mask has the proportions of its image",
            parameter="masks",
        )


def _find_table(folder: Path) -> Path:
    tables = sorted(folder.glob("*.csv"))
    if len(tables) != 1:
        count = f"{len(tables)} CSV files" if tables else "no CSV file"
        raise RetroscopeError(
            f"{str(folder)!r} has {count}; it needs one, with rows of number,name",
            parameter="masks",
        )
    return tables[0]


def _read_concepts(table: Path) -> dict[int, str]:
    """The names of the concepts by number. The first row may be a header."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RetroscopeError(
            f"cannot read {str(table)!r} ({error}); give a CSV file with rows of number,name",
            parameter="masks",
        ) from error
    if rows and not rows[0][0].isdecimal():
        rows = rows[1:]
    names: dict[int, str] = {}
    for row in rows:
        if len(row) < 2 or not row[0].isdecimal() or int(row[0]) > _MAX_NUMBER or not row[1]:
            raise RetroscopeError(
                f"{str(table)!r} has a row {','.join(row)!r}; write number,name with a number from "
                f"0 to {_MAX_NUMBER}",
                parameter="masks",
            )
        if names.setdefault(int(row[0]), row[1]) != row[1]:
            raise RetroscopeError(
                f"{str(table)!r} gives the number {row[0]} two names, {names[int(row[0])]!r} and "
                f"{row[1]!r}; keep one",
                parameter="masks",
            )
    names.pop(0, None)
    if not names:
        raise RetroscopeError(
            f"{str(table)!r} names no concept; write rows of number,name with numbers from 1",
            parameter="masks",
        )
    return names


def _read_labels(path: Path) -> LabelMap:
    try:
        with PIL.Image.open(path) as image:
            if image.mode not in _MODES:
                raise RetroscopeError(
                    f"{str(path)!r} is an image of mode {image.mode}; a label image has one number "
                    "for each pixel (PNG, grey or palette)",
                    parameter="masks",
                )
            return np.asarray(image).astype(np.int64)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise RetroscopeError(
            f"cannot read the mask {str(path)!r} ({error}); restore it", parameter="masks"
        ) from error


def _fit_labels(labels: LabelMap, fit: Fit) -> LabelMap:
    """Resized and cropped as the image is, but without mixing numbers."""
    planes = np.stack([labels % 256, labels // 256, np.zeros_like(labels)], axis=2)
    fitted = fit_image(Image(planes.astype(np.uint8)), replace(fit, resample="nearest")).pixels
    return fitted[..., 0].astype(np.int64) + 256 * fitted[..., 1].astype(np.int64)
