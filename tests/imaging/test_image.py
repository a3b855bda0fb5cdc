"""An image from anything: resized, fitted and cropped."""

import re
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retroscope.errors import ImageError
from retroscope.geometry import Box
from retroscope.imaging.image import Fit, Image, as_image, crop, fit_image, read_image, resize
from retroscope.world import scene
from tests.imaging.image_files import picture, png_header, saved


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
    with pytest.raises(ImageError, match=r"uint8 array .* torch tensor .*; not list"):
        as_image(picture().tolist())


def test_an_array_of_pixels_is_a_picture_and_one_of_two_dimensions_is_grey() -> None:
    shown = picture()
    assert np.array_equal(as_image(shown).pixels, shown)
    assert all(
        np.array_equal(as_image(shown[..., 1]).pixels[..., n], shown[..., 1]) for n in (0, 2)
    )


def test_a_scene_of_the_picture_world_is_a_picture() -> None:
    shown = scene(7)
    assert np.array_equal(as_image(shown).pixels, shown.pixels)


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5)])
def test_an_array_of_other_numbers_is_told_what_pixels_are(shape: tuple[int, ...]) -> None:
    other: Any = np.zeros(shape, np.float32)
    with pytest.raises(ImageError, match=r"an image is uint8 of shape .*, not float32"):
        as_image(other)


def test_what_has_pixels_of_another_kind_is_no_picture() -> None:
    other: Any = SimpleNamespace(pixels=np.zeros((4, 5, 3), np.float32))
    with pytest.raises(ImageError, match="not SimpleNamespace"):
        as_image(other)


@pytest.mark.parametrize("given", [PIL.Image.new("RGB", (3, 3)), "cat.png", None])
def test_an_image_of_anything_but_an_array_is_told_what_to_do(given: Any) -> None:
    with pytest.raises(ImageError, match=rf"not {type(given).__name__}; read_image reads"):
        Image(given)


def test_an_array_cannot_be_read_like_a_file() -> None:
    pixels: Any = picture()
    with pytest.raises(ImageError, match=r"not ndarray; use rs.Image\(pixels\)"):
        read_image(pixels)


@pytest.mark.parametrize("size", [32, "32", (32,), (32, 32, 32), (3.5, 4), None])
def test_a_size_is_a_height_and_a_width(size: Any) -> None:
    with pytest.raises(ImageError, match=rf"such as \(224, 224\), not {re.escape(repr(size))}$"):
        Fit(size)


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
        fit_image(sliver, Fit((224, 224), shorter=256))


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ({"mode": "squeeze"}, "no resize mode 'squeeze'; choose from network, crop, stretch"),
        ({"resample": "cubic"}, "no resampling filter 'cubic'; did you mean 'bicubic'"),
        ({"size": (0, 8)}, "the network's input is 0 x 8 pixels; height and width must be"),
        ({"shorter": 0}, "height and width must be 1 or more"),
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
    assert np.array_equal(fit_image(image, fit).pixels, expected)


@given(source=st.tuples(SIDES, SIDES), side=SIDES)
def test_without_a_shorter_side_a_square_is_torchvisions_resize_and_crop(
    source: tuple[int, int], side: int
) -> None:
    image = Image(picture(*source))
    expected = fit_image(image, Fit((side, side), shorter=side)).pixels
    for mode in ("network", "crop"):
        assert np.array_equal(fit_image(image, Fit((side, side), mode)).pixels, expected)


@given(source=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_the_crop_fit_just_covers_the_size(source: tuple[int, int], size: tuple[int, int]) -> None:
    white = Image(np.full((*source, 3), 255, np.uint8))
    assert (fit_image(white, Fit(size, "crop")).pixels == 255).all()
    (height, width), (tall, wide) = source, size
    covering = (tall, width * tall // height), (height * wide // width, wide)
    resized = resize(
        Image(picture(*source)), covering[0] if covering[0][1] >= wide else covering[1]
    )
    top, left = round((resized.height - tall) / 2), round((resized.width - wide) / 2)
    expected = resized.pixels[top : top + tall, left : left + wide]
    assert np.array_equal(fit_image(Image(picture(*source)), Fit(size, "crop")).pixels, expected)


@given(source=st.tuples(SIDES, SIDES), shorter=st.none() | SIDES)
def test_the_whole_fit_crops_nothing(source: tuple[int, int], shorter: int | None) -> None:
    image = Image(picture(*source))
    fit = Fit((8, 8), "whole", shorter)
    scale = Fraction(shorter or min(source), min(source))
    expected = resize(image, (int(source[0] * scale), int(source[1] * scale)))
    assert np.array_equal(fit_image(image, fit).pixels, expected.pixels)


@given(source=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_the_letterbox_fit_is_the_whole_image_between_grey_bars(
    source: tuple[int, int], size: tuple[int, int]
) -> None:
    """As ultralytics' LetterBox counts: sizes are rounded, and an odd bar is longer at the end."""
    scale = min(size[0] / source[0], size[1] / source[1])
    inner = tuple(max(1, round(side * scale)) for side in source)
    bars = [(round(gap / 2 - 0.1), round(gap / 2 + 0.1)) for gap in np.subtract(size, inner)]
    image = Image(picture(*source))
    resized = resize(image, (inner[0], inner[1])).pixels
    expected = np.pad(resized, (*bars, (0, 0)), constant_values=114)
    assert np.array_equal(fit_image(image, Fit(size, "letterbox")).pixels, expected)


def test_the_whole_fit_may_be_decoded_coarsely_only_if_it_resizes() -> None:
    assert Fit((8, 8), "whole").decoding_size is None
    assert Fit((8, 8), "whole", shorter=20).decoding_size == (40, 40)
    assert Fit((8, 8), "whole", shorter=20).of_one_size == Fit((8, 8), shorter=20)


@given(source=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_the_stretch_fit_is_a_resize(source: tuple[int, int], size: tuple[int, int]) -> None:
    image = Image(picture(*source))
    assert np.array_equal(fit_image(image, Fit(size, "stretch")).pixels, resize(image, size).pixels)


@settings(max_examples=150, deadline=None)
@given(
    source=st.tuples(SIDES, SIDES),
    size=st.tuples(SIDES, SIDES),
    shorter=st.none() | SIDES,
    resample=st.sampled_from(["bilinear", "hamming", "bicubic", "lanczos"]),
)
def test_what_is_resized_after_the_crop_is_what_is_cropped_after_the_resize(
    source: tuple[int, int], size: tuple[int, int], shorter: int | None, resample: str
) -> None:
    """Positions have single precision; each of the two passes may round to a neighbour."""
    image, fit = Image(picture(*source)), Fit(size, shorter=shorter, resample=resample)
    expected = fit_image(image, fit).pixels.astype(int)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retroscope.imaging.image.MAX_RESIZED_PIXELS", 0)
        pixels = fit_image(image, fit).pixels
    assert np.abs(pixels - expected).max() <= 2


@pytest.mark.parametrize(
    ("mode", "shape"),
    [
        *(("network", shape) for shape in ((19_400, 1), (1, 19_400))),
        *(("crop", shape) for shape in ((19_400, 1), (1, 19_400))),
        ("stretch", (30_000_000, 1)),
    ],
)
def test_a_line_of_pixels_is_not_resized_to_millions(mode: str, shape: tuple[int, int]) -> None:
    colours = (np.arange(np.prod(shape)) % 251).astype(np.uint8)
    image = Image(np.repeat(colours.reshape(*shape, 1), 3, axis=2))
    sizes: list[int] = []
    resize_pil = PIL.Image.Image.resize

    def record(image: PIL.Image.Image, size: tuple[int, int], *rest: Any, **named: Any) -> Any:
        sizes.append(max(image.height, size[1]) * size[0])  # the width is resized first
        return resize_pil(image, size, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PIL.Image.Image, "resize", record)
        pixels = fit_image(image, Fit((96, 96), mode, shorter=96)).pixels
    assert pixels.shape == (96, 96, 3)
    assert pixels.any()
    assert max(sizes) <= np.prod(shape)


def test_a_fitted_image_keeps_its_source() -> None:
    assert fit_image(Image(picture(), "a.jpg"), Fit((4, 4))).source == "a.jpg"


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
