"""The command line: each command is a function of the library, with its words."""

from retroscope.cli.main import main, run

__all__ = ["main", "run"]
