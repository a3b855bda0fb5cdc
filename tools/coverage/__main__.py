"""Check families of networks: `python -m tools.coverage [--only REGEX] [--jobs N] [--output FILE]`.

Each network is opened with random weights and every answer is compared with a plain definition:
fields with perturbations and gradients, values with hooks, projections with autograd, crops with
whole images, Grad-CAM and a scan. The results are lines of JSON; a stopped run continues, and
`--table` writes the page of them.
"""

import argparse
import re
from pathlib import Path

from tools.coverage.families import all_cases, preload
from tools.coverage.page import write_page
from tools.coverage.runner import read_rows, run_all, source_commit

RESULTS, PAGE = Path("docs/coverage.jsonl"), Path("docs/coverage.md")


def main() -> None:
    """Run the checks, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m tools.coverage", description=__doc__)
    parser.add_argument("--only", default="", help="Networks whose FAMILY/NAME has this pattern.")
    parser.add_argument("--jobs", type=int, default=1, help="Processes at a time.")
    parser.add_argument("--seconds", type=float, default=5.0, help="Limit of each kind of check.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="Results.")
    parser.add_argument("--again", action="store_true", help="Run those of another commit too.")
    parser.add_argument("--failed", action="store_true", help="Run those with faults again.")
    parser.add_argument("--list", action="store_true", help="List the networks.")
    parser.add_argument("--earlier", default="", help="Commit whose page has earlier results.")
    parser.add_argument("--table", action="store_true", help="Write docs/coverage.md.")
    options = parser.parse_args()
    rows = read_rows(options.output)
    preload()
    if options.table:
        cases = all_cases()
        pending = [case for case in cases if case.key not in rows]
        rows = {case.key: rows[case.key] for case in cases if case.key in rows}
        write_page(rows, pending, PAGE, earlier=options.earlier)
        return
    cases = [case for case in all_cases() if re.search(options.only, case.key)]
    if options.failed:
        cases = [case for case in cases if _has_failed(rows.get(case.key, {}))]
    else:
        cases = [case for case in cases if _has_to_run(rows.get(case.key), again=options.again)]
    if options.list:
        print("\n".join(case.key for case in cases))
        return
    run_all(cases, options.output, jobs=options.jobs, seconds=options.seconds)


def _has_to_run(row: dict[str, object] | None, *, again: bool) -> bool:
    return row is None or (again and row.get("commit") != source_commit())


def _has_failed(row: dict[str, object]) -> bool:
    is_unknown = "unusable" in row and not row.get("refused")
    return bool(row.get("wrong") or row.get("faults") or is_unknown)


if __name__ == "__main__":
    main()
