"""The command that merges what several scans have found."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from retroscope.cli.options import examples, stdout_to_stderr
from retroscope.cli.output import check_atlas_writable
from retroscope.cli.progress_bar import show_progress


@click.command(
    short_help="Merge a plan, or several atlases, into one atlas.",
    epilog=examples(
        "merge r50.plan --to r50.atlas",
        "merge monday.atlas tuesday.atlas --to both.atlas",
    ),
)
@click.argument("sources", nargs=-1, required=True, metavar="PLAN|ATLAS...")
@click.option("--to", required=True, metavar="ATLAS", help="Atlas file to create.")
@click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave out the lots of the plan that have not been swept.",
)
@click.option("--restart", is_flag=True, help="Discard what the atlas file holds and start over.")
def merge(sources: Sequence[str], *, to: str, allow_missing: bool, restart: bool) -> None:
    """Merge the folder of a PLAN that has been swept, or finished atlases, into one atlas.

    The atlases are scans of the same layers of one network, over different images. Hits are ranked
    as in one scan of all images; patterns, and the projections of the hits that remain, are copied.
    `illustrate` adds the projections that are missing.
    """
    from retroscope.render.captions import count_noun
    from retroscope.scanning.merging.merge import merge as run_merge

    check_atlas_writable(Path(to))
    with stdout_to_stderr(), show_progress() as progress:
        atlas = run_merge(
            sources, to=to, allow_missing=allow_missing, restart=restart, progress=progress
        )
    with atlas:
        counts = count_noun(len(atlas.images), "image"), count_noun(len(atlas.layers), "layer")
        click.echo(f"{to}: {', '.join(counts)}", err=True)
        for line in _describe_gaps(atlas.meta):
            click.echo(line, err=True)
    click.echo(to)


def _describe_gaps(meta: Mapping[str, object]) -> Iterator[str]:
    """What a merged plan lacks, and that its machines differed."""
    left_out, machines = meta.get("left_out"), meta.get("machines")
    if isinstance(left_out, list):
        for entry in left_out[:_MAX_LINES]:
            yield f"left out of lot {entry['lot']}: {', '.join(entry['shards'])}: {entry['reason']}"
        if left_out[_MAX_LINES:]:
            yield f"and {len(left_out) - _MAX_LINES} more, in the atlas's fact left_out"
    if isinstance(machines, list):
        yield (
            f"swept on machines of {len(machines)} kinds ({'; '.join(machines)}): numbers may "
            "differ in the last digits from those of one machine"
        )


_MAX_LINES = 3

COMMANDS = (merge,)
