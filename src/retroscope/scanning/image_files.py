"""The files of a scan's images, and whether they still hold what the scan has read.

The scan records size, modification time and a digest of each file. A file of the same size and
time is taken to be the same, so that resuming a scan of a million images reads none of them. If
only the time differs, as after `touch` or a copy, the content decides. An image that is read again,
to store or to project it, is compared by its content in any case.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path

from retroscope.atlas.queries.writer_queries import ImageFileRow
from retroscope.atlas.reader import Atlas
from retroscope.atlas.schema import Json
from retroscope.atlas.writer import AtlasWriter
from retroscope.engine.batching import NetworkInput
from retroscope.errors import ImageError, RetroscopeError
from retroscope.imaging.frames import FrameFolder
from retroscope.imaging.slice_files import AnyFile
from retroscope.input_binding import attach_others, name_input, prepare_other_file
from retroscope.network import Network
from retroscope.scanning.sources import ImageFiles, ImageList
from retroscope.scanning.sources.image_list import OtherList
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
        return _prepare_loaded(net, image_list, index), None
    name = files.name(index)
    with files.open(index) as image:
        network_input = net.prepare_file(image.file, name)
        row = ImageFileRow(index, image.size, image.modified, _digest(image.file))
    if image_list.others and net.inputs is not None:
        network_input = attach_others(net, network_input, _other_values(net, image_list, index))
    row = row._replace(digest=_digest_with_others(row.digest, image_list, index))
    return replace(network_input, caveats=()), row  # the atlas says it once for all images


def _prepare_loaded(net: Network, image_list: ImageList, index: int) -> NetworkInput:
    image = image_list.load(index)
    if net.inputs is not None and image_list.others:
        return net.prepare({net.inputs.image: image, **_other_values(net, image_list, index)})
    return net.prepare(image)


def _other_values(net: Network, image_list: ImageList, index: int) -> dict[str, object]:
    """The numbers that come with an image, and the other images as the network takes them."""
    return {
        name: other.value(index) if other.numbers else _read_other(net, name, other, index)
        for name, other in image_list.others.items()
        if name in net.sample_names
    }


def _read_other(net: Network, name: str, other: OtherList, index: int) -> NetworkInput:
    file = other.file(index)
    with name_input(name), file.open(0) as opened:
        return prepare_other_file(net, name, opened.file, file.name(0))


def _digest_with_others(digest: bytes, image_list: ImageList, index: int) -> bytes:
    """A digest of the file of an image, joined by those of what comes with it, if anything does."""
    if not image_list.others:
        return digest
    joined = blake2b(digest, digest_size=_DIGEST_BYTES)
    for value in (other.value(index) for _, other in sorted(image_list.others.items())):
        joined.update(Path(value).read_bytes() if isinstance(value, str) else repr(value).encode())
    return joined.digest()


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
    is_changed = partial(_is_changed, files, image_list)
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


def _is_changed(files: ImageFiles, image_list: ImageList, row: ImageFileRow) -> bool:
    """Of what comes with an image only the content counts, so it is read."""
    try:
        status = files.status(row.image)
        if status is None:
            return False
        if status.size is not None and status.size != row.size:
            return True
        if status.modified == row.modified and not image_list.others:
            return False
        with files.open(row.image) as image:
            return _digest_with_others(_digest(image.file), image_list, row.image) != row.digest
    except (OSError, ImageError):
        return False


def _digest(file: AnyFile) -> bytes:
    if isinstance(file, FrameFolder):
        return file.digest()
    file.seek(0)
    return file_digest(file, partial(blake2b, digest_size=_DIGEST_BYTES)).digest()  # type: ignore[arg-type]
