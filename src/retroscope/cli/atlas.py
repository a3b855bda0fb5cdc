"""Commands that make an atlas and look into one."""

import click

COMMANDS: tuple[click.Command, ...] = ()
