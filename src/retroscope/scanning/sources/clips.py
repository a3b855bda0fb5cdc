"""Volumes and clips in a folder: files that hold all slices, and folders whose images are frames.

It is the network that decides: one that takes images scans each frame, one that takes volumes or
clips scans each folder of frames.
"""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from retroscope.errors import ImageError
from retroscope.imaging.frames import (
    HOW_TO_EXTRACT,
    SUFFIXES,
    VIDEO_SUFFIXES,
    VOLUME_SUFFIXES,
    group_frames,
)
from retroscope.imaging.slice_files import holds_slices
from retroscope.scanning.sources.folders import FoundFiles, choose_visible, find_files, note_omitted
from retroscope.scanning.sources.image_list import ListNote

_HERE = "."


def find_clips(folder: str, glob: str | None) -> FoundFiles:
    """The volumes and the clips below a folder; the path of a clip is that of its folder."""
    files = find_files(Path(folder), glob, SUFFIXES | VOLUME_SUFFIXES)
    videos = find_files(Path(folder), glob, VIDEO_SUFFIXES) if not glob else []
    if not files:
        raise _no_clips(folder, videos)
    found = choose_visible(files, folder, glob)
    sorted_out = _sort_out(Path(folder), found.paths)
    clips, left_out = sorted_out.clips, [*sorted_out.frames_here, *sorted_out.left_out]
    if not clips and sorted_out.frames_here:
        raise ImageError(
            f"{folder!r} is one clip of {len(sorted_out.frames_here)} frames, and a scan compares "
            "several; give the folder around the folders of the clips"
        )
    if not clips:
        raise _no_clips(folder, videos)
    notes = [
        *found.notes,
        *_note_clips(clips),
        *note_omitted(left_out, "other file"),
        *note_omitted(videos, "video"),
    ]
    return FoundFiles(folder, clips, notes)


def refuse_single_images(keys: Sequence[str]) -> None:
    """Raises if all of these are single images, as of frames in an archive or behind a URL."""
    if all(PurePath(key).suffix.lower() in SUFFIXES - VOLUME_SUFFIXES for key in keys):
        endings = ", ".join(sorted(VOLUME_SUFFIXES))
        raise ImageError(
            f"{keys[0]!r} is a single image, like all others, and the network takes volumes or "
            f"clips; in archives, lists and URLs these are files with all slices ({endings}), and "
            "folders of frames are local folders: unpack or download them"
        )


class _SortedFiles(NamedTuple):
    """The paths of volumes and clips in order, the frames in the folder of all, and other files."""

    clips: list[str]
    frames_here: list[str]
    left_out: list[str]


def _sort_out(root: Path, paths: Sequence[str]) -> _SortedFiles:
    """What files are. A folder is a clip if it has several frames, and more frames than volumes."""
    found = _SortedFiles([], [], [])
    for folder, files in group_frames(paths):
        volumes = _volumes_of(root, files)
        frames = [path for path in files if path not in volumes]
        if len(frames) <= max(len(volumes), 1):
            found.clips.extend(sorted(volumes))
            found.left_out.extend(frames)
            continue
        found.left_out.extend(sorted(volumes))
        if folder == _HERE:
            found.frames_here.extend(frames)
        else:
            found.clips.append(folder)
    return found


def _volumes_of(root: Path, files: Sequence[str]) -> set[str]:
    """The files of one folder that hold all slices; of each ending, the first file decides."""
    volumes = set[str]()
    by_ending: dict[str, bool] = {}
    for path in files:
        ending = PurePath(path).suffix.lower()
        if ending not in by_ending:
            by_ending[ending] = holds_slices(root / path)
        if by_ending[ending]:
            volumes.add(path)
    return volumes


def _note_clips(clips: Sequence[str]) -> list[ListNote]:
    """That folders of images are taken for clips, which may surprise."""
    folders = [clip for clip in clips if PurePath(clip).suffix.lower() not in VOLUME_SUFFIXES]
    if not folders:
        return []
    noun = "folder of frames is a clip" if len(folders) == 1 else "folders of frames are clips"
    return [ListNote(f"{len(folders)} {noun}, such as {folders[0]!r}")]


def _no_clips(folder: str, videos: Sequence[str]) -> ImageError:
    if videos:
        return ImageError(
            f"{folder!r} has videos, such as {videos[0]!r}, which are not decoded; for each, "
            f"{HOW_TO_EXTRACT}"
        )
    endings = ", ".join(sorted(VOLUME_SUFFIXES))
    return ImageError(
        f"no volumes or clips in {folder!r}; they are files that end in {endings}, or folders of "
        "frames",
        parameter="glob",
    )
