"""A plan is made once; all that workers must agree on is in it, and checked where it is opened."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from retroscope.errors import RetroscopeError
from retroscope.network import Network
from retroscope.scanning.lots.make_plan import make_plan
from retroscope.scanning.lots.network_source import NetworkSource
from retroscope.scanning.lots.plan_folder import PlanFolder
from retroscope.scanning.lots.sweep_part import sweep
from retroscope.scanning.lots.sweep_plan import open_network, open_plan
from retroscope.scanning.lots.whole_files import PlanError
from tests.scanning.lots.planning import plan
from tests.scanning.scans import smooth_image, tiny


def edit_plan(folder: PlanFolder, **changes: Any) -> None:
    facts = json.loads(folder.plan_file.read_text())
    folder.plan_file.write_text(json.dumps({**facts, **changes}))


def test_a_plan_is_read_as_it_was_made(photos: Path, tmp_path: Path) -> None:
    made = make_plan(tiny(), photos, to=tmp_path / "p", lot_images=10)
    folder = PlanFolder(tmp_path / "p")
    read = open_plan(folder)
    assert read.comparable == made.comparable
    assert read.id == made.id
    assert (read.layers, read.graph) == (made.layers, made.graph)
    assert [len(folder.read_shards(lot)) for lot in range(len(read.lots))] == [2, 2, 1]
    assert (read.images, list(read.lot_images)) == (23, [10, 10, 3])


def test_the_same_plan_is_found_also_where_this_machine_would_choose_otherwise(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_plan(tiny(), photos, to=tmp_path / "p", lot_images=7)
    monkeypatch.setattr("retroscope.scanning.lots.make_plan.choose_batch_size", lambda *_: 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    monkeypatch.setattr("retroscope.scanning.lots.make_plan.LOT_SECONDS", 1e-9)
    assert make_plan(tiny(), photos, to=tmp_path / "p").id == made.id


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"top": 3}, "the number of hits kept"),
        ({"layers": "conv"}, "the choice of layers"),
        ({"glob": "0[1-9].png"}, "the images or their classes"),
        ({"class_folder": "last"}, "the images or their classes"),
        ({"classes": False}, "whether classes are counted"),
        ({"batch_size": 4}, "the batch size"),
        ({"threads": 2}, "the number of threads"),
        ({"lot_images": 5}, "the size of the lots"),
    ],
)
def test_another_plan_is_refused_with_what_changed(
    photos: Path, tmp_path: Path, options: dict[str, Any], change: str
) -> None:
    folder = plan(photos, tmp_path / "p")
    sweep(folder.path, part=(1, 3))
    with pytest.raises(RetroscopeError) as caught:
        plan(photos, folder.path, **options)
    assert str(caught.value).startswith(
        f"{str(folder.path)!r} holds another plan: {change} changed"
    )
    assert caught.value.parameter == "restart"
    assert list(folder.lots.glob("*.seg"))
    plan(photos, folder.path, **options, restart=True)
    assert not list(folder.lots.glob("*.seg"))


def test_other_images_are_another_plan(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p")
    smooth_image(99).save(photos / "ant" / "99.png")
    with pytest.raises(RetroscopeError, match="the images or their classes changed"):
        plan(photos, folder.path)


def test_other_weights_are_another_plan(photos: Path, tmp_path: Path) -> None:
    make_plan(tiny(seed=0), photos, to=tmp_path / "p", lot_images=9)
    with pytest.raises(RetroscopeError, match="the weights of the model changed"):
        make_plan(tiny(seed=1), photos, to=tmp_path / "p")


def test_a_worker_with_other_weights_refuses_to_sweep(photos: Path, tmp_path: Path) -> None:
    opened = NetworkSource.named("squeezenet1_1", random_weights=0, device="cpu")
    folder = PlanFolder(tmp_path / "p")
    net = opened.open(folder.path)
    plan = make_plan(net, photos, to=folder.path, opened=opened, lot_images=9)
    assert open_network(folder, plan).name == net.name
    edit_plan(folder, network={"model": "squeezenet1_1", "options": {"random_weights": 1}})
    with pytest.raises(PlanError, match="squeezenet1_1 has other weights here than when"):
        sweep(folder.path)


def test_a_worker_with_another_preprocessing_refuses_to_sweep(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p")
    facts = open_plan(folder).preprocessing
    edit_plan(folder, preprocessing={**facts, "mean": [0, 0, 0]})
    with pytest.raises(PlanError, match="has another preprocessing here than when"):
        sweep(folder.path)


def test_a_network_is_opened_by_its_name_with_all_options(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "random_weights": 3,
        "device": "cpu",
        "resize": "crop",
        "input_size": (64, 96),
        "mean": (0.1, 0.2, 0.3),
        "std": (1.0, 2.0, 3.0),
        "arch": None,
    }
    source = NetworkSource.named("squeezenet1_1", **options)
    stored = NetworkSource(**json.loads(json.dumps(vars(source))))
    net = stored.open(tmp_path)
    assert net.input_size == (64, 96)
    assert net.preprocessing.mean == (0.1, 0.2, 0.3)
    assert net.preprocessing.fit.mode == "crop"


def test_the_path_of_a_network_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nets.py").touch()
    (tmp_path / "w.pt").touch()
    monkeypatch.chdir(tmp_path)
    assert NetworkSource.named("nets.py:make").model == f"{tmp_path / 'nets.py'}:make"
    assert NetworkSource.named("w.pt").model == str(tmp_path / "w.pt")
    for name in ("vgg16", "timm/resnet10t", "torchvision.models:vgg11", "demo"):
        assert NetworkSource.named(name).model == name


class Private(nn.Module):
    """What pickle cannot take along."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.mark = lambda: None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.conv(x)
        return maps


def test_a_network_that_cannot_be_pickled_is_refused(photos: Path, tmp_path: Path) -> None:
    net = Network(Private(), input_size=(24, 24))
    with pytest.raises(PlanError, match="Private cannot be pickled for the workers"):
        make_plan(net, photos, to=tmp_path / "p", lot_images=9)
    assert not (tmp_path / "p" / "plan.json").exists()


def test_a_plan_of_another_format_is_refused_in_one_line(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p")
    edit_plan(folder, format={"plan": 0}, version="0.0.1")
    for call in (lambda: sweep(folder.path), lambda: plan(photos, folder.path)):
        with pytest.raises(PlanError) as caught:
            call()
        assert "is a plan of another version of retroscope (0.0.1)" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": 1}', "\0"])
def test_a_damaged_plan_is_refused(photos: Path, tmp_path: Path, content: str) -> None:
    folder = plan(photos, tmp_path / "p")
    folder.plan_file.write_text(content)
    with pytest.raises(PlanError, match=r"damaged|another version"):
        sweep(folder.path)


def test_no_plan_there(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        sweep(tmp_path / "none")
    name = tmp_path / "none"
    assert str(caught.value) == (
        f"no plan at {str(name)!r}; give a folder that `retroscope plan` has made"
    )


def test_a_folder_of_something_else_is_left_alone(photos: Path) -> None:
    before = sorted(photos.rglob("*"))
    with pytest.raises(PlanError, match="exists and is not a plan"):
        plan(photos, photos, restart=True)
    assert sorted(photos.rglob("*")) == before


def test_planning_that_was_killed_is_repeated(photos: Path, tmp_path: Path) -> None:
    folder = plan(photos, tmp_path / "p")
    folder.plan_file.unlink()
    (folder.lots / "00000.json").write_text("{")
    (folder.path / ".plan.json.x.part").touch()
    plan(photos, folder.path)
    assert not sweep(folder.path).missing


@pytest.mark.parametrize("part", [(0, 3), (4, 3), (1, 0), (-1, 3)])
def test_a_part_that_does_not_exist_is_refused(
    photos: Path, tmp_path: Path, part: tuple[int, int]
) -> None:
    folder = plan(photos, tmp_path / "p")
    with pytest.raises(RetroscopeError, match=f"there is no part {part[0]} of {part[1]}"):
        sweep(folder.path, part=part)


def test_a_machine_of_another_kind_is_warned_of_and_named(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retroscope.scanning.lots.merge_segments import merge_lots

    folder = plan(photos, tmp_path / "p")
    sweep(folder.path, part=(1, 3))
    for module in ("lot_sweeper", "sweep_lot"):
        name = f"retroscope.scanning.lots.{module}.describe_machine"
        monkeypatch.setattr(name, lambda _device: "a GPU")
    with pytest.warns(UserWarning, match=r"this machine \(a GPU\) is not of the kind") as warned:
        sweep(folder.path)
    assert len(warned) == 1
    with merge_lots(folder.path, to=tmp_path / "a.atlas") as atlas:
        assert atlas.meta["machines"] == [open_plan(folder).machine, "a GPU"]
