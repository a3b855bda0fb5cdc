"""Files that are read smaller than they are, and those that cannot be read."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import retroscope.imaging.decoding
from retroscope.errors import ImageError
from retroscope.imaging.decoding import TooLargeError
from retroscope.imaging.image import decode_image, read_image
from tests.imaging.image_files import UPRIGHT, picture, png_header, saved, tagged

# Decoding at reduced size


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize(
    "at_least",
    [(0, 0), (1, 1), (12, 12), (30, 10), (10, 40), (37, 50), (75, 100), (76, 1), (999, 999)],
)
def test_a_reduced_jpeg_is_at_least_as_big_as_asked(
    tmp_path: Path, orientation: int, at_least: tuple[int, int]
) -> None:
    path = saved(tmp_path / "a.jpg", picture(150, 200), exif=tagged(orientation))
    full, reduced = read_image(path), read_image(path, at_least=at_least)
    for side, whole, asked in zip(
        reduced.pixels.shape, full.pixels.shape[:2], at_least, strict=False
    ):
        assert min(whole, asked) <= side <= whole
    shown = np.array(full.to_pil().resize((reduced.width, reduced.height)))
    assert np.abs(shown.astype(int) - reduced.pixels).mean() < 3


def test_a_jpeg_is_reduced_as_far_as_asked_allows(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", picture(160, 240))
    sizes = {
        asked: read_image(path, at_least=(asked, asked)).pixels.shape[:2]
        for asked in (1, 20, 21, 40, 41, 80, 81, 160, 161)
    }
    assert [height for height, _ in sizes.values()] == [20, 20, 40, 40, 80, 80, 160, 160, 160]
    assert all(2 * width == 3 * height for height, width in sizes.values())


def test_other_formats_are_read_at_full_size(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", picture(64, 64))
    assert np.array_equal(read_image(path, at_least=(8, 8)).pixels, picture(64, 64))


# Files that cannot be read


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cannot open '.*gone\.jpg' \(No such file"):
        read_image(tmp_path / "gone.jpg")


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder, not an image"):
        read_image(tmp_path)


def test_a_device_is_not_read() -> None:
    with pytest.raises(ImageError, match="'/dev/null' is a device or a pipe"):
        read_image("/dev/null")


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(ImageError, match=r"a\.jpg' is an empty file \(0 bytes\)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("content", [b"hello, this is no picture", b"x", b"%!PS-Adobe-3.0 EPSF"])
def test_a_file_of_another_kind_is_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.jpg' is not an image of a supported format"):
        read_image(tmp_path / "a.jpg")


def test_a_format_that_this_pillow_was_built_without_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.webp", picture())
    reader, _ = PIL.Image.OPEN["WEBP"]
    monkeypatch.setitem(PIL.Image.OPEN, "WEBP", (reader, lambda _: "could not be loaded"))
    with pytest.raises(ImageError, match="not an image of a supported format"):
        read_image(path)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(tmp_path / "a.png", picture())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"cannot read '.*a\.png' \(Permission denied\)"):
        read_image(path)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    for name in ("a\0b.jpg", "a" * 5000):
        with pytest.raises(ImageError, match="cannot open"):
            read_image(name)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp", "ppm"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", picture(64, 64))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(ImageError, match=rf"cannot decode '.*a\.{suffix}' \("):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp", "ppm"])
def test_a_damaged_file_is_an_image_or_an_image_error_in_one_line(
    tmp_path: Path, suffix: str
) -> None:
    path = saved(tmp_path / f"a.{suffix}", picture())
    content = path.read_bytes()
    chance = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        for place in chance.integers(0, min(len(damaged), 300), 4):
            damaged[place] = chance.integers(256)
        path.write_bytes(damaged[: chance.integers(1, 2 * len(damaged))])
        try:
            assert read_image(path).pixels.dtype == np.uint8
        except ImageError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert f"a.{suffix}" in str(error)  # noqa: PT017


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "bmp"])
def test_bytes_are_read_as_their_file_is(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"a.{suffix}", picture())
    read = decode_image(path.read_bytes())
    np.testing.assert_array_equal(read.pixels, read_image(path).pixels)
    assert read.source == "memory"


def test_bytes_of_a_kind_that_is_not_asked_for_are_no_image(tmp_path: Path) -> None:
    content = saved(tmp_path / "a.tif", picture()).read_bytes()
    with pytest.raises(ImageError, match="the image is not an image of a supported format"):
        decode_image(content, formats=("PNG", "JPEG"))


def test_bytes_of_more_pixels_than_are_asked_for_are_refused_undecoded() -> None:
    with pytest.raises(TooLargeError, match="600 x 500 pixels, over the limit of 299,999"):
        decode_image(png_header(600, 500), max_pixels=299_999)


def test_a_picture_that_promises_too_many_pixels_is_refused_undecoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(60000, 50000))
    with pytest.raises(ImageError, match=r"a\.png' is 60000 x 50000 pixels, over the limit"):
        read_image(tmp_path / "a.png")


def test_the_limit_itself_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", picture(3, 4))
    monkeypatch.setattr(retroscope.imaging.decoding, "MAX_PIXELS", 12)
    assert read_image(path).pixels.size == 36
    monkeypatch.setattr(retroscope.imaging.decoding, "MAX_PIXELS", 11)
    with pytest.raises(ImageError, match="over the limit of 11"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp"])
def test_between_pillows_limits_there_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = saved(tmp_path / f"a.{suffix}", picture())
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 12 * 20 - 1)
    with pytest.warns(PIL.Image.DecompressionBombWarning), PIL.Image.open(path):
        pass
    assert read_image(path).pixels.shape == (12, 20, 3)
