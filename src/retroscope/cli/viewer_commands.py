"""Commands that show an atlas in a browser."""

from pathlib import Path

import click

from retroscope.cli.input_values import scanned_sources
from retroscope.cli.options import (
    OpenOptions,
    examples,
    layers_option,
    open_options,
    refuse_network_options,
)
from retroscope.cli.output import check_atlas, check_parent
from retroscope.cli.progress_bar import show_progress

_compare_option = click.option(
    "--compare",
    metavar="ATLAS",
    multiple=True,
    help="Atlas of the same network to show side by side; repeat it for more.",
)


@click.command(
    short_help="Show an atlas in the browser.",
    epilog=examples("serve photos.atlas", "serve photos.atlas --model imagenet --port 8000"),
)
@click.argument("atlas")
@click.option(
    "--model",
    metavar="MODEL",
    help="Network of the scan, to run on your own images and to make missing projections.",
)
@click.option(
    "--images",
    metavar="IMAGES",
    show_default="where the scan read them",
    help="With --model: images of the scan.",
)
@click.option("--glob", metavar="PATTERN", help="With --images: read only files that match.")
@_compare_option
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Address to listen on."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default="any free port",
    metavar="PORT",
    help="Port to listen on.",
)
@click.option("--no-open", is_flag=True, help="Print the address without opening a browser.")
@open_options
def serve(
    atlas: str,
    *,
    model: str | None,
    images: str | None,
    glob: str | None,
    compare: tuple[str, ...],
    host: str,
    port: int,
    no_open: bool,
    opening: OpenOptions,
) -> None:
    """Show ATLAS in the browser. Press Ctrl-C to stop.

    With --model, you can also examine your own images, which are not stored, and make projections
    that the atlas lacks, which are stored in it. Nothing leaves this machine. Anyone who can reach
    HOST can use the viewer.
    """
    from retroscope.web.security import is_local
    from retroscope.web.server import serve as run_server

    if model is None:
        refuse_network_options("images", "glob")
    if not is_local(host):
        click.echo(_describe_exposure(host, has_network=model is not None), err=True)
    check_atlas(atlas)
    net = None if model is None else opening.open_to_scan(model)
    run_server(
        atlas,
        net=net,
        images=images,
        glob=glob,
        inputs=scanned_sources(opening.inputs),
        compare=compare,
        host=host,
        port=port,
        browser=not no_open,
        on_ready=print_address,
    )


def _describe_exposure(host: str, *, has_network: bool) -> str:
    """What a server opens to others, in one line."""
    from retroscope.web.security import is_wildcard

    reach = "this machine" if is_wildcard(host) else host
    network = ", and run the network on images that they upload" if has_network else ""
    return (
        f"retroscope: warning: anyone who can reach {reach} can see this atlas, its images and "
        f"the paths of their files{network}; --host 127.0.0.1 admits only this machine"
    )


def print_address(address: str) -> None:
    """Prints the address of a server that accepts requests."""
    click.echo(f"{address}  (press Ctrl-C to stop)")


@click.command(
    short_help="Write an atlas as a static web site.",
    epilog=examples(
        "export photos.atlas site", "export photos.atlas site --layers conv7 --top-channels 16"
    ),
)
@click.argument("atlas")
@click.argument("site")
@_compare_option
@layers_option(
    "Layers to show, by name, alias, glob or kind, separated by commas.",
    shown_default="all layers of the atlas",
)
@click.option(
    "--top-channels",
    type=click.IntRange(min=1),
    metavar="N",
    show_default="all",
    help="Channels to show of each layer: those with the highest maxima.",
)
@click.option("--notes", is_flag=True, help="Include your stars and notes, read-only.")
def export(
    atlas: str,
    site: str,
    *,
    compare: tuple[str, ...],
    layers: tuple[str, ...],
    top_channels: int | None,
    notes: bool,
) -> None:
    """Write ATLAS as a static web site to the folder SITE.

    Any web host can serve it; a browser can also open it directly from the folder.
    """
    from rich.filesize import decimal

    from retroscope.web.export import check_folder, estimate_size, open_selection, write_site

    check_parent(Path(site))
    check_folder(Path(site))
    with open_selection(
        atlas, compare, layers=layers, top_channels=top_channels, notes=notes
    ) as pages:
        files, size = estimate_size(pages)
        click.echo(f"{files:,} files, about {decimal(size)}", err=True)
        with show_progress() as progress:
            write_site(pages, Path(site), progress=progress)
    click.echo(f"{site}/index.html")


COMMANDS = (serve, export)
