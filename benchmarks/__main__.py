"""Run a benchmark: `python -m benchmarks NAME` prints a table and writes `results/NAME.md`."""

import sys
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("[a-z]*.py") if path.stem not in ("timing",))


def main() -> None:
    """Run the benchmark named on the command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m benchmarks {{{','.join(NAMES)}}}")
    name = sys.argv[1]
    report: str = import_module(f"benchmarks.{name}").report()
    results = FOLDER / "results"
    results.mkdir(exist_ok=True)
    (results / f"{name}.md").write_text(report)
    print(report)


if __name__ == "__main__":
    main()
