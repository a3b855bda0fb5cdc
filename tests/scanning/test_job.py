"""What a scan finds is what a slow loop over the pictures finds; and it is there to stay."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torchvision
from torch import nn

import retroscope as rs
from retroscope.atlas.image_blobs import decode_projection, encode_projection
from retroscope.atlas.reader import Atlas
from retroscope.engine.forward import run_forward
from retroscope.errors import ImageError
from retroscope.imaging.image import crop
from retroscope.network import Network
from retroscope.scanning.job import scan
from retroscope.unit import Unit
from tests.conftest import always_crops
from tests.scanning.scans import (
    MEAN,
    OF_TINY,
    SIDE,
    STD,
    check_channel,
    maps_of,
    network,
    smooth_image,
    table_rows,
    tiny,
    write_images,
)

FAMILIES: dict[str, Callable[[], nn.Module]] = {
    "squeezenet1_1": torchvision.models.squeezenet1_1,
    "resnet18": torchvision.models.resnet18,
    "mobilenet_v3_small": torchvision.models.mobilenet_v3_small,
    "densenet121": torchvision.models.densenet121,
    "googlenet": lambda: torchvision.models.googlenet(aux_logits=False, init_weights=False),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 13)


@pytest.fixture(scope="module")
def tiny_atlas(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """Everything of a tiny network in float32."""
    to = tmp_path_factory.mktemp("atlas") / "tiny.atlas"
    return scan(tiny(torch.float32), folder, to=to, layers=OF_TINY, batch_size=4)


def check_against_loop(
    net: Network, atlas: Atlas, files: list[Path], *, top: int = 9, every: int = 1
) -> None:
    """Of a layer, each of so `every` channels; which, differs between layers."""
    names = [layer.name for layer in atlas.layers]
    for number, (name, maps) in enumerate(maps_of(net, names, files).items()):
        assert maps.shape[1:] == (atlas.layer(name).channels, *atlas.layer(name).size)
        for channel in range(number % every, maps.shape[1], every):
            check_channel(atlas, f"{name}:{channel}", maps[:, channel], top=top)


@pytest.mark.parametrize("count", [1, 4, 13])
@pytest.mark.parametrize("top", [1, 9])
def test_every_kind_of_channel_is_what_a_loop_finds(
    folder: Path, tmp_path: Path, count: int, top: int
) -> None:
    """A dead channel, one below zero and one that is no number among them."""
    files = sorted(folder.iterdir())[:count]
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(map(str, files)))
    net = tiny()
    atlas = scan(
        net, listing, to=tmp_path / "a", layers=OF_TINY, top=top, batch_size=3, projections=False
    )
    check_against_loop(net, atlas, files, top=top)
    assert atlas.stats("second:2").dead
    assert atlas.stats("second:3").maximum == -1
    assert len(atlas["second:3"].patches) == min(top, count)
    assert atlas.stats("head:3").non_finite == count
    assert not atlas["head:3"].patches


@pytest.mark.parametrize("family", FAMILIES)
def test_every_convolution_of_a_family_is_what_a_loop_finds(tmp_path: Path, family: str) -> None:
    folder = write_images(tmp_path / "photos", 10, side=64)
    net = network(FAMILIES[family], 64)
    atlas = scan(net, folder, to=tmp_path / "a", layers="conv", batch_size=4, projections=False)
    modules = net.module.named_modules()
    convolutions = [name for name, module in modules if isinstance(module, nn.Conv2d)]
    assert sorted(layer.name for layer in atlas.layers) == sorted(convolutions)
    check_against_loop(net, atlas, sorted(folder.iterdir()), every=8)


def test_in_float32_the_numbers_are_those_of_the_loop_but_for_rounding(
    tiny_atlas: Atlas, folder: Path
) -> None:
    for name, maps in maps_of(tiny(torch.float32), OF_TINY, sorted(folder.iterdir())).items():
        for channel in range(maps.shape[1]):
            unit, own = f"{name}:{channel}", maps[:, channel]
            stats = tiny_atlas.stats(unit)
            if stats.non_finite:
                continue
            expected = own.mean(), own.std(), own.max()
            found = stats.mean, stats.std, stats.maximum
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
            for ranked_by, of_image in (("max", own.max((1, 2))), ("mean", own.mean((1, 2)))):
                patches = tiny_atlas.plate(unit, ranked_by=ranked_by).patches
                scores = [patch.score for patch in patches]
                assert scores == sorted(scores, reverse=True)
                is_rectified = tiny_atlas.layer(name).kind == "relu"
                hits = [score for score in of_image if score != 0 or not is_rectified]
                np.testing.assert_allclose(
                    scores, sorted(hits, reverse=True)[:9], rtol=1e-4, atol=1e-6
                )


def test_equal_images_are_ranked_by_their_number(tmp_path: Path) -> None:
    for number in range(12):
        smooth_image(number // 4).save(tmp_path / f"{number:02}.png")
    atlas = scan(
        tiny(), tmp_path, to=tmp_path / "a", layers=OF_TINY, batch_size=5, projections=False
    )
    for (scores,) in atlas.sql(
        "SELECT group_concat(image) FROM (SELECT * FROM hits ORDER BY rank) "
        "WHERE ranked_by <> 'sample' GROUP BY layer, channel, ranked_by, score"
    ):
        numbers = [int(number) for number in str(scores).split(",")]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["conv"], ["first", "second"]),
        (["conv", "relu", "pool"], ["first", "act", "pool", "second", "last_act"]),
        (["head", "first"], ["first", "head"]),
        (["conv2"], ["second"]),
        (["*act"], ["act", "last_act"]),
        (["relu?", "conv1"], ["first", "act", "last_act"]),
    ],
)
def test_layers_are_chosen_by_name_alias_glob_and_kind(
    folder: Path, tmp_path: Path, wanted: list[str], found: list[str]
) -> None:
    atlas = scan(tiny(), folder, to=tmp_path / "a", layers=wanted, projections=False)
    assert [layer.name for layer in atlas.layers] == found


def test_the_network_runs_no_further_than_the_last_layer_asked(
    folder: Path, tmp_path: Path
) -> None:
    net, run = tiny(), []
    assert not net.survey().needs_single_images
    net.module.get_submodule("second").register_forward_hook(lambda *_: run.append("second"))
    net.module.get_submodule("head").register_forward_hook(lambda *_: run.append("head"))
    scan(net, folder, to=tmp_path / "a", layers=["conv"], projections=False)
    assert "head" not in run


def test_classes_are_the_folders_and_their_means_those_of_a_loop(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / "photos" / name, 3)
    smooth_image(50).save(tmp_path / "photos" / "alone.png")
    (tmp_path / "photos" / "dog" / "broken.png").write_bytes(b"no picture")
    net = tiny()
    atlas = scan(
        net, tmp_path / "photos", to=tmp_path / "a", layers="conv", batch_size=2, projections=False
    )
    assert [(label.name, label.images) for label in atlas.labels] == [("cat", 3), ("dog", 3)]
    for name in ("cat", "dog"):
        files = sorted((tmp_path / "photos" / name).glob("??.png"))
        for layer, maps in maps_of(net, ["first", "second"], files).items():
            best = maps.max((2, 3))
            for channel in range(best.shape[1]):
                stats = atlas.stats(f"{layer}:{channel}").classes
                own = next(one for one in stats if one.label == name)
                assert own.images == 3
                assert own.mean_maximum == pytest.approx(best[:, channel].mean(), rel=1e-6)
                assert own.fired_share == pytest.approx((best[:, channel] > 0).mean())


def test_classes_come_from_a_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,class\n00.png,b\n01.png,a\n02.png,b\n")
    atlas = scan(tiny(), folder, to=tmp_path / "a", labels=table, projections=False)
    assert [(label.name, label.images) for label in atlas.labels] == [("a", 1), ("b", 2)]
    assert [image.label for image in atlas.images][:4] == ["b", "a", "b", None]


class ImageDataset:
    """A data set, as torch has them."""

    def __init__(self, images: list[object]) -> None:
        self.items = images
        self.classes = ["even", "odd"]
        self.targets = [number % 2 for number in range(len(images))]

    def __getitem__(self, index: int) -> object:
        return self.items[index], self.targets[index]

    def __len__(self) -> int:
        return len(self.items)


def test_images_arrays_and_tensors_of_a_data_set_scan_alike(folder: Path, tmp_path: Path) -> None:
    net, shown = tiny(), [smooth_image(number) for number in range(13)]
    of_folder = scan(net, folder, to=tmp_path / "folder", projections=False)
    sources: dict[str, list[object]] = {
        "pictures": [*shown],
        "arrays": [np.array(one) for one in shown],
        "tensors": [net.prepare(one).tensor for one in shown],
    }
    hits = "SELECT * FROM hits WHERE ranked_by <> 'sample' ORDER BY 1, 2, 3, 4"
    expected = of_folder.sql(hits)
    for name, items in sources.items():
        atlas = scan(net, ImageDataset(items), to=tmp_path / name, projections=1)
        assert atlas.sql(hits) == expected
        assert [label.images for label in atlas.labels] == [7, 6]


def test_unreadable_images_are_skipped_and_counted_with_the_reason(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "photos", 6)
    (folder / "00.png").write_bytes(b"")
    (folder / "03.png").write_text("this is a text")
    (folder / "05.png").write_bytes((folder / "05.png").read_bytes()[:90])
    net = tiny()
    atlas = scan(net, folder, to=tmp_path / "a", layers=OF_TINY, batch_size=2)
    broken = {row.id: row.error for row in atlas.images if row.status == "unreadable"}
    assert broken.keys() == {0, 3, 5}
    assert "empty file" in str(broken[0])
    assert "not an image of a supported format" in str(broken[3])
    assert "cannot decode" in str(broken[5])
    assert atlas.meta["readable"] == 3
    files = [folder / f"{number:02}.png" for number in (1, 2, 4)]
    for name, maps in maps_of(net, OF_TINY, files).items():
        for channel in range(maps.shape[1]):
            check_channel(atlas, f"{name}:{channel}", maps[:, channel], numbers=[1, 2, 4])


def test_a_scan_that_can_read_no_image_leaves_no_atlas(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.jpg").write_text("nothing")
    with pytest.raises(ImageError, match=r"none of the images can be read; .*supported format"):
        scan(tiny(), folder, to=tmp_path / "a", batch_size=2)
    assert not (tmp_path / "a").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_tensors_of_another_size_are_unreadable(tmp_path: Path) -> None:
    items: list[object] = [torch.rand(3, SIDE, SIDE), torch.rand(3, 9, SIDE), smooth_image(0)]
    atlas = scan(tiny(), ImageDataset(items), to=tmp_path / "a", projections=False)
    assert [row.status for row in atlas.images] == ["ok", "unreadable", "ok"]
    assert "9x24" in str(atlas.images[1].error)


def test_patches_are_what_the_unit_sees(tiny_atlas: Atlas, folder: Path) -> None:
    net = tiny(torch.float32)
    for unit in tiny_atlas:
        layer = tiny_atlas.layer(unit.layer)
        for patch in tiny_atlas[unit].patches:
            assert patch.box == layer.field.box(*patch.position)
            kept = tiny_atlas.image_pixels(int(patch.source[:2]))
            assert (patch.pixels == crop(kept, patch.box.clip(SIDE, SIDE))).all()
            prepared = net.prepare(folder / patch.source).rgb
            assert np.abs(kept - prepared.astype(float)).mean() < 6


def test_pixels_outside_of_the_patch_do_not_matter_and_those_inside_do(
    tiny_atlas: Atlas, folder: Path
) -> None:
    net, noise = tiny(), np.random.default_rng(0)
    for unit in map(Unit.parse, ("first:1", "act:1", "pool:2", "second:0", "last_act:1")):
        for patch in tiny_atlas[unit].patches[:3]:
            numbers = net.prepare(folder / patch.source).tensor
            box = patch.box.clip(SIDE, SIDE)
            inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
            inside[box.top : box.bottom, box.left : box.right] = True
            other = torch.from_numpy(noise.normal(size=numbers.shape))
            at = Unit(unit.layer, unit.channel, patch.position)
            kept = rs.deconv(net, at, torch.where(inside, numbers, other))
            lost = rs.deconv(net, at, torch.where(inside, other, numbers))
            assert kept.activation == pytest.approx(patch.score, rel=1e-4)
            assert lost.activation != pytest.approx(patch.score, rel=1e-4)


def test_looking_again_at_the_right_region_gives_every_stored_score(
    tiny_atlas: Atlas, folder: Path
) -> None:
    net = tiny(torch.float32)
    hits = [
        (Unit(unit.layer, unit.channel, patch.position), patch)
        for unit in tiny_atlas
        for patch in tiny_atlas[unit].patches
    ]
    assert len(hits) > 200
    with always_crops():
        again = rs.deconv_many(net, [(unit, folder / patch.source) for unit, patch in hits])
        for (unit, patch), shown in zip(hits, again, strict=True):
            assert shown.activation == pytest.approx(patch.score, rel=1e-4, abs=1e-7), unit


def test_stored_projections_are_those_of_deconv(tiny_atlas: Atlas, folder: Path) -> None:
    net = tiny(torch.float32)
    for unit in tiny_atlas:
        for patch in tiny_atlas[unit].patches[::4]:
            kept = patch.projection
            assert kept is not None
            shown = rs.deconv(net, kept.unit, folder / patch.source)
            assert (kept.box, kept.rules, kept.source) == (shown.box, shown.rules, patch.source)
            size, depth = shown.pixels.shape[:2], shown.pixels.shape[2]
            expected = decode_projection(*encode_projection(shown.pixels), size=size, depth=depth)
            peak = np.abs(expected).max(initial=0)
            assert np.abs(kept.pixels - expected).mean() <= 0.02 * peak


@pytest.mark.parametrize("workers", [1, 3, 16])
def test_the_number_of_threads_does_not_change_the_atlas(
    folder: Path, tmp_path: Path, tiny_atlas: Atlas, workers: int
) -> None:
    to = tmp_path / "a"
    scan(tiny(torch.float32), folder, to=to, layers=OF_TINY, batch_size=4, workers=workers)
    assert table_rows(to) == table_rows(tiny_atlas.path)


def test_the_same_call_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "a")
    before = table_rows(tmp_path / "a")
    scan(tiny(), folder, to=tmp_path / "a")
    assert table_rows(tmp_path / "a") == before


def test_how_many_run_at_once_does_not_matter(folder: Path, tmp_path: Path) -> None:
    one, many = (
        scan(
            tiny(),
            folder,
            to=tmp_path / str(size),
            layers=OF_TINY,
            batch_size=size,
            projections=False,
        )
        for size in (1, 13)
    )
    hits = "SELECT layer, ranked_by, channel, rank, image, y, x FROM hits ORDER BY 1, 2, 3, 4"
    assert one.sql(hits) == many.sql(hits)
    numbers = "SELECT mean, std, maximum FROM channels ORDER BY layer, channel"
    found = [np.array(atlas.sql(numbers), float) for atlas in (one, many)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9, atol=1e-12)


def test_a_batch_that_does_not_fit_in_memory_runs_in_parts_and_counts_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scan(tiny(), folder, to=tmp_path / "whole", batch_size=13, projections=False)
    run = run_forward
    sizes: list[int] = []

    def crowded(module: nn.Module, survey: object, batch: torch.Tensor, *rest: object) -> None:
        sizes.append(len(batch))
        if len(batch) > 4:
            raise torch.OutOfMemoryError("out of memory")
        run(module, survey, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("retroscope.scanning.one_pass.run_forward", crowded)
    parted = scan(tiny(), folder, to=tmp_path / "parted", batch_size=13, projections=False)
    assert max(sizes) > 4
    counts = "SELECT images, positions, fired_images, fired_positions FROM channels"
    assert parted.sql(counts) == whole.sql(counts)
    hits = "SELECT layer, ranked_by, channel, rank, image, y, x FROM hits ORDER BY 1, 2, 3, 4"
    assert parted.sql(hits) == whole.sql(hits)


def test_larger_images_are_fitted_to_the_input_size(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "photos", 3, side=100)
    net = tiny()
    atlas = scan(net, folder, to=tmp_path / "a", layers=OF_TINY, projections=False)
    check_against_loop(net, atlas, sorted(folder.iterdir()))
    assert atlas.image_pixels(0).shape == (SIDE, SIDE, 3)


def test_a_grey_network_takes_grey_images(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        smooth_image(number).convert("L").save(folder / f"{number}.png")
    module = nn.Sequential(nn.Conv2d(1, 2, 3)).double()
    net = Network(module, input_size=(SIDE, SIDE), mean=MEAN[:1], std=STD[:1])
    atlas = scan(net, folder, to=tmp_path / "a")
    check_against_loop(net, atlas, sorted(folder.iterdir()))
    assert isinstance(PIL.Image.fromarray(atlas.image_pixels(0)), PIL.Image.Image)
