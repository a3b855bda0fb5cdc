"""Options that say what is scanned and how, for all commands that scan."""

import click

from retroscope.cli.choices import CLASS_FOLDERS, PRECISIONS
from retroscope.cli.options import layers_option

LAYERS_HELP = "Layers by name, alias, glob or kind (conv, relu, pool), separated by commas."
scan_layers_option = layers_option(
    LAYERS_HELP, shown_default="each convolution, after its norm and rectifier"
)
top_option = click.option(
    "--top",
    type=click.IntRange(min=1),
    default=9,
    show_default=True,
    metavar="N",
    help="Hits to keep of each channel.",
)
labels_option = click.option(
    "--labels",
    metavar="CSV",
    show_default="the sub-folders",
    help="Classes of the images, as rows of path,class.",
)
class_folder_option = click.option(
    "--class-folder",
    type=click.Choice(CLASS_FOLDERS),
    show_default="first",
    help="Folder that is the class of an image: the first below IMAGES, the last, which it "
    "lies in, or all of them, joined.",
)
classes_option = click.option(
    "--no-classes",
    "classes",
    is_flag=True,
    callback=lambda _context, _parameter, is_without: not is_without,
    help="Leave out the statistics of classes; for a thousand classes, they take most memory.",
)
glob_option = click.option(
    "--glob", metavar="PATTERN", help="Only files of the folder that match, such as '*.jpg'."
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="full",
    show_default=True,
    help="Precision of the pass. bf16 is faster on devices that have instructions for it, and "
    "refused on others; it scores the candidates again in full.",
)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="as many as fit in memory",
    help="Images per batch.",
)
workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="one per CPU",
    help="Image-loading threads.",
)
