"""Files that commands leave behind: whole, or not at all."""

from errno import ENOSPC
from pathlib import Path

import pytest
from PIL import Image

from retroscope.cli.output import model_name, write_bytes, write_image
from retroscope.errors import RetroscopeError


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "pdf"])
def test_a_picture_is_written_as_its_ending_says(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"red.{ending}"
    write_image(Image.new("RGB", (20, 10), "red"), path)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    if ending != "pdf":
        with Image.open(path) as shown:
            assert shown.size == (20, 10)


def test_a_full_disk_leaves_what_was_there_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:3])
        raise OSError(ENOSPC, "No space left on device")

    path = tmp_path / "page.html"
    path.write_bytes(b"an older page")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RetroscopeError, match=r"cannot write .*page.html': No space left"):
        write_bytes(b"a newer page", path)
    assert [one.read_bytes() for one in tmp_path.iterdir()] == [b"an older page"]


@pytest.mark.parametrize("model", ["net.pth", "runs/net.pth", "C:\\runs\\net.pth", "./net.pth"])
def test_a_weight_file_is_named_without_its_folder_on_any_system(model: str) -> None:
    assert model_name(model) == "net"


NAMES = ["vgg16", "vgg16.pth", "nets.py:tiny", "nets.py:large", "timm/resnet18.a1_in1k", "a.b:c"]


def test_the_names_of_models_are_different_parts_of_file_names() -> None:
    names = [model_name(name) for name in NAMES]
    assert names[:2] == ["vgg16", "vgg16"], "the weights of a network are named like the network"
    assert len(set(names)) == len(NAMES) - 1
    assert not any(set(name) & set('/\\:*?"<>|') for name in names)
