"""`python -m retroscope.cli`, where the console script is not on the path."""

from retroscope.cli.main import run

run()
