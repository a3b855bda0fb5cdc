"""What cannot be joined is refused in one line, and leaves no file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.progress import Progress
from retroscope.scanning.job import scan
from retroscope.scanning.merging.merge import merge
from tests.scanning.merging.image_halves import paths_in
from tests.scanning.scans import MEAN, SIDE, table_rows, tiny

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")


def refused(sources: Sequence[Path], to: Path, match: str, **options: Any) -> RetroscopeError:
    """The error of a merge, which leaves no file."""
    existed = to.exists()
    with pytest.raises(RetroscopeError, match=match) as caught:
        merge(sources, to=to, **options)
    assert "\n" not in str(caught.value)
    assert to.exists() == existed
    assert not list(to.parent.glob("*-lock"))
    return caught.value


def test_another_network_is_refused_by_what_differs(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    refused(pair(tiny(seed=1)), tmp_path / "c", "differ in the weights of the model")


def test_another_preprocessing_is_refused(pair: Callable[..., list[Path]], tmp_path: Path) -> None:
    net = Network(tiny().module, input_size=(SIDE, SIDE), mean=MEAN, std=MEAN, name="tiny")
    refused(pair(net), tmp_path / "c", "differ in the preprocessing")


def test_other_layers_and_another_precision_are_refused(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    parts = pair(layers="conv1", precision="bf16")
    refused(parts, tmp_path / "c", "differ in the precision and the choice of layers")


def test_an_unfinished_atlas_is_refused(
    pair: Callable[..., list[Path]], folder: Path, tmp_path: Path
) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    parts = pair()
    with pytest.raises(KeyboardInterrupt):
        scan(tiny(), folder, to=tmp_path / "d", progress=stop)
    refused([*parts, tmp_path / "d"], tmp_path / "c", "'.*d' is not finished")


def test_images_in_both_are_refused_with_the_first_and_how_many(
    folder: Path, tmp_path: Path
) -> None:
    paths = paths_in(folder)
    scan(tiny(), paths[:8], to=tmp_path / "a", projections=False).close()
    scan(tiny(), paths[5:], to=tmp_path / "b", projections=False).close()
    message = rf"the image '{paths[5]}' is in .*a' and in .*b', and so are \d more"
    refused([tmp_path / "a", tmp_path / "b"], tmp_path / "c", message)


def test_copies_of_one_scan_are_refused(pair: Callable[..., list[Path]], tmp_path: Path) -> None:
    first, _ = pair()
    (tmp_path / "copy").write_bytes(first.read_bytes())
    refused([first, tmp_path / "copy"], tmp_path / "c", "copies of one scan")


def test_the_same_file_twice_and_too_few_files_are_refused(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    first, second = pair()
    (tmp_path / "link").symlink_to(first)
    refused([first, second, tmp_path / "link"], tmp_path / "c", "'.*link' is given twice")
    refused([first], tmp_path / "c", "give two or more")
    refused([], tmp_path / "c", "give two or more")
    refused([first, tmp_path / "none"], tmp_path / "c", "no atlas '.*none'")
    refused([first, second], tmp_path / "c", "allow_missing", allow_missing=True)
    before = table_rows(first)
    error = refused([first, second], first, "one of the atlases to join", restart=True)
    assert error.parameter == "to"
    assert table_rows(first) == before


def test_an_atlas_that_exists_is_replaced_only_on_demand(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    parts = pair()
    merge(parts, to=tmp_path / "c").close()
    before = table_rows(tmp_path / "c")
    assert refused(parts, tmp_path / "c", "'.*c' exists").parameter == "restart"
    merge(parts, to=tmp_path / "c", restart=True).close()
    assert table_rows(tmp_path / "c") == before
    AtlasWriter(tmp_path / "left").close()
    merge(parts, to=tmp_path / "left").close()
    assert table_rows(tmp_path / "left") == before


def test_an_interrupted_merge_leaves_no_file(
    pair: Callable[..., list[Path]], tmp_path: Path
) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    parts = pair()
    with pytest.raises(KeyboardInterrupt):
        merge(parts, to=tmp_path / "c", progress=stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
