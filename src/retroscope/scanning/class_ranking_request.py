"""Rankings by class, as a scan is asked for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retroscope.atlas.schema import Json
from retroscope.errors import RetroscopeError, choose


@dataclass(frozen=True)
class ClassRankingRequest:
    """How many images are ranked for each class, and the names of the classes, None for all."""

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
        if names is not None and not names:
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

    def ranks(self, name: str) -> bool:
        """Whether images of this class are ranked."""
        return self.per_class > 0 and (self.ranked_classes is None or name in self.ranked_classes)

    def refuse_unknown_classes(self, class_names: Sequence[str]) -> None:
        """Raises if the images have no classes, or if a class that is named is not among theirs."""
        if not self.per_class:
            return
        if not class_names:
            raise RetroscopeError(
                "per_class ranks the images of each class, and the images have no classes; put "
                "them in a folder for each class, or give their classes as labels",
                parameter="labels",
            )
        for name in self.ranked_classes or ():
            choose("class", name, dict.fromkeys(class_names), advice=_list_some(class_names))

    def count(self, class_names: Sequence[str]) -> int:
        """How many classes are ranked."""
        return sum(map(self.ranks, class_names))

    def labels(self, class_names: Sequence[str]) -> frozenset[int]:
        """The numbers of the classes that are ranked."""
        return frozenset(label for label, name in enumerate(class_names) if self.ranks(name))


_FEW_NAMES = 12


def _list_some(names: Sequence[str]) -> str:
    more = ", ..." if names[_FEW_NAMES:] else ""
    return f"the images are of {', '.join(names[:_FEW_NAMES])}{more}"
