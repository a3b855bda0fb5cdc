"""The benchmark of a GPU, on the processor: that it runs, and that it finds what is not equal."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks import __main__ as runner
from benchmarks import gpu, gpu_equality, gpu_rates
from benchmarks.gpu import TINY, Part, run_parts
from benchmarks.gpu_equality import Row
from benchmarks.noise import noise_batches
from torch import nn

import retroscope as rs
from retroscope.scanning.layer_choice import scan_layers
from retroscope.scanning.statistics.batch_images import BatchImages
from retroscope.scanning.statistics.sweep import Sweep, SweepBatch
from retroscope.scanning.statistics.topk import TopK

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
        ),
    ],
)
def test_every_part_runs_and_is_in_the_table(
    device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report = gpu.report(TINY, device=device)
    assert "left out for lack of time: nothing" in report
    assert "failed" not in report
    printed = capsys.readouterr().err
    for what in (
        *("given maps with ties", "hits by maximum", "hits by mean", "lowest cosine"),
        *("eager forward", "compiled forward", "copying it to the GPU"),
        *(
            "statistics of 2 maps",
            "plain torch",
            "projections of",
            "JPEG files",
            "whole scan",
        ),
        *("float32", "float16", "bfloat16"),
    ):
        assert what in report
        assert what in printed


def test_equal_networks_are_equal_and_others_are_not() -> None:
    net = gpu_equality.open_calibrated("demo", 48)
    same, other = (gpu_equality.copy_to(net, CPU) for _ in range(2))
    with torch.no_grad():
        for part in other.module.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.mul_(1 + 0.05 * torch.randn(part.weight.shape))
    layers = scan_layers(net)
    batches = gpu_equality.prepare_batches(net, 6, count=3, pixels=48)
    sweeps = [gpu_equality.sweep_batches(each, layers, batches) for each in (net, same, other)]
    units = {"units": 2}
    equal = [
        *gpu_equality.compare_sweeps("equal", *sweeps[:2]),
        *gpu_equality.compare_projections("equal", (net, same), batches[0], **units),
    ]
    unequal = [
        *gpu_equality.compare_sweeps("unequal", sweeps[0], sweeps[2]),
        *gpu_equality.compare_projections("unequal", (net, other), batches[0], **units),
    ]
    assert all(row.target.endswith(": met") for row in equal)
    assert all(row.target.endswith(": missed") for row in unequal), unequal


def test_hits_that_are_the_same_are_counted_in_any_order() -> None:
    expected = _ranking([[1, 2, 3], [4, 5, -1]])
    actual = _ranking([[3, 1, 9], [4, 6, 5]])
    assert gpu_equality.share_of_same_images(expected, actual) == pytest.approx(100 * 4 / 5)


def _ranking(images: list[list[int]]) -> TopK:
    image = torch.tensor(images)
    return TopK(torch.zeros(image.shape, dtype=torch.float64), image, image)


@pytest.mark.parametrize("column", ["maximum", "fired_positions", "peaks"])
def test_a_sweep_that_is_off_in_one_number_is_found(
    column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu_equality.compare_given_maps(CPU)[0].target.endswith(": met")
    calls = iter(range(10**6))
    summarise = Sweep.summarise

    def summarise_wrongly(sweep: Sweep, maps: torch.Tensor, images: BatchImages) -> SweepBatch:
        batch = summarise(sweep, maps, images)
        if next(calls) != 3:  # one of the second sweep of the first maps
            return batch
        if column == "peaks":
            return replace(batch, peaks=batch.peaks + 1)
        values = getattr(batch.summary, column).clone()
        values[-1, 20] += 1
        return replace(batch, summary=replace(batch.summary, **{column: values}))

    monkeypatch.setattr(Sweep, "summarise", summarise_wrongly)
    assert gpu_equality.compare_given_maps(CPU)[0].target.endswith(": missed")


def test_a_warning_of_a_kernel_that_is_not_used_is_in_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summarise = Sweep.summarise

    def warn(sweep: Sweep, maps: torch.Tensor, images: BatchImages) -> SweepBatch:
        warnings.warn("the kernel does not work", stacklevel=2)
        return summarise(sweep, maps, images)

    assert gpu_equality.compare_given_maps(CPU)[1].measured == "none"
    monkeypatch.setattr(Sweep, "summarise", warn)
    same, warned = gpu_equality.compare_given_maps(CPU)
    assert same.target.endswith(": met")
    assert "the kernel does not work" in warned.measured
    assert warned.target.endswith(": missed")


def test_the_cosine_is_that_of_the_definition() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(4, 4, 3)).astype(np.float32)
    assert gpu_equality.cosine(x, 3 * x) == pytest.approx(1)
    assert gpu_equality.cosine(x, -x) == pytest.approx(-1)
    zero = np.zeros_like(x)
    assert gpu_equality.cosine(zero, zero) == 1
    assert gpu_equality.cosine(x, zero) == 0


def test_norms_of_a_calibrated_network_fit_their_maps() -> None:
    net = gpu_equality.open_calibrated("resnet18", 64)
    first = net.module.get_submodule("bn1")
    maps: list[torch.Tensor] = []
    handle = first.register_forward_hook(lambda _norm, _input, output: maps.append(output.clone()))
    with torch.no_grad():
        net.module(next(noise_batches(8, count=1, pixels=64)))
    handle.remove()
    assert not any(part.training for part in net.module.modules())
    assert maps[0].mean((0, 2, 3)).abs().max() < 1e-3
    assert (maps[0].std((0, 2, 3)) - 1).abs().max() < 1e-2


def _parts(seconds: Sequence[float], clock: "_Clock") -> list[Part]:
    def measure(number: int) -> list[Row]:
        clock.now += seconds[number]
        return [Row(f"part {number}", "1")]

    return [
        Part(f"part {number}", lambda number=number: measure(number))  # type: ignore[misc]
        for number in range(len(seconds))
    ]


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_would_start_too_late_is_left_out_and_named() -> None:
    clock = _Clock()
    rows, left_out = run_parts(_parts([200, 300, 10, 10], clock), max_seconds=450, clock=clock)
    assert [row.what for row in rows] == ["part 0", "part 1"]
    assert left_out == ["part 2", "part 3"]


def test_a_part_that_fails_leaves_the_others() -> None:
    def fail() -> list[Row]:
        raise RuntimeError("no | memory\nand a long trace")

    rows, left_out = run_parts(
        [Part("first", fail), Part("second", lambda: [Row("second", "1")])], max_seconds=450
    )
    assert rows[0] == Row("first", "failed: RuntimeError: no / memory")
    assert rows[1].what == "second"
    assert left_out == []


def test_a_compiler_that_fails_leaves_the_eager_comparison(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_module: nn.Module, **_options: object) -> nn.Module:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(torch, "compile", refuse)
    net = gpu_equality.open_calibrated("demo", 48)
    rows = gpu_rates.time_sweep(
        net, CPU, "bfloat16", batch=2, batches=1, rounds=1, backend="inductor"
    )
    assert "eager forward" in rows[0].compared_with
    assert rows[0].ratio
    assert "failed: RuntimeError: no compiler" in rows[1].compared_with
    assert rows[1].target.endswith(": not measured")


def test_without_a_gpu_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(runner, "share_of_other_work", lambda: 0.0)
    with pytest.raises(SystemExit, match="no CUDA device; --device cpu"):
        runner.main(["gpu"])


def test_layers_are_spread_from_the_first_to_the_last() -> None:
    layers = scan_layers(rs.open_model("demo"))
    depths = gpu_equality.choose_depths(layers)
    assert depths[0] == layers[0]
    assert depths[-1] == layers[-1]
    assert len(depths) == 4
    assert gpu_equality.choose_depths(layers[:2]) == layers[:2]
