"""A user's folder, and the console script called in it."""

import sys
from pathlib import Path

import pytest

import retroscope as rs
from retroscope.cli import execute
from tests.cli.nets import NETS
from tests.cli.terminal import Retroscope, Said, picture


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder: some networks, a few pictures, and what only looks like one."""
    (tmp_path / "nets.py").write_text(NETS, "utf-8")
    (tmp_path / "broken.py").write_text("def make(:\n", "utf-8")
    (tmp_path / "folder").mkdir()
    for seed, name in enumerate(("cat.png", "dog.png")):
        picture(seed=seed).save(tmp_path / name)
    (tmp_path / "notes.png").write_text("not a picture", "utf-8")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cat.png").read_bytes()[:200])
    (tmp_path / "empty.png").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def retroscope(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Retroscope:
    """The console script, called with words in the user's folder."""
    assert desk.is_dir()

    def call(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["retroscope", *words])
        return Said(execute(), *capsys.readouterr())

    return call


@pytest.fixture
def tiny(desk: Path) -> rs.Network:
    return rs.open_model(f"{desk / 'nets.py'}:tiny", device="cpu")
