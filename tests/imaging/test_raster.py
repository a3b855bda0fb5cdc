"""Images of any number of channels: every way to write them is read as the same numbers."""

from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import tifffile
import torch
import torch.nn.functional as F

from retroscope.errors import ImageError
from retroscope.imaging.image import Fit
from retroscope.imaging.raster import Raster, assumed_range, channels_last, fit_raster
from retroscope.imaging.reading import read_pixels
from tests.imaging.channel_files import WRITERS, Numbers, numbers, write_chunky, write_pages
from tests.imaging.image_files import UPRIGHT

TYPES = ("uint8", "uint16", "float32")
SIGNED = [(way, "int16") for way in WRITERS if way != "pages by Pillow"]  # it writes none


def read(path: Path, channels: int, *, is_scaled: bool = False) -> Numbers:
    with path.open("rb") as file:
        return np.asarray(read_pixels(file, path.name, channels=channels, is_scaled=is_scaled))


@pytest.mark.parametrize(("way", "dtype"), [*product(WRITERS, TYPES), *SIGNED])
def test_every_file_is_read_as_the_numbers_in_it(tmp_path: Path, way: str, dtype: str) -> None:
    if (way, dtype) == ("deflated", "float32"):
        dtype = "uint32"  # the predictor of floating point needs another package
    values = numbers(5, dtype=dtype)
    found = read(WRITERS[way](tmp_path / "a", values), 5)
    assert found.dtype.name == dtype
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "uint32", "int32", "float32"])
def test_pillow_and_tifffile_read_a_page_alike(tmp_path: Path, dtype: str) -> None:
    values = numbers(1, dtype=dtype)[..., 0]
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 1)[..., 0], values)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), values)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("channels", [1, 5])
def test_all_channels_are_turned_upright(tmp_path: Path, orientation: int, channels: int) -> None:
    values = numbers(channels)
    image: Numbers = values if channels > 1 else values[..., 0]
    tifffile.imwrite(
        tmp_path / "a.tif",
        image,
        photometric="minisblack",
        planarconfig="contig" if channels > 1 else None,
        extratags=[(274, "H", 1, orientation, True)],
    )
    expected = UPRIGHT[orientation](values)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", channels), expected)


def test_smaller_versions_and_masks_among_the_pages_are_no_channels(tmp_path: Path) -> None:
    values = numbers(2)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in np.moveaxis(values, 2, 0):
            file.write(plane, photometric="minisblack")
        file.write(values[::2, ::2, 0], subfiletype=1)
    np.testing.assert_array_equal(read(tmp_path / "a.tif", 2), values)


@pytest.mark.parametrize(("channels", "mode"), [(4, "RGBA"), (2, "LA")])
def test_transparency_is_a_channel_for_a_network_that_takes_it(
    tmp_path: Path, channels: int, mode: str
) -> None:
    values = numbers(channels, dtype="uint8")
    PIL.Image.fromarray(values, mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", channels), values)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((10, 8), (10, 8, 1)), ((1, 10, 8), (10, 8, 1)), ((10, 8, 3), (10, 8, 3))],
)
def test_grey_and_colour_networks_take_arrays_of_either(
    shape: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    for channels in (1, 3):
        assert channels_last(np.zeros(shape), channels, "a").shape == expected


@pytest.mark.parametrize(
    ("shape", "channels", "reason"),
    [
        ((4, 10, 4), 4, "may come first or last"),
        ((3, 10, 1), 3, "may come first or last"),
        ((5, 10, 8), 4, "takes 4 channels"),
        ((10, 8), 4, "has 1 channel"),
        ((2, 4, 10, 8), 4, "give one image"),
        ((10,), 1, "shape"),
    ],
)
def test_arrays_whose_channels_nobody_can_find_are_refused(
    shape: tuple[int, ...], channels: int, reason: str
) -> None:
    with pytest.raises(ImageError, match=reason) as refusal:
        channels_last(np.zeros(shape), channels, "'a.npy'")
    assert "\n" not in str(refusal.value)


def test_bytes_and_16_bits_have_a_usual_range_and_floating_point_is_as_it_is() -> None:
    ranges = {"uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1, "bool": 1}
    for dtype, white in ranges.items():
        assert assumed_range(np.dtype(dtype), "a") == (0, white)
    for dtype in ("int16", "int32", "uint32", "int64"):
        with pytest.raises(ImageError, match="no usual range") as refusal:
            assumed_range(np.dtype(dtype), "a")
        assert refusal.value.parameter == "value_range"


@pytest.mark.parametrize("mode", ["crop", "stretch"])
def test_channels_are_resized_as_torch_resizes_with_antialiasing(mode: str) -> None:
    values = numbers(5, 40, 60, dtype="float32")
    planes = torch.from_numpy(np.moveaxis(values, 2, 0).copy())[None]
    size = (13, 13 if mode == "stretch" else 19)
    expected = F.interpolate(planes, size, mode="bilinear", antialias=True)[0].numpy()
    if mode == "crop":
        expected = expected[:, :, 3:16]
    found = fit_raster(Raster(values), Fit((13, 13), mode))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_image_smaller_than_the_crop_is_filled_with_the_lowest_value() -> None:
    values = numbers(4, 8, 8)
    found = fit_raster(Raster(values), Fit((12, 12), shorter=8), fill=-7)
    assert found.shape == (4, 12, 12)
    np.testing.assert_array_equal(found[:, 2:10, 2:10], np.moveaxis(values, 2, 0))
    assert (found[:, :2] == -7).all()
    assert (found[:, :, 10:] == -7).all()


def test_of_a_long_strip_only_what_is_cropped_is_resized() -> None:
    strip = np.zeros((16, 7_000, 2), np.float32)
    strip[..., 0], strip[..., 1] = 3, np.linspace(0, 1, 7_000)
    found = fit_raster(Raster(strip), Fit((256, 256)))
    np.testing.assert_allclose(found[0], 3)
    np.testing.assert_allclose(found[1], 0.5, atol=2e-3)


# What is refused, in one line each


def pickled(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)


def truncated(path: Path) -> None:
    np.save(path, numbers(4))
    path.write_bytes(path.read_bytes()[:-1])


def promising(path: Path) -> None:
    """A header alone, of an image of a terabyte."""
    with path.open("wb") as file:
        header = {"shape": (4, 2**19, 2**19), "fortran_order": False, "descr": "<u2"}
        np.lib.format.write_array_header_1_0(file, header)


NPY_FAULTS = {
    "pickled": (pickled, "pickled"),
    "truncated": (truncated, "truncated"),
    "promising": (promising, "limit"),
    "complex": (lambda path: np.save(path, np.zeros((4, 5, 6), complex)), "complex"),
    "texts": (lambda path: np.save(path, np.full((4, 5, 6), "a")), "numbers"),
    "records": (lambda path: np.save(path, np.zeros((4, 5, 6), "u1,u1")), "numbers"),
    "empty": (lambda path: np.save(path, np.zeros((4, 0, 6))), "1 or more"),
    "no header": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{}"), "header"),
    "another version": (lambda path: path.write_bytes(b"\x93NUMPY\x09\x00\x10\x00{}"), "header"),
}


@pytest.mark.parametrize("fault", NPY_FAULTS)
def test_bad_arrays_are_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    write, reason = NPY_FAULTS[fault]
    write(tmp_path / "a.npy")
    with pytest.raises(ImageError, match=reason) as refusal:
        read(tmp_path / "a.npy", 4)
    assert "\n" not in str(refusal.value)
    assert "a.npy" in str(refusal.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_pixels_that_are_no_numbers_are_refused_with_their_place(value: float) -> None:
    values = numbers(4, dtype="float64")
    values[2, 5, 3] = value
    with pytest.raises(ImageError, match=r"1 pixels in channel 3 .* row 2, column 5"):
        fit_raster(Raster(values), Fit((8, 8)))


@pytest.mark.parametrize("way", ["pages by Pillow", "pages by tifffile", "chunky", "deflated"])
def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path, way: str) -> None:
    whole = WRITERS[way](tmp_path / "a", numbers(5)).read_bytes()
    for end in range(8, len(whole) - 1, len(whole) // 23):
        (tmp_path / "cut.tif").write_bytes(whole[:end])
        with pytest.raises(ImageError) as refusal:
            read(tmp_path / "cut.tif", 5)
        assert "\n" not in str(refusal.value)


def test_a_file_of_another_number_of_channels_is_refused(tmp_path: Path) -> None:
    paths = (write_chunky(tmp_path / "a", numbers(5)), write_pages(tmp_path / "b", numbers(5)))
    for path, noun in zip(paths, ("channels", "pages"), strict=True):
        for channels in (1, 3, 4, 12):
            with pytest.raises(ImageError, match=f"has 5 {noun},.* the network takes {channels};"):
                read(path, channels)
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "c.png")
    with pytest.raises(ImageError, match=r"has 3 channels \(RGB\), and the network takes 4"):
        read(tmp_path / "c.png", 4)


def test_stacks_of_images_are_refused(tmp_path: Path) -> None:
    stack: npt.NDArray[np.uint16] = np.zeros((3, 10, 8, 4), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match="is a stack of images"):
        read(tmp_path / "a.tif", 4)


def test_without_tifffile_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tifffile", None)
    path = write_pages(tmp_path / "pages", numbers(5))
    assert read(path, 5).shape == (11, 17, 5)
    with pytest.raises(ImageError, match=r"pip install 'retroscope\[tiff\]'"):
        read(write_chunky(tmp_path / "a", numbers(5)), 5)
