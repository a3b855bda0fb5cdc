"""Commands that show an atlas to a browser."""

from pathlib import Path
from typing import Any

import click

from retroscope.cli.options import opened_from, runs_a_network
from retroscope.cli.progress_bar import shown_progress

_compare = click.option(
    "--compare", metavar="ATLAS", help="Another atlas of the same network, to see side by side."
)


@click.command(short_help="Show an atlas in the browser.")
@click.argument("atlas")
@click.option("--model", help="The network, to look at images of your own.")
@_compare
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="0 for any that is free.",
)
@click.option("--no-open", is_flag=True, help="Say the address only; open no browser.")
@runs_a_network
def serve(
    atlas: str,
    *,
    model: str | None,
    compare: str | None,
    host: str,
    port: int,
    no_open: bool,
    **options: Any,
) -> None:
    """Show ATLAS in the browser, until Ctrl-C.

    With --model images of your own can be looked at too. Nothing leaves this machine, and nothing
    is kept.
    """
    from retroscope.web.security import is_local
    from retroscope.web.server import serve as run

    if not is_local(host):
        click.echo(
            f"retroscope: warning: anybody who reaches {host} can see this atlas"
            + (" and use this machine to run the network" if model else ""),
            err=True,
        )
    net = None if model is None else opened_from(model, options)
    run(
        atlas,
        model=net,
        compare=compare,
        host=host,
        port=port,
        browser=not no_open,
        told=lambda address: click.echo(f"{address}  (Ctrl-C ends it)"),
    )


@click.command(short_help="Write an atlas as a site of files.")
@click.argument("atlas")
@click.argument("site")
@_compare
def export(atlas: str, site: str, *, compare: str | None) -> None:
    """Write ATLAS to the folder SITE, for any web host, or to be opened from there as it is."""
    from retroscope.web.export import files_and_bytes, refuse_no_place, write_site
    from retroscope.web.site.site import opened_site

    refuse_no_place(Path(site))
    with opened_site(atlas, compare) as opened:
        files, size = files_and_bytes(opened)
        click.echo(f"{files:,} files, about {max(size / 1e6, 1):,.0f} MB", err=True)
        with shown_progress() as progress:
            write_site(opened, Path(site), progress=progress)
    click.echo(f"{site}/index.html")


COMMANDS = (serve, export)
