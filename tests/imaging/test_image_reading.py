"""Files of every kind are read upright, in eight bits of red, green and blue."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from retroscope.imaging.image import as_image, read_image
from tests.imaging.image_files import BLUE, RED, UPRIGHT, on_white, picture, saved, tagged


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "gif"])
def test_a_lossless_file_gives_its_pixels_back(tmp_path: Path, suffix: str) -> None:
    pixels = (picture() // 128) * 255
    path = saved(tmp_path / f"a.{suffix}", pixels)
    assert np.array_equal(read_image(path).pixels, pixels)


def test_a_file_remembers_the_path_as_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "a.png", picture(3, 4))
    monkeypatch.chdir(tmp_path)
    image = read_image("a.png")
    assert (image.source, image.height, image.width) == ("a.png", 3, 4)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"])
def test_opaque_modes_look_as_pillow_shows_them(tmp_path: Path, mode: str) -> None:
    shown = PIL.Image.fromarray(picture()).convert(mode)
    assert np.array_equal(as_image(shown).pixels, np.array(shown.convert("RGB")))
    suffix = "tif" if mode in {"CMYK", "YCbCr", "RGBX"} else "png"
    if mode != "HSV":  # no common file format holds it
        path = saved(tmp_path / f"a.{suffix}", shown)
        with PIL.Image.open(path) as opened:
            expected = np.array(opened.convert("RGB"))
        assert np.array_equal(read_image(path).pixels, expected)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_is_not_inverted(tmp_path: Path, suffix: str) -> None:
    orange = PIL.Image.new("CMYK", (16, 16), (0, 128, 255, 0))
    read = read_image(saved(tmp_path / f"a.{suffix}", orange)).pixels
    assert np.abs(read.astype(int) - (255, 127, 0)).max() <= 4


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "RGBa"])
def test_transparency_shows_white(mode: str) -> None:
    rgba = picture(channels=4)
    opaque = PIL.Image.fromarray(rgba[..., :3]).convert(mode.rstrip("aA"))
    shown = opaque.copy()
    shown.putalpha(PIL.Image.fromarray(rgba[..., 3]))
    shown = shown.convert(mode)  # for RGBa
    expected = on_white(np.array(opaque.convert("RGB")), rgba[..., 3])
    assert shown.mode == mode
    assert np.abs(as_image(shown).pixels - expected).max() <= 2


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_in_a_file_shows_white(tmp_path: Path, suffix: str) -> None:
    rgba = picture(channels=4)
    path = saved(tmp_path / f"a.{suffix}", rgba, **{"lossless": True} if suffix == "webp" else {})
    expected = on_white(rgba[..., :3], rgba[..., 3])
    assert np.abs(read_image(path).pixels - expected).max() <= 1


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_a_transparent_palette_entry_shows_white(tmp_path: Path, transparency: int | bytes) -> None:
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([*RED, *BLUE])
    palette.putpixel((1, 0), 1)
    path = saved(tmp_path / "a.png", palette, transparency=transparency)
    assert read_image(path).pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]


def test_a_transparent_colour_shows_white(tmp_path: Path) -> None:
    pixels = np.array([[RED, BLUE]], np.uint8)
    path = saved(tmp_path / "a.png", pixels, transparency=BLUE)
    assert read_image(path).pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame_is_read(tmp_path: Path, suffix: str) -> None:
    red, blue = (PIL.Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    path = saved(tmp_path / f"a.{suffix}", red, save_all=True, append_images=[blue])
    assert np.abs(read_image(path).pixels.astype(int) - RED).max() <= 4


# Deep grey


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_scaled_to_8(tmp_path: Path, suffix: str, dtype: str) -> None:
    values = np.arange(0, 65536, 8).reshape(64, 128).astype(dtype)
    shown = PIL.Image.fromarray(values)
    expected = np.rint(values / 257)
    assert np.array_equal(as_image(shown).pixels, np.stack([expected] * 3, axis=2))
    if suffix == "tif" or dtype == "<u2":
        read = read_image(saved(tmp_path / f"a.{suffix}", shown)).pixels
        assert np.array_equal(read[..., 1], expected)


@pytest.mark.parametrize(
    ("dtype", "values", "white"),
    [
        (np.int32, [0, 7, 255], 255),
        (np.int32, [-9, 256, 65535], 65535),
        (np.int32, [0, 65536, 2**31 - 1], 2**31 - 1),
        (np.float32, [0, 0.25, 1], 1),
        (np.float32, [-3, 1.5, 255], 255),
        (np.float32, [0, 256, 65535], 65535),
        (np.float32, [0, 70000, 1e30], 65535),
    ],
)
def test_white_is_the_smallest_full_scale_that_holds_every_value(
    tmp_path: Path, dtype: type, values: list[float], white: float
) -> None:
    expected = [round(255 * min(max(value / white, 0), 1)) for value in values]
    shown = PIL.Image.fromarray(np.array([values], dtype))
    assert as_image(shown).pixels[0, :, 0].tolist() == expected
    assert read_image(saved(tmp_path / "a.tif", shown)).pixels[0, :, 2].tolist() == expected


def test_infinity_is_white_or_black_and_no_number_is_black() -> None:
    values = np.array([[np.nan, np.inf, -np.inf, 1, 0]], np.float32)
    assert as_image(PIL.Image.fromarray(values)).pixels[0, :, 0].tolist() == [0, 255, 0, 255, 0]


def test_a_picture_of_no_number_is_black() -> None:
    values = np.full((2, 2), np.nan, np.float32)
    assert not as_image(PIL.Image.fromarray(values)).pixels.any()


# Which way is up


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_an_orientation_tag_turns_the_picture_upright(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    plain = saved(tmp_path / f"plain.{suffix}", picture())
    turned = saved(tmp_path / f"tagged.{suffix}", picture(), exif=tagged(orientation))
    expected = UPRIGHT[orientation](read_image(plain).pixels)
    assert np.array_equal(read_image(turned).pixels, expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"\xff" * 40])
def test_unreadable_tags_leave_the_picture_as_it_is(
    tmp_path: Path, suffix: str, exif: bytes
) -> None:
    plain = saved(tmp_path / f"plain.{suffix}", picture())
    broken = saved(tmp_path / f"tagged.{suffix}", picture(), exif=exif)
    assert np.array_equal(read_image(broken).pixels, read_image(plain).pixels)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path: Path, orientation: int) -> None:
    path = saved(tmp_path / "a.png", picture(), exif=tagged(orientation))
    assert np.array_equal(read_image(path).pixels, picture())


def test_a_pil_image_is_taken_as_it_stands(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", picture(), exif=tagged(6))
    with PIL.Image.open(path) as opened:
        assert np.array_equal(as_image(opened).pixels, picture())
