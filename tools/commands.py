"""Writes what every command says of itself: `python tools/commands.py FILE`."""

import sys
from pathlib import Path

import click

from retroscope.cli import main as retroscope


def commands() -> str:
    """The help of each command, in Markdown."""
    group = click.Context(
        retroscope, info_name="retroscope", max_content_width=100, **retroscope.context_settings
    )
    parts = ["# The commands\n\nMade by `make docs`.\n", _section("retroscope", retroscope, group)]
    for name, command in retroscope.commands.items():
        context = click.Context(command, info_name=name, parent=group, max_content_width=100)
        parts.append(_section(f"retroscope {name}", command, context))
    return "\n".join(parts)


def _section(title: str, command: click.Command, context: click.Context) -> str:
    return f"## {title}\n\n```\n{command.get_help(context)}\n```\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(commands(), "utf-8")
