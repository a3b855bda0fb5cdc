"""Exports a site as files: the response to every URL, written once."""

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePath
from tempfile import TemporaryFile

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ProgressReporter, ignore_progress
from retroscope.web.site.routes import list_paths, respond
from retroscope.web.site.site import Site, open_site

_SAMPLES = 5
FILE_LIST = ".retroscope-site"
"""Lists the files of an export, which a later export may remove."""


@check_arguments
def export(
    atlas: str | Path | Atlas,
    site: str | Path,
    *,
    compare: str | Path | None = None,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Writes an atlas as a static site for any web host, or to open from its folder.

    `site` is a new or empty folder, or an earlier export; pages of the earlier export that no
    longer exist are removed. `compare` is another atlas of the same network.

    >>> export("no.atlas", "site")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no.atlas'; rs.scan or 'retroscope scan' makes one
    """
    with open_site(atlas, compare) as pages:
        write_site(pages, Path(site), progress=progress)


def write_site(site: Site, folder: Path, *, progress: ProgressListener = ignore_progress) -> None:
    """Writes every page and file of a site."""
    check_folder(folder)
    paths = list(list_paths(site))
    reporter = ProgressReporter("export", len(paths), progress)
    try:
        earlier_paths = _prepare_folder(folder)
        for number, path in enumerate(paths, start=1):
            file = _file_in(folder, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(respond(site, path).body)
            reporter.update(number)
        _remove_files(folder, earlier_paths - set(paths))
        (folder / FILE_LIST).write_text("\n".join(paths), "utf-8")
    except OSError as error:
        raise RetroscopeError(
            f"cannot write the site {str(folder)!r} ({error.strerror or error}); free some space "
            "or fix the permissions, then export again"
        ) from error


def check_folder(folder: Path) -> None:
    """Refuses a folder that a site cannot be written to, before any work is done."""
    _file_in(folder, FILE_LIST)
    is_export = (folder / FILE_LIST).is_file()
    if not is_export and (folder.is_file() or (folder.is_dir() and any(folder.iterdir()))):
        raise RetroscopeError(
            f"{str(folder)!r} exists and is not an exported site; choose a new folder"
        )
    parent = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    try:
        with TemporaryFile(dir=parent):
            return
    except OSError as error:
        raise RetroscopeError(
            f"cannot write the site {str(folder)!r} ({error.strerror}); choose another folder"
        ) from error


def estimate_size(site: Site) -> tuple[int, int]:
    """The number of files of an export, and about how many bytes, from a sample of each kind."""
    paths_by_kind: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in list_paths(site):
        paths_by_kind[path.partition("/")[0], path.partition(".")[2][-20:]].append(path)
    total = sum(_mean_size(site, paths) * len(paths) for paths in paths_by_kind.values())
    return sum(map(len, paths_by_kind.values())), round(total)


def _mean_size(site: Site, paths: list[str]) -> float:
    samples = paths[:: max(len(paths) // _SAMPLES, 1)][:_SAMPLES]
    return sum(len(respond(site, path).body) for path in samples) / len(samples)


def _prepare_folder(folder: Path) -> set[str]:
    """Creates the folder, or returns the files of the earlier export in it."""
    file_list = folder / FILE_LIST
    if file_list.is_file():
        return set(file_list.read_text("utf-8").splitlines())
    folder.mkdir(parents=True, exist_ok=True)
    file_list.touch()
    (folder / ".nojekyll").touch()  # GitHub Pages otherwise skips files with an underscore
    return set()


def _remove_files(folder: Path, paths: Collection[str]) -> None:
    """Removes files inside the folder; a path that leads outside is ignored."""
    root = folder.resolve()
    for path in paths:
        if (root / path).resolve().is_relative_to(root):
            _file_in(folder, path).unlink(missing_ok=True)


def _file_in(folder: Path, path: str) -> Path:
    """A file of the site. A link in the folder is refused: it could lead to any other file."""
    file = folder / path
    parts = PurePath(path).parts
    for end in range(1, len(parts) + 1):
        link = folder.joinpath(*parts[:end])
        if link.is_symlink():
            raise RetroscopeError(
                f"{str(link)!r} is a link, which an export does not follow; remove it, or choose "
                "a new folder"
            )
    return file
