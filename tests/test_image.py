import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.ExifTags import Base as Tag

import retroscope.image
from retroscope.errors import ImageError
from retroscope.geometry import Box
from retroscope.image import Fit, Image, Picture, as_image, crop, fitted, read_image, resize

RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(height: int = 12, width: int = 20, channels: int = 3) -> Picture:
    """Smooth in every direction, and unlike itself after any turn."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [200 * y, 250 * x, 120 * (y + x), 255 * (0.5 + 0.4 * np.sin(9 * x))][:channels]
    return np.stack(waves, axis=2).clip(0, 255).astype(np.uint8)


def saved(path: Path, image: PIL.Image.Image | Picture, **options: object) -> Path:
    shown = image if isinstance(image, PIL.Image.Image) else PIL.Image.fromarray(image)
    shown.save(path, **options)  # type: ignore[arg-type]
    return path


def tagged(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[Tag.Orientation] = orientation
    return exif


def png_header(height: int, width: int) -> bytes:
    """A PNG that promises a size and ends there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0")
    chunks = [
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, data)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def on_white(colour: Picture, alpha: Picture) -> npt.NDArray[np.float64]:
    share = alpha[..., None] / 255
    return np.asarray(colour * share + 255 * (1 - share))


# Reading


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

UPRIGHT: dict[int, Callable[[Picture], Picture]] = {
    # EXIF 2.32, tag 0x112: where the stored first row and first column belong.
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
}


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
    with pytest.raises(ImageError, match=r"a\.jpg' is not an image of a known format"):
        read_image(tmp_path / "a.jpg")


def test_a_format_that_this_pillow_was_built_without_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.webp", picture())
    reader, _ = PIL.Image.OPEN["WEBP"]
    monkeypatch.setitem(PIL.Image.OPEN, "WEBP", (reader, lambda _: "could not be loaded"))
    with pytest.raises(ImageError, match="not an image of a known format"):
        read_image(path)


def test_a_file_without_permission_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = saved(tmp_path / "a.png", picture())
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match=r"may not read '.*a\.png' \(Permission denied\)"):
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


def test_a_picture_that_promises_too_many_pixels_is_refused_undecoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_header(60000, 50000))
    with pytest.raises(ImageError, match=r"a\.png' is 60000 x 50000 pixels, over the limit"):
        read_image(tmp_path / "a.png")


def test_the_limit_itself_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.png", picture(3, 4))
    monkeypatch.setattr(retroscope.image, "MAX_PIXELS", 12)
    assert read_image(path).pixels.size == 36
    monkeypatch.setattr(retroscope.image, "MAX_PIXELS", 11)
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


# An image from anything


def test_an_image_is_itself() -> None:
    image = Image(picture())
    assert as_image(image) is image


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_is_read(tmp_path: Path, kind: Callable[[Path], str | Path]) -> None:
    path = saved(tmp_path / "a.png", picture())
    image = as_image(kind(path))
    assert np.array_equal(image.pixels, picture())
    assert image.source == str(path)


def test_a_pil_image_comes_from_memory() -> None:
    assert as_image(PIL.Image.fromarray(picture())).source == "memory"


def test_a_lazy_pil_image_that_turns_out_broken_is_refused() -> None:
    with (
        PIL.Image.open(BytesIO(png_header(5, 5))) as opened,
        pytest.raises(ImageError, match="cannot decode the PIL image"),
    ):
        as_image(opened)


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(ImageError, match="not a ndarray"):
        as_image(picture())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_an_image_is_made_of_8_bit_rgb(pixels: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ImageError, match=r"an image is uint8 of shape \(height, width, 3\)"):
        Image(pixels)


def test_a_notebook_shows_the_same_pixels() -> None:
    shown = PIL.Image.open(BytesIO(Image(picture())._repr_png_()))
    assert np.array_equal(np.array(shown), picture())


# Resizing and fitting


@pytest.mark.parametrize("resample", ["nearest", "box", "bilinear", "bicubic", "lanczos"])
def test_resizing_is_pillows(resample: str) -> None:
    image = Image(picture(30, 50), "a.jpg")
    expected = image.to_pil().resize((9, 40), PIL.Image.Resampling[resample.upper()])
    resized = resize(image, (40, 9), resample=resample)
    assert np.array_equal(resized.pixels, np.array(expected))
    assert resized.source == "a.jpg"


def test_shrinking_takes_every_pixel_into_account() -> None:
    fine = np.indices((64, 64)).sum(axis=0) % 2 * 255
    board = Image(np.stack([fine.astype(np.uint8)] * 3, axis=2))
    assert np.abs(resize(board, (8, 8)).pixels.astype(int) - 127.5).max() < 2


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (10**5, 10**5)])
def test_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"'memory' resized is {size[0]} x {size[1]} pixels"):
        resize(Image(picture()), size)


def test_a_sliver_is_refused_before_its_long_side_fills_the_memory() -> None:
    sliver = Image(np.zeros((1, 60000, 3), np.uint8), "sliver.png")
    with pytest.raises(ImageError, match=r"'sliver.png' resized is 256 x 15360000 pixels"):
        fitted(sliver, Fit((224, 224), shorter=256))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"mode": "squeeze"}, "no mode 'squeeze'; there are network, crop, stretch"),
        ({"resample": "cubic"}, "no resample 'cubic'; there are nearest, "),
        ({"size": (0, 8)}, "the network's input is 0 x 8 pixels; sizes are 1 or more"),
        ({"shorter": 0}, "sizes are 1 or more"),
    ],
)
def test_a_fit_that_does_not_exist_is_refused(asked: dict[str, object], answer: str) -> None:
    with pytest.raises(ImageError, match=answer):
        Fit(**{"size": (8, 8), **asked})  # type: ignore[arg-type]


SIDES = st.integers(1, 40)


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(SIDES, SIDES),
    size=st.tuples(SIDES, SIDES),
    shorter=SIDES,
    resample=st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
def test_the_network_fit_is_torchvisions(
    source: tuple[int, int], size: tuple[int, int], shorter: int, resample: str
) -> None:
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = Image(picture(*source))
    mode = functional.InterpolationMode(resample)
    resized = functional.resize(image.to_pil(), [shorter], interpolation=mode)
    expected = np.array(functional.center_crop(resized, list(size)))
    fit = Fit(size, shorter=shorter, resample=resample)
    assert np.array_equal(fitted(image, fit).pixels, expected)


@given(source=st.tuples(SIDES, SIDES), side=SIDES)
def test_without_a_shorter_side_a_square_is_torchvisions_resize_and_crop(
    source: tuple[int, int], side: int
) -> None:
    image = Image(picture(*source))
    expected = fitted(image, Fit((side, side), shorter=side)).pixels
    for mode in ("network", "crop"):
        assert np.array_equal(fitted(image, Fit((side, side), mode)).pixels, expected)


@given(source=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_the_crop_fit_just_covers_the_size(source: tuple[int, int], size: tuple[int, int]) -> None:
    white = Image(np.full((*source, 3), 255, np.uint8))
    assert (fitted(white, Fit(size, "crop")).pixels == 255).all()
    (height, width), (tall, wide) = source, size
    covering = (tall, width * tall // height), (height * wide // width, wide)
    resized = resize(
        Image(picture(*source)), covering[0] if covering[0][1] >= wide else covering[1]
    )
    top, left = round((resized.height - tall) / 2), round((resized.width - wide) / 2)
    expected = resized.pixels[top : top + tall, left : left + wide]
    assert np.array_equal(fitted(Image(picture(*source)), Fit(size, "crop")).pixels, expected)


@given(source=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_the_stretch_fit_is_a_resize(source: tuple[int, int], size: tuple[int, int]) -> None:
    image = Image(picture(*source))
    assert np.array_equal(fitted(image, Fit(size, "stretch")).pixels, resize(image, size).pixels)


def test_a_fitted_image_keeps_its_source() -> None:
    assert fitted(Image(picture(), "a.jpg"), Fit((4, 4))).source == "a.jpg"


# Cropping


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    top, left = draw(st.integers(-12, 20)), draw(st.integers(-12, 20))
    return Box(top, left, top + draw(st.integers(0, 12)), left + draw(st.integers(0, 12)))


@given(box=boxes(), channels=st.integers(1, 4), dtype=st.sampled_from([np.uint8, np.float32]))
def test_a_crop_is_the_pixels_under_the_box_and_fill_outside(
    box: Box, channels: int, dtype: type[np.uint8] | type[np.float32]
) -> None:
    pixels = (picture(7, 9, channels) % 100).astype(dtype)
    expected = np.full((box.height, box.width, channels), 200, dtype)
    for y in range(box.height):
        for x in range(box.width):
            if 0 <= y + box.top < 7 and 0 <= x + box.left < 9:
                expected[y, x] = pixels[y + box.top, x + box.left]
    cropped = crop(pixels, box, fill=200)
    assert cropped.dtype == dtype
    assert np.array_equal(cropped, expected)


def test_a_crop_inside_the_picture_is_a_slice_of_its_own() -> None:
    pixels = picture()
    piece = crop(pixels, Box(2, 3, 8, 11))
    assert np.array_equal(piece, pixels[2:8, 3:11])
    assert not np.shares_memory(piece, pixels)


def test_outside_the_picture_there_is_middle_grey() -> None:
    assert (crop(picture(), Box(-5, -5, -1, -2)) == 128).all()
