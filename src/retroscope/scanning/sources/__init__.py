"""The images of a scan: folders, lists, archives, URLs and data sets, as shards."""

from retroscope.scanning.sources.class_rules import CLASS_FOLDERS, ClassRule
from retroscope.scanning.sources.image_list import (
    FileStatus,
    ImageFiles,
    ImageList,
    ListNote,
    OpenedImage,
)
from retroscope.scanning.sources.listing import (
    ImageSource,
    ShardedSource,
    list_images,
    list_shards,
)
from retroscope.scanning.sources.shards import Shard, ShardKind

__all__ = [
    "CLASS_FOLDERS",
    "ClassRule",
    "FileStatus",
    "ImageFiles",
    "ImageList",
    "ImageSource",
    "ListNote",
    "OpenedImage",
    "Shard",
    "ShardKind",
    "ShardedSource",
    "list_images",
    "list_shards",
]
