"""The images that tests of joining scan, and their halves."""

from pathlib import Path


def paths_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def halves(folder: Path) -> tuple[list[Path], list[Path]]:
    """Cut inside a class."""
    paths = paths_in(folder)
    return paths[:8], paths[8:]


def labels_file(folder: Path) -> Path:
    """The classes of a list of paths."""
    file = folder.parent / "labels.csv"
    file.write_text("".join(f"{path},{path.parent.name}\n" for path in paths_in(folder)))
    return file
