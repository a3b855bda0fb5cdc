"""Rankings by class, as a scan is asked for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from retroscope.atlas.schema import Json
from retroscope.errors import RetroscopeError, choose
from retroscope.results.class_names import classes_named, split_class_names


@dataclass(frozen=True)
class ClassRankingRequest:
    """How many images are ranked for each class, and of which classes, None for all.

    `ranked_classes` are texts as a user writes them, until `resolve` has found the labels.
    """

    per_class: int = 0
    ranked_classes: tuple[str, ...] | None = None

    @classmethod
    def parse(
        cls, per_class: int | None, ranked_classes: str | Sequence[str] | None, *, classes: bool
    ) -> "ClassRankingRequest":
        """What a scan is asked for; `classes` says whether it counts classes at all."""
        if per_class is None:
            if ranked_classes is not None:
                raise RetroscopeError(
                    "ranked_classes names classes to rank images of, and per_class says how many; "
                    "give both",
                    parameter="per_class",
                )
            return cls()
        if not classes:
            raise RetroscopeError(
                "per_class ranks the images of each class, and classes leaves the classes out; "
                "give one of the two",
                parameter="classes",
            )
        names = [ranked_classes] if isinstance(ranked_classes, str) else ranked_classes
        if names is not None and not any(text.replace(",", " ").strip() for text in names):
            raise RetroscopeError(
                "ranked_classes names no class; leave it out to rank the images of all classes",
                parameter="ranked_classes",
            )
        return cls(per_class, None if names is None else tuple(sorted(set(names))))

    @property
    def facts(self) -> dict[str, Json]:
        """What an atlas records of it; nothing without rankings by class."""
        if not self.per_class:
            return {}
        names = self.ranked_classes
        return {"per_class": self.per_class, "ranked_classes": None if names is None else [*names]}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Json]) -> "ClassRankingRequest":
        """What `facts` recorded."""
        count, names = facts.get("per_class"), facts.get("ranked_classes")
        if not isinstance(count, int):
            return cls()
        return cls(count, tuple(map(str, names)) if isinstance(names, list) else None)

    def resolve(self, class_names: Sequence[str]) -> "ClassRankingRequest":
        """The request with the labels that it names. Raises if there is none of a name.

        A name is a label, or one of its comma-separated synonyms in any case. Where it contains
        commas and is not a label, it lists several.
        """
        if not self.per_class:
            return self
        if not class_names:
            raise RetroscopeError(
                "per_class ranks the images of each class, and the images have no classes; put "
                "them in a folder for each class, or give their classes as labels",
                parameter="labels",
            )
        if self.ranked_classes is None:
            return self
        labels = {_find_label(name, class_names) for name in self._names(class_names)}
        return replace(self, ranked_classes=tuple(sorted(labels)))

    def with_labels(self, class_names: Sequence[str]) -> "ClassRankingRequest":
        """The request with the labels that it names, and the names of which there is no class."""
        if self.ranked_classes is None:
            return self
        labels = {class_names[label] for label in self.labels(class_names)}
        names = labels.union(self.missing_names(class_names))
        return replace(self, ranked_classes=tuple(sorted(names)))

    def missing_names(self, class_names: Sequence[str]) -> list[str]:
        """The names of which there is no class."""
        return [name for name in self._names(class_names) if not classes_named(class_names, name)]

    def count(self, class_names: Sequence[str]) -> int:
        """How many of these classes are ranked."""
        return len(self.labels(class_names))

    def labels(self, class_names: Sequence[str]) -> frozenset[int]:
        """The numbers of the classes that are ranked. These may be some of all classes."""
        if not self.per_class:
            return frozenset()
        if self.ranked_classes is None:
            return frozenset(range(len(class_names)))
        names = self._names(class_names)
        return frozenset(label for name in names for label in classes_named(class_names, name))

    def _names(self, class_names: Sequence[str]) -> list[str]:
        """The names one by one."""
        texts = self.ranked_classes or ()
        return [name for text in texts for name in split_class_names(text, class_names)]


_FEW_NAMES = 12


def _find_label(name: str, class_names: Sequence[str]) -> str:
    numbers = classes_named(class_names, name)
    if len(numbers) > 1:
        labels = " or ".join(repr(class_names[number]) for number in numbers)
        raise RetroscopeError(
            f"{len(numbers)} classes are called {name!r}; write {labels}",
            parameter="ranked_classes",
        )
    if numbers:
        return class_names[numbers[0]]
    return choose("class", name, dict.fromkeys(class_names, name), advice=_list_some(class_names))


def _list_some(names: Sequence[str]) -> str:
    more = ", ..." if names[_FEW_NAMES:] else ""
    return f"the images are of {', '.join(names[:_FEW_NAMES])}{more}"
