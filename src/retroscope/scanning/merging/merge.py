"""What several scans have found, merged into one atlas."""

from collections.abc import Sequence
from pathlib import Path

from retroscope.argument_types import check_arguments
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.progress import ProgressListener, ignore_progress
from retroscope.scanning.merging.join_atlases import join_atlases


@check_arguments
def merge(
    sources: str | Path | Sequence[str | Path],
    *,
    to: str | Path,
    allow_missing: bool = False,
    restart: bool = False,
    progress: ProgressListener = ignore_progress,
) -> Atlas:
    """Merges the folder of a plan, or finished atlases, into one atlas.

    The atlases are scans of the same layers of one network, over different images. Their hits are
    ranked as in one scan of all images, with those of the first atlas first; patterns, and the
    projections and pixels of the hits that remain, are copied. Counts are exact, means and
    deviations within rounding.

    Of a plan, all lots must have been swept; with `allow_missing`, those that are missing are left
    out. `restart` replaces the file.
    """
    paths = [Path(path) for path in ([sources] if isinstance(sources, str | Path) else sources)]
    if not any(is_plan(path) for path in paths):
        if allow_missing:
            raise RetroscopeError(
                "allow_missing is for a plan; leave it out", parameter="allow_missing"
            )
        join_atlases(paths, to=Path(to), restart=restart, progress=progress)
        return open_atlas(to)
    if len(paths) > 1:
        raise RetroscopeError("a plan is merged alone; give either a plan or atlases")
    from retroscope.scanning.lots.merge_segments import merge_lots

    return merge_lots(
        paths[0], to=to, allow_missing=allow_missing, restart=restart, progress=progress
    )


def is_plan(path: Path) -> bool:
    """Whether this is the folder of a plan."""
    return (path / "plan.json").is_file()
