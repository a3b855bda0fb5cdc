"""Exports a site as files: the pages and files of a server, those of units in packs."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory, TemporaryFile

from retroscope.argument_types import check_arguments
from retroscope.atlas.excerpt import write_excerpt
from retroscope.atlas.layer_selection import atlas_layers, split_names
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ProgressReporter, StagePart, ignore_progress
from retroscope.web.site.export_files import (
    ExportFile,
    FileForm,
    file_content,
    list_files,
    take_members,
)
from retroscope.web.site.notes import notes_of
from retroscope.web.site.site import Site, open_site, pack_site

_SAMPLES = 24
"""Pages or files of each kind that the estimate of the size is from."""
_SHARING_PAGES = 8
FILE_LIST = ".retroscope-site"
"""Lists the files of an export, which a later export may remove."""


@check_arguments
def export(
    atlas: str | Path | Atlas,
    site: str | Path,
    *,
    compare: str | Path | Sequence[str | Path] = (),
    layers: str | Sequence[str] = (),
    top_channels: int | None = None,
    notes: bool = False,
    progress: ProgressListener = ignore_progress,
) -> None:
    """Writes an atlas as a static site for any web host, or to open from its folder.

    `site` is a new or empty folder, or an earlier export; pages of the earlier export that no
    longer exist are removed. `compare` are other atlases of the same network. With
    `notes`, the site shows your stars and notes, which it leaves out otherwise.

    `layers` takes names, aliases, globs and kinds; `top_channels` is the number of channels of each
    layer with the highest maxima. What is left out has no page and no link.

    >>> export("no.atlas", "site")
    Traceback (most recent call last):
    retroscope.atlas.schema.AtlasError: no atlas 'no.atlas'; rs.scan or 'retroscope scan' makes one
    """
    with open_selection(
        atlas, compare, layers=layers, top_channels=top_channels, notes=notes
    ) as pages:
        write_site(pages, Path(site), progress=progress)


@contextmanager
def open_selection(
    atlas: str | Path | Atlas,
    compare: str | Path | Sequence[str | Path] = (),
    *,
    layers: str | Sequence[str] = (),
    top_channels: int | None = None,
    notes: bool = False,
) -> Iterator[Site]:
    """The site of some layers and channels of an atlas, from an excerpt that exists meanwhile."""
    others = (compare,) if isinstance(compare, str | Path) else compare
    _refuse_selection(top_channels, others)
    if not layers and top_channels is None:
        with open_site(atlas, others, notes=notes) as site:
            yield site
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        first = atlas if isinstance(atlas, Atlas) else stack.enter_context(open_atlas(atlas))
        atlases = [first, *(stack.enter_context(open_atlas(path)) for path in others)]
        excerpts = [
            _write_excerpt(entry, folder / str(number), split_names(layers), top_channels)
            for number, entry in enumerate(atlases)
        ]
        site = stack.enter_context(open_site(excerpts[0], excerpts[1:]))
        yield replace(site, notes=notes_of(first.path)) if notes else site


def _refuse_selection(top_channels: int | None, others: Sequence[str | Path]) -> None:
    if top_channels is None:
        return
    if top_channels < 1:
        raise RetroscopeError(
            f"top_channels is {top_channels}; it must be 1 or more", parameter="top_channels"
        )
    if others:
        raise RetroscopeError(
            "a comparison shows the same channels of all atlases, which differ in their strongest; "
            "leave top_channels out, and choose layers",
            parameter="top_channels",
        )


def _write_excerpt(
    atlas: Atlas, folder: Path, names: Sequence[str], top_channels: int | None
) -> Path:
    """An excerpt under the name of the atlas, in a folder named like that of the atlas."""
    layers = atlas_layers(atlas, names) if names else atlas.layers
    path = folder / (atlas.path.absolute().parent.name or "atlas") / atlas.path.name
    path.parent.mkdir(parents=True)
    write_excerpt(atlas, path, layers=layers, top_channels=top_channels)
    return path


def write_site(site: Site, folder: Path, *, progress: ProgressListener = ignore_progress) -> None:
    """Writes every page and file of a site."""
    check_folder(folder)
    packed = pack_site(site)
    parts = _work(packed)
    reporter = ProgressReporter("export", sum(part.items for part in parts), progress, parts=parts)
    paths: list[str] = []
    try:
        earlier_paths = _prepare_folder(folder)
        for file in list_files(packed):
            target = _file_in(folder, file.location)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file_content(file))
            paths.append(file.location)
            reporter.update(len(paths))
        _remove_files(folder, earlier_paths - set(paths))
        (folder / FILE_LIST).write_text("\n".join(paths), "utf-8")
    except OSError as error:
        raise RetroscopeError(
            f"cannot write the site {str(folder)!r} ({error.strerror or error}); free some space "
            "or fix the permissions, then export again"
        ) from error


def _work(packed: Site) -> list[StagePart]:
    """The files by kind, in order; a pack takes as long as its members."""
    parts = []
    for name, files in groupby(list_files(packed), key=lambda file: file.name):
        sizes = [max(len(file.members), 1) for file in files]
        parts.append(StagePart(name, len(sizes), sum(sizes) / len(sizes)))
    return parts


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
    """The number of files of an export, and about how many bytes, from a sample of each kind.

    What is in a pack is sampled one by one. The pages or images of a kind are in the order of
    layers and channels, and the sample is spread evenly over them.
    """
    members_by_kind: dict[tuple[object, ...], list[tuple[ExportFile, str]]] = defaultdict(list)
    count = 0
    for file in list_files(pack_site(site)):
        count += 1
        members_by_kind[_kind(file)] += [(file, key) for key in file.members or [""]]
    total = sum(_mean_size(members) * len(members) for members in members_by_kind.values())
    return count, round(total)


def _kind(file: ExportFile) -> tuple[object, ...]:
    """What files with members of about one size have in common, such as the content of plates."""
    member = next(iter(file.members.values()), file.path)
    return file.name, file.form, member.rpartition("/")[2].partition(".")[2]


def _mean_size(members: list[tuple[ExportFile, str]]) -> float:
    step = max(len(members) / _SAMPLES, 1)
    numbers = [int((number + 0.5) * step) for number in range(min(_SAMPLES, len(members)))]
    return sum(_member_size(*members[number]) for number in numbers) / len(numbers)


def _member_size(file: ExportFile, key: str) -> float:
    """The bytes that a member takes in its pack. Pages share lines with others."""
    sample = take_members(file, key, _SHARING_PAGES if file.form is FileForm.PAGES else 1)
    return len(file_content(sample)) / max(len(sample.members), 1)


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
