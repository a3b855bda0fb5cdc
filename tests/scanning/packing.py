"""The images of a folder, packed in every way that a scan reads."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.scanning.scans import smooth_image


def write_classes(folder: Path, *names: str) -> Path:
    """Images under these paths, no two alike."""
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        smooth_image(seed).save(folder / name)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of a folder's files by path, in the order in which a folder is scanned."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def write_tar(path: Path, members: Mapping[str, bytes | str]) -> Path:
    """A tar of these members, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, members: Mapping[str, bytes | str]) -> Path:
    """A zip of these members: every other one compressed, the others stored."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for number, (name, content) in enumerate(members.items()):
            method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            packed.writestr(name, content, compress_type=method)
    return path


def write_parquet(
    path: Path,
    members: Mapping[str, bytes],
    *,
    labels: Mapping[str, object] | None = None,
    names: list[str] | None = None,
    group: int = 3,
) -> Path:
    """As the library datasets writes images: a struct of bytes and path, and a class number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": data, "path": name} for name, data in members.items()]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns: dict[str, object] = {"image": pa.array(images, type=struct)}
    features: dict[str, object] = {"image": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pa.array([labels[name] for name in members])
        features["label"] = {"_type": "ClassLabel", "names": names} if names else {"_type": "Value"}
    table = pa.table(columns).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pq.write_table(table, path, row_group_size=group)
    return path


def pack_parquet(path: Path, members: Mapping[str, bytes]) -> Path:
    """Images and classes by their folders, as a table."""
    names = sorted({name.split("/")[0] for name in members if "/" in name})
    labels = {name: names.index(name.split("/")[0]) if "/" in name else -1 for name in members}
    return write_parquet(path, members, labels=labels, names=names)


PACKERS: dict[str, Callable[[Path, Mapping[str, bytes]], Path]] = {
    "tar": write_tar,
    "zip": write_zip,
    "parquet": pack_parquet,
}
