"""Volumes and clips as networks take them: what each kind of file holds, slice by slice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
import torch

from retroscope.errors import ImageError
from retroscope.imaging.frames import FrameFolder, frame_order
from retroscope.imaging.image import Fit
from retroscope.imaging.slice_files import open_slices, open_source
from retroscope.imaging.volume_slices import describe_choice, evenly_spaced
from retroscope.network import Network
from retroscope.preprocessing import Preprocessing
from tests.imaging.channel_files import Numbers

DEPTH, HEIGHT, WIDTH = 6, 10, 8


def frames(count: int = DEPTH, *, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Numbers:
    """Frames of plain colours, of which no two are alike: (count, height, width, 3)."""
    levels = np.arange(count, dtype=np.uint8) * 40 + 10
    colours = np.stack([levels, 255 - levels, np.full(count, 90, np.uint8)], axis=1)
    return np.broadcast_to(colours[:, None, None], (count, *size, 3)).copy()


def noise(*shape: int, dtype: str = "uint16", seed: int = 0) -> Numbers:
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def animation(name: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        first, *others = map(PIL.Image.fromarray, frames())
        options: dict[str, Any] = {"lossless": True} if name.endswith("webp") else {}
        first.save(folder / name, save_all=True, append_images=others, **options)
        return folder / name

    return write


def frame_folder(folder: Path) -> Path:
    """Names whose alphabetic order is not that of their numbers."""
    (folder / "clip").mkdir()
    for number, frame in enumerate(frames()):
        PIL.Image.fromarray(frame).save(folder / "clip" / f"frame{number + 7}.png")
    (folder / "clip" / ".hidden.png").touch()
    (folder / "clip" / "notes.txt").touch()
    return folder / "clip"


def array_of(channels_first: bool) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        values = np.moveaxis(frames(), 3, 0) if channels_first else frames()
        np.save(folder / "clip.npy", values)
        return folder / "clip.npy"

    return write


COLOUR_CLIPS = {
    "GIF": animation("clip.gif"),
    "WebP": animation("clip.webp"),
    "pages of colours": animation("clip.tif"),
    "folder of frames": frame_folder,
    "npy, channels first": array_of(channels_first=True),
    "npy, channels last": array_of(channels_first=False),
}


@pytest.mark.parametrize("kind", COLOUR_CLIPS)
def test_a_clip_in_colours_is_its_frames_whatever_holds_it(kind: str, tmp_path: Path) -> None:
    path = COLOUR_CLIPS[kind](tmp_path)
    preprocessing = Preprocessing(Fit((HEIGHT, WIDTH), depth=DEPTH), (0.25,) * 3, (0.5,) * 3)
    with open_source(path, takes_volumes=True) as file:
        found = preprocessing.read(file, str(path))
    np.testing.assert_array_equal(found.rgb, frames())
    expected = (np.moveaxis(frames(), 3, 0) / 255 - 0.25) / 0.5
    np.testing.assert_allclose(found.tensor.numpy(), expected, rtol=1e-5, atol=1e-6)
    assert found.caveats == ()


def _npy(path: Path, values: Numbers) -> Path:
    np.save(path / "a.npy", values)
    return path / "a.npy"


def _pages(path: Path, values: Numbers) -> Path:
    first, *others = map(PIL.Image.fromarray, values)
    first.save(path / "a.tif", save_all=True, append_images=others)
    return path / "a.tif"


def _tifffile(path: Path, values: Numbers) -> Path:
    tifffile.imwrite(path / "a.tif", values, photometric="minisblack")
    return path / "a.tif"


def _image_j(path: Path, values: Numbers) -> Path:
    tifffile.imwrite(path / "a.tif", values, imagej=True, metadata={"axes": "ZYX"})
    return path / "a.tif"


def _deep_frames(path: Path, values: Numbers) -> Path:
    (path / "a").mkdir()
    for number, plane in enumerate(values):
        PIL.Image.fromarray(plane).save(path / "a" / f"{number}.tif")
    return path / "a"


@pytest.mark.parametrize("write", [_npy, _pages, _tifffile, _image_j, _deep_frames])
def test_a_volume_of_one_channel_keeps_its_values_whatever_holds_it(
    write: Callable[[Path, Numbers], Path], tmp_path: Path
) -> None:
    values = noise(DEPTH, HEIGHT, WIDTH)
    path = write(tmp_path, values)
    preprocessing = Preprocessing(
        Fit((HEIGHT, WIDTH), depth=DEPTH), (0.5,), (2.0,), value_range=(0, 100)
    )
    with open_source(path, takes_volumes=True) as file:
        found = preprocessing.read(file, str(path))
    expected = (values[None] / 100 - 0.5) / 2
    np.testing.assert_allclose(found.tensor.numpy(), expected, rtol=1e-6)
    assert found.rgb.shape == (DEPTH, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("order", ["ZCYX", "CZYX", "npy, first", "npy, last"])
def test_a_volume_of_two_channels_keeps_them_apart(order: str, tmp_path: Path) -> None:
    values = noise(DEPTH, HEIGHT, WIDTH, 2)
    if order.startswith("npy"):
        path = _npy(tmp_path, np.moveaxis(values, 3, 0) if order.endswith("first") else values)
    else:
        path = tmp_path / "a.ome.tif"
        ordered = values.transpose(["ZYXC".index(axis) for axis in order])
        tifffile.imwrite(path, ordered, ome=True, metadata={"axes": order})
    preprocessing = Preprocessing(
        Fit((HEIGHT, WIDTH), depth=DEPTH), (0.0,) * 2, (1.0,) * 2, value_range=(0, 1)
    )
    with open_source(path, takes_volumes=True) as file:
        found = preprocessing.read(file, str(path))
    np.testing.assert_array_equal(found.tensor.numpy(), np.moveaxis(values, 3, 0))


# Which slices are used


@pytest.mark.parametrize(("count", "depth"), [(75, 5), (7, 7), (16, 4), (5, 8), (1, 3), (100, 1)])
def test_slices_are_the_middles_of_equal_parts(count: int, depth: int) -> None:
    """The slice whose part of the depth holds the middle of each of `depth` equal parts."""
    expected = []
    for part in range(depth):
        middle = (part + 0.5) * count / depth
        expected.append(next(n for n in range(count) if n <= middle < n + 1))
    assert evenly_spaced(count, depth) == expected


def test_a_clip_with_more_frames_is_thinned_and_one_with_fewer_repeats_them() -> None:
    preprocessing = Preprocessing(Fit((HEIGHT, WIDTH), depth=3))
    longer = preprocessing.prepare(frames(6))
    np.testing.assert_array_equal(longer.rgb, frames(6)[[1, 3, 5]])
    assert longer.caveats == ("3 of 6 slices are used, evenly spaced, from slice 2 to slice 6",)
    shorter = preprocessing.prepare(frames(2))
    np.testing.assert_array_equal(shorter.rgb, frames(2)[[0, 1, 1]])
    assert shorter.caveats == ("2 slices are repeated evenly, since the network takes 3",)
    assert describe_choice(9, 1) == ("1 of 9 slice is used, evenly spaced, slice 5",)


def test_only_the_frames_that_are_used_are_decoded(tmp_path: Path) -> None:
    folder = frame_folder(tmp_path)
    (folder / "frame7.png").write_bytes(b"damaged")
    slices = open_slices(FrameFolder.open(folder, "'clip'"), "'clip'", channels=3)
    assert slices.count == DEPTH
    assert [np.array(piece)[0, 0, 0] for piece in slices.read([1, 4])] == [50, 170]
    with pytest.raises(ImageError, match=r"frame7\.png"):
        list(slices.read([0]))


def test_frames_are_in_the_order_of_their_numbers() -> None:
    names = ["f2.png", "f10.png", "f1.png", "g1.png", "f010.png"]
    assert sorted(names, key=frame_order) == ["f1.png", "f2.png", "f010.png", "f10.png", "g1.png"]


def test_slices_are_fitted_as_images_are() -> None:
    """Each slice as the network of images with the same fit takes it."""
    values = noise(4, 30, 40, 3, dtype="uint8")
    fit = Fit((HEIGHT, WIDTH), shorter=12, depth=4)
    found = Preprocessing(fit).prepare(values)
    for number in range(4):
        expected = Preprocessing(Fit((HEIGHT, WIDTH), shorter=12)).prepare(values[number])
        np.testing.assert_array_equal(found.rgb[number], expected.rgb)
        assert torch.equal(found.tensor[:, number], expected.tensor)


def test_what_is_shown_of_an_input_is_what_was_read() -> None:
    preprocessing = Preprocessing(Fit((HEIGHT, WIDTH), depth=DEPTH), (0.4,) * 3, (0.2,) * 3)
    found = preprocessing.prepare(frames())
    shown, notes = preprocessing.show_input(found.tensor.numpy())
    np.testing.assert_array_equal(shown, frames())
    assert notes == ()


# What is refused


def _network_input(path: Path, channels: int = 3) -> None:
    preprocessing = Preprocessing(
        Fit((HEIGHT, WIDTH), depth=4), (0.0,) * channels, (1.0,) * channels
    )
    with open_source(path, takes_volumes=True) as file:
        preprocessing.read(file, str(path))


def test_an_image_is_refused_with_what_a_volume_may_be(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"one image of 6 x 8 pixels.*folder of frames"):
        _network_input(tmp_path / "a.png")
    PIL.Image.new("RGB", (8, 6)).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="one image of 6 x 8 pixels"):
        _network_input(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("shape", "channels", "reason"),
    [
        ((8, 9), 1, r"shape \(8, 9\), and the network takes volumes"),
        ((2, 3, 4, 5, 6), 1, "and the network takes volumes"),
        ((4, 5, 6, 7), 3, "takes volumes of 1 or 3 channels"),
        ((4, 8, 9), 2, "one channel of"),
        ((2, 8, 9, 2), 2, "may come first or last"),
        ((0, 8, 9), 1, "has no slices"),
        ((4, 0, 9), 1, "must be 1 or more"),
    ],
)
def test_an_array_of_another_shape_is_refused_with_both_shapes(
    shape: tuple[int, ...], channels: int, reason: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match=reason) as refusal:
        _network_input(tmp_path / "a.npy", channels)
    assert "\n" not in str(refusal.value)


def test_a_large_volume_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.zeros(1, np.uint8))
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (10**5, 10**3, 10**3)})
    with pytest.raises(ImageError, match=r"100,000,000,000 values.*over the limit"):
        _network_input(tmp_path / "a.npy")


def test_a_video_is_refused_with_the_way_to_its_frames(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(40))
    with pytest.raises(ImageError, match=r"is a video; save its frames.*ffmpeg"):
        _network_input(tmp_path / "a.mp4")


def test_a_folder_without_frames_and_frames_of_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="folder without images"):
        _network_input(tmp_path)
    PIL.Image.new("RGB", (8, 6)).save(tmp_path / "1.png")
    PIL.Image.new("RGB", (9, 6)).save(tmp_path / "2.png")
    with pytest.raises(ImageError, match=r"frames of different sizes or types: '1\.png' is 6 x 8"):
        _network_input(tmp_path)


def test_a_folder_is_refused_by_a_network_of_images(tmp_path: Path) -> None:
    net = Network(torch.nn.Conv2d(3, 2, 3), input_size=(HEIGHT, WIDTH))
    with pytest.raises(ImageError, match="is a folder"):
        net.prepare(tmp_path)


@pytest.mark.parametrize("value_range", [None, (0, 255)])
def test_frames_of_several_types_are_refused_with_two_of_them(
    tmp_path: Path, value_range: tuple[float, float] | None
) -> None:
    PIL.Image.new("RGB", (8, 6)).save(tmp_path / "1.png")
    PIL.Image.fromarray(noise(6, 8)).save(tmp_path / "2.png")
    preprocessing = Preprocessing(Fit((6, 8), depth=2), (0.5,), (1.0,), value_range=value_range)
    says = r"types: .1\.png. is 6 x 8 pixels of uint8 and .2\.png. is 6 x 8 pixels of \w+; save"
    with (
        open_source(tmp_path, takes_volumes=True) as file,
        pytest.raises(ImageError, match=says),
    ):
        preprocessing.read(file, "clip")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_a_tiff_that_pillow_has_opened_is_the_volume_in_its_file(
    tmp_path: Path, dtype: str
) -> None:
    """Slices of one scale, whatever the brightest value of each."""
    values = (noise(DEPTH, HEIGHT, WIDTH) * np.arange(1, DEPTH + 1)[:, None, None]).astype(dtype)
    path = _pages(tmp_path, values)
    preprocessing = Preprocessing(
        Fit((HEIGHT, WIDTH), depth=DEPTH), (0.5,), (2.0,), value_range=(0, 100)
    )
    with open_source(path, takes_volumes=True) as file:
        expected = preprocessing.read(file, str(path))
    with PIL.Image.open(path) as opened:
        opened.seek(2)
        found = preprocessing.prepare(opened)
        assert opened.tell() == 2
    torch.testing.assert_close(found.tensor, expected.tensor)


@pytest.mark.parametrize("kind", ["GIF", "WebP", "pages of colours"])
def test_an_animation_stays_at_its_frame(kind: str, tmp_path: Path) -> None:
    path = COLOUR_CLIPS[kind](tmp_path)
    preprocessing = Preprocessing(Fit((HEIGHT, WIDTH), depth=DEPTH), (0.25,) * 3, (0.5,) * 3)
    with PIL.Image.open(path) as opened:
        opened.seek(3)
        found = preprocessing.prepare(opened)
        assert opened.tell() == 3
    np.testing.assert_array_equal(found.rgb, frames())


@pytest.mark.parametrize("kind", ["pages of colours", "grey"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_volume_is_refused_in_a_line(kind: str, share: float, tmp_path: Path) -> None:
    writers = {"pages of colours": COLOUR_CLIPS["pages of colours"]}
    path = writers[kind](tmp_path) if kind in writers else _pages(tmp_path, noise(6, 40, 30))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError) as refusal:
        _network_input(path)
    assert "\n" not in str(refusal.value)


def test_pages_of_two_sizes_are_refused(tmp_path: Path) -> None:
    pages = [PIL.Image.new("RGB", (8, 6)), PIL.Image.new("RGB", (9, 6))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="pages of different sizes: slice 2 is 6 x 9"):
        _network_input(tmp_path / "a.tif")


def test_a_name_that_is_the_beginning_of_another_comes_first() -> None:
    names = ["a.png1.png", "a.png", "a1.png", "a.png.png"]
    assert sorted(names, key=frame_order) == ["a1.png", "a.png", "a.png1.png", "a.png.png"]


@pytest.mark.parametrize("depth", [-1, 0, 10**9])
def test_an_impossible_depth_is_refused(depth: int) -> None:
    with pytest.raises(ImageError, match="slices of 10 x 8 pixels"):
        Fit((HEIGHT, WIDTH), depth=depth)
