"""The tables of docs/coverage.md."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tools.coverage.field_checks import clean_name
from tools.coverage.runner import Row


def is_open(row: Row) -> bool:
    """Whether its layers could be listed."""
    return "layers" in row and "unusable" not in row


VERDICT_HEADS = "family", "networks", "right", "partly refused", "refused", "wrong", "faults"
GROUP_HEADS = "family", "defined in", *VERDICT_HEADS[1:]
GROUPS = "Networks by the module that defines them; sketches by what they are about."


def verdicts(rows: Sequence[Row], *keys: str) -> Iterator[list[str]]:
    """A row for each family, or for each kind of network: how many are right, refused or wrong."""
    for names, members in by_family(rows, *keys):
        counts = Counter(verdict_of(row) for row in members)
        yield [*names, str(len(members)), *(str(counts[name]) for name in VERDICT_HEADS[2:])]


def verdict_of(row: Row) -> str:
    """The column of a network: its worst answer."""
    if row.get("wrong") or row.get("faults"):
        return "wrong" if row.get("wrong") else "faults"
    if not is_open(row):
        return "refused"
    return "partly refused" if row.get("refused") else "right"


CHECK_HEADS = "answer", "right", "refused", "wrong", "faults", "not comparable"


def by_check(rows: Sequence[Row]) -> Iterator[list[str]]:
    """A row for each kind of answer: in how many networks it is right, refused or wrong."""
    names = dict.fromkeys(name for row in rows for name in ("open", *row.get("ran", [])))
    for name in names:
        met = Counter(outcome_of(row, name) for row in rows)
        yield [name, *(str(met[outcome]) for outcome in CHECK_HEADS[1:])]


def outcome_of(row: Row, check: str) -> str:
    """What a check found in a network; empty if it did not run."""
    kinds = ("wrong", "faults", "refused", "not_comparable")
    for kind in kinds:
        if any(finding["check"] == check for finding in row.get(kind, [])):
            return kind.replace("_", " ")
    return "right" if check in row.get("ran", []) or (check == "open" and is_open(row)) else ""


FIELD_HEADS = (
    *("family", "layers", "local", "gated", "whole", "whole, named", "tight local fields"),
    "tight whole-image fields",
)


def fields(rows: Sequence[Row]) -> Iterator[list[str]]:
    """A row for each family: what fields its layers have."""
    for names, members in by_family(rows):
        layers, whole, gated = (total(members, name) for name in ("layers", "whole", "gated"))
        yield [
            *names,
            str(layers),
            *(percent(count, layers) for count in (layers - whole - gated, gated, whole)),
            percent(total(members, "whole_with_note"), layers),
            percent(total(members, "support_local_tight"), total(members, "support_local")),
            percent(total(members, "support_whole_tight"), total(members, "support_whole")),
        ]


TOKENS = """\
Kinds of networks whose modules return tokens: the layers with token maps; those listed as tokens
without a grid, as they are in no simple order; the most tokens without a position; the places that
were compared with attention to oneself, and those that all pixels reach even then; Grad-CAM."""
TOKEN_HEADS = (
    *("family", "defined in", "networks", "layers of tokens", "without a grid", "extra tokens"),
    *("places compared", "all pixels", "Grad-CAM compared", "wrong"),
)
TOKEN_COUNTS = "token_layers", "token_layers_without_a_grid"


def transformers(rows: Sequence[Row]) -> Iterator[list[str]]:
    """A row for each kind of network with tokens."""
    listed = [row for row in rows if total([row], TOKEN_COUNTS[0]) + total([row], TOKEN_COUNTS[1])]
    listed = [row for row in listed if row["family"] in {"timm", "torchvision", "smp"}]
    for names, members in by_family(listed, "family", "group"):
        extra = max((int(row.get("extra_tokens", 0)) for row in members), default=0)
        counts = [total(members, name) for name in TOKEN_COUNTS]
        places = [total(members, name) for name in ("token_places", "token_places_whole")]
        cams = sum(row.get("cam") == "compared" for row in members)
        wrong = sum(bool(row.get("wrong")) for row in members)
        yield [*names, *map(str, (len(members), *counts, extra, *places, cams, wrong))]


COMPARED_HEADS = (
    *("family", "perturbations", "gradients", "values", "projections: gradient", "small steps"),
    *("guided", "deconvnet", "crops", "tokens' places", "Grad-CAM", "boxes", "pixels", "classes"),
    *("numbers", "scanned layers"),
)
COMPARED = (
    *("field_perturbations", "support_local", "values", "projections_gradient", "slopes"),
    *("projections_guided", "projections_deconvnet", "crops", "token_places"),
)
TARGETS = tuple(f"targets_{kind}" for kind in ("box", "pixel", "class", "output"))


def compared(rows: Sequence[Row]) -> Iterator[list[str]]:
    """A row for each family: how many answers were compared."""
    for names, members in by_family(rows):
        cams = sum(row.get("cam") == "compared" for row in members)
        counts = [total(members, name) for name in COMPARED]
        targets = [total(members, name) for name in TARGETS]
        yield [*names, *map(str, (*counts, cams, *targets, total(members, "scanned_layers")))]


def by_family(rows: Sequence[Row], *keys: str) -> Iterator[tuple[list[str], Sequence[Row]]]:
    """The rows of each family, or of what else has these keys in common, and of all."""
    keys = keys or ("family",)
    families: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        families[tuple(str(row.get(key, "")) for key in keys)].append(row)
    yield from ((list(names), families[names]) for names in sorted(families))
    yield ["all", *("" for _ in keys[1:])], rows


def total(rows: Iterable[Row], name: str) -> int:
    """The sum of a number over rows."""
    return sum(int(row.get(name, 0)) for row in rows)


def percent(part: int, whole: int) -> str:
    """A share in whole percent."""
    return f"{part / whole:.0%}" if whole else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def operations(rows: Sequence[Row]) -> str:
    """The operations that notes name, by the number of networks."""
    networks: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    for row in rows:
        notes: dict[str, int] = row.get("notes", {})
        by_operation: Counter[str] = Counter()
        for note, count in notes.items():
            by_operation[clean_name(note)] += count
        networks.update(by_operation.keys())
        layers.update(by_operation)
    ranked = networks.most_common()
    lines = [[name, str(count), str(layers[name])] for name, count in ranked]
    return table(("operation", "networks", "layers"), lines)
