"""The Python of the guides runs as it stands, beside the files that it names."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import retroscope as rs

ROOT = Path(__file__).parent.parent
COMING_FROM, OWN_NETWORK, PARALLEL, SEVERAL_INPUTS, VOLUMES = (
    (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    for name in ("coming-from", "your-own-network", "parallel", "several-inputs", "volumes")
)


def blocks(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run_blocks(text: str) -> dict[str, object]:
    names: dict[str, object] = {}
    for block in blocks(text):
        exec(compile(block, "guide", "exec"), names)  # noqa: S102
    return names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the images of the guides, which their code runs in."""
    for seed, name in enumerate(("cat.jpg", "bird.jpg", "wren.jpg", "a.png", "b.png")):
        rs.Image(rs.scene(seed).pixels).to_pil().save(tmp_path / name)
    for name in ("earlier", "later"):
        (tmp_path / name).mkdir()
        for seed in range(2):
            rs.Image(rs.scene(seed).pixels).to_pil().save(tmp_path / name / f"{seed}.png")
    (tmp_path / "seasons.csv").write_text("image,season\n0.png,0 1\n1.png,1 0\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_tasks_of_other_libraries_run_here() -> None:
    text = COMING_FROM.replace('weights="DEFAULT"', "weights=None")  # nothing is downloaded
    assert text != COMING_FROM
    names = run_blocks(text)
    heat, gradcam = names["heat"], names["gradcam"]
    assert isinstance(heat, rs.HeatMap)
    assert isinstance(gradcam, rs.HeatMap)
    assert heat.layer == gradcam.layer == "layer4.1.relu~2"


@pytest.mark.filterwarnings(
    "ignore:Input Tensor 0 did not already", "ignore:Setting backward hooks"
)
def test_captums_side_gives_the_same_numbers(folder: Path) -> None:
    """The blocks of the two sides are run one after the other on the same batch."""
    pytest.importorskip("captum")
    text = COMING_FROM.replace('weights="DEFAULT"', "weights=None")
    theirs = next(
        block for block in re.findall(r"```py\n(.*?)```", text, re.DOTALL) if "captum" in block
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names: dict[str, object] = {}
        for block in (blocks(text)[0], theirs):
            exec(compile(block, str(folder), "exec"), names)  # noqa: S102
    saliency, gradcam, model, x = (names[name] for name in ("saliency", "gradcam", "model", "x"))
    assert isinstance(x, torch.Tensor)
    assert isinstance(model, torch.nn.Module)
    (ours,) = rs.saliency(model, x, target=281)
    torch.testing.assert_close(torch.tensor(ours.pixels).permute(2, 0, 1)[None].abs(), saliency)
    (heat,) = rs.cam(model, x, layer=model.get_submodule("layer4"), target=281)
    torch.testing.assert_close(torch.tensor(heat.values)[None, None], gradcam, rtol=1e-4, atol=1e-7)


def test_a_network_of_ones_own_is_opened_as_the_guide_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "nets", raising=False)
    source, *rest = blocks(OWN_NETWORK)
    (folder / "nets.py").write_text(source)
    names: dict[str, object] = {}
    exec(compile(source, "nets.py", "exec"), names)  # noqa: S102
    birds = names["birds"]
    assert callable(birds)
    torch.save(birds().state_dict(), folder / "birds.pt")
    rs.write_world("photos", count=6)
    names = run_blocks("".join(f"```python\n{block}```\n" for block in rest))
    assert (folder / "as-the-network-takes-it.png").exists()
    assert (folder / "bird.png").exists()
    printed = capsys.readouterr().out
    (difference,) = re.findall(r"tensor\((.*)\)", printed)
    assert float(difference) < 0.05
    assert "assumed of the module Birds" in printed
    net, same = names["net"], names["same"]
    assert isinstance(net, rs.Network)
    assert isinstance(same, rs.Network)
    assert same.preprocessing == net.preprocessing
    assert same.labels == net.labels
    monkeypatch.delitem(sys.modules, "nets", raising=False)


@pytest.mark.usefixtures("folder")
def test_a_network_of_several_inputs_is_opened_and_scanned_as_its_page_says() -> None:
    names = run_blocks(SEVERAL_INPUTS)
    net, heat, projection = names["changes"], names["heat"], names["projection"]
    assert isinstance(net, rs.Network)
    assert isinstance(heat, rs.HeatMap)
    assert isinstance(projection, rs.Projection)
    with pytest.raises(rs.RetroscopeError) as caught:
        rs.cam(net, "b.png")
    missing = getattr(caught.value, "missing", {})
    options = " ".join(f"--input {name}={value}" for name, value in missing.items())
    assert f"changes takes before and season with each after; add {options}`" in SEVERAL_INPUTS
    with rs.open_atlas("changes.atlas") as atlas:
        assert atlas.meta["input_sources"] == {"before": "earlier", "season": "seasons.csv"}


def test_processes_look_through_networks_as_the_guide_says(folder: Path) -> None:
    (code,) = blocks(PARALLEL)
    (folder / "heats.py").write_text(f"{code}    print([str(heat.target) for heat in heats])\n")
    ended = subprocess.run(
        [sys.executable, "heats.py"], capture_output=True, text=True, check=False, cwd=folder
    )
    net = rs.open_model("demo", device="cpu")
    expected = [str(rs.cam(net, name).target) for name in ("a.png", "b.png")]
    assert ended.stdout.strip() == str(expected), ended.stderr


def test_the_page_of_volumes_prints_what_it_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        names = run_blocks(VOLUMES)
    said = re.findall(r"^print\(.*?\)  # (.*)$", VOLUMES, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == said
    assert (folder / "unit.png").exists()
    middle = names["middle"]
    assert isinstance(middle, rs.HeatMap)
    assert middle.values.shape == (40, 48)


def test_the_layers_on_the_page_of_volumes_are_those_of_the_network() -> None:
    net = rs.open_model("r3d_18", random_weights=0, input_size=(8, 56, 56), device="cpu")
    rows = re.findall(r"^ (\S+) +(conv\d+) +conv +(\d+) +(\S+) +(\S+)$", VOLUMES, re.MULTILINE)
    assert len(rows) == 2
    for name, alias, channels, size, field in rows:
        layer = net[name]
        assert alias in layer.aliases
        assert (str(layer.channels), "x".join(map(str, layer.size))) == (channels, size)
        assert str(layer.field) == field
