"""A user's folder with pictures of two classes, and atlases of them."""

import shutil
from pathlib import Path

import pytest

import retroscope as rs
from tests.cli.atlas.making import NETS, pictures


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, networks and an atlas of them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "nets.py").write_text(NETS, "utf-8")
    pictures(folder)
    net = rs.open_model(f"{folder / 'nets.py'}:tiny", device="cpu")
    layers = ["conv", "relu2"]
    rs.scan(net, folder / "images", to=folder / "done.atlas", layers=layers).close()
    rs.scan(
        net, folder / "images", to=folder / "bare.atlas", layers="conv", projections="none"
    ).close()
    return folder


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "desk"
    shutil.copytree(made, folder)
    (folder / "empty").mkdir()
    (folder / "list.txt").write_text("images/a/0.png\n\nimages/b/1.png\n", "utf-8")
    (folder / "classes.csv").write_text("a/0.png,odd\nb/1.png,even\n", "utf-8")
    (folder / "strange.csv").write_text("x.png,odd\n", "utf-8")
    (folder / "broken").mkdir()
    (folder / "broken" / "no.jpg").write_bytes(b"nope")
    monkeypatch.chdir(folder)
    return folder
