"""Options that say what is scanned and how, for all commands that scan."""

from dataclasses import dataclass, fields
from typing import Any

import click

from retroscope.cli.choices import CLASS_FOLDERS, PRECISIONS
from retroscope.cli.options import layers_option
from retroscope.cli.parameter_types import parse_classes


@dataclass(frozen=True)
class SweepOptions:
    """What `scan` and `plan` are asked for alike: keywords of both."""

    layers: tuple[str, ...]
    top: int
    per_class: int | None
    ranked_classes: tuple[str, ...]
    labels: str | None
    class_folder: str | None
    classes: bool
    glob: str | None
    precision: str
    batch_size: int | None

    @property
    def keywords(self) -> dict[str, Any]:
        """All options as keywords of the library."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            "layers": self.layers or None,
            "ranked_classes": self.ranked_classes or None,
        }


LAYERS_HELP = "Layers by name, alias, glob or kind (conv, relu, pool), separated by commas."
labels_option = click.option(
    "--labels",
    metavar="CSV",
    show_default="the sub-folders",
    help="Classes of the images, as rows of path,class.",
)
glob_option = click.option(
    "--glob", metavar="PATTERN", help="Read only files that match, such as '*.jpg'."
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one per CPU",
    help="Image-loading threads.",
)

SWEEP_OPTIONS = (
    layers_option(LAYERS_HELP, shown_default="each convolution, after its norm and rectifier"),
    click.option(
        "--top",
        type=click.IntRange(min=1),
        default=9,
        show_default=True,
        metavar="N",
        help="Hits to keep for each channel.",
    ),
    click.option(
        "--per-class",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="no rankings by class",
        help="Also keep N hits for each channel among the images of each class.",
    ),
    click.option(
        "--ranked-classes",
        multiple=True,
        metavar="CLASSES",
        callback=parse_classes,
        show_default="all classes",
        help="Classes for --per-class, separated by commas; repeat the option for more.",
    ),
    labels_option,
    click.option(
        "--class-folder",
        type=click.Choice(CLASS_FOLDERS),
        show_default="first",
        help="Folder that gives the class of an image: the first below IMAGES, the last (the one "
        "that holds the image), or all of them, joined.",
    ),
    click.option(
        "--no-classes",
        "classes",
        is_flag=True,
        callback=lambda _context, _parameter, is_without: not is_without,
        help="Leave out statistics of classes. With a thousand classes they take most of the "
        "memory.",
    ),
    glob_option,
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="full",
        show_default=True,
        help="Precision of the pass. bf16 is faster on devices that have instructions for it, and "
        "refused on others; candidates are scored again in full precision.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        metavar="N",
        show_default="as many as fit in memory",
        help="Images per batch.",
    ),
)
"""The options of `SweepOptions`."""
