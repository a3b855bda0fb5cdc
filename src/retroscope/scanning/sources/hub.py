"""Data sets of the Hugging Face Hub by name, resolved to the files they consist of."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from retroscope.errors import RetroscopeError, choose, describe_error
from retroscope.scanning.sources.locations import HUB_PREFIX

_CONVERTED = "refs/convert/parquet"
"""Where the Hub keeps Parquet files that it has made of other kinds of files."""
_ENDINGS = (".parquet", ".tar")
_SPLIT_WORDS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")


class HubName(NamedTuple):
    """The name of a data set and the split of it, if one is chosen."""

    dataset: str
    split: str


def parse_hub_name(text: str) -> HubName:
    """The parts of `hf:NAME`, `hf:NAME:SPLIT` or `hf:datasets/NAME:SPLIT`.

    >>> parse_hub_name("hf:datasets/uoft-cs/cifar10:test")
    HubName(dataset='uoft-cs/cifar10', split='test')
    """
    name, _, split = text.removeprefix(HUB_PREFIX).removeprefix("datasets/").partition(":")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or (
        ":" in text[len(HUB_PREFIX) :] and not split
    ):
        raise RetroscopeError(
            f"cannot read the name {text!r}; write one such as hf:datasets/uoft-cs/cifar10:test"
        )
    return HubName(name, split)


def resolve_hub_name(text: str) -> list[str]:
    """The URLs of a data set's Parquet files or tars, at the commit that is the latest now."""
    name = parse_hub_name(text)
    for revision in ("main", _CONVERTED):
        found = _list_files(name.dataset, revision)
        for ending in _ENDINGS:
            files = sorted(path for path in found.paths if path.endswith(ending))
            if files:
                chosen = choose_split(files, name.split, name.dataset)
                return [f"hf://datasets/{found.dataset}@{found.commit}/{path}" for path in chosen]
    raise RetroscopeError(
        f"the data set {name.dataset!r} has neither Parquet files nor tars; download it and give "
        "the folder"
    )


def choose_split(files: Sequence[str], split: str, dataset: str) -> list[str]:
    """The files of a split. Without one, all files, if they are not of several splits.

    >>> choose_split(["data/train-0-of-1.parquet", "data/test-0-of-1.parquet"], "test", "x")
    ['data/test-0-of-1.parquet']
    """
    by_split: dict[str, list[str]] = {}
    for file in files:
        by_split.setdefault(split_of(file), []).append(file)
    if split:
        return choose(f"split of {dataset!r}", split, by_split)
    if len(by_split) > 1:
        names = ", ".join(sorted(by_split))
        raise RetroscopeError(
            f"the data set {dataset!r} has the splits {names}; choose one, as in "
            f"hf:{dataset}:{min(by_split)}"
        )
    return list(files)


def split_of(path: str) -> str:
    """The split that a file belongs to, by the words of its path; with its folder, if it has one.

    >>> split_of("data/train-00000-of-00294.parquet"), split_of("en/validation/0000.parquet")
    ('train', 'en/validation')
    """
    folders = path.split("/")
    for depth, part in enumerate(folders):
        words = [word for word in re.split(r"[^A-Za-z]+", part) if word]
        split = next((word for word in words if word.lower() in _SPLIT_WORDS), None)
        if split:
            subset = "/".join(folders[:depth])
            return split if subset in {"", "data", "default"} else f"{subset}/{split}"
    return "all"


class _Revision(NamedTuple):
    """The whole name of a data set, the commit that a revision is now, and its files."""

    dataset: str
    commit: str
    paths: Sequence[str]


def _list_files(dataset: str, revision: str) -> _Revision:
    """The files of a revision; none if it does not exist."""
    try:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
    except ImportError as error:
        raise RetroscopeError(
            "data sets of the Hub need the package huggingface_hub; pip install 'retroscope[hub]'"
        ) from error
    try:
        info = HfApi().dataset_info(dataset, revision=revision)
    except RevisionNotFoundError:
        return _Revision(dataset, revision, [])
    except (HfHubHTTPError, OSError) as error:
        raise RetroscopeError(
            f"cannot look up the data set {dataset!r} ({describe_error(error)}); check its name "
            "and the connection"
        ) from error
    paths = [file.rfilename for file in info.siblings or ()]
    return _Revision(info.id, info.sha or revision, paths)
