"""Scans of networks of several inputs: what comes with each image is found by the image's name."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import retroscope as rs
from retroscope.engine.held_inputs import held_forward
from retroscope.errors import ImageError, ModelError, RetroscopeError
from retroscope.network import Network
from retroscope.scanning.image_files import _digest_with_others
from retroscope.scanning.sources import ImageList
from retroscope.scanning.sources.image_list import OtherList
from retroscope.scanning.sources.paired_images import _PathLookup
from retroscope.web.live.scanned_images import ScannedImages, ScannedSource
from tests.conftest import built
from tests.reference.several_inputs import Conditioned, Pair
from tests.scanning.scans import MEAN, STD, Maps, check_channel, smooth_image, write_images

SIDE, COUNT = 24, 5
PAIR: dict[str, Any] = {"left": "image", "right": "image"}


def pair_network(**options: Any) -> Network:
    """In float64, so that a batch ranks as its images one by one."""
    module = built(Pair).double()
    return Network(
        module, input_size=(SIDE, SIDE), mean=MEAN, std=STD, inputs=PAIR, name="pair", **options
    )


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two parallel folders; the partners are of the same names with another ending."""
    left, right = write_images(tmp_path / "left", COUNT), tmp_path / "right"
    right.mkdir()
    for seed in range(COUNT):
        smooth_image(seed + 50, SIDE).save(right / f"{seed:02}.bmp")
    return left, right


def maps_of(net: Network, layer: str, images: Sequence[Any]) -> Maps:
    """The output of a part of the user's module for each image, by torch's own hook."""
    forward, found = held_forward(net.module), list[torch.Tensor]()
    assert forward is not None
    part = forward.module.get_submodule(layer)
    hook = part.register_forward_hook(lambda _part, _inputs, output: found.append(output))
    with torch.no_grad():
        for image in images:
            prepared = net.prepare(image)
            others = {name: value[None] for name, value in prepared.others.items()}
            held = {name: value for name, value in forward.values.items() if name not in others}
            forward.module(**{forward.image: prepared.tensor[None], **held, **others})
    hook.remove()
    return torch.cat(found).numpy()


def scanned(net: Network, images: Any, to: Path | None = None, **options: Any) -> rs.Atlas:
    to = to or images.parent / "pairs.atlas"
    return rs.scan(net, images, to=to, layers=["left_stem", "compare"], top=3, workers=1, **options)


def test_a_scan_of_two_folders_finds_what_each_pair_gives(folders: tuple[Path, Path]) -> None:
    left, right = folders
    net = pair_network()
    pairs = [
        {"left": left / f"{seed:02}.png", "right": right / f"{seed:02}.bmp"}
        for seed in range(COUNT)
    ]
    with closing(scanned(net, left, inputs={"right": right}, projections=1)) as atlas:
        for layer in ("left_stem", "compare"):
            maps = maps_of(net, layer, pairs)
            for channel in range(2):
                check_channel(atlas, f"{layer}:{channel}", maps[:, channel], top=3)
        best = atlas.plate("compare:0").patches[0]
        key = Path(best.source).stem
        unit = f"compare:0@{best.position[0]},{best.position[1]}"
        pair = {"left": left / f"{key}.png", "right": right / f"{key}.bmp"}
        assert best.projection is not None
        expected = rs.deconv(net, unit, pair).pixels
        shown = best.projection.pixels
        np.testing.assert_allclose(shown, expected, atol=0.02 * np.abs(expected).max())


def test_a_scan_is_illustrated_from_the_folders_that_it_recorded(
    folders: tuple[Path, Path],
) -> None:
    left, right = folders
    with closing(
        scanned(pair_network(), left, inputs={"right": right}, projections=False)
    ) as atlas:
        path = atlas.path
    rs.illustrate(path, pair_network(), projections=1)
    with closing(rs.open_atlas(path)) as atlas:
        assert atlas.plate("compare:0").patches[0].projection is not None


@pytest.mark.parametrize("what", ["a partner", "the declaration"])
def test_a_scan_goes_on_with_the_same_pairs_alone(folders: tuple[Path, Path], what: str) -> None:
    left, right = folders
    scanned(pair_network(), left, inputs={"right": right}, projections=False).close()
    if what == "a partner":
        smooth_image(99, SIDE).save(right / "02.bmp")
        with pytest.raises(
            RetroscopeError, match=r"'.*02\.png' has changed since the scan read it"
        ):
            scanned(pair_network(), left, inputs={"right": right}, projections=False)
    else:
        held = pair_network().hold(right=right / "00.bmp")
        with pytest.raises(RetroscopeError, match=r"the inputs of the model, or what is held for"):
            scanned(held, left, projections=False)


def test_missing_partners_are_counted_in_one_line(folders: tuple[Path, Path]) -> None:
    left, right = folders
    for name in ("01.bmp", "03.bmp"):
        (right / name).unlink()
    with pytest.raises(
        ImageError, match=r"2 of 5 images have no right in '.*right', such as '01\.p"
    ):
        scanned(pair_network(), left, inputs={"right": right})


def test_partners_that_cannot_be_read_leave_their_images_out(folders: tuple[Path, Path]) -> None:
    left, right = folders
    (right / "02.bmp").write_bytes(b"no image")
    with closing(
        scanned(pair_network(), left, inputs={"right": right}, projections=False)
    ) as atlas:
        (row,) = atlas.sql("SELECT key, error FROM images WHERE error IS NOT NULL")
        assert row[0] == "02.png"
        assert str(row[1]).startswith("right: ")


def test_numbers_and_paths_come_from_a_table(folders: tuple[Path, Path]) -> None:
    left, _ = folders
    table = left.parent / "numbers.csv"
    rows = [f"{seed:02}.png,{seed}.5 {-seed}" for seed in range(COUNT)]
    table.write_text("\n".join(["image,numbers", *rows]))
    module = built(Conditioned).double()
    net = Network(
        module,
        input_size=(SIDE, SIDE),
        inputs={"image": "image", "numbers": rs.NumberInput(2)},
        name="conditioned",
    )
    to = left.parent / "numbers.atlas"
    layers = ["last"]
    with closing(
        rs.scan(net, left, to=to, layers=layers, inputs={"numbers": table}, projections=False)
    ) as atlas:
        images = [
            {"image": left / f"{seed:02}.png", "numbers": [seed + 0.5, -seed]}
            for seed in range(COUNT)
        ]
        check_channel(atlas, "last:0", maps_of(net, "last", images)[:, 0])


@pytest.mark.parametrize(
    ("inputs", "advice"),
    [
        (
            None,
            "pair takes 'right' with each image; give a folder or a CSV file of them, as in inp",
        ),
        ({"rigth": "right"}, "pair takes no 'rigth' with each image; did you mean 'right'?"),
        ({"right": "nowhere"}, "right is not at 'nowhere'; give a folder of files named like the"),
        ({"right": "no.csv"}, "cannot read 'no.csv'"),
        ("right", "inputs has a folder or a CSV file for each input, as in {'right': 'folder'}, n"),
        ({"right": ["a.png"]}, "right is ['a.png']; give a folder of files named like the images,"),
    ],
)
def test_a_scan_without_its_partners_is_refused(
    folders: tuple[Path, Path], inputs: Any, advice: str
) -> None:
    with pytest.raises(RetroscopeError) as caught:
        scanned(pair_network(), folders[0], inputs=inputs)
    assert advice in str(caught.value)
    assert not (folders[0].parent / "pairs.atlas").exists()


def test_a_table_without_the_column_is_refused_with_its_columns(
    folders: tuple[Path, Path],
) -> None:
    left, _ = folders
    table = left.parent / "pairs.csv"
    table.write_text("image,other\n00.png,right/00.bmp\n")
    with pytest.raises(
        ImageError, match=r"has no column 'right' after the first; its first line is"
    ):
        scanned(pair_network(), left, inputs={"right": table})


def test_a_table_with_two_values_for_an_image_is_refused(folders: tuple[Path, Path]) -> None:
    left, _ = folders
    table = left.parent / "pairs.csv"
    rows = [f"{seed:02}.png,right/{seed:02}.bmp" for seed in range(COUNT)]
    table.write_text("\n".join(["image,right", *rows, "./01.png,right/02.bmp"]))
    with pytest.raises(ImageError, match=r"has two values of 'right' for '01\.png'; keep one"):
        scanned(pair_network(), left, inputs={"right": table})


def test_partners_may_be_arrays(folders: tuple[Path, Path]) -> None:
    left, right = folders
    arrays = left.parent / "arrays"
    arrays.mkdir()
    for seed in range(COUNT):
        np.save(arrays / f"{seed:02}.npy", np.asarray(smooth_image(seed + 50, SIDE)))
    plates = []
    for number, partners in enumerate((right, arrays)):
        to = left.parent / f"{number}.atlas"
        with closing(
            scanned(pair_network(), left, to, inputs={"right": partners}, projections=False)
        ) as atlas:
            plates.append([(hit.key, hit.score) for hit in atlas.hits("compare:0")])
    assert plates[0] == plates[1]


def test_a_network_whose_other_inputs_are_held_scans_a_folder_as_any_other(
    folders: tuple[Path, Path],
) -> None:
    left, right = folders
    held = pair_network().hold(right=right / "00.bmp")
    with closing(scanned(held, left, projections=1)) as atlas:
        maps = maps_of(held, "compare", [left / f"{n:02}.png" for n in range(COUNT)])
        check_channel(atlas, "compare:0", maps[:, 0], top=3)
    other = pair_network().hold(right=torch.zeros(3, SIDE, SIDE))
    with pytest.raises(
        RetroscopeError, match=r"was scanned with another 'right' held for all images; give that"
    ):
        rs.illustrate(atlas.path, other)


def test_joined_atlases_read_the_partners_of_each_part(folders: tuple[Path, Path]) -> None:
    """Both have images of the same names, and folders of their own."""
    left, _ = folders
    moved = left.parent / "more" / "left", left.parent / "more" / "right"
    parts = []
    for seed, (images, partners) in enumerate((folders, moved)):
        for number in range(COUNT if seed else 0):
            for folder, suffix in ((images, "png"), (partners, "bmp")):
                folder.mkdir(parents=True, exist_ok=True)
                name = folder / f"{number:02}.{suffix}"
                smooth_image(100 + number + 50 * (folder is partners), SIDE).save(name)
        to = images.parent / "part.atlas"
        inputs = {"right": partners}
        scanned(pair_network(), images, to, inputs=inputs, projections=False).close()
        parts.append(to)
    joined = left.parent / "joined.atlas"
    rs.merge(parts, to=joined).close()
    rs.illustrate(joined, pair_network(), projections=1)
    with rs.open_atlas(joined) as atlas:
        best = atlas.plate("compare:0").patches[0]
        part = moved if "more" in Path(best.source).parts else folders
        stem = Path(best.source).stem
        pair = {"left": part[0] / f"{stem}.png", "right": part[1] / f"{stem}.bmp"}
        unit = f"compare:0@{best.position[0]},{best.position[1]}"
        expected = rs.deconv(pair_network(), unit, pair)
        assert best.score == pytest.approx(expected.activation, rel=1e-5)
        assert best.projection is not None
        largest = np.abs(expected.pixels).max()
        np.testing.assert_allclose(best.projection.pixels, expected.pixels, atol=0.02 * largest)


def test_atlases_that_hold_other_values_are_not_joined(folders: tuple[Path, Path]) -> None:
    left, right = folders
    parts = [left.parent / f"{number}.atlas" for number in range(2)]
    for number, to in enumerate(parts):
        held = pair_network().hold(right=right / f"{number:02}.bmp")
        scanned(held, left, to, projections=False).close()
    with pytest.raises(RetroscopeError, match="they differ in the inputs of the model, or what is"):
        rs.merge(parts, to=left.parent / "joined.atlas")


class Samples(torch.utils.data.Dataset[Any]):
    """Samples as training has them: a dictionary, and a label."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> tuple[dict[str, Any], int]:
        return {"left": smooth_image(index, SIDE), "right": smooth_image(index + 9, SIDE)}, 0


def test_the_share_that_a_patch_keeps_is_that_of_its_pair(folders: tuple[Path, Path]) -> None:
    """By definition: the left image is the mean colour outside the field, the right one stays."""
    left, right = folders
    net = pair_network()
    with closing(scanned(net, left, inputs={"right": right}, projections=False)) as atlas:
        path, hits = atlas.path, atlas.hits("compare:1")[:2]
    rs.score(path, net, numbers=["patch"], hits=2)
    with rs.open_atlas(path) as atlas:
        numbers = {n.name: n for n in atlas.numbers("compare:1")}
    pairs = [{"left": left / f"{n:02}.png", "right": right / f"{n:02}.bmp"} for n in range(COUNT)]
    prepared = [net.prepare(pair) for pair in pairs]
    fill = torch.stack([image.tensor.mean(dim=(1, 2)) for image in prepared]).mean(dim=0)
    shares = []
    for hit in hits:
        assert hit.unit.position is not None
        y, x = hit.unit.position
        box = net.layer("compare").field.box(y, x).clip(SIDE, SIDE)
        image = prepared[hit.image]
        alone = fill[:, None, None].expand_as(image.tensor).clone()
        window = slice(None), slice(box.top, box.bottom), slice(box.left, box.right)
        alone[window] = image.tensor[window]
        masked = [
            {"left": tensor, "right": image.others["right"]} for tensor in (image.tensor, alone)
        ]
        full, kept = maps_of(net, "compare", masked)[:, 1, y, x]
        shares.append(float(np.clip(max(kept, 0) / max(full, 0), 0, 1)))
    assert numbers["patch_share"].value == pytest.approx(np.mean(shares), rel=1e-6)


class Sited(torch.nn.Module):
    """An image, and the number of the place where it was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.sites = torch.nn.Conv2d(3, 4, 3), torch.nn.Embedding(10, 4)
        self.head = torch.nn.Linear(4, 2)

    def forward(self, image: torch.Tensor, site: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.conv(image).relu().mean((2, 3)) + self.sites(site))
        return scores


def sited() -> Network:
    inputs = {"image": "image", "site": rs.NumberInput(dtype=torch.long)}
    return Network(built(Sited), input_size=(SIDE, SIDE), inputs=inputs, name="sited")


def test_numbers_that_the_network_cannot_run_are_named_with_their_image(
    folders: tuple[Path, Path],
) -> None:
    left, _ = folders
    table = left.parent / "sites.csv"
    rows = [f"{seed:02}.png,{99 if seed == 3 else seed}" for seed in range(COUNT)]
    table.write_text("\n".join(["image,site", *rows]))
    with pytest.raises(ModelError, match=r"sited cannot run .*03\.png with site 99: IndexError"):
        rs.scan(sited(), left, to=left.parent / "a.atlas", inputs={"site": table}, layers="head")


def test_a_data_set_of_pairs_is_scanned(tmp_path: Path) -> None:
    net, pairs = pair_network(), Samples()
    with closing(scanned(net, pairs, to=tmp_path / "pairs.atlas", projections=1)) as atlas:
        maps = maps_of(net, "compare", [pairs[number][0] for number in range(3)])
        check_channel(atlas, "compare:0", maps[:, 0], top=3)
        assert atlas.plate("compare:0").patches[0].projection is not None


def test_the_viewer_reads_what_comes_with_an_image_from_where_the_scan_did(
    folders: tuple[Path, Path],
) -> None:
    left, right = folders
    net = pair_network()
    with closing(scanned(net, left, inputs={"right": right}, projections=False)) as atlas:
        read = ScannedImages(ScannedSource(atlas, net)).read(3)
        expected = net.prepare({"left": left / "03.png", "right": right / "03.bmp"})
        torch.testing.assert_close(read.tensor, expected.tensor)
        torch.testing.assert_close(read.others["right"], expected.others["right"])
        assert rs.saliency(net, read, target=0).values.shape == (SIDE, SIDE)


@pytest.mark.parametrize(
    ("partners", "keys", "expected"),
    [
        (["a.png", "b/a.png"], ["a.png", "b/a.png"], ["a.png", "b/a.png"]),
        (["a.bmp", "b/a.bmp"], ["a.png", "b/a.png"], ["a.bmp", "b/a.bmp"]),
        (["x/1.bmp", "y/1.bmp"], ["0.tar/x/1.png", "0.tar/y/1.png"], ["x/1.bmp", "y/1.bmp"]),
        (
            ["left/x/1.png", "left/y/1.png"],
            ["x/1.png", "y/1.png"],
            ["left/x/1.png", "left/y/1.png"],
        ),
        (["depth/1.png"], ["rgb/1.png"], ["depth/1.png"]),
        (["1.bmp"], ["x/1.png", "y/1.png"], [None, None]),
        (["x/1.bmp", "y/1.bmp"], ["1.png"], [None]),
        (["1.bmp"], ["2.png"], [None]),
        ([".hidden"], ["hidden"], [None]),
        (["a.png"], ["a.jpg", "a.png"], [None, "a.png"]),
        (["x/a.bmp"], ["x/a.jpg", "x/a.png"], [None, None]),
    ],
)
def test_the_partner_of_an_image_is_the_one_whose_path_ends_alike(
    partners: list[str], keys: list[str], expected: list[str | None]
) -> None:
    lookup = _PathLookup(partners, keys)
    assert list(map(lookup.find, keys)) == expected


def test_the_order_in_which_inputs_are_given_changes_no_digest(tmp_path: Path) -> None:
    photo = tmp_path / "0.png"
    smooth_image(0, SIDE).save(photo)
    others = {"b": OtherList(["0.png"], str(tmp_path)), "a": OtherList(["1"], numbers=[[1.0]])}
    digests = {
        _digest_with_others(b"image", ImageList(["0.png"], [-1], (), str, others=given), 0)
        for given in (others, dict(reversed(others.items())))
    }
    assert len(digests) == 1
