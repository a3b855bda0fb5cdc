"""Which columns of a Parquet file hold the images and their classes."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retroscope.methods.image_lists import IMAGE_KEYS
from retroscope.scanning.sources.members import CLASS_KEYS
from retroscope.scanning.sources.stored_files import ShardError


@dataclass(frozen=True)
class ImageColumns:
    """The columns of images, of their paths and of their classes, as Parquet addresses them.

    `class_names` are those of the numbers in the column of classes, if the file lists any.
    `class_candidates` are the columns, if there are several and none is the usual one.
    """

    image: str
    path: str | None = None
    label: str | None = None
    class_names: tuple[str, ...] = ()
    class_candidates: tuple[str, ...] = ()

    def class_of(self, value: object) -> str:
        """The class that a value in the column stands for; an empty string for none."""
        if value is None or value == -1:
            return ""
        if self.class_names and isinstance(value, int):
            return self.class_names[value] if 0 <= value < len(self.class_names) else str(value)
        return str(value).strip()


def find_columns(schema: Any, location: str) -> ImageColumns:
    """The columns in an Arrow schema, which may describe the features of a Hub data set."""
    features = _features(schema.metadata)
    image = _choose_image([*schema], features, location)
    has_fields = image.type.num_fields > 0
    paths = [f"{image.name}.path"] if has_fields and _field_type(image.type, "path") else []
    labels = _class_candidates([*schema], features)
    usual = next((name for name in CLASS_KEYS if name in labels), None)
    label = labels[0] if len(labels) == 1 else usual
    return ImageColumns(
        f"{image.name}.bytes" if has_fields else image.name,
        paths[0] if paths else None,
        label,
        _unique_names(features.get(label or "", {}).get("names", ())),
        () if label else tuple(labels),
    )


def _features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Mapping[str, Any]]:
    """The features of a data set by column, as the library `datasets` writes them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    if not isinstance(features, Mapping):
        return {}
    return {name: value for name, value in features.items() if isinstance(value, Mapping)}


def _choose_image(
    fields: Sequence[Any], features: Mapping[str, Mapping[str, Any]], location: str
) -> Any:
    by_name = {field.name: field for field in fields}
    declared = [name for name in by_name if features.get(name, {}).get("_type") == "Image"]
    structs = [field.name for field in fields if _is_bytes(_field_type(field.type, "bytes"))]
    plain = [field.name for field in fields if _is_bytes(field.type)]
    candidates = declared or structs or plain
    usual = next((name for name in (*IMAGE_KEYS, "jpg", "png") if name in candidates), None)
    if len(candidates) == 1 or usual:
        return by_name[usual or candidates[0]]
    if candidates:
        raise ShardError(
            f"{location!r} has several columns of images, {' and '.join(candidates)}; rename one "
            f"of them to {IMAGE_KEYS[0]!r}"
        )
    columns = ", ".join(by_name)
    raise ShardError(f"{location!r} has no column of images, only {columns}; their type is binary")


def _class_candidates(
    fields: Sequence[Any], features: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    names = [field.name for field in fields]
    declared = [name for name in names if features.get(name, {}).get("_type") == "ClassLabel"]
    return declared or [
        field.name for field in fields if field.name in CLASS_KEYS and _is_class(field.type)
    ]


def _field_type(kind: Any, name: str) -> Any:
    """The type of a field of a struct, or None."""
    fields = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
    return fields.get(name)


def _is_bytes(kind: Any) -> bool:
    return str(kind) in {"binary", "large_binary", "binary_view"}


def _is_class(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint", "string", "large_string", "dictionary<"))


def _unique_names(names: Sequence[object]) -> tuple[str, ...]:
    """The names of classes; those that several classes share get their numbers.

    >>> _unique_names(["crane", "dog", "crane"])
    ('crane (0)', 'dog', 'crane (2)')
    """
    texts = [str(name).strip() for name in names]
    counts = Counter(texts)
    return tuple(
        text if counts[text] == 1 else f"{text} ({number})" for number, text in enumerate(texts)
    )
