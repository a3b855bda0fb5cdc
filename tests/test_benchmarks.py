"""The benchmarks: that they run, that they compare what they say, and what their tables say."""

import doctest
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from benchmarks import __main__ as runner
from benchmarks import commands, scan, timing
from benchmarks.synthetic_atlas import write_atlas

from retroscope.atlas.reader import open_atlas
from retroscope.scanning.layer_choice import scan_layers
from retroscope.zoo import open_model

FOLDER = Path(runner.__file__).parent
SLOW = {"startup"}
"""Starts whole commands, among them the demo."""
Report = Callable[..., str]


def _tables(report: str) -> list[list[list[str]]]:
    """The cells of each Markdown table."""
    tables: list[list[list[str]]] = [[]]
    for line in report.split("\n"):
        if line.startswith("|"):
            tables[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif tables[-1]:
            tables.append([])
    return [table for table in tables if table]


def test_every_module_with_a_report_is_listed() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py") if "\ndef report(" in path.read_text()}
    assert modules <= set(runner.BENCHMARKS)
    lines = runner.list_benchmarks().split("\n")
    assert [line.split()[0] for line in lines] == [*runner.BENCHMARKS, "all"]
    assert all(line.split()[2] == "min" for line in lines)


def test_the_page_on_benchmarks_lists_them() -> None:
    page = (FOLDER.parent / "docs" / "benchmarks.md").read_text("utf-8")
    rows = {row[0].strip("`"): row[1] for table in _tables(page) for row in table}
    for name, entry in runner.BENCHMARKS.items():
        assert rows[name] == f"{entry.minutes:g}"


def _with_tiny_sizes() -> list[str]:
    names = [name for name in runner.BENCHMARKS if (FOLDER / f"{name}.py").exists()]
    return [
        name
        for name in names
        if name not in SLOW | {"gpu"} and hasattr(import_module(f"benchmarks.{name}"), "TINY")
    ]


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")  # of torchvision.io
@pytest.mark.parametrize("name", _with_tiny_sizes())
def test_a_benchmark_runs_and_judges_its_targets(name: str) -> None:
    module = import_module(f"benchmarks.{name}")
    report: str = module.report(module.TINY)
    assert torch.backends.cpu.get_cpu_capability() in report
    tables = _tables(report)
    assert any("target" in " ".join(table[0]) for table in tables)
    assert any(": met" in cell or ": missed" in cell for t in tables for row in t for cell in row)


@pytest.mark.parametrize("name", ["cam", "deconv", "occlusion", "scan", "synthesis"])
def test_a_peer_that_is_not_installed_is_said_in_its_cell(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "find_spec", lambda _module: None)
    module = import_module(f"benchmarks.{name}")
    report: str = module.report(module.TINY)
    assert f"| {timing.NOT_INSTALLED} |" in report
    assert f": {timing.NOT_MEASURED}" in report


def test_the_examples_of_the_formats_are_right() -> None:
    assert doctest.testmod(timing).failed == 0
    assert doctest.testmod(timing).attempted >= 3


def test_a_target_is_met_at_its_limit_and_missed_beyond_it() -> None:
    assert timing.at_most(2, 2.0).endswith(": met")
    assert timing.at_most(2, 2.001).endswith(": missed")
    assert timing.at_least(2, 2.0).endswith(": met")
    assert timing.at_least(2, 1.999).endswith(": missed")
    assert timing.at_least(2, None).endswith(": not measured")


def test_programs_alternate_after_a_warm_up() -> None:
    calls: list[str] = []
    times = timing.time_alternating(
        lambda: calls.append("a"), None, lambda: calls.append("b"), rounds=2
    )
    assert calls == ["a", "b", "a", "b", "a", "b"]
    assert [len(program) for program in times] == [2, 0, 2]


def test_the_ratio_is_of_runs_next_to_each_other() -> None:
    assert timing.median_ratio([2, 30, 8], [1, 10, 2]) == 3
    assert timing.ratio_if_timed([], [1.0]) is None


def test_processor_time_is_read_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "process_time", iter([10.0, 13.0]).__next__)
    monkeypatch.setenv(timing.CLOCK_VARIABLE, "process")
    assert timing.seconds(lambda: None) == 3
    assert "processor time" in timing.describe_machine()
    monkeypatch.delenv(timing.CLOCK_VARIABLE)
    assert "processor time" not in timing.describe_machine()


def test_the_instructions_for_bfloat16_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"avx512_bf16": True, "amx_bf16": True, "avx512_fp16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    monkeypatch.setattr(timing, "has_bf16_instructions", lambda _device: True)
    name = torch.backends.cpu.get_cpu_capability()
    assert timing.instruction_set() == f"{name} avx512_bf16 amx_bf16 (bf16 instructions)"
    monkeypatch.setattr(timing, "has_bf16_instructions", lambda _device: False)
    assert timing.instruction_set().endswith("(no bf16 instructions)")


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert timing.version("torch") == torch.__version__.partition("+")[0] or timing.version("torch")
    assert timing.version("no-such-package") == timing.NOT_INSTALLED


class _Ranking:
    def __init__(self, image: list[list[int]]) -> None:
        self.image = torch.tensor(image)


class _Run:
    """What the recall reads of a run: the images of both rankings."""

    def __init__(self, by_max: list[list[int]], by_mean: list[list[int]]) -> None:
        self.running = self
        self.sweep = self
        self.by_max, self.by_mean = _Ranking(by_max), _Ranking(by_mean)


def test_the_recall_counts_hits_and_no_empty_slots() -> None:
    full = _Run([[1, 2], [3, -1]], [[5, 6], [7, 8]])
    narrow = _Run([[2, 9, 1], [4, -1, -1]], [[6, 5, 0], [8, 0, 1]])
    recall = scan.recall_of_candidates(full, narrow)  # type: ignore[arg-type]
    assert recall == pytest.approx(100 * (2 + 0 + 2 + 1) / 7)


def test_bfloat16_is_measured_where_it_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "refuse_slow_precision", lambda _precision, _device: None)
    report = scan.report(scan.TINY)
    assert "refused" not in report
    assert "hits among the candidates" in report


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(runner, "share_of_other_work", lambda: 0.25)
    return tmp_path / "results"


@pytest.fixture
def fake_report(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("benchmarks.cam")
    monkeypatch.setattr(module, "report", lambda *sizes: f"report of {len(sizes)} sizes")


@pytest.mark.usefixtures("fake_report")
def test_a_full_run_writes_its_result_and_how_busy_the_machine_was(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner.main(["cam"])
    text = (results / "cam.md").read_text()
    assert text.startswith("report of 0 sizes")
    assert "25%" in text
    output = capsys.readouterr()
    assert "report of 0 sizes" in output.out
    assert "times are noise" in output.err


@pytest.mark.usefixtures("fake_report")
@pytest.mark.parametrize(("option", "sizes"), [("--tiny", 1), ("--process-time", 0)])
def test_what_measures_nothing_or_not_time_is_not_written(
    option: str,
    sizes: int,
    results: Path,
    *,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(timing.CLOCK_VARIABLE, "")  # restored afterwards
    runner.main(["cam", option])
    assert not results.exists()
    output = capsys.readouterr().out
    assert f"report of {sizes} sizes" in output
    assert "No result is written" in output


def test_a_benchmark_without_tiny_sizes_says_so(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(import_module("benchmarks.cam"), "TINY")
    with pytest.raises(SystemExit, match="cam has no tiny sizes; run it without --tiny"):
        runner.main(["cam", "--tiny"])
    assert not results.exists()


def test_without_a_name_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    runner.main([])
    assert capsys.readouterr().out.strip() == runner.list_benchmarks()


def test_all_runs_each_and_names_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        assert command[-1] == "--tiny"
        names.append(command[3])
        return subprocess.CompletedProcess(command, int(command[3] in {"cam", "scan"}))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"failed: cam, scan$"):
        runner.main(["all", "--tiny"])
    assert names == [name for name in runner.BENCHMARKS if name != "gpu"]


def test_a_command_that_fails_is_not_timed(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        commands.time_command("show", "no.atlas", folder=tmp_path)
    assert commands.time_command("--help", folder=tmp_path) > 0


def test_an_atlas_that_cannot_be_served_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="has ended"), commands.serve(tmp_path / "no.atlas"):
        pass


def test_the_synthetic_atlas_has_what_a_real_one_has(tmp_path: Path) -> None:
    layers = scan_layers(open_model("demo", input_size=48))
    path = tmp_path / "synthetic.atlas"
    write_atlas(path, layers, images=30, pixels=48, top=9, projected_ranks=1, per_class=2)
    with open_atlas(path) as atlas:
        assert len(atlas) == sum(layer.channels for layer in layers)
        assert atlas.layers == tuple(layers)
        for unit in list(atlas)[::50]:
            plate = atlas.plate(unit)
            assert len(plate.patches) == 9
            assert plate.patches[0].projection is not None
            assert len(atlas.plate(unit, ranked_by="min").patches) == 9
            assert len(atlas.plate(unit, ranked_by="sample").patches) == 6
            of_class = atlas.plate(unit, label="class 3").patches
            assert [patch.source.partition("/")[0] for patch in of_class] == ["3", "3"]
