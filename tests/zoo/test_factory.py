"""Networks from a function of the user's own, in a file or in a package."""

import sys
from pathlib import Path
from typing import Protocol

import pytest
import torch
from torch import nn

import retroscope as rs
from retroscope.errors import ModelError, UnitError

HEAD = """
import torch
from torch import nn
import retroscope as rs
"""
CONV = "nn.Conv2d(3, 2, 3)"


class Written(Protocol):
    """The name under which a file's `make` is opened, once its code is written."""

    def __call__(self, code: str, file: str = ..., /) -> str: ...


@pytest.fixture
def written(tmp_path: Path) -> Written:

    def write(code: str, file: str = "nets.py") -> str:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEAD + code, "utf-8")
        return f"{path}:make"

    return write


def returning(text: str, *statements: str) -> str:
    """The code of a factory whose network is called `net` while statements change it."""
    lines = [f"net = {text}", *statements, "return net"]
    return "def make():\n" + "".join(f"    {line}\n" for line in lines)


@pytest.fixture(autouse=True)
def _everything_is_put_back() -> object:
    path, modules = list(sys.path), set(sys.modules)
    yield
    assert sys.path == path
    for name in sys.modules.keys() - modules:
        if "pytest_of" in name:  # the file itself, under a name in nobody's way
            del sys.modules[name]


# The forms of a name


def test_a_function_in_a_file_makes_the_network(written: Written) -> None:
    net = rs.open_model(written(returning(CONV)))
    assert isinstance(net.module, nn.Conv2d)
    assert (net.input_size, net.labels) == ((224, 224), ())


def test_a_network_is_called_as_it_was_asked_for(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(returning(CONV))
    monkeypatch.chdir(tmp_path)
    assert rs.open_model("nets.py:make").name == "nets.py:make"
    assert rs.open_model("./nets.py:make").name == "./nets.py:make"


def test_a_function_in_a_package_of_the_folder_makes_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "retroscope_zoo_test_package").mkdir()
    (tmp_path / "retroscope_zoo_test_package/nets.py").write_text(HEAD + returning(CONV), "utf-8")
    monkeypatch.chdir(tmp_path)
    assert rs.open_model("retroscope_zoo_test_package.nets:make").layers[0].channels == 2


@pytest.mark.parametrize(
    "make",
    [
        "class make(nn.Conv2d):\n  def __init__(s): super().__init__(3, 2, 3)",
        f"make = lambda: {CONV}",
        f"import functools; make = functools.partial({CONV[:9]}, 3, 2, 3)",
    ],
)
def test_whatever_can_be_called_is_a_factory(written: Written, make: str) -> None:
    assert rs.open_model(written(make)).layers[0].channels == 2


def test_a_path_may_hold_colons_and_blanks(written: Written, tmp_path: Path) -> None:
    (tmp_path / "a: folder").mkdir()
    written(returning(CONV))
    (tmp_path / "nets.py").rename(tmp_path / "a: folder/my nets.py")
    assert rs.open_model(f"{tmp_path}/a: folder/my nets.py:make").layers


# Arguments


ARGUMENTS = """
def make(width=2, kernel=(3, 3), *, bias=True, kind="plain"):
    net = nn.Conv2d(3, width, kernel, bias=bias)
    net.labels = [kind]
    return net
"""


@pytest.mark.parametrize(
    ("given", "width", "labels"),
    [
        ("", 2, "plain"),
        ("?", 2, "plain"),
        ("?width=5", 5, "plain"),
        ("?kind=wide&width=0x10", 16, "wide"),
        ("?kind='a=b'&bias=False", 2, "a=b"),
        ("?kind=a=b", 2, "a=b"),
        ("?kind=/some/where.h5:x", 2, "/some/where.h5:x"),
        ("?kernel=(1,5)&kind=__import__('os')", 2, "__import__('os')"),
    ],
)
def test_arguments_are_literals_or_texts(
    written: Written, given: str, width: int, labels: str
) -> None:
    name = written(ARGUMENTS) + given
    net = rs.open_model(name)
    assert (net.layers[0].channels, net.labels, net.name) == (width, (labels,), name)


def test_arguments_go_to_a_package_too(
    written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(ARGUMENTS, "retroscope_arguments_package/__init__.py")
    monkeypatch.chdir(tmp_path)
    assert rs.open_model("retroscope_arguments_package:make?width=7").layers[0].channels == 7


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("?width", r"'width' in .* is not an argument; write .*nets.py:make\?width=2&name=x"),
        ("?2=width", "'2=width' in .* is not an argument"),
        ("?=2", "is not an argument"),
        ("?width=2&width=3", "'width=3' in .* is repeated"),
        ("?widht=2", r"make\?widht=2 failed: TypeError: .*'widht'"),
    ],
)
def test_arguments_that_cannot_be_used_are_told(written: Written, given: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as refused:
        rs.open_model(written(ARGUMENTS) + given)
    assert "\n" not in str(refused.value)


# What the network brings along


def test_attributes_say_how_to_feed_a_module(written: Written) -> None:
    net = rs.open_model(
        written(
            returning(
                CONV,
                "net.input_size = (20, 30)",
                "net.mean, net.std = [0.5, 0.5, 0.4], torch.tensor([0.25, 0.5, 1.0])",
                "net.labels = ['tabby', 'tench']",
            )
        )
    )
    assert (net.input_size, net.labels) == ((20, 30), ("tabby", "tench"))
    assert (net.preprocessing.mean, net.preprocessing.std) == ((0.5, 0.5, 0.4), (0.25, 0.5, 1.0))


def test_a_3d_convolution_over_the_bands_of_images_takes_images(written: Written) -> None:
    bands = "nn.Unflatten(1, (1, 8)), nn.Conv3d(1, 2, 3), nn.Flatten(1, 2), nn.Conv2d(12, 3, 3)"
    statements = "net.input_size = (20, 30)", "net.mean, net.std = [0] * 8, [1] * 8"
    net = rs.open_model(written(returning(f"nn.Sequential({bands})", *statements)))
    assert net.input_size == (20, 30)
    assert net.layers[-1].size == (16, 26)


def test_one_number_is_the_length_of_signals(written: Written) -> None:
    name = written(returning("nn.Conv1d(2, 4, 5)", "net.input_size = (400,)"))
    net = rs.open_model(name, input_size=200)
    assert net.input_size == (200,)
    assert net.preprocessing.fit.size == (1, 200)


@pytest.mark.parametrize(
    "size",
    [
        *("20", "(20, 20)", "[3, 20, 20]", "torch.Size((1, 3, 20, 20))"),
        "__import__('numpy').int64(20)",
    ],
)
def test_a_size_may_be_one_number_or_the_last_two_of_a_shape(written: Written, size: str) -> None:
    assert rs.open_model(written(returning(CONV, f"net.input_size = {size}"))).input_size == (
        20,
        20,
    )


@pytest.mark.parametrize(
    "statement",
    [
        "net.register_buffer('mean', torch.zeros(1, 3, 1, 1))",
        "net.std = nn.Parameter(torch.ones(3))",
        "net.labels = nn.Linear(2, 2)",
        "net.__class__ = type('Own', (nn.Conv2d,), {'mean': lambda self: 0})",
        "net.mean = None",
    ],
)
def test_what_a_module_uses_itself_says_nothing_about_feeding_it(
    written: Written, statement: str
) -> None:
    net = rs.open_model(written(returning(CONV, statement)))
    assert (net.preprocessing.mean, net.preprocessing.std) == ((0, 0, 0), (1, 1, 1))
    assert net.labels == ()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("net.input_size = 'big'", "input_size of .* is 'big'; it must be a height and a width"),
        ("net.input_size = 22.5", "is 22.5; it must be a height"),
        ("net.input_size = ()", r"is \(\); it must be a height"),
        ("net.input_size = (22.5, 3)", "it must be a height"),
        ("net.mean = 0.5", "mean of .* is 0.5; it must be a number for each channel"),
        ("net.std = ['a']", "it must be a number for each channel"),
        ("net.mean = torch.zeros(1, 3, 1, 1)", "it must be a number for each channel"),
        ("net.labels = 5", "labels of .* is 5; it must be a list of texts"),
        ("net.labels = 'cat'", "it must be a list of texts"),
        ("net.labels = [1, 2]", "it must be a list of texts"),
        ("net.mean = (0.5, 0.5)", "mean has 2 values and std 3"),
    ],
)
def test_an_attribute_that_cannot_be_used_is_said_to_be_wrong(
    written: Written, statement: str, said: str
) -> None:
    statements = ["net.std = (1, 1, 1)", statement] if "mean has" in said else [statement]
    with pytest.raises(ModelError, match=said):
        rs.open_model(written(returning(CONV, *statements)))


def test_a_wrapped_module_speaks_for_itself(written: Written) -> None:
    statements = "net.input_size = 20", "net = nn.DataParallel(net)"
    net = rs.open_model(written(returning(CONV, *statements)))
    assert (net.input_size, type(net.module)) == ((20, 20), nn.Conv2d)


def test_a_network_is_taken_with_all_that_it_says(written: Written) -> None:
    network = (
        f"rs.Network({CONV}, fit=rs.Fit((20, 30), mode='stretch'), mean=(0.5, 0.5, 0.5), "
        "std=(0.25, 0.25, 0.25), labels=['tabby'], name='mine')"
    )
    net = rs.open_model(written(returning(network)))
    assert (net.name, net.labels, net.input_size) == ("mine", ("tabby",), (20, 30))
    assert net.preprocessing.fit.mode == "stretch"
    assert net.preprocessing.mean == (0.5, 0.5, 0.5)


# Neighbours


def test_a_file_imports_its_neighbours_at_once_and_when_called(written: Written) -> None:
    written("WIDTH = 4\n", "retroscope_neighbour.py")
    written("DEPTH = 3\n", "retroscope_other_neighbour.py")
    net = rs.open_model(
        written(
            "from retroscope_neighbour import WIDTH\n"
            "def make():\n"
            "    from retroscope_other_neighbour import DEPTH\n"
            "    return nn.Conv2d(DEPTH, WIDTH, 3)\n"
        )
    )
    assert net.layers[0].channels == 4


def test_two_folders_have_each_their_own_neighbours(tmp_path: Path) -> None:
    for width in (4, 7):
        folder = tmp_path / f"project{width}"
        (folder / "retroscope_parts").mkdir(parents=True)
        (folder / "retroscope_parts/__init__.py").touch()
        (folder / "retroscope_parts/widths.py").write_text(f"WIDTH = {width}\n", "utf-8")
        code = "from retroscope_parts.widths import WIDTH\n" + returning("nn.Conv2d(3, WIDTH, 3)")
        (folder / "nets.py").write_text(HEAD + code, "utf-8")
        assert rs.open_model(f"{folder}/nets.py:make").layers[0].channels == width
    assert not [name for name in sys.modules if "retroscope_parts" in name]


def test_a_changed_file_is_read_anew(written: Written) -> None:
    assert rs.open_model(written(returning("nn.Conv2d(3, 2, 3)"))).layers[0].channels == 2
    assert rs.open_model(written(returning("nn.Conv2d(3, 11, 3)"))).layers[0].channels == 11


def test_a_file_may_be_called_like_a_library(tmp_path: Path) -> None:
    path = tmp_path / "torchvision.py"
    there = sys.modules.get("torchvision")
    code = (
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Sizes:\n    width: 'int' = 2\n"
        "def make():\n    return nn.Conv2d(3, Sizes().width, 3)\n"
    )
    path.write_text(f"from __future__ import annotations\n{HEAD}{code}", "utf-8")
    assert rs.open_model(f"{path}:make").layers[0].channels == 2
    assert sys.modules.get("torchvision") is there


def test_a_file_may_change_the_path_itself(written: Written, tmp_path: Path) -> None:
    code = f"import sys\nsys.path.remove({str(tmp_path)!r})\n"
    assert rs.open_model(written(code + returning(CONV))).layers


# What goes wrong


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def make(:", r"cannot run '.*nets.py': SyntaxError"),
        ("import retroscope_nowhere", "ModuleNotFoundError: No module named 'retroscope_nowhere'"),
        ("raise SystemExit('usage: train.py')", "SystemExit: usage: train.py"),
        ("def maker(): pass", r"no function 'make' in .*nets\.py; did you mean 'maker'"),
        ("def zzz(): pass", r"no function 'make' in .*nets\.py; it defines zzz"),
        ("make = 3", r"no function 'make' in .*nets\.py; it defines no functions"),
        (
            "def make(): raise ValueError('no weights\\nhere')",
            "make failed: ValueError: no weights",
        ),
        ("def make(): raise OSError", "make failed: OSError"),
        ("def make(): raise SystemExit(2)", "make failed: SystemExit: 2"),
        ("def make(size): pass", "make failed: TypeError: .*'size'"),
        ("def make(): return None", "make returned None; it must return an nn.Module"),
        ("def make(): return nn.Conv2d", "returned the class Conv2d; it must return .*; create an"),
        ("def make(): return [1]", "returned list; it must return"),
        (
            "def make(): return nn.ReLU(), 3",
            "returned a tuple with a module in it; it must .* alone",
        ),
        ("def make(): return nn.ReLU().state_dict()", "returned OrderedDict; it must"),
        ("def make(): return nn.Linear(9, 999).state_dict()", "returned a state dict; it must"),
    ],
)
def test_a_factory_that_cannot_be_used_is_told_why(written: Written, code: str, said: str) -> None:
    before = set(sys.modules)
    with pytest.raises(ModelError, match=said) as refused:
        rs.open_model(written(code))
    assert "\n" not in str(refused.value)
    assert "SyntaxError" not in said or set(sys.modules) == before


def test_an_error_of_ours_comes_as_it_is(written: Written) -> None:
    with pytest.raises(UnitError, match=r"^cannot parse the unit '@'"):
        rs.open_model(written("def make(): rs.Unit.parse('@')"))


@pytest.mark.parametrize("name", ["nowhere.py:make", "nets.py:make:", ":make", "nets.py", ":"])
def test_a_name_that_leads_nowhere_is_told_the_forms(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as refused:
        rs.open_model(name if name[0] == ":" else f"{tmp_path}/{name}")
    assert "give the path of a Python file" in str(refused.value) or (
        "package.module:factory" in str(refused.value)
    )


def test_a_package_that_cannot_be_imported_is_told_why() -> None:
    with pytest.raises(ModelError, match=r"cannot import 'retroscope_nowhere' for .*: ModuleNot"):
        rs.open_model("retroscope_nowhere:make")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "nets.py").mkdir()
    with pytest.raises(ModelError, match="no file"):
        rs.open_model(f"{tmp_path}/nets.py:make")


def test_the_networks_of_a_factory_are_seeded_by_random_weights(written: Written) -> None:
    name = written(returning(CONV))
    first, again = (rs.open_model(name, random_weights=3).module for _ in range(2))
    assert isinstance(first, nn.Conv2d)
    assert isinstance(again, nn.Conv2d)
    assert torch.equal(first.weight, again.weight)


# A network that is there already


def test_a_network_in_a_file_is_used_as_what_a_function_would_return(written: Written) -> None:
    name = written(f"make = {CONV}\nmake.input_size = (20, 24)\nmake.labels = ['a', 'b']")
    net = rs.open_model(name)
    assert isinstance(net.module, nn.Conv2d)
    assert (net.input_size, net.labels) == ((20, 24), ("a", "b"))


def test_a_ready_network_in_a_file_keeps_its_own_words(written: Written) -> None:
    name = written(f"make = rs.Network({CONV}, input_size=(9, 7), name='mine')")
    assert repr(rs.open_model(name, device="cpu")) == "<Network mine: 9x7 on cpu>"


def test_a_network_in_a_file_takes_no_arguments(written: Written) -> None:
    with pytest.raises(ModelError, match="is a network, which takes no arguments; leave them out"):
        rs.open_model(f"{written(f'make = {CONV}')}?width=2")
