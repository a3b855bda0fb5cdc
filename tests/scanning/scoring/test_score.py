"""The job: what it stores is what the definitions give for maps computed by torch alone."""

from collections.abc import Sequence
from math import floor, isnan
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest
import torch

from retroscope.atlas.reader import Atlas, open_atlas
from retroscope.errors import RetroscopeError
from retroscope.methods.deconv.deconv import deconv
from retroscope.progress import Progress
from retroscope.results.unit_numbers import GROUPS, NUMBERS, UnitNumber
from retroscope.scanning.job import scan
from retroscope.scanning.scoring.dissection import partners
from retroscope.scanning.scoring.faithfulness import SHARES, area_under, faithfulness_numbers
from retroscope.scanning.scoring.request import DISSECTION, HIT_GROUPS
from retroscope.scanning.scoring.score import score
from retroscope.scanning.scoring.similarity_numbers import (
    interpretability,
    monosemanticity,
    unit_vectors,
)
from retroscope.scanning.scoring.time_estimate import ScoreEstimate, estimate_score
from retroscope.unit import Unit
from tests.scanning import scans

COUNT, LAYERS = 24, ["act", "last_act"]
DEAD, BELOW_ZERO = 2, 3
"""Channels of `last_act` that are 0 everywhere."""


SCORED = [kind for kind in NUMBERS if kind.group in GROUPS]
"""The numbers that `score` computes; a scan computes the others."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images, their masks, and their atlas."""
    scans.write_images(tmp_path / "images", COUNT)
    (tmp_path / "masks").mkdir()
    for number in range(COUNT):
        PIL.Image.fromarray(labels_of(number)).save(tmp_path / f"masks/{number:02}.png")
    (tmp_path / "masks/names.csv").write_text("number,name\n1,left\n2,bright\n")
    net = scans.tiny()
    scan(
        net, tmp_path / "images", to=tmp_path / "a.atlas", layers=LAYERS, projections="none"
    ).close()
    return tmp_path


def labels_of(number: int) -> npt.NDArray[np.uint8]:
    """1 on the left, but 2 where the image is bright."""
    labels = np.zeros((scans.SIDE, scans.SIDE), np.uint8)
    labels[:, :12] = 1
    labels[np.asarray(scans.smooth_image(number))[..., 0] > 150] = 2
    return labels


def score_all(folder: Path, numbers: Sequence[str] = (), *, masks: bool = True) -> None:
    masks_folder = folder / "masks" if masks else None
    score(folder / "a.atlas", scans.tiny(), numbers=numbers, masks=masks_folder)


def numbers_of(folder: Path) -> dict[tuple[str, str], UnitNumber]:
    with open_atlas(folder / "a.atlas") as atlas:
        return {
            (str(number.unit), number.name): number
            for layer in LAYERS
            for number in atlas.numbers(layer)
        }


def files_of(folder: Path) -> list[Path]:
    return sorted((folder / "images").iterdir())


def test_every_channel_has_every_number(folder: Path) -> None:
    score_all(folder)
    numbers = numbers_of(folder)
    assert len(numbers) == (5 + 6) * len(SCORED)
    for number in numbers.values():
        kind = next(kind for kind in SCORED if kind.name == number.name)
        assert number.subject == kind.subject
        assert isnan(number.value) or number.low <= number.value <= number.high


def test_dead_channels_have_numbers_that_are_not_defined(folder: Path) -> None:
    score_all(folder)
    numbers = numbers_of(folder)
    for kind in SCORED:
        value = numbers[f"last_act:{DEAD}", kind.name].value
        assert value == 0 if kind.name == "concept_iou" else isnan(value), kind.name
    with open_atlas(folder / "a.atlas") as atlas:
        assert {name.unit.channel for name in atlas.names("last_act")} <= {0, 1, 4, 5}


def test_similarity_numbers_are_of_the_maxima_and_of_the_last_maps(folder: Path) -> None:
    score_all(folder, ["mis", "monosemanticity"], masks=False)
    numbers = numbers_of(folder)
    maps = scans.maps_of(scans.tiny(), LAYERS, files_of(folder))
    vectors = unit_vectors(maps["last_act"].mean(axis=(2, 3)))
    for layer in LAYERS:
        maxima = maps[layer].max(axis=(2, 3))
        expected = monosemanticity(maxima, vectors)
        for channel, column in enumerate(maxima.T):
            found = numbers[f"{layer}:{channel}", "monosemanticity"]
            assert found.value == pytest.approx(expected[channel].value, rel=1e-4, nan_ok=True)
            found = numbers[f"{layer}:{channel}", "mis"]
            expected_mis = interpretability(column.astype(np.float32), vectors).value
            assert found.value == pytest.approx(expected_mis, nan_ok=True)
            assert "last_act, of the scored network itself" in found.basis


def slow_overlap(maps: scans.Maps, channel: int, field_stride: tuple[int, float]) -> list[float]:
    """The overlap of a channel with each concept, and with the concepts of the partners."""
    stride, centre = field_stride
    maps = maps.astype(np.float32).astype(np.float64)
    values = sorted(maps[:, channel].ravel())
    threshold = values[len(values) - 1 - floor(0.005 * len(values))]
    units = np.arange(maps.shape[2]) * stride + centre
    pixels = np.arange(scans.SIDE)
    strong = []
    for image in maps:
        rows = np.array([np.interp(pixels, units, row) for row in image[channel]])
        strong.append(
            threshold < np.array([np.interp(pixels, units, column) for column in rows.T]).T
        )
    overlaps = []
    for others in (range(COUNT), partners(COUNT)):
        masks = [labels_of(number) for number in others]
        for concept in (1, 2):
            both = sum((s & (m == concept)).sum() for s, m in zip(strong, masks, strict=True))
            either = sum((s | (m == concept)).sum() for s, m in zip(strong, masks, strict=True))
            overlaps.append(both / either)
    return overlaps


def test_concepts_are_those_that_loops_over_pixels_find(folder: Path) -> None:
    score_all(folder, ["dissection"])
    numbers = numbers_of(folder)
    net = scans.tiny()
    maps = scans.maps_of(net, LAYERS, files_of(folder))
    with open_atlas(folder / "a.atlas") as atlas:
        for layer in LAYERS:
            axis = net.layer(layer).field.y
            assert axis == net.layer(layer).field.x
            for channel in range(maps[layer].shape[1]):
                own = slow_overlap(maps[layer], channel, (int(axis.stride), axis.centre))
                found = numbers[f"{layer}:{channel}", "concept_iou"]
                assert found.value == pytest.approx(max(own[:2]), abs=2e-3)
                assert found.chance == pytest.approx(max(own[2:]), abs=2e-3)
                is_named = found.value >= 0.04 and found.low > found.chance
                names = [name.name for name in atlas.names(f"{layer}:{channel}")]
                assert names == (["left", "bright"][own[1] > own[0] :][:1] if is_named else [])


def slow_faithfulness(folder: Path, atlas: Atlas, unit: str) -> list[float]:
    """The area under the curve of each hit's projection, by copying pixels and running torch."""
    net = scans.tiny()
    hits = atlas.hits(unit)
    inputs = [net.prepare(file).tensor for file in files_of(folder)]
    colour = torch.stack(inputs).mean(dim=(0, 2, 3))
    areas = []
    for hit in hits:
        image = inputs[hit.image]
        assert hit.unit.position is not None
        projection = deconv(net, hit.unit, files_of(folder)[hit.image])
        strength = np.abs(projection.full()).sum(axis=2)
        box = projection.box
        pixels = [(y, x) for y in range(box.top, box.bottom) for x in range(box.left, box.right)]
        pixels.sort(key=lambda pixel: -strength[pixel])
        kept = []
        for share in SHARES:
            shown = colour[:, None, None].expand_as(image).clone()
            for y, x in pixels[: max(1, round(share * len(pixels)))]:
                shown[:, y, x] = image[:, y, x]
            kept.append(_activation(net.module, hit.unit, shown))
        full = _activation(net.module, hit.unit, image)
        areas.append(area_under(np.clip(np.array(kept) / full, 0, 1)))
    return areas


def _activation(module: torch.nn.Module, unit: Unit, image: torch.Tensor) -> float:
    recorded: list[torch.Tensor] = []
    handle = module.get_submodule(unit.layer).register_forward_hook(
        lambda _module, _inputs, output: recorded.append(output.clone())
    )
    with torch.no_grad():
        module(image[None])
    handle.remove()
    assert unit.position is not None
    return float(recorded[0][0, unit.channel, unit.position[0], unit.position[1]])


def test_the_curve_of_a_projection_is_that_of_copied_pixels(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = faithfulness_numbers
    areas: list[float] = []

    def record(by_mask: dict[str, float]) -> dict[str, float]:
        areas.append(by_mask["projection"])
        return real(by_mask)

    monkeypatch.setattr("retroscope.scanning.scoring.hit_numbers.faithfulness_numbers", record)
    score(folder / "a.atlas", scans.tiny(), layers="last_act", numbers=["faithfulness"])
    with open_atlas(folder / "a.atlas") as atlas:
        expected = [
            area
            for channel in range(6)
            if atlas.hits(f"last_act:{channel}")
            for area in slow_faithfulness(folder, atlas, f"last_act:{channel}")
        ]
    np.testing.assert_allclose(areas, expected, atol=1e-5)


def test_the_patch_keeps_everything_that_the_unit_sees(folder: Path) -> None:
    """The patch is the receptive field, and a unit reads nothing else."""
    score_all(folder, ["patch"], masks=False)
    shares = [number.value for number in numbers_of(folder).values()]
    defined = [share for share in shares if not isnan(share)]
    assert len(defined) >= 7
    assert np.allclose(defined, 1)


def test_one_image_gives_no_interval_and_no_comparison(tmp_path: Path) -> None:
    scans.write_images(tmp_path / "images", 1)
    scan(scans.tiny(), tmp_path / "images", to=tmp_path / "a.atlas", layers=LAYERS).close()
    score(tmp_path / "a.atlas", scans.tiny())
    for (_, name), number in numbers_of(tmp_path).items():
        assert isnan(number.low)
        if name in {"dependence_on_image", "mis", "monosemanticity"}:
            assert isnan(number.value), name


def test_an_interrupted_run_resumes_to_the_same_numbers(folder: Path) -> None:
    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if (progress.stage, progress.completed) == ("dependence", 4):
            raise StopError

    with pytest.raises(StopError):
        score(folder / "a.atlas", scans.tiny(), progress=stop)
    partial = numbers_of(folder)
    assert {name for _, name in partial} >= {"faithfulness", "dependence_on_image"}
    assert "mis" not in {name for _, name in partial}
    work: list[str] = []
    score(
        folder / "a.atlas",
        scans.tiny(),
        before=lambda _, missing: work.extend(entry.group for entry in missing),
    )
    assert "faithfulness" not in work
    resumed = numbers_of(folder)
    score(folder / "a.atlas", scans.tiny(), hits=8)
    score(folder / "a.atlas", scans.tiny())
    assert list(map(str, numbers_of(folder).values())) == list(map(str, resumed.values()))
    seen: list[Progress] = []
    score(folder / "a.atlas", scans.tiny(), progress=seen.append)
    assert seen == []


def test_dissecting_again_replaces_the_names(folder: Path) -> None:
    score_all(folder, ["dissection"])
    (folder / "masks/names.csv").write_text("number,name\n1,links\n2,hell\n")
    score_all(folder, ["dissection"])
    with open_atlas(folder / "a.atlas") as atlas:
        assert {name.name for layer in LAYERS for name in atlas.names(layer)} <= {"links", "hell"}


def test_another_network_can_say_what_is_similar(folder: Path) -> None:
    score(folder / "a.atlas", scans.tiny(), numbers=["mis"], embedding=scans.tiny(seed=1))
    number = numbers_of(folder)["act:0", "mis"]
    assert "embedding: tiny last_act (weights " in number.basis


def test_an_image_that_is_gone_is_refused(folder: Path) -> None:
    files_of(folder)[3].unlink()
    with pytest.raises(RetroscopeError, match="not of 23; give the same images"):
        score_all(folder)


def test_a_changed_image_is_refused(folder: Path) -> None:
    scans.smooth_image(99).save(files_of(folder)[3])
    with pytest.raises(RetroscopeError, match=r"03\.png' has changed"):
        score_all(folder)


def test_a_mask_of_other_proportions_is_refused(folder: Path) -> None:
    PIL.Image.new("L", (24, 12)).save(folder / "masks/05.png")
    with pytest.raises(RetroscopeError, match=r"05\.png' has 12x24 pixels, its image 24x24"):
        score_all(folder, ["dissection"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"numbers": ["dissection"]}, "needs masks"),
        ({"numbers": ["misses"]}, "no number 'misses'; did you mean 'mis'"),
        ({"hits": 0}, "hits is 0"),
        ({"layers": "nothing"}, "nothing"),
        ({"masks": "nowhere"}, "no folder 'nowhere'"),
    ],
)
def test_impossible_requests_are_refused(
    folder: Path, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(RetroscopeError, match=reason):
        score(folder / "a.atlas", scans.tiny(), **options)  # type: ignore[arg-type]


def test_another_network_is_refused(folder: Path) -> None:
    with pytest.raises(RetroscopeError, match="weights"):
        score(folder / "a.atlas", scans.tiny(seed=3))


def test_the_estimate_counts_what_is_missing(folder: Path) -> None:
    estimates: list[ScoreEstimate] = []
    score(
        folder / "a.atlas",
        scans.tiny(),
        masks=folder / "masks",
        before=lambda *work: estimates.append(estimate_score(*work)),
    )
    (estimate,) = estimates
    assert estimate.channels == 11
    assert estimate.seconds > 0


def test_the_groups_of_numbers_are_those_that_the_job_computes() -> None:
    assert {*HIT_GROUPS, "mis", "monosemanticity", DISSECTION} == set(GROUPS)
