"""The examples of the help texts run, on the demo network and its world."""

import shlex
from pathlib import Path

import PIL.Image
import pytest

import retroscope as rs
from retroscope.world import write_world
from tests.cli.terminal import Retroscope
from tests.cli.test_words import EXAMPLES

ONLINE = ("vgg16", "resnet50", "resnet50.pth")
"""Networks that are downloaded, or a file of the user's; their examples are only parsed."""
FEW = {"synthesize": ["--steps", "2"], "export": ["--top-channels", "2"]}
"""What makes an example short; the last of two options counts."""
UNSUITABLE = ("serve", "demo", "world")
"""Commands that wait for Ctrl-C, or paint hundreds of images; they have tests of their own."""
PRINTING = ("audit",)
"""Commands that print what they find, and write no file."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user may have: an image of a cat and a folder of others."""
    home = tmp_path_factory.mktemp("examples")
    write_world(home / "photos", count=24)
    with PIL.Image.open(next(home.glob("photos/cat/*.png"))) as image:
        image.convert("RGB").save(home / "cat.jpg")
    net, layer = rs.open_model("demo"), "conv7"
    rs.scan(net, home / "photos", to=home / "photos.atlas", layers="conv5,conv7", projections=2)
    rs.make_plan(net, home / "photos", to=home / "r50.plan", layers=layer)
    rs.sweep(home / "r50.plan")
    for day, kind in {"monday": "cat", "tuesday": "bird"}.items():
        images, atlas = home / "photos" / kind, home / f"{day}.atlas"
        rs.scan(net, images, to=atlas, layers=layer, projections="none")
    write_world(home / "world", count=24, masks=True)
    rs.scan(net, home / "world", to=home / "world.atlas", layers=layer, projections="none")
    (home / "names.csv").write_text("unit,name\nconv7:0,eyes\n")
    return home


def is_run(line: str) -> bool:
    words = shlex.split(line)
    return words[1] not in UNSUITABLE and not set(words) & set(ONLINE)


@pytest.mark.parametrize("line", [line for line in EXAMPLES if is_run(line)])
def test_an_example_runs(
    line: str, folder: Path, retroscope: Retroscope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = ["demo" if word == "imagenet" else word for word in shlex.split(line)[1:]]
    words += [word for name, few in FEW.items() if name in words for word in few]
    said = retroscope(*words)
    assert said.status == 0, said.err
    if words[0] in PRINTING:
        assert said.out.startswith("photos.atlas")
    else:
        assert Path(said.out.splitlines()[-1]).exists()
