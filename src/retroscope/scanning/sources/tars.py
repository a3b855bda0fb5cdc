"""Images in a tar, as WebDataset packs them or as a folder is packed."""

import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

from retroscope.scanning.sources.folders import is_array_name, is_hidden, no_images
from retroscope.scanning.sources.members import (
    SIDECARS,
    MemberFiles,
    is_image_member,
    member_path,
    refuse_unusable_glob,
    sample_name,
)
from retroscope.scanning.sources.shard_images import ShardImages
from retroscope.scanning.sources.stored_files import FileVersion, ShardError, StoredFile

_CHUNK = 2**20
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}


@dataclass(frozen=True)
class TarFiles(MemberFiles):
    """Images in a tar, each a range of its bytes. `copy` keeps that of a remote tar."""

    starts: Sequence[int]
    sizes: Sequence[int]
    copy: object = None

    def read(self, index: int) -> bytes:
        start = self.starts[index]
        return self.archive.read(start, start + self.sizes[index])


@dataclass
class _Index:
    """What the headers of a tar say: where images are, and the files that may state classes.

    `arrays` are images only where there are no others.
    """

    paths: list[str] = field(default_factory=list)
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    sidecars: dict[str, tuple[int, int]] = field(default_factory=dict)
    hard_links: dict[int, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    arrays: "_Index | None" = None

    def add(self, member: tarfile.TarInfo, glob: str | None) -> None:
        path = member_path(member.name)
        if is_image_member(path, glob) and not member.isdir():
            self.add_image(path, member)
        elif member.isreg() and path.endswith(tuple(SIDECARS)):
            self.sidecars[path] = member.offset_data, member.size
        elif is_array_name(path) and not (glob or member.isdir()):
            self.arrays = self.arrays or _Index()
            self.arrays.add_image(path, member)

    def images(self) -> "_Index":
        """The index of the images, or that of the arrays if these are all."""
        has_images = self.paths or self.hidden or self.links
        return (
            self if has_images or not self.arrays else replace(self.arrays, sidecars=self.sidecars)
        )

    def add_image(self, path: str, member: tarfile.TarInfo) -> None:
        if is_hidden(path):
            self.hidden.append(path)
        elif not (member.isreg() or member.islnk()):
            self.links.append(path)
        elif member.issparse():
            raise ShardError(f"{path!r} is a sparse file in its tar; pack it as a whole file")
        else:
            if member.islnk():
                self.hard_links[len(self.paths)] = member_path(member.linkname)
            self.paths.append(path)
            self.starts.append(member.offset_data)
            self.sizes.append(member.size)

    def resolve_hard_links(self, name: str) -> None:
        """Gives each link the bytes of the member that it stands for."""
        numbers = {path: n for n, path in enumerate(self.paths)} if self.hard_links else {}
        for number, target in self.hard_links.items():
            if target not in numbers or numbers[target] in self.hard_links:
                raise ShardError(
                    f"'{name}/{self.paths[number]}' is a link to {target!r}, which is not an image "
                    "of the tar; pack the image itself"
                )
            self.starts[number] = self.starts[numbers[target]]
            self.sizes[number] = self.sizes[numbers[target]]


def tar_images(
    archive: StoredFile, name: str, *, glob: str | None = None, reads_classes: bool = True
) -> ShardImages:
    """The images of a tar in the order of the tar; keys begin with `name`."""
    refuse_unusable_glob(glob)
    with archive.open_whole() as file:
        version = archive.version_of(file)
        index = _Index()
        for member in _members(archive, file):
            index.add(member, glob)
        index = index.images()
        index.resolve_hard_links(name)
        if not (index.paths or glob):
            raise no_images(archive.location, glob, hidden=len(index.hidden))
        stated = _stated_classes(file, index, name) if reads_classes and index.sidecars else ()
    return _shard_images(archive, version, index, name=name, stated=stated)


def _shard_images(
    archive: StoredFile,
    version: FileVersion,
    index: _Index,
    *,
    name: str,
    stated: Sequence[str],
) -> ShardImages:
    prefix = f"{name}/"
    keys = [prefix + path for path in index.paths]
    samples = Counter(map(sample_name, index.paths)) if any(stated) else Counter[str]()
    return ShardImages(
        index.paths,
        TarFiles(archive, version, keys, index.starts, index.sizes),
        keys,
        stated,
        hidden=[prefix + path for path in index.hidden],
        links=[prefix + path for path in index.links],
        repeated=[prefix + sample for sample, count in samples.items() if count > 1],
    )


def _members(archive: StoredFile, file: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The members, whose headers alone are read. Raises unless the tar is whole."""
    _refuse_compression(archive, file)
    try:
        tar = tarfile.TarFile(fileobj=file, errors="surrogateescape")
        while (member := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # or memory grows with them
            yield member
    except tarfile.TarError as error:
        raise _damage(archive, str(error)) from error
    _refuse_missing_end(archive, file, tar.offset)


def _refuse_compression(archive: StoredFile, file: IO[bytes]) -> None:
    head = file.read(8)
    file.seek(0)
    for magic, compression in _COMPRESSIONS.items():
        if head.startswith(magic):
            raise ShardError(
                f"{archive.location!r} is compressed with {compression}, so its images cannot be "
                "read one by one; decompress it"
            )


def _refuse_missing_end(archive: StoredFile, file: IO[bytes], offset: int) -> None:
    """`tarfile` stops at whatever is not a header; only zeros are the end of a tar."""
    file.seek(offset)
    end = file.read(tarfile.BLOCKSIZE)
    if len(end) < tarfile.BLOCKSIZE:
        raise archive.cut_off()
    if end.strip(b"\0"):
        raise _damage(archive, f"no header at byte {offset:,}")
    while rest := file.read(_CHUNK):
        if rest.strip(b"\0"):
            raise ShardError(
                f"{archive.location!r} goes on after its end, as when tars are joined by cat; pack "
                "it again"
            )


def _damage(archive: StoredFile, reason: str) -> ShardError:
    return ShardError(
        f"{archive.location!r} is truncated, damaged, or not a tar ({reason}); copy it again"
    )


def _stated_classes(file: IO[bytes], index: _Index, name: str) -> list[str]:
    """The class that the first file beside each image states; an empty string for none."""
    class_by_sample: dict[str, str] = {}
    samples = set(map(sample_name, index.paths))
    for suffix, read_class in SIDECARS.items():
        for path, (start, size) in index.sidecars.items():
            sample = sample_name(path)
            if path.endswith(suffix) and sample in samples and not class_by_sample.get(sample):
                file.seek(start)
                class_by_sample[sample] = read_class(file.read(size), f"{name}/{path}")
    return [class_by_sample.get(sample_name(path), "") for path in index.paths]
