"""Classes by name: a label, or one of its comma-separated synonyms as in those of ImageNet."""

from collections.abc import Sequence


def classes_named(labels: Sequence[str], name: str) -> list[int]:
    """The classes with exactly this label; if there are none, those with this synonym in any case.

    >>> classes_named(["tabby, tabby cat", "tiger cat"], "Tabby")
    [0]
    """
    exact = [number for number, label in enumerate(labels) if label == name]
    lower = name.lower()
    return exact or [number for number, label in enumerate(labels) if lower in _synonyms(label)]


def _synonyms(label: str) -> set[str]:
    return {name.strip().lower() for name in (label, *label.split(","))}


def split_class_names(text: str, labels: Sequence[str]) -> list[str]:
    """The names in a list with commas between, where a name that contains commas is a label.

    >>> split_class_names("tabby, tabby cat, dog", ["tabby, tabby cat", "dog"])
    ['tabby, tabby cat', 'dog']
    """
    if text in labels:
        return [text]
    parts, names, start = text.split(","), list[str](), 0
    while start < len(parts):
        ends = range(len(parts), start, -1)
        runs = (",".join(parts[start:end]).strip() for end in ends)
        end, name = next(
            ((end, run) for end, run in zip(ends, runs, strict=True) if run in labels),
            (start + 1, parts[start].strip()),
        )
        names += [name] if name else []
        start = end
    return names
