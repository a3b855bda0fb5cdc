"""The command that looks for what is wrong in a scanned network."""

import click

from retroscope.cli.options import (
    OpenOptions,
    examples,
    open_options,
    refuse_network_options,
    stdout_to_stderr,
)
from retroscope.cli.output import print_json


@click.command(
    short_help="Find shortcuts, dead channels and copies in a scanned network.",
    epilog=examples("audit photos.atlas", "audit photos.atlas --model vgg16 --json"),
)
@click.argument("atlas")
@click.option(
    "--model",
    metavar="MODEL",
    help="Network of the scan; its weights show noisy and aliased filters, and confirm duplicates.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@open_options
def audit(atlas: str, *, model: str | None, as_json: bool, opening: OpenOptions) -> None:
    """Look for faults, and possible faults, in the network and the images of ATLAS.

    Finds units and classes that rely on one place of the images, such as a watermark; dead,
    saturated and duplicate channels; and bad filters. Each finding comes with its
    numbers, the rule that raised it, and what would disprove it; the most severe come first.
    """
    from retroscope.atlas.reader import open_atlas
    from retroscope.auditing.audit import audit as audit_atlas
    from retroscope.render.audit_text import audit_lines
    from retroscope.results.as_json import as_json as to_json

    if model is None:
        refuse_network_options()
    with open_atlas(atlas) as opened, stdout_to_stderr():
        net = None if model is None else opening.open(model)
        result = audit_atlas(opened, net=net)
    if as_json:
        print_json(to_json(result))
    else:
        click.echo("\n".join(audit_lines(result)))


COMMANDS = (audit,)
