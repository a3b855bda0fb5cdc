"""Where the classes of images come from: labels, an archive that states them, or folders."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from retroscope.errors import RetroscopeError, choose
from retroscope.scanning.label_files import LabelledPath, read_labels, refuse_unusable_labels
from retroscope.scanning.sources.image_list import ListNote

CLASS_FOLDERS: dict[str, slice] = {"first": slice(1), "last": slice(-1, None), "all": slice(None)}
"""Which of the folders that an image lies in are its class."""


@dataclass(frozen=True)
class ClassRule:
    """Where classes come from: a CSV file of labels, or else the folders that images lie in.

    Classes that an archive states come before folders, unless a class folder is chosen.
    """

    labels: str | None = None
    class_folder: str | None = None

    def __post_init__(self) -> None:
        if self.labels is not None and self.class_folder is not None:
            raise RetroscopeError(
                "the labels give the classes; leave class_folder out", parameter="class_folder"
            )
        choose("class folder", self.class_folder or "first", CLASS_FOLDERS)

    @property
    def accepts_stated_classes(self) -> bool:
        """Whether classes that an archive states are used."""
        return self.labels is None and self.class_folder is None

    def classes(self, images: Sequence[LabelledPath], stated: Sequence[str] = ()) -> list[str]:
        """The class of each image; an empty string for one that has none."""
        if self.labels is not None:
            return read_labels(self.labels, images)
        folders = CLASS_FOLDERS[self.class_folder or "first"]
        classes = ["/".join(folders_of(image.path)[folders]) for image in images]
        if not stated or not self.accepts_stated_classes:
            return classes
        return [name or folder for name, folder in zip(stated, classes, strict=True)]

    def refuse_unusable_labels(self, images: Sequence[LabelledPath]) -> None:
        """Raises if the labels match no image at all, or a row of them matches several."""
        if self.labels is not None:
            refuse_unusable_labels(self.labels, images)

    def notes(
        self, images: Sequence[LabelledPath], classes: Sequence[str], stated: Sequence[str] = ()
    ) -> list[ListNote]:
        """What may surprise: images without a label, and folders in folders."""
        if self.labels is not None:
            missing = sum(not name for name in classes)
            text = f"{missing} of {len(images)} images have no class in {self.labels!r}"
            return [ListNote(text, "labels")] if missing else []
        if any(stated) and self.accepts_stated_classes:
            return _notes_on_unstated(images, stated)
        return [] if self.class_folder else _notes_on_folders(images)


def folders_of(path: str) -> tuple[str, ...]:
    """The folders of an image below the source; none if it lies elsewhere.

    >>> folders_of("train/cat/1.jpg"), folders_of("/far/1.jpg"), folders_of("https://a.org/1.jpg")
    (('train', 'cat'), (), ())
    """
    *folders, _ = path.replace(os.sep, "/").split("/")
    is_elsewhere = "://" in path or ".." in folders or os.path.isabs(path)  # noqa: PTH117 - fast
    return () if is_elsewhere else tuple(folders)


def _notes_on_unstated(images: Sequence[LabelledPath], stated: Sequence[str]) -> list[ListNote]:
    unstated = [image.key for image, name in zip(images, stated, strict=True) if not name]
    if not unstated:
        return []
    text = (
        f"{len(unstated)} of {len(images)} images, such as {unstated[0]!r}, state no class; their "
        "folders are their classes"
    )
    return [ListNote(text, "class_folder")]


def _notes_on_folders(images: Sequence[LabelledPath]) -> list[ListNote]:
    nested = next((image for image in images if len(folders_of(image.path)) > 1), None)
    if nested is None:
        return []
    folders = folders_of(nested.path)
    text = (
        f"the folders have sub-folders: the class of {nested.key!r} is the first, {folders[0]!r}; "
        f"choose last for {folders[-1]!r} or all for {'/'.join(folders)!r}"
    )
    return [ListNote(text, "class_folder")]


def sort_classes(names: Sequence[str]) -> list[str]:
    """The classes that occur, each once: in the order of numbers if all are numbers.

    >>> sort_classes(["10", "9", ""]), sort_classes(["b", "10", "a", "b"])
    (['9', '10'], ['10', 'a', 'b'])
    """
    unique = set(filter(None, names))
    are_numbers = all(name.isascii() and name.isdecimal() for name in unique)
    return sorted(unique, key=lambda name: (int(name), name)) if are_numbers else sorted(unique)
