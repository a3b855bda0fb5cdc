"""Scans of volumes and clips: what a loop over the files finds, slice by slice."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import retroscope as rs
from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.atlas.row_encoding import projection_row
from retroscope.auditing.audit import audit
from retroscope.cli.main import main
from retroscope.errors import ImageError, RetroscopeError
from retroscope.geometry import Box
from retroscope.network import Network
from retroscope.render.draw import draw
from retroscope.results.projections import Projection
from retroscope.scanning.pattern_pass import synthesize_into
from retroscope.scanning.sources import list_images
from retroscope.unit import Unit
from tests.conftest import built
from tests.scanning.file_server import serve
from tests.scanning.packing import files_of, write_tar, write_zip
from tests.scanning.same_atlas import assert_same_atlas

DEPTH, HEIGHT, WIDTH = 6, 14, 18
IMAGES, TOP = 11, 9
Maps = npt.NDArray[np.float64]


class Volumes(nn.Module):
    """A small classifier of volumes, with a map of each kind: full, pooled, and a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.second = nn.Conv3d(4, 5, (2, 3, 3), stride=(1, 2, 1))
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool3d(self.first(x).relu(), (1, 2, 2))
        scores: torch.Tensor = self.head(self.second(x).relu().mean((2, 3, 4)))
        return scores


LAYERS = ["first", "second", "head"]


def network(dtype: torch.dtype = torch.float64) -> Network:
    module = built(Volumes).to(dtype)
    return Network(module, input_size=(DEPTH, HEIGHT, WIDTH), mean=[0.4], std=[0.5], name="volumes")


@pytest.fixture(scope="module")
def net() -> Network:
    return network()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("volumes")
    for number in range(IMAGES):
        values = np.random.default_rng(number).random((DEPTH, HEIGHT, WIDTH))
        (path / f"class{number % 2}").mkdir(exist_ok=True)
        np.save(path / f"class{number % 2}" / f"{number:02}.npy", values.astype(np.float32))
    return path


@pytest.fixture(scope="module")
def atlas(net: Network, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Atlas]:
    to = tmp_path_factory.mktemp("atlas") / "volumes.atlas"
    with rs.scan(
        net, folder, to=to, layers=LAYERS, top=TOP, per_class=2, projections="all", batch_size=4
    ) as scanned:
        yield scanned


@pytest.fixture(scope="module")
def maps(net: Network, folder: Path) -> dict[str, Maps]:
    """Of each layer the maps of all images, by running the module itself."""
    paths = sorted(folder.rglob("*.npy"))
    batch = torch.stack([net.prepare(path).tensor for path in paths])
    found: dict[str, Maps] = {}
    for name in LAYERS:
        module = dict(net.module.named_modules())[name]
        with torch.no_grad():
            hook = module.register_forward_hook(
                lambda _module, _inputs, output, name=name: found.update({name: output.numpy()})
            )
            net.module(batch)
            hook.remove()
    found["head"] = found["head"][:, :, None, None, None]
    return found


@pytest.mark.parametrize("layer", LAYERS)
def test_the_best_places_are_those_of_a_loop(
    layer: str, folder: Path, atlas: Atlas, maps: dict[str, Maps]
) -> None:
    keys = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.npy"))]
    values = maps[layer]
    size = values.shape[2:]
    flat = values.reshape(*values.shape[:2], -1)
    assert atlas.layer(layer).size == size
    for ranked_by, score, place in (
        ("max", flat.max(2), flat.argmax(2)),
        ("mean", flat.mean(2), flat.argmax(2)),
        ("min", -flat.min(2), flat.argmin(2)),
    ):
        best = np.argsort(-score, axis=0, kind="stable")[:TOP]
        for channel in range(values.shape[1]):
            hits = atlas.hits(f"{layer}:{channel}", ranked_by=ranked_by)
            expected = [
                (keys[image], tuple(map(int, np.unravel_index(place[image, channel], size))))
                for image in best[:, channel]
            ]
            assert [(hit.key, hit.unit.position) for hit in hits] == expected
            scores = [score[image, channel] for image in best[:, channel]]
            sign = -1 if ranked_by == "min" else 1
            np.testing.assert_allclose([hit.score for hit in hits], sign * np.array(scores), 1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_statistics_are_over_all_positions_of_all_slices(
    layer: str, atlas: Atlas, maps: dict[str, Maps]
) -> None:
    values = maps[layer]
    for channel in range(values.shape[1]):
        stats, own = atlas.stats(f"{layer}:{channel}"), values[:, channel].astype(np.float64)
        assert stats.mean == pytest.approx(own.mean(), rel=1e-5)
        assert stats.std == pytest.approx(own.std(), rel=1e-4)
        assert stats.maximum == pytest.approx(own.max(), rel=1e-6)
        assert stats.fired_position_share == pytest.approx((own > 0).mean())
        assert stats.fired_image_share == pytest.approx((own.max((1, 2, 3)) > 0).mean())


def test_the_sample_and_the_rankings_of_classes_have_positions_along_three_axes(
    atlas: Atlas, maps: dict[str, Maps]
) -> None:
    values = maps["second"]
    sample = atlas.sample("second:1")
    for image, position, score in zip(sample.images, sample.positions, sample.scores, strict=True):
        own = values[image, 1]
        assert score == pytest.approx(own.max(), rel=1e-6)
        assert tuple(position) == np.unravel_index(own.argmax(), own.shape)
    plate = atlas.plate("second:1", label="class1")
    labels = [image.label for image in atlas.images]
    of_class = [n for n, label in enumerate(labels) if label == "class1"]
    best = sorted(of_class, key=lambda n: -values[n, 1].max())[:2]
    assert [patch.position for patch in plate.patches] == [
        np.unravel_index(values[n, 1].argmax(), values.shape[2:]) for n in best
    ]


def test_a_patch_is_the_box_of_the_unit_cut_out_of_the_slices(
    net: Network, folder: Path, atlas: Atlas
) -> None:
    patch = atlas.plate("second:2").patches[0]
    field = atlas.layer("second").field
    assert patch.box == net["second"].field.box(*patch.position) == field.box(*patch.position)
    shown = net.prepare(folder / patch.source).rgb
    stored = atlas.image_pixels(atlas.hits("second:2", 1)[0].image)
    assert stored.shape == shown.shape == (DEPTH, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(stored, shown)  # a small sheet is lossless
    np.testing.assert_array_equal(patch.pixels, shown[patch.visible.slices(3)])


@pytest.mark.parametrize("unit", ["first:1", "second:3", "head:0"])
def test_projections_are_those_of_deconv(
    unit: str, net: Network, folder: Path, atlas: Atlas
) -> None:
    for patch in atlas.plate(unit).patches:
        assert patch.projection is not None
        exact = rs.deconv(net, patch.projection.unit, folder / patch.source)
        assert patch.projection.unit.position == patch.position
        assert patch.projection.box == exact.box
        peak = np.abs(exact.pixels).max()
        np.testing.assert_allclose(patch.projection.pixels, exact.pixels, atol=peak / 100)


def test_the_slice_that_is_drawn_is_that_of_the_strongest_projection(atlas: Atlas) -> None:
    for patch in atlas.plate("second:0").patches:
        assert patch.projection is not None
        per_slice = np.abs(patch.projection.pixels).sum((1, 2, 3))
        assert patch.strongest_slice == patch.projection.box.front + per_slice.argmax()
        flat = patch.flat
        assert flat.slice_number == (patch.strongest_slice, DEPTH)
        inside = patch.strongest_slice - patch.visible.front
        np.testing.assert_array_equal(flat.pixels, patch.pixels[inside])
        assert flat.projection is not None
        np.testing.assert_array_equal(flat.projection.pixels, patch.projection.pixels[inside])
        assert flat.box.intervals(2) == patch.box.intervals(3)[1:]


class Detector(nn.Module):
    """Answers to bright blobs, wherever they are."""

    def __init__(self) -> None:
        super().__init__()
        self.blob = nn.Conv3d(1, 1, 3, padding=1)
        with torch.no_grad():
            self.blob.weight.fill_(1 / 27)
            self.blob.bias.fill_(-0.5)  # type: ignore[union-attr]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maxima: torch.Tensor = self.blob(x).relu().amax((2, 3, 4))
        return maxima


@pytest.mark.parametrize("kind", ["npy", "tif", "frames"])
def test_a_planted_blob_is_found_at_its_place(kind: str, tmp_path: Path) -> None:
    folder, places = tmp_path / "volumes", [(1, 3, 4), (4, 10, 15), (2, 6, 9)]
    folder.mkdir()
    for number, (z, y, x) in enumerate(places):
        values = np.random.default_rng(number).integers(0, 40, (DEPTH, HEIGHT, WIDTH), np.uint8)
        values[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] = 250 - 20 * number
        _write(folder / str(number), values, kind)
    net = Network(built(Detector), input_size=(DEPTH, HEIGHT, WIDTH), name="blobs")
    with rs.scan(
        net, folder, to=tmp_path / "a.atlas", layers="blob", top=3, projections="all"
    ) as atlas:
        patches = atlas.plate("blob:0").patches
        assert [patch.position for patch in patches] == places
        for patch, (z, y, x) in zip(patches, places, strict=True):
            assert patch.visible == Box(y - 1, x - 1, y + 2, x + 2, z - 1, z + 2)
            assert patch.pixels.min() > 150


def _write(path: Path, values: npt.NDArray[np.uint8], kind: str) -> None:
    planes = [PIL.Image.fromarray(plane) for plane in values]
    if kind == "npy":
        np.save(path, values)
    elif kind == "tif":
        planes[0].save(path.with_suffix(".tif"), save_all=True, append_images=planes[1:])
    else:
        path.mkdir()
        for number, plane in enumerate(planes):
            plane.save(path / f"frame{number + 8}.png")


def test_an_interrupted_scan_goes_on_to_the_same_atlas(
    net: Network, folder: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"layers": LAYERS, "top": 4, "batch_size": 3}

    def interrupt(_event: object) -> None:
        raise KeyboardInterrupt

    rs.scan(net, folder, to=tmp_path / "whole.atlas", projections="none", **options).close()
    with pytest.raises(KeyboardInterrupt):
        rs.scan(
            net, folder, to=tmp_path / "a.atlas", projections="none", progress=interrupt, **options
        )
    rs.scan(net, folder, to=tmp_path / "a.atlas", projections="none", **options).close()
    assert_same_atlas(tmp_path / "whole.atlas", tmp_path / "a.atlas")
    rs.illustrate(tmp_path / "a.atlas", net, projections=1)
    with open_atlas(tmp_path / "a.atlas") as atlas:
        assert atlas.plate("second:1").patches[0].projection is not None


def test_joined_atlases_have_the_best_of_both(
    net: Network, folder: Path, tmp_path: Path, atlas: Atlas
) -> None:
    paths = sorted(folder.rglob("*.npy"))
    options: dict[str, Any] = {"layers": LAYERS, "top": TOP, "projections": "none"}
    for name, part in (("a", paths[:5]), ("b", paths[5:])):
        rs.scan(net, part, to=tmp_path / f"{name}.atlas", **options).close()
    parts = [tmp_path / "a.atlas", tmp_path / "b.atlas"]
    with rs.merge(parts, to=tmp_path / "joined.atlas") as joined:
        for unit in ("first:0", "second:4"):
            found = [(hit.unit, hit.score) for hit in joined.hits(unit)]
            assert found == [(hit.unit, hit.score) for hit in atlas.hits(unit)]
            stored = joined.plate(unit).patches[0].pixels
            np.testing.assert_array_equal(stored, atlas.plate(unit).patches[0].pixels)


def test_clips_in_folders_of_frames_are_scanned_with_their_classes(tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / "clips" / ("cat", "dog")[number % 2] / str(number)
        folder.mkdir(parents=True)
        for frame in range(9):
            level = 20 * number + frame
            PIL.Image.new("L", (WIDTH, HEIGHT), level).save(folder / f"{frame}.png")
    with rs.scan(
        network(), tmp_path / "clips", to=tmp_path / "a.atlas", layers="first", projections="none"
    ) as atlas:
        keys = ["cat/0", "cat/2", "dog/1", "dog/3"]
        assert [(image.key, image.status) for image in atlas.images] == [(k, "ok") for k in keys]
        assert [image.label for image in atlas.images] == ["cat", "cat", "dog", "dog"]
    (tmp_path / "clips" / "cat" / "0" / "3.png").unlink()
    with pytest.raises(RetroscopeError, match="'cat/0' has changed since the scan read it"):
        rs.illustrate(tmp_path / "a.atlas", network(), projections=1)


def test_a_projection_of_many_slices_is_stored_smaller() -> None:
    """Of 60 slices of three channels, which would be 20,160 rows of a WebP at 112 pixels."""
    y = np.arange(120)[None, :, None, None]
    pixels = np.sin(y / 20 + np.arange(60)[:, None, None, None]).repeat(120, 2).repeat(3, 3)
    projection = Projection(
        Unit("a", 1, (0, 0, 0)),
        *(1.0, Box(0, 0, 120, 120, 0, 60), pixels.astype(np.float32)),
        *("deconvnet", (60, 120, 120)),
    )
    row = projection_row(1, 2, projection, map_size=(4, 5, 6))
    assert (row.y, row.x, row.height, row.width, row.depth) == (0, 0, 120, 120, 180)
    assert row.note == ""


# What a user sees


def _run(*arguments: object) -> Any:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_a_scan_from_the_command_line_estimates_and_illustrates(
    folder: Path, tmp_path: Path
) -> None:
    code = tmp_path / "volumes.py"
    code.write_text(
        "import torch\n"
        "from torch import nn\n"
        "def make():\n"
        "    torch.manual_seed(0)\n"
        "    layers = nn.Conv3d(1, 4, 3), nn.ReLU(), nn.Conv3d(4, 3, 3), nn.ReLU()\n"
        "    return nn.Sequential(*layers).eval()\n"
    )
    size = f"{DEPTH}x{HEIGHT}x{WIDTH}"
    to = tmp_path / "a.atlas"
    options = ["--input-size", size, "--mean", "0.4", "--std", "0.5"]
    found = _run("scan", f"{code}:make", folder, "--to", to, "--projections", "2", *options)
    assert found.exit_code == 0, found.output
    assert "11 images" in found.output
    with open_atlas(to) as atlas:
        assert [layer.size for layer in atlas.layers] == [(4, 12, 16), (2, 10, 14)]
        assert atlas.plate("3:0").patches[0].projection is not None
    other = ["scan", f"{code}:make", folder / "class0", "--to", to, "--on", "processes", *options]
    found = _run(*other)
    assert "holds another scan: the number of images" in str(found.exception)


def test_show_draws_the_slice_and_says_which(atlas: Atlas, tmp_path: Path) -> None:
    found = _run("show", atlas.path, "second:1", "-o", tmp_path / "plate.png")
    assert found.exit_code == 0, found.output
    found = _run("show", atlas.path, "second:1", "--context", "-o", tmp_path / "strip.png")
    assert found.exit_code == 0, found.output
    heights = []
    for name in ("plate", "strip"):
        with PIL.Image.open(tmp_path / f"{name}.png") as drawing:
            heights.append(drawing.height)
    assert heights[0] < heights[1]
    found = _run("show", atlas.path, "second:1", "--json")
    patch, hit = atlas.plate("second:1").patches[0], json.loads(found.stdout)["hits"][0]
    assert hit["position"] == list(patch.position)
    box = patch.box
    assert hit["box"] == [box.front, box.top, box.left, box.back, box.bottom, box.right]


def test_what_is_made_of_images_alone_is_refused_in_a_line(atlas: Atlas, net: Network) -> None:
    flat = Network(nn.Conv2d(1, 2, 3), input_size=(8, 8), mean=[0.0], name="flat")
    calls: dict[str, Callable[[], object]] = {
        "is a scan of volumes or clips": lambda: audit(atlas),
        "no patterns in an atlas of volumes: it takes volumes, not images": lambda: synthesize_into(
            atlas.path, net, layers="first"
        ),
        "no dissection of volumes: it takes volumes, not images; leave out": lambda: rs.score(
            atlas.path, net, masks=atlas.path.parent
        ),
        "the embedding flat takes images, and volumes volumes; give": lambda: rs.score(
            atlas.path, net, embedding=flat
        ),
    }
    for reason, call in calls.items():
        with pytest.raises(RetroscopeError, match=reason) as refusal:
            call()
        assert "\n" not in str(refusal.value)


def test_images_among_volumes_are_counted_as_unreadable(net: Network, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((DEPTH, HEIGHT, WIDTH)))
    np.save(tmp_path / "flat.npy", np.zeros((HEIGHT, WIDTH)))
    with closing(
        rs.scan(net, tmp_path, to=tmp_path / "a.atlas", layers="first", projections="none")
    ) as atlas:
        errors = {image.key: image.error for image in atlas.images if image.error}
    assert list(errors) == ["flat.npy"]
    assert "shape (14, 18), and the network takes volumes" in str(errors["flat.npy"])


def test_signals_are_not_scanned(tmp_path: Path) -> None:
    net = Network(nn.Conv1d(2, 3, 3), input_size=(20,), mean=[0, 0], std=[1, 1], name="ecg")
    with pytest.raises(RetroscopeError, match="no scan of ecg: it takes signals"):
        rs.scan(net, tmp_path, to=tmp_path / "a.atlas")


def test_an_atlas_of_images_holds_no_depths(tmp_path: Path) -> None:
    for number in range(2):
        PIL.Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    net = Network(nn.Conv2d(3, 2, 3), input_size=(8, 8), name="plain")
    with rs.scan(net, tmp_path, to=tmp_path / "a.atlas", projections="none") as atlas:
        columns = "depth, field_z_size, field_z_stride, field_z_start"
        assert set(atlas.sql(f"SELECT {columns} FROM layers")) == {(None,) * 4}  # noqa: S608
        assert atlas.layers[0].size == (6, 6)
        assert atlas.layers[0].field.z is None


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The volumes of the folder in archives and behind URLs."""
    files = files_of(folder)
    zipped = write_zip(tmp_path / "volumes.zip", files)
    served = {f"/set/{name}": data for name, data in files.items()}
    with serve({**served, "/volumes.zip": zipped.read_bytes()}) as server:
        yield {
            "tar": str(write_tar(tmp_path / "volumes.tar", files)),
            "zip": str(zipped),
            "url": f"{server.url}/set/",
            "url of a zip": f"{server.url}/volumes.zip",
        }


@pytest.mark.parametrize("kind", ["tar", "zip", "url", "url of a zip"])
def test_volumes_in_archives_and_behind_urls_are_those_of_the_folder(
    net: Network, packed: dict[str, str], atlas: Atlas, kind: str
) -> None:
    to = Path(packed["tar"]).parent / "packed.atlas"
    options: dict[str, Any] = {"layers": ["second"], "top": TOP, "projections": "none"}
    with rs.scan(net, packed[kind], to=to, **options) as scanned:
        for channel in range(5):
            hits, found = (one.hits(f"second:{channel}") for one in (atlas, scanned))
            assert [hit.unit.position for hit in found] == [hit.unit.position for hit in hits]
            assert [hit.score for hit in found] == [hit.score for hit in hits]
            assert [Path(hit.key).name for hit in found] == [Path(hit.key).name for hit in hits]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_arrays_beside_photographs_in_an_archive_are_no_images(tmp_path: Path, kind: str) -> None:
    array, photo = BytesIO(), BytesIO()
    np.save(array, np.zeros((6, 5, 3), np.uint8))
    PIL.Image.new("RGB", (5, 6)).save(photo, "png")
    files = {"a.npy": array.getvalue(), "b.png": photo.getvalue()}
    write = {"tar": write_tar, "zip": write_zip}[kind]
    assert list_images(write(tmp_path / f"mixed.{kind}", files)).keys == [f"mixed.{kind}/b.png"]
    alone = write(tmp_path / f"alone.{kind}", {"a.npy": files["a.npy"]})
    assert list_images(alone).keys == [f"alone.{kind}/a.npy"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_frames_in_an_archive_are_refused_before_the_scan(
    net: Network, tmp_path: Path, kind: str
) -> None:
    photo = BytesIO()
    PIL.Image.new("RGB", (5, 6)).save(photo, "png")
    files = {f"clips/{clip}/{frame}.png": photo.getvalue() for clip in "ab" for frame in range(3)}
    archive = {"tar": write_tar, "zip": write_zip}[kind](tmp_path / f"clips.{kind}", files)
    with pytest.raises(ImageError, match="is a single image, like all others, and the network"):
        rs.scan(net, archive, to=tmp_path / "o.atlas")
    assert not (tmp_path / "o.atlas").exists()


# Where units see no slice, or all of them


class OnPadding(nn.Module):
    """A unit that fires most where it sees padding alone: above the image, and in front of it."""

    def __init__(self) -> None:
        super().__init__()
        self.far = nn.Conv3d(1, 2, 1, padding=(2, 1, 0))
        nn.init.constant_(self.far.weight, -1.0)
        nn.init.constant_(self.far.bias, 1.0)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.far(x)
        return maps.flatten(2).mean(2)


def test_a_unit_that_sees_padding_alone_has_a_place_and_a_picture(tmp_path: Path) -> None:
    for number in range(3):
        values = np.random.default_rng(number).random((DEPTH, 8, 7)) + 0.5
        np.save(tmp_path / f"{number}.npy", values.astype(np.float32))
    net = Network(built(OnPadding), input_size=(DEPTH, 8, 7), mean=[0.0], name="padding")
    with rs.scan(net, tmp_path, to=tmp_path / "a.atlas", layers="far", projections="all") as atlas:
        for patch in atlas.plate("far:0").patches:
            assert patch.position == (0, 0, 0)
            assert list(patch.slices) == [0]  # the nearest
            exact = rs.deconv(net, "far:0@0,0,0", tmp_path / patch.source)
            assert patch.projection is not None
            assert patch.projection.box == exact.box
            assert patch.flat.slice_number == (0, DEPTH)
            with pytest.raises(RetroscopeError, match="no slice 1 in this patch; its unit sees 0"):
                patch.slice(1)
        assert draw(atlas.plate("far:0")).width > 100
        shown = _run("show", atlas.path, "far:0", "--context", "-o", tmp_path / "a.png")
        assert shown.exit_code == 0


class Gated(nn.Module):
    """Maps that a gate scales, which the whole volume decides: one, or an image."""

    def __init__(self, convolution: type[nn.Conv2d] | type[nn.Conv3d]) -> None:
        super().__init__()
        self.conv, self.gate = convolution(1, 3, 3), nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.conv(x)
        gate = self.gate(maps.flatten(2).mean(2)).sigmoid()
        scaled: torch.Tensor = maps * gate.view(*gate.shape, *[1] * (maps.dim() - 2))
        return scaled.relu().flatten(2).mean(2)


@pytest.mark.parametrize("size", [(12, 10), (DEPTH, 12, 10)])
def test_the_projection_of_a_gated_unit_covers_the_whole_input(
    size: tuple[int, ...], tmp_path: Path
) -> None:
    for number in range(3):
        values = np.random.default_rng(number).random(size).astype(np.float32)
        np.save(tmp_path / f"{number}.npy", values)
    kind = nn.Conv2d if len(size) == 2 else nn.Conv3d
    net = Network(built(lambda: Gated(kind)), input_size=size, mean=[0.0], name="gated")
    gated = next(layer for layer in net.layers if layer.field.global_context)
    with rs.scan(
        net, tmp_path, to=tmp_path / "a.atlas", layers=gated.name, projections="all"
    ) as atlas:
        for patch in atlas.plate(f"{gated.name}:1").patches:
            assert patch.projection is not None
            exact = rs.deconv(net, patch.projection.unit, tmp_path / patch.source)
            assert patch.projection.box == exact.box == Box.whole(size)
            peak = np.abs(exact.pixels).max()
            np.testing.assert_allclose(patch.projection.full(), exact.full(), atol=peak / 100)
            strongest = patch.flat
            assert strongest.box.size(2) == gated.field.box(*patch.position).size(2)
        assert draw(atlas.plate(f"{gated.name}:1")).width > 100


def test_volumes_that_an_atlas_cannot_store_are_refused_before_the_scan(tmp_path: Path) -> None:
    net = Network(built(Volumes), input_size=(100, 512, 512), mean=[0.4], name="large")
    with pytest.raises(RetroscopeError, match="volumes of 100x512x512 pixels are too large for an"):
        rs.scan(net, tmp_path, to=tmp_path / "a.atlas")
