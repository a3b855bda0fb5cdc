"""The group of commands, and what becomes of errors."""

import sys
import warnings
from typing import Any

import click

from retroscope import __version__
from retroscope.cli import (
    demo_commands,
    explain_commands,
    network_commands,
    pattern_commands,
    scan_commands,
    show_command,
    viewer_commands,
)
from retroscope.errors import RetroscopeError

HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


@click.group(
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings=HELP,
)
@click.version_option(__version__, prog_name="retroscope")
@click.pass_context
def main(context: click.Context) -> None:
    """A microscope that looks back through a convolutional network.

    MODEL is a torchvision name (vgg16), timm/NAME, keras/NAME, the path of a weight file,
    package.module:factory, file.py:factory, or demo, which comes along.
    UNIT is LAYER:CHANNEL, LAYER:CHANNEL@Y,X or LAYER:CHANNEL@* for a whole map; `layers` lists
    the layers. For example:

    \b
        retroscope demo
        retroscope layers vgg16
        retroscope deconv vgg16 conv5_3:42 cat.jpg -o unit.png
        retroscope deconv vgg16 conv5_3 cat.jpg --top 12
        retroscope explain vgg16 cat.jpg -o cat.html
        retroscope scan vgg16 photos/ --to vgg16.atlas
        retroscope show vgg16.atlas conv5_3:42
        retroscope serve vgg16.atlas
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


_FILES = (
    demo_commands,
    network_commands,
    explain_commands,
    pattern_commands,
    scan_commands,
    show_command,
    viewer_commands,
)
for _command in (command for file in _FILES for command in file.COMMANDS):
    _command.context_settings = HELP
    main.add_command(_command)


def run() -> None:
    """The console script: what a user did wrong is one line and exit status 2."""
    warnings.filterwarnings("ignore", module="PIL")  # damaged tags of a readable picture
    try:
        main(prog_name="retroscope", standalone_mode=False)
    except click.ClickException as error:
        _fail(_in_one_line(error), error.exit_code)
    except RetroscopeError as error:
        _fail(str(error), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has enough
        sys.exit(0)
    except OSError as error:
        _fail(f"cannot go on: {error.strerror or error}", 2)


def _in_one_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "retroscope"
    said = error.format_message()
    end = "" if said.endswith((".", "?")) else ";"
    return f'{said}{end} "{command} --help" tells more.'


def _fail(line: str, status: int) -> None:
    click.echo(f"retroscope: {' '.join(line.splitlines())}", err=True)
    sys.exit(status)
