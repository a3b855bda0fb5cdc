"""What a user of atlases does wrong is answered in one line that helps."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from retroscope.atlas.writer import AtlasWriter
from tests.cli.atlas.making import TINY
from tests.cli.terminal import Retroscope, Said

TO = ["--to", "new.atlas"]
MISTAKES: list[tuple[list[str], str]] = [
    (["scan", TINY, "images"], "Missing option '--to'"),
    (["scan", TINY, "none", *TO], "'none'"),
    (["scan", TINY, "empty", *TO], "'empty'"),
    (["scan", TINY, "broken", *TO], "none of the images can be read"),
    (["scan", TINY, "images", *TO, "--glob", "*.xyz"], "*.xyz"),
    (["scan", TINY, "images", *TO, "--layers", "conv9"], "did you mean 'conv2'"),
    (["scan", TINY, "images", *TO, "--layers", "linear"], "lists them"),
    (["scan", TINY, "images", *TO, "--layers", "block*"], "matches 'block*'"),
    (["scan", TINY, "images", *TO, "--labels", "none.csv"], "none.csv"),
    (["scan", TINY, "images", *TO, "--labels", "strange.csv"], "match none of the images"),
    (["scan", TINY, "images", *TO, "--labels", "none.csv"], "rows of path,class"),
    (["scan", TINY, "images", *TO, "--layers", ""], "contains no name"),
    (
        ["scan", "nets.py:perceptron", "images", *TO],
        "perceptron has no convolution; choose from linear1, relu1, ...",
    ),
    (["scan", "nets.py:perceptron", "images", *TO], "lists them (--layers)"),
    (["scan", TINY, "empty", *TO], ".jpeg, "),
    (["illustrate", "done.atlas", TINY, "--layers", ","], "contains no name"),
    (["scan", TINY, "images", *TO, "--projections", "some"], "all, max, none, or a number"),
    (["scan", TINY, "images", *TO, "--top", "0"], "x>=1"),
    (["scan", TINY, "images", "--to", "none/new.atlas"], "no folder 'none'"),
    (["scan", TINY, "images", "--to", "empty"], "is a folder"),
    (["scan", TINY, "images", "--to", "list.txt"], "'list.txt'"),
    (["scan", TINY, "images", "--to", "/dev/null/new.atlas"], "/dev/null"),
    (["scan", TINY, "images", "--to", "/proc/new.atlas"], "/proc/new.atlas"),
    (["scan", TINY, "images", "--to", "done.atlas", "--top", "5"], "--restart"),
    (["scan", "nets.py:other", "images", "--to", "bare.atlas"], "the weights of the model"),
    (["scan", "vgg61", "images", *TO], "'vgg16'"),
    (["illustrate", "none.atlas", TINY, "images"], "none.atlas"),
    (["illustrate", "list.txt", TINY, "images"], "list.txt"),
    (["illustrate", "done.atlas", "nets.py:other", "images"], "different weights"),
    (["illustrate", "done.atlas", TINY, "list.txt"], "the same images"),
    (["illustrate", "done.atlas", TINY, "images", "--layers", "conv9"], "'conv2'"),
    (["illustrate", "done.atlas", TINY, "images", "--rules", "giuded"], "'guided'"),
    (["illustrate", "done.atlas", TINY, "images", "--projections", "few"], "number of hits"),
    (["show", "none.atlas", "conv1"], "did you mean 'done.atlas'"),
    (["show", "list.txt", "conv1"], "list.txt"),
    (["show", "empty", "conv1"], "folder"),
    (["show", "done.atlas", "conv9"], "did you mean 'conv2'"),
    (["show", "done.atlas", "conv1:8"], "0 to 7"),
    (["show", "done.atlas", "conv1:-1"], "LAYER:CHANNEL"),
    (["show", "done.atlas", "conv1:1@2,3"], "write 0:1"),
    (["show", "done.atlas", "conv1", "--channels", "x"], "write 5, 0-15 or 3,7,10-12"),
    (["show", "done.atlas", "conv1", "--channels", "5-2"], "write 5, 0-15 or 3,7,10-12"),
    (["show", "done.atlas", "conv1", "--channels", "0-8"], "0 to 7"),
    (["show", "done.atlas", "conv1", "--channels", "9"], "0 to 7"),
    (["show", "done.atlas", "conv1:2", "--channels", "0-3"], "give the layer 'conv1'"),
    (["show", "done.atlas", "conv1", "--channels", "0-3", "--context"], "conv1:0"),
    (["show", "done.atlas", "conv1", "--ranked-by", "sum"], "'max', 'mean'"),
    (["show", "done.atlas", "conv1:2", "--tone", "tyle"], "'tile'"),
    (["show", "done.atlas", "conv1:2", "-o", "unit.xyz"], ".png"),
    (["show", "done.atlas", "conv1:2", "--images", "images"], "--images needs a network"),
    (["show", "done.atlas", "conv1:2", "--random-weights", "0"], "name it with --model"),
    (["show", "done.atlas", "conv1:2", "--model", TINY, "--images", "none"], "'none'"),
    (["show", "done.atlas", "conv1:2", "--model", TINY, "--images", "list.txt"], "same images"),
    (["show", "done.atlas", "conv1:2", "-o", "none/unit.png"], "the folder 'none' does not exist"),
    (["show", "done.atlas", "conv1:2", "--mosaics", "list.txt"], "it is a file"),
]


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("none/new.atlas", "no folder 'none'"),
        ("empty", "is a folder"),
        ("list.txt", "is not an atlas"),
        ("list.txt/new.atlas", "no folder 'list.txt'"),
        ("/proc/new.atlas", "cannot write '/proc/new.atlas'"),
        ("other.sqlite", "is a database, but not an atlas"),
    ],
)
def test_a_place_that_will_not_do_is_refused_before_the_network_is_opened(
    retroscope: Retroscope, desk: Path, place: str, says: str
) -> None:
    with closing(sqlite3.connect(desk / "other.sqlite")) as other:
        other.execute("CREATE TABLE mine (x)")
    before = {path: path.read_bytes() for path in desk.iterdir() if path.is_file()}
    said = retroscope("scan", "nets.py:fails", "images", "--to", place)
    assert (said.status, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert says in said.err
    assert {path: path.read_bytes() for path in desk.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("name", ["new.atlas", "done.atlas", "just_made.atlas", "zero.atlas"])
def test_a_place_that_will_do_stays_as_it_is_when_the_network_fails(
    retroscope: Retroscope, desk: Path, name: str
) -> None:
    (desk / "zero.atlas").touch()
    with closing(sqlite3.connect(desk / "just_made.atlas")) as made:
        made.execute("PRAGMA auto_vacuum = INCREMENTAL")
        made.execute("VACUUM")
    before = {path: path.read_bytes() for path in desk.iterdir() if path.is_file()}
    said = retroscope("scan", "nets.py:fails", "images", "--to", name)
    assert "no weights today" in said.err
    assert {path: path.read_bytes() for path in desk.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "help_"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES]
)
def test_a_mistake_is_answered_in_one_line_that_helps(
    retroscope: Retroscope, desk: Path, words: list[str], help_: str
) -> None:
    before = sorted(desk.iterdir())
    said = retroscope(*words)
    assert (said.status, said.out) == (2, "")
    line = said.err.splitlines()[-1]
    assert line.startswith("retroscope: ")
    assert help_ in line
    if "broken" not in words:
        assert len(said.err.splitlines()) == 1, "nothing had begun"
    assert sorted(set(desk.iterdir()) - {desk / "__pycache__"}) == before


def test_a_folder_for_mosaics_that_cannot_be_made_is_said_in_one_line(
    retroscope: Retroscope, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    said = retroscope("show", "done.atlas", "conv1:2", "--mosaics", "folder")
    assert said == Said(
        2, "", "retroscope: cannot create the folder 'folder': No space left on device\n"
    )
    assert desk.is_dir()


@pytest.mark.parametrize(
    "words",
    [
        ["scan", "nets.py:fails", "images", "--to", "done.atlas"],
        ["scan", "nets.py:fails", "images", "--to", "done.atlas", "--restart"],
        ["illustrate", "done.atlas", "nets.py:fails"],
        ["illustrate", "done.atlas", "nets.py:fails", "--methods", "synthesize"],
        ["show", "done.atlas", "conv1", "--model", "nets.py:fails"],
    ],
)
def test_a_second_writer_is_refused_in_one_line_before_the_network_is_opened(
    retroscope: Retroscope, words: list[str]
) -> None:
    with AtlasWriter("done.atlas"):
        said = retroscope(*words)
    line = (
        f"retroscope: another scan is writing 'done.atlas' (process {os.getpid()}); wait for it "
        "or choose another file\n"
    )
    assert (said.status, said.out, said.err) == (2, "", line)
