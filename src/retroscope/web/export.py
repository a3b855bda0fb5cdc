"""A site as files: what the server answers, written down once for every URL."""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryFile

from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import Listener, Watch, silent
from retroscope.web.site.routes import answer, every_path
from retroscope.web.site.site import Site, opened_site

_SAMPLES = 5
LIST = ".retroscope-site"
"""The files of an export, a path on each line: what a later one may remove."""


def export(
    atlas: str | Path | Atlas,
    site: str | Path,
    *,
    compare: str | Path | None = None,
    progress: Listener = silent,
) -> None:
    """Writes an atlas as a site that any host, or a folder, can show.

    The folder is new, empty, or an earlier export, of which nothing stays that is not written
    again. `compare` is another atlas of the same network.

    >>> export("no-such.atlas", "site")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no-such.atlas'; 'retroscope scan' makes one
    """
    with opened_site(atlas, compare) as shown:
        write_site(shown, Path(site), progress=progress)


def write_site(site: Site, folder: Path, *, progress: Listener = silent) -> None:
    """Writes every file of a site."""
    refuse_no_place(folder)
    paths = list(every_path(site))
    watch = Watch("export", len(paths), progress)
    try:
        before = _prepare(folder)
        for number, path in enumerate(paths, start=1):
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(answer(site, path).body)
            watch.at(number)
        _remove(folder, before - set(paths))
        (folder / LIST).write_text("\n".join(paths), "utf-8")
    except OSError as error:
        raise RetroscopeError(
            f"cannot write the site {str(folder)!r} ({error.strerror or error}); run the same "
            "again once there is room and leave to write"
        ) from error


def refuse_no_place(folder: Path) -> None:
    """Says before the work what would be in the way of a site in this folder."""
    is_ours = (folder / LIST).is_file()
    if not is_ours and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise RetroscopeError(
            f"{str(folder)!r} holds something that is no exported site; name a new folder"
        )
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.is_dir())
    try:
        with TemporaryFile(dir=nearest):
            return
    except OSError as error:
        raise RetroscopeError(
            f"cannot write the site {str(folder)!r} ({error.strerror}); choose another place"
        ) from error


def files_and_bytes(site: Site) -> tuple[int, int]:
    """How many files an export has, and about what they take: a few of each sort are made."""
    by_sort: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in every_path(site):
        by_sort[path.partition("/")[0], path.partition(".")[2][-20:]].append(path)
    total = sum(_mean_size(site, paths) * len(paths) for paths in by_sort.values())
    return sum(map(len, by_sort.values())), round(total)


def _mean_size(site: Site, paths: list[str]) -> float:
    some = paths[:: max(len(paths) // _SAMPLES, 1)][:_SAMPLES]
    return sum(len(answer(site, path).body) for path in some) / len(some)


def _prepare(folder: Path) -> set[str]:
    """Makes the folder, and says what an earlier export has left in it."""
    listed = folder / LIST
    if listed.is_file():
        return set(listed.read_text("utf-8").splitlines())
    folder.mkdir(parents=True, exist_ok=True)
    listed.touch()
    (folder / ".nojekyll").touch()
    return set()


def _remove(folder: Path, paths: Collection[str]) -> None:
    """Files of an earlier export; what a list names outside of the folder is let alone."""
    root = folder.resolve()
    for path in paths:
        file = (root / path).resolve()
        if file.is_relative_to(root):
            file.unlink(missing_ok=True)
