"""scan and illustrate, as somebody at a terminal meets them."""

import shutil
from pathlib import Path

import pytest

import retroscope as rs
from retroscope.cli import estimate_lines
from retroscope.cli.progress_bar import ProgressLines
from retroscope.progress import Progress
from retroscope.scanning.sources.scan_source import ScanSource
from tests.cli.atlas.making import SCANNED, TINY, count, names
from tests.cli.terminal import Retroscope


def test_a_scan_says_what_it_will_take_how_far_it_is_and_where_the_atlas_lies(
    retroscope: Retroscope,
) -> None:
    said = retroscope(*SCANNED)
    assert (said.status, said.out) == (0, "new.atlas\n")
    first, *lines = said.err.splitlines()
    assert first.startswith("13 images, 2 layers, 12 channels: about a second for the pass and ")
    assert f"for up to {2 * 12 * 9} projections, " in first
    assert lines[0] == "scan 0/13"
    assert any(line.startswith("illustrate ") for line in lines)
    assert lines[-2].startswith("1 unreadable image")
    with rs.open_atlas("new.atlas") as atlas:
        (broken,) = [image for image in atlas.images if image.error]
    assert lines[-1] == f"  {broken.key}: {broken.error}"
    assert names() == ["1", "4"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--layers", "conv1,relu2"], ["0", "4"]),
        (["--layers", "conv1", "--layers", "3"], ["0", "3"]),
        (["--layers", "relu*, pool"], ["1", "2", "4"]),
        (["--layers", "[34]"], ["3", "4"]),
    ],
)
def test_layers_are_chosen_by_name_alias_glob_and_kind(
    retroscope: Retroscope, words: list[str], expected: list[str]
) -> None:
    assert retroscope(*SCANNED, "--projections", "none", *words).status == 0
    assert names() == expected


@pytest.mark.parametrize("words", [["--projections", "none"], ["--projections", "0"]])
def test_without_the_second_pass_there_are_no_projections(
    retroscope: Retroscope, words: list[str]
) -> None:
    said = retroscope(*SCANNED, "--layers", "conv", *words)
    assert said.status == 0
    assert "no projections" in said.err
    assert count("projections") == 0
    assert count("hits") == 3 * 12 * 9 + 12 * 6, "by maximum, mean and minimum, and of the sample"


def test_illustrate_of_a_scan_is_for_the_strongest(retroscope: Retroscope) -> None:
    said = retroscope(*SCANNED, "--projections", "2", "--top", "3")
    assert said.status == 0
    assert f"up to {2 * 2 * 12} projections" in said.err
    with rs.open_atlas("new.atlas") as atlas:
        shown = [patch.projection is not None for patch in atlas["conv1:0"].patches]
    assert shown[:2] == [True, True]
    assert len(shown) == 3


def test_a_table_gives_the_classes_and_a_glob_the_files(retroscope: Retroscope) -> None:
    words = ["--labels", "classes.csv", "--glob", "[01].png", "--projections", "none"]
    assert retroscope(*SCANNED, *words).status == 0
    with rs.open_atlas("new.atlas") as atlas:
        assert [image.key for image in atlas.images] == ["a/0.png", "b/1.png"]
        assert {label.name for label in atlas.labels} == {"odd", "even"}


def test_the_price_of_class_statistics_is_named_with_the_way_out(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--projections", "none", "--layers", "conv"]
    assert "classes" not in retroscope(*SCANNED, *words, "--restart").err
    monkeypatch.setattr(estimate_lines, "_MANY_CLASS_BYTES", 2 * 12 * 25 - 1)
    said = retroscope(*SCANNED, *words, "--restart")
    assert said.err.splitlines()[0] == (
        "the statistics of 2 classes take up to 600 bytes of the memory and can be left out "
        "(--no-classes)"
    )
    again = retroscope(*SCANNED, *words, "--no-classes")
    assert "whether there are statistics of classes" in again.err
    assert again.err.rstrip().endswith("(--restart)")
    without = retroscope(*SCANNED, *words, "--no-classes", "--restart")
    assert without.status == 0
    assert "(--no-classes)" not in without.err
    assert (count("class_stats"), count("labels")) == (0, 2)


def test_rankings_by_class_have_a_price_and_are_in_the_atlas(retroscope: Retroscope) -> None:
    words = [*SCANNED, "--projections", "none", "--per-class", "2", "--ranked-classes", "a"]
    said = retroscope(*words)
    assert said.status == 0
    assert (
        "the rankings by class have up to 24 hits, which take 576 bytes of the memory and 744 bytes"
        " on disk"
    ) in said.err
    with rs.open_atlas("new.atlas") as atlas:
        rows = atlas.sql("SELECT DISTINCT label, rank FROM class_hits ORDER BY label, rank")
        assert rows == [(0, 0), (0, 1)]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--ranked-classes", "a"], "per_class says how many; give both (--per-class)"),
        (["--per-class", "2", "--no-classes"], "give one of the two (--no-classes)"),
        (["--per-class", "2", "--ranked-classes", "a,c"], "no class 'c'; the images are of a, b"),
        (["--per-class", "2", "--ranked-classes", ","], "',' contains no name"),
        (["--per-class", "0"], "0 is not in the range"),
    ],
    ids=str,
)
def test_rankings_by_class_that_cannot_be_are_refused_in_one_line(
    retroscope: Retroscope, words: list[str], reason: str
) -> None:
    said = retroscope(*SCANNED, *words)
    assert (said.status, said.out) == (2, "")
    assert reason in said.err.splitlines()[-1]


def test_a_list_of_paths_is_scanned(retroscope: Retroscope) -> None:
    said = retroscope("scan", TINY, "list.txt", "--to", "new.atlas")
    assert said.status == 0
    assert "\n2 images, " in said.err


def test_the_same_command_again_finds_everything_done(retroscope: Retroscope) -> None:
    assert retroscope(*SCANNED).status == 0
    again = retroscope(*SCANNED)
    assert (again.status, again.out) == (0, "new.atlas\n")
    assert "scan" not in again.err
    assert "about" not in again.err, "nothing is left to estimate"
    assert again.err.splitlines()[0] == "new.atlas is complete: 13 images, 2 layers"


def test_of_many_unreadable_images_three_are_named_and_a_question_lists_all(
    retroscope: Retroscope, desk: Path
) -> None:
    for number in range(4):
        (desk / "images" / f"{number}.jpg").write_bytes(b"nope")
    lines = retroscope(*SCANNED, "--projections", "none").err.splitlines()
    with rs.open_atlas("new.atlas") as atlas:
        broken = [f"  {image.key}: {image.error}" for image in atlas.images if image.error]
        assert lines[-4:-1] == broken[:3]
        assert lines[-1].startswith("  and 2 more: sqlite3 new.atlas ")
        _, query, _ = lines[-1].split('"')
        assert [f"  {key!s}: {why!s}" for key, why in atlas.sql(query)] == broken


def test_a_stopped_scan_goes_on_where_it_was(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("retroscope.scanning.local_projections.numbered_projections", stop)
        stopped = retroscope(*SCANNED, "--layers", "conv")
    assert (stopped.status, stopped.out) == (130, "")
    line = stopped.err.splitlines()[-1]
    assert line.startswith("retroscope: stopped at 'illustrate' 0 of ")
    again = retroscope(*SCANNED, "--layers", "conv")
    assert (again.status, "scan 0/13" in again.err) == (0, False)
    assert count("projections") == count("projections", "done.atlas") - _of_relu2()


def test_a_pass_that_is_stopped_says_where_and_goes_on_there(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = ProgressLines.__call__

    def stop(lines: ProgressLines, progress: Progress) -> None:
        show(lines, progress)
        if progress.completed == 4:
            raise KeyboardInterrupt

    words = [*SCANNED, "--layers", "conv", "--batch-size", "4"]
    with monkeypatch.context() as patched:
        patched.setattr(ProgressLines, "__call__", stop)
        stopped = retroscope(*words)
    assert (stopped.status, stopped.out) == (130, "")
    line = "retroscope: stopped at 4 of 13; run the same command to resume"
    assert stopped.err.splitlines()[-1] == line
    again = retroscope(*words)
    assert (again.status, "scan 4/13" in again.err) == (0, True)
    assert count("projections") == count("projections", "done.atlas") - _of_relu2()


def test_a_scan_stopped_before_it_began_only_says_so(
    retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ScanSource, "list_images", stop)
    stopped = retroscope(*SCANNED)
    assert (stopped.status, stopped.out) == (130, "")
    assert stopped.err.endswith("retroscope: stopped\n")


def _of_relu2() -> int:
    return count("projections JOIN layers ON layers.id = layer WHERE name = '4'", "done.atlas")


def test_restart_begins_anew_with_what_is_asked_now(retroscope: Retroscope) -> None:
    assert retroscope(*SCANNED, "--projections", "none").status == 0
    words = [*SCANNED, "--projections", "none", "--layers", "relu1"]
    assert retroscope(*words).status == 2
    assert retroscope(*words, "--restart").status == 0
    assert names() == ["1"]


def test_values_that_are_not_finite_are_counted(retroscope: Retroscope) -> None:
    words = ["scan", "nets.py:not_a_number", "images", "--to", "new.atlas", "--projections", "none"]
    said = retroscope(*words)
    assert said.status == 0
    assert "12 channels with values that are not finite" in said.err


def test_weights_that_are_random_each_time_can_be_made_the_same(retroscope: Retroscope) -> None:
    words, seeded = ["scan", "nets.py:Unseeded", "images"], ["--random-weights", "5"]
    assert retroscope(*words, "--projections", "none", "--to", "random.atlas").status == 0
    said = retroscope("illustrate", "random.atlas", "nets.py:Unseeded")
    assert (said.status, said.out) == (2, "")
    assert "different weights than nets.py:Unseeded has now" in said.err
    assert "open the network with the same random_weights" in said.err
    assert said.err.endswith(" (--random-weights)\n")
    assert retroscope(*words, "--projections", "none", "--to", "seeded.atlas", *seeded).status == 0
    assert retroscope("illustrate", "seeded.atlas", "nets.py:Unseeded", *seeded).status == 0
    assert count("projections", "seeded.atlas") > 0


def test_illustrate_adds_what_is_missing_and_no_more(retroscope: Retroscope) -> None:
    words = ["illustrate", "bare.atlas", TINY, "images"]
    assert retroscope(*words, "--layers", "conv2", "--projections", "1").out == "bare.atlas\n"
    few = count("projections", "bare.atlas")
    assert 0 < few <= 2 * 4
    assert retroscope(*words).status == 0
    every = count("projections", "bare.atlas")
    assert every > few
    done = retroscope(*words)
    assert (done.status, done.out) == (0, "bare.atlas\n")
    assert done.err == "bare.atlas already has all of these projections\n"
    assert count("projections", "bare.atlas") == every


def test_a_scan_notes_hidden_files_and_nested_folders(retroscope: Retroscope, desk: Path) -> None:
    (desk / "images" / ".ipynb_checkpoints").mkdir()
    shutil.copy("images/a/0.png", "images/.ipynb_checkpoints/0.png")
    words = ["scan", TINY, ".", "--to", "new.atlas", "--layers", "0", "--projections", "none"]
    said = retroscope(*words)
    assert said.status == 0
    hidden, nested, estimate, *_ = said.err.splitlines()
    assert hidden == "left out 1 hidden file, such as 'images/.ipynb_checkpoints/0.png'"
    assert nested.endswith("(--class-folder)")
    assert "14 images" in estimate
    with rs.open_atlas("new.atlas") as atlas:
        assert [label.name for label in atlas.labels] == ["broken", "images"]
    said = retroscope(*words, "--class-folder", "last", "--restart")
    assert "--class-folder" not in said.err
    with rs.open_atlas("new.atlas") as atlas:
        assert [label.name for label in atlas.labels] == ["a", "b", "broken"]
