"""The command line: each command is a function of the library, with its words."""

from retroscope.cli.main import execute, main, run

__all__ = ["execute", "main", "run"]
