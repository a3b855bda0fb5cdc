"""The files of a scan's images, and whether they still hold what the scan has read.

The scan records size, modification time and a digest of each file. A file of the same size and
time is taken to be the same, so that resuming a scan of a million images reads none of them. If
only the time differs, as after `touch` or a copy, the content decides. An image that is read again,
to store or to project it, is compared by its content in any case.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b, file_digest
from typing import IO

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import Json
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError, RetroscopeError
from retroscope.imaging.decoding import decode_to_pil
from retroscope.imaging.image import fit_pil
from retroscope.network import Network
from retroscope.scanning.sources import ImageFiles, ImageList
from retroscope.scanning.sources.locations import is_gone

_IMAGES_PER_QUERY = 10_000
_CHECKING_THREADS = 8
_DIGEST_BYTES = 8


def read_input(
    net: Network, image_list: ImageList, index: int
) -> tuple[NetworkInput, ImageFileRow | None]:
    """The image as the network takes it, and its file, if it is in one."""
    files = image_list.files
    if files is None:
        return net.prepare(image_list.load(index)), None
    name = files.name(index)
    with files.open(index) as image:
        pixels = decode_to_pil(image.file, repr(name), at_least=net.preprocessing.fit.decoding_size)
        row = ImageFileRow(index, image.size, image.modified, _digest(image.file))
    return net.prepare_fitted(fit_pil(pixels, net.preprocessing.fit, name)), row


def refuse_moved_images(atlas: Atlas, images: object = None) -> None:
    """Raises if an atlas records a folder or list of images that is gone, and none is given."""
    if images is not None:
        return
    for source in _recorded_sources(atlas):
        if isinstance(source, str) and is_gone(source):
            raise RetroscopeError(
                f"the images of the scan are no longer at {source!r}; give the place where they "
                "are",
                parameter="images",
            )


def _recorded_sources(atlas: Atlas) -> list[Json]:
    """Where the images are; those of a joined atlas are in several places."""
    sources = atlas.meta.get("sources")
    if not isinstance(sources, list):
        return [atlas.meta.get("source")]
    return [facts["source"] for facts in sources if isinstance(facts, dict) and "source" in facts]


def refuse_changed_files(writer: AtlasWriter, image_list: ImageList, images: Sequence[int]) -> None:
    """Raises if files of these images are not those that the scan has read.

    Files that are missing are left to whoever reads them.
    """
    files = image_list.files
    if files is None:
        return
    changed: list[int] = []
    is_changed = partial(_is_changed, files)
    with ThreadPoolExecutor(_CHECKING_THREADS) as pool:
        for start in range(0, len(images), _IMAGES_PER_QUERY):
            rows = writer.image_files(images[start : start + _IMAGES_PER_QUERY])
            changes = pool.map(is_changed, rows)
            changed += [row.image for row, change in zip(rows, changes, strict=True) if change]
    _refuse(image_list, changed)


def refuse_changed_contents(
    writer: AtlasWriter, image_list: ImageList, files: Iterable[ImageFileRow]
) -> None:
    """Raises if images that have just been read are not those that the scan has read before."""
    digests = {row.image: row.digest for row in files}
    recorded = writer.image_files(list(digests))
    _refuse(image_list, [row.image for row in recorded if digests[row.image] != row.digest])


def _refuse(image_list: ImageList, changed: Sequence[int]) -> None:
    if not changed:
        return
    first, count = repr(image_list.keys[changed[0]]), len(changed)
    message = f"{first} has changed since the scan read it; restore it"
    if count > 1:
        message = (
            f"{count} images have changed since the scan read them, of which {first} is the first; "
            "restore them"
        )
    raise RetroscopeError(f"{message}, or scan again with restart", parameter="restart")


def _is_changed(files: ImageFiles, row: ImageFileRow) -> bool:
    try:
        status = files.status(row.image)
        if status is None:
            return False
        if status.size is not None and status.size != row.size:
            return True
        if status.modified == row.modified:
            return False
        with files.open(row.image) as image:
            return _digest(image.file) != row.digest
    except (OSError, ImageError):
        return False


def _digest(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file_digest(file, partial(blake2b, digest_size=_DIGEST_BYTES)).digest()  # type: ignore[arg-type]
