"""The page of the results: docs/coverage.md."""

import platform
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tools.coverage.page_tables import (
    CHECK_HEADS,
    COMPARED_HEADS,
    FIELD_HEADS,
    GROUP_HEADS,
    GROUPS,
    TOKEN_HEADS,
    TOKENS,
    VERDICT_HEADS,
    by_check,
    compared,
    fields,
    is_open,
    operations,
    table,
    transformers,
    verdicts,
)
from tools.coverage.runner import Row, engine_digest
from tools.coverage.subject import Case

INTRODUCTION = """\
# Coverage: which networks are answered, and which answers are refused

`python -m tools.coverage` opens every network below with random weights, and compares the answers
of retroscope with plain definitions:

- **fields**: large random changes to all pixels outside a claimed field, and the gradient there,
  must not reach the unit;
- **values**: the maps of a layer are the output of the module of that name;
- **tokens**: the grid and the tokens without a position are as many as the module returns; where
  each token attends to itself alone, its place is in the middle of the pixels that reach it;
- **projections**: equal to torch's own gradient, to the change that small steps make, and to guided
  backpropagation and the deconvnet written by replacing torch's rectifiers; crops equal whole
  images;
- **Grad-CAM** without a target, and **targets**: Grad-CAM, HiResCAM and LayerCAM of boxes by rank,
  classes at a pixel, classes by number and numbers among the outputs, equal to definitions with
  plain gradients;
- a **scan** of four images: its maxima are those of plain runs.

Networks run in double precision where they can, each in a process of its own. A refusal is an
error that names its reason; a fault is any other error, a warning, or a run out of time or memory.
A wrong answer contradicts its definition without saying so. *Tight* are local fields whose gradient
reaches at least 80 % of the claimed height and width. Each kind of check has a time limit, so large
networks have fewer comparisons.

Networks of video get a clip, the others an image. `docs/coverage.jsonl` has a line for each
network; a run adds those that it lacks.

A network is *right* if all answers about it were, *partly refused* if some were refused by name and
the others right, and *refused* if it does not open.
"""


def write_page(
    rows: dict[str, Row], pending: Sequence[Case], page: Path, *, earlier: str = ""
) -> None:
    """Writes the page from the last row of each network, and the networks that have none.

    `earlier` is a commit whose page has results of those.
    """
    usable = [row for row in rows.values() if "unusable" not in row or row.get("refused")]
    kinds = verdicts(usable, "family", "group")
    sections = [
        INTRODUCTION,
        f"{environment()}\n\n{versions(usable, pending)}",
        f"## Summary\n\n{verdict(usable)}\n\n{table(VERDICT_HEADS, verdicts(usable))}",
        f"Networks by kind of answer:\n\n{table(CHECK_HEADS, by_check(usable))}",
        f"Layers and their fields:\n\n{table(FIELD_HEADS, fields(usable))}",
        f"Answers compared:\n\n{table(COMPARED_HEADS, compared(usable))}",
        f"## Transformers\n\n{TOKENS}\n\n{table(TOKEN_HEADS, transformers(usable))}",
        f"## Wrong answers\n\n{findings(usable, 'wrong')}",
        f"## Faults\n\n{findings(usable, 'faults')}",
        f"## Refusals\n\n{refusals(usable)}",
        f"## Operations that make fields the whole image\n\n{operations(usable)}",
        f"## Layers that are not listed\n\n{UNLISTED}\n\n{missing(usable)}",
        f"## Networks that were not checked\n\n{unusable(rows.values())}",
        f"## Networks that have not run yet\n\n{pending_networks(pending, earlier)}",
        f"## Kinds of networks\n\n{GROUPS}\n\n{table(GROUP_HEADS, kinds)}",
    ]
    page.write_text("\n\n".join(section.strip() for section in sections) + "\n")


def environment() -> str:
    """The machine's class and the versions."""
    packages = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "numpy")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    return (
        f"Measured on a {platform.machine()} CPU with {_cpu_facts()}, one thread a network; "
        f"Python {platform.python_version()}, {versions}."
    )


def versions(rows: Sequence[Row], pending: Sequence[Case]) -> str:
    """Which commits the results are of, and whether their engine is that of the code as it is."""
    counts = Counter((str(row.get("commit", "")), row.get("engine")) for row in rows)
    parts = [
        f"{count} of {len(rows)} results are of commit {commit or '(unknown)'}"
        + ("" if engine == engine_digest() else ", whose engine is an earlier version")
        for (commit, engine), count in counts.most_common()
    ]
    missing = f"{len(pending)} networks have no result. " if pending else ""
    limits = " or ".join(sorted({f"{row.get('limit', 5.0):g}" for row in rows}))
    return (
        f"{'; '.join(parts)}. {missing}A check of a network ends "
        f"after {limits} seconds. `--again` repeats the results of other commits."
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"


def _cpu_facts() -> str:
    """The number of cores and the vector instructions."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    flags = set(next(iter(re.findall(r"^flags\s*: (.*)$", text, re.MULTILINE)), "").split())
    known = [flag for flag in ("avx", "avx2", "fma", "avx512f", "amx_tile") if flag in flags]
    return f"{text.count('processor	:')} cores ({', '.join(known)})"


def verdict(rows: Sequence[Row]) -> str:
    """The numbers that must be zero, in a sentence."""
    wrong = sum(bool(row.get("wrong")) for row in rows)
    faults = sum(bool(row.get("faults")) for row in rows)
    opened = sum(is_open(row) for row in rows)
    return (
        f"**{len(rows)} networks, {opened} open ({opened / max(len(rows), 1):.0%}). "
        f"Networks with a wrong answer: {wrong}. Networks with a fault: {faults}.**"
    )


def findings(rows: Sequence[Row], kind: str) -> str:
    """The first findings of each network."""
    lines = [
        f"- `{row['name']}` ({row['family']}), {finding['check']}: {one_line(finding['text'])}"
        for row in rows
        for finding in row.get(kind, [])[:2]
    ]
    return "\n".join(lines) or "None."


def refusals(rows: Sequence[Row]) -> str:
    """Each reason, and the networks and checks that met it."""
    networks: dict[str, dict[str, None]] = defaultdict(dict)
    checks: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        for finding in row.get("refused", []):
            reason = without_specifics(one_line(finding["text"]), row)
            networks[reason][row["name"]] = None
            checks[reason][finding["check"]] = None
    ordered = sorted(networks, key=lambda reason: -len(networks[reason]))
    return "\n".join(
        f"- {reason} ({', '.join(checks[reason])}; {len(networks[reason])}: "
        f"{listing(networks[reason])})"
        for reason in ordered
    )


def without_specifics(text: str, row: Row) -> str:
    """A reason without names, numbers and torch's own words, so that equal reasons are one."""
    text = text.replace(row["name"].replace(":", "-"), "NETWORK")
    text = re.sub(r"shape \([\d, ]*\)", "shape (...)", text)
    text = re.sub(r"returns \d+ maps", "returns N maps", text)
    text = re.sub(r"its first layer, [\w.]+,", "its first layer", text)
    text = re.sub(r" \(\w+Error: .*", "", text)
    return re.sub(r"\d+x\d+(?:x\d+)*", "HxW", text)


UNLISTED = """\
Modules that read the image and are not among `net.layers`. `net.unlisted` names each with the
reason; one that it does not name is a wrong answer above."""


def missing(rows: Sequence[Row]) -> str:
    """The modules that read the image and are not among the layers, by kind."""
    networks: dict[str, dict[str, None]] = defaultdict(dict)
    counts: Counter[str] = Counter()
    for row in rows:
        for entry in row.get("missing", []):
            kind = entry.rpartition("(")[2].rstrip(")")
            networks[kind][row["name"]] = None
            counts[kind] += 1
    return (
        "\n".join(
            f"- `{kind}`: {count} in {len(networks[kind])} networks ({listing(networks[kind])})"
            for kind, count in counts.most_common()
        )
        or "None."
    )


def unusable(rows: Iterable[Row]) -> str:
    """The networks that a plain forward pass of one image does not run either."""
    lines = [
        f"- `{row['name']}` ({row['family']}): {one_line(row['unusable'])[:160]}"
        for row in rows
        if "unusable" in row and not row.get("refused")
    ]
    head = "A plain forward pass of one image, at any of the sizes tried, ends in an error:"
    return "\n".join([head, "", *lines]) if lines else "None."


def pending_networks(cases: Sequence[Case], earlier: str = "") -> str:
    """The networks without results, by family."""
    known = f"This page at commit {earlier} has results of an earlier engine for most of them.\n\n"
    families: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        families[case.family].append(case.name)
    lines = [
        f"- {family}: {len(names)} ({listing(names, limit=30)})"
        for family, names in families.items()
    ]
    return (known if earlier else "") + "\n".join(lines) if lines else "None."


def listing(names: Iterable[str], limit: int = 6) -> str:
    """The first names, and how many more there are."""
    everything = list(names)
    more = f" and {len(everything) - limit} more" if len(everything) > limit else ""
    return ", ".join(f"`{name}`" for name in everything[:limit]) + more


def one_line(text: str) -> str:
    """The first line of a text, at most 240 characters, without what Markdown would change."""
    line = next(iter(text.splitlines()), "")
    return line[:240].replace("|", "/").replace("<", "&lt;").replace("*", "\\*")
