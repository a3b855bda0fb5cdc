"""A scan goes on where it was, refuses what has changed, and leaves nothing behind."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from retroscope.atlas.reader import open_atlas
from retroscope.atlas.writer import AtlasWriter
from retroscope.errors import RetroscopeError
from retroscope.methods.deconv.deconv import numbered_projections
from retroscope.network import Network
from retroscope.progress import Progress, ignore_progress
from retroscope.results.projections import Projection
from retroscope.scanning import checkpoints
from retroscope.scanning.hit_order import MAX_HITS_PER_PORTION
from retroscope.scanning.job import scan
from tests.conftest import no_trace
from tests.scanning.scans import (
    MEAN,
    OF_TINY,
    SIDE,
    delete_stored_images,
    table_rows,
    tiny,
    write_images,
)

pytestmark = pytest.mark.usefixtures("bf16_on_any_device")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("photos"), 13)


@pytest.mark.parametrize(
    "change", ["weights", "preprocessing", "list", "layers", "top", "precision"]
)
def test_another_scan_in_the_same_file_is_refused_by_name(
    folder: Path, tmp_path: Path, change: str
) -> None:
    net, images, layers, top, precision = tiny(), folder, ["conv"], 9, "full"
    scan(net, images, to=tmp_path / "a", projections=False)
    before = table_rows(tmp_path / "a")
    if change == "weights":
        net = tiny(seed=1)
    elif change == "preprocessing":
        net = Network(net.module, input_size=(SIDE, SIDE), mean=MEAN, std=MEAN, name="tiny")
    elif change == "list":
        images = write_images(tmp_path / "more", 14)
    elif change == "layers":
        layers = ["conv1"]
    elif change == "top":
        top = 3
    else:
        precision = "bf16"
    words = {"layers": "the choice of layers", "top": "the number of hits kept"}

    def again(name: str, *, restart: bool = False) -> Path:
        to = tmp_path / name
        scan(net, images, to=to, layers=layers, top=top, precision=precision, restart=restart)
        return to

    with pytest.raises(RetroscopeError, match=words.get(change, change)) as caught:
        again("a")
    assert caught.value.parameter == "restart"
    assert table_rows(tmp_path / "a") == before
    assert table_rows(again("a", restart=True)) == table_rows(again("fresh"))


class Enough(Exception):  # noqa: N818 - not an error
    """Somebody has seen enough."""


def stop_at(stage: str, done: int) -> Callable[[Progress], None]:
    def listen(progress: Progress) -> None:
        if progress.stage == stage and progress.completed >= done:
            raise Enough

    return listen


def keep_every(seconds: float, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(checkpoints, "CHECKPOINT_SECONDS", seconds)
    patch.setattr(checkpoints, "CHECKPOINT_SHARE", 1e9)


@pytest.fixture(params=[0.0, 1000.0])
def seconds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """A checkpoint after every batch, and none before the end."""
    keep_every(request.param, monkeypatch)
    return float(request.param)


@pytest.mark.usefixtures("seconds")
@pytest.mark.parametrize("stage", ["scan", "score again", "store images", "illustrate"])
def test_stopped_anywhere_the_same_call_ends_with_the_same_atlas(
    folder: Path, tmp_path: Path, stage: str
) -> None:
    precision = "bf16" if stage == "score again" else "full"

    def run(name: str, progress: Callable[[Progress], None] = ignore_progress) -> None:
        to = tmp_path / name
        scan(tiny(), folder, to=to, batch_size=4, precision=precision, progress=progress)

    if stage == "store images":
        run("stopped")
        delete_stored_images(tmp_path / "stopped")
    with pytest.raises(Enough):
        run("stopped", progress=stop_at(stage, 8))
    open_atlas(tmp_path / "stopped").close()
    skipped: list[int] = []
    run("stopped", progress=lambda told: skipped.append(told.skipped))
    assert [*skipped, 0][0] == (8 if stage in ("scan", "score again") else 0)
    run("whole")
    assert table_rows(tmp_path / "stopped") == table_rows(tmp_path / "whole")


def test_an_interruption_keeps_the_projections_computed_so_far(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few(*given: Any, **options: Any) -> Iterator[tuple[int, Projection]]:
        yield from islice(numbered_projections(*given, **options), 5)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("retroscope.scanning.local_projections.numbered_projections", few)
        with pytest.raises(KeyboardInterrupt):
            scan(tiny(), folder, to=tmp_path / "stopped")
    for name in ("stopped", "whole"):
        assert name == "whole" or len(table_rows(tmp_path / name)["projections"]) == 5
        scan(tiny(), folder, to=tmp_path / name).close()
    stopped, whole = table_rows(tmp_path / "stopped"), table_rows(tmp_path / "whole")
    assert len(stopped["projections"]) == len(whole["projections"]) > 5
    assert stopped["hits"] == whole["hits"]


def test_an_interruption_within_a_portion_keeps_what_is_computed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener is called after each pass back, of which a portion takes many."""
    monkeypatch.setattr("retroscope.scanning.local_projections.REPORT_SECONDS", 0.0)
    reports = 0

    def interrupt(progress: Progress) -> None:
        nonlocal reports
        reports += progress.stage == "illustrate"
        if reports == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(tiny(), folder, to=tmp_path / "stopped", progress=interrupt)
    stopped = table_rows(tmp_path / "stopped")["projections"]
    scan(tiny(), folder, to=tmp_path / "whole").close()
    whole = table_rows(tmp_path / "whole")["projections"]
    assert 0 < len(stopped) < len(whole) <= MAX_HITS_PER_PORTION, "it was the only portion"
    scan(tiny(), folder, to=tmp_path / "stopped").close()
    assert len(table_rows(tmp_path / "stopped")["projections"]) == len(whole)


def test_a_second_ctrl_c_loses_only_the_work_since_the_last_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_every(0, monkeypatch)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def twice(progress: Progress) -> None:
        if progress.completed == 8:
            monkeypatch.setattr(AtlasWriter, "put_meta", interrupt)
            raise KeyboardInterrupt

    words = {"batch_size": 4, "projections": False}
    with monkeypatch.context(), pytest.raises(KeyboardInterrupt):
        scan(tiny(), folder, to=tmp_path / "stopped", progress=twice, **words)  # type: ignore[arg-type]
    monkeypatch.undo()
    told: list[Progress] = []
    scan(tiny(), folder, to=tmp_path / "stopped", progress=told.append, **words)  # type: ignore[arg-type]
    assert told[0].completed == 4
    scan(tiny(), folder, to=tmp_path / "whole", **words)  # type: ignore[arg-type]
    assert table_rows(tmp_path / "stopped") == table_rows(tmp_path / "whole")


@contextmanager
def ctrl_c_at_line(number: int) -> Iterator[list[int]]:
    """A KeyboardInterrupt before the line of the pass that is the `number`th to run."""
    passed, before = [0], sys.gettrace()

    def line(_frame: FrameType, event: str, _given: object) -> Any:
        if event == "line":
            passed[0] += 1
            if passed[0] == number:
                raise KeyboardInterrupt
        return line

    def call(frame: FrameType, _event: str, _given: object) -> Any:
        return line if frame.f_code.co_filename == checkpoints.__file__ else None

    sys.settrace(call)
    try:
        yield passed
    finally:
        sys.settrace(before)


def test_ctrl_c_at_any_line_of_the_pass_counts_every_image_exactly_once(
    folder: Path, tmp_path: Path
) -> None:
    def run(to: Path) -> None:
        scan(tiny(), folder, to=to, batch_size=5, layers=["conv1"], projections=False).close()

    with ctrl_c_at_line(0) as lines:
        run(tmp_path / "whole")
    whole = table_rows(tmp_path / "whole")
    for number in range(1, lines[0], 5):
        to = tmp_path / str(number)
        with ctrl_c_at_line(number), pytest.raises(KeyboardInterrupt):
            run(to)
        run(to)
        assert table_rows(to) == whole, number


def test_there_are_no_more_hits_than_images_whatever_the_top(folder: Path, tmp_path: Path) -> None:
    """As many as the pictures, or many more, find the same."""
    for precision in ("full", "bf16"):
        some, every = tmp_path / f"13.{precision}", tmp_path / f"all.{precision}"
        for to, top in ((some, 13), (every, 10**8)):
            scan(tiny(), folder, to=to, top=top, precision=precision, projections=False).close()
        assert table_rows(every)["hits"] == table_rows(some)["hits"]
        assert table_rows(every)["channels"] == table_rows(some)["channels"]


def test_layers_may_be_named_in_one_string_as_at_the_terminal(folder: Path, tmp_path: Path) -> None:
    scan(tiny(), folder, to=tmp_path / "a", layers="conv1, relu", projections=False).close()
    with open_atlas(tmp_path / "a") as atlas:
        assert [layer.name for layer in atlas.layers] == ["first", "act", "last_act"]


def test_a_list_of_paths_is_scanned_as_the_folder_of_them(folder: Path, tmp_path: Path) -> None:
    paths: list[str | Path] = sorted(folder.iterdir())
    paths[0] = str(paths[0])
    for name, images in (("folder", folder), ("list", paths), ("tuple", tuple(paths))):
        scan(tiny(), images, to=tmp_path / name, projections=False).close()
    folder_hits, list_hits, tuple_hits = (
        [row for row in table_rows(tmp_path / name)["hits"] if row[1] != "sample"]
        for name in ("folder", "list", "tuple")
    )
    assert list_hits == tuple_hits == folder_hits, "the sample goes by the keys, which differ"
    with open_atlas(tmp_path / "list") as atlas:
        assert [image.key for image in atlas.images] == [str(path) for path in paths]


def test_a_scan_leaves_no_trace_on_the_network(folder: Path, tmp_path: Path) -> None:
    net = tiny()
    net.module.train()
    with no_trace(net.module):
        scan(net, folder, to=tmp_path / "a", layers=OF_TINY)
    with no_trace(net.module), pytest.raises(Enough):
        scan(net, folder, to=tmp_path / "b", batch_size=2, progress=stop_at("scan", 2))


@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_a_finished_scan_keeps_nothing_that_was_only_for_resuming(
    folder: Path, tmp_path: Path, precision: str
) -> None:
    resuming = {"checkpoint", "next"}
    with pytest.raises(Enough):
        scan(tiny(), folder, to=tmp_path / "a", precision=precision, progress=stop_at("scan", 1))
    with open_atlas(tmp_path / "a") as atlas:
        assert resuming <= atlas.meta.keys()
    scan(tiny(), folder, to=tmp_path / "a", precision=precision).close()
    with open_atlas(tmp_path / "a") as atlas:
        assert not resuming & atlas.meta.keys()
        assert atlas.sql("SELECT * FROM state") == []
    scan(tiny(), folder, to=tmp_path / "a", precision=precision).close()


@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_a_state_that_nothing_would_resume_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """With a thousand classes it has half a gigabyte."""
    stages: list[str] = []
    put_state = AtlasWriter.put_state

    def watch(writer: AtlasWriter, parts: Mapping[str, bytes]) -> None:
        stages.append(next(iter(parts)).partition(":")[0])
        put_state(writer, parts)

    monkeypatch.setattr(AtlasWriter, "put_state", watch)
    scan(tiny(), folder, to=tmp_path / "a", precision=precision).close()
    assert stages == ([] if precision == "full" else ["scan"])


@pytest.mark.parametrize("precision", ["full", "bf16"])
def test_an_interruption_while_the_results_are_written_loses_no_image(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def run(name: str, progress: Callable[[Progress], None] = ignore_progress) -> None:
        scan(tiny(), folder, to=tmp_path / name, precision=precision, progress=progress).close()

    with monkeypatch.context() as patched:
        patched.setattr("retroscope.scanning.job.write_sweeps", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run("stopped")
    with open_atlas(tmp_path / "stopped") as atlas:
        assert atlas.meta["state"] == ("scanning" if precision == "full" else "scoring")
        assert not atlas.sql("SELECT * FROM hits")
    reports: list[Progress] = []
    run("stopped", reports.append)
    assert all(told.skipped == told.total for told in reports if told.stage != "illustrate")
    run("whole")
    assert table_rows(tmp_path / "stopped") == table_rows(tmp_path / "whole")


def test_a_finished_atlas_of_an_older_retroscope_may_keep_them(
    folder: Path, tmp_path: Path
) -> None:
    scan(tiny(), folder, to=tmp_path / "a").close()
    with AtlasWriter(tmp_path / "a") as writer, writer.transaction():
        writer.put_meta({"checkpoint": "of another version", "next": 13})
    scan(tiny(), folder, to=tmp_path / "a").close()


def test_no_thread_goes_on_after_a_scan(folder: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    scan(tiny(), folder, to=tmp_path / "a")
    assert set(threading.enumerate()) <= before
    with pytest.raises(Enough):
        scan(tiny(), folder, to=tmp_path / "b", batch_size=1, progress=stop_at("scan", 2))
    assert set(threading.enumerate()) <= before


def test_no_thread_goes_on_while_the_error_is_looked_at(folder: Path, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    try:
        scan(tiny(), folder, to=tmp_path / "b", batch_size=1, progress=stop_at("scan", 2))
    except Enough:
        assert set(threading.enumerate()) <= before


def test_progress_is_reported_to_the_end_of_every_stage(folder: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    scan(tiny(), folder, to=tmp_path / "a", batch_size=5, progress=told.append)
    by_stage: dict[str, list[int]] = {}
    for one in told:
        by_stage.setdefault(one.stage, []).append(one.completed)
    assert list(by_stage) == ["scan", "illustrate"]
    assert by_stage["scan"] == [0, 5, 10, 13]
    delete_stored_images(tmp_path / "a")
    scan(tiny(), folder, to=tmp_path / "a", batch_size=5, progress=told.append)
    assert told[-1].stage == "store images"
    assert all(told[-1].completed == told[-1].total for _ in told)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": []}, "no layers"),
        ({"layers": ""}, "no layers"),
        ({"layers": ["nothing*"]}, "no layer of tiny matches"),
        ({"layers": ["secnd"]}, "did you mean 'second'"),
        ({"projections": "some"}, "all, max, none, or a number"),
        ({"top": 0}, "top"),
        ({"batch_size": -1}, "batch"),
        ({"workers": -1}, "workers"),
    ],
)
def test_a_wrong_option_is_refused_before_a_file_is_created(
    folder: Path, tmp_path: Path, options: dict[str, object], said: str
) -> None:
    with pytest.raises(RetroscopeError, match=said):
        scan(tiny(), folder, to=tmp_path / "a", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


def test_a_file_left_before_the_scan_was_recorded_is_resumed(folder: Path, tmp_path: Path) -> None:
    AtlasWriter(tmp_path / "left").close()
    for name in ("left", "whole"):
        scan(tiny(), folder, to=tmp_path / name).close()
    assert table_rows(tmp_path / "left") == table_rows(tmp_path / "whole")
