"""The names of the library, and what merely importing it costs."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import retroscope as rs

ROOT = Path(__file__).parent.parent


def modules_after(code: str) -> set[str]:
    """What a fresh process has imported once it has run some code."""
    told = f"{code}\nimport sys\nprint('imported:', *sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.rpartition("imported:")[2].split())


def torchless() -> list[str]:
    """What the import contract lets stand without torch, each package with its files."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    sources = [
        name
        for contract in contracts
        if contract["type"] == "forbidden" and "torch" in contract["forbidden_modules"]
        for name in contract["source_modules"]
    ]
    return [name for source in sources for name in _with_files(source)]


def _with_files(source: str) -> list[str]:
    folder = ROOT / "src" / source.replace(".", "/")
    return [
        source,
        *(
            "retroscope."
            + ".".join(file.relative_to(ROOT / "src/retroscope").with_suffix("").parts)
            for file in folder.rglob("[!_]*.py")
        ),
    ]


def test_importing_the_library_does_not_import_torch() -> None:
    assert "torch" not in modules_after("import retroscope")


@pytest.mark.parametrize("words", [["--help"], ["deconv", "--help"], ["--version"], ["nosuch"]])
def test_help_comes_without_torch_or_numpy(words: list[str]) -> None:
    code = f"""
import sys
from retroscope.cli import execute
sys.argv = ['retroscope', *{words}]
execute()"""
    assert not {"torch", "numpy", "PIL", "rich"} & modules_after(code)


def test_the_ground_and_the_pictures_stand_without_torch() -> None:
    names = torchless()
    assert {"retroscope.imaging.image", "retroscope.render.draw"} <= set(names)
    imported = modules_after("import " + ", ".join(names))
    assert imported >= set(names)
    assert not {"torch", "torchvision"} & imported


def test_a_picture_of_a_result_is_drawn_without_torch() -> None:
    code = """
import numpy as np, retroscope as rs
box = rs.Box(0, 0, 4, 4)
shown = rs.Projection(rs.Unit('conv1', 0), 1.0, box, np.ones((4, 4, 3), np.float32), '', (4, 4))
rs.draw(shown)"""
    assert "torch" not in modules_after(code)


HOMES = {
    alias.name: node.module
    for node in ast.parse(Path(rs.__file__).with_suffix(".pyi").read_text("utf-8")).body
    if isinstance(node, ast.ImportFrom) and node.module
    for alias in node.names
}
"""The module of each public name, as the stub says it."""


@pytest.mark.parametrize("name", rs.__all__)
def test_every_public_name_is_there_and_explained(name: str) -> None:
    found = getattr(rs, name)
    assert not isinstance(found, ModuleType)
    explained = found if callable(found) else type(found)
    assert (explained.__doc__ or "").strip()


@pytest.mark.parametrize("name", rs.__all__)
def test_a_public_name_comes_from_the_file_that_defines_it(name: str) -> None:
    found = getattr(rs, name)
    home = f"retroscope.{HOMES[name]}"
    defined_in = getattr(found, "__module__", home)
    assert defined_in == home or defined_in.startswith(f"{home}.")


def test_all_names_are_listed_once_and_dir_lists_them() -> None:
    assert set(rs.__all__) == HOMES.keys()
    assert len(rs.__all__) == len(set(rs.__all__))
    assert set(dir(rs)) >= {*rs.__all__, "__version__"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No retroscope attribute deconvolve"):
        getattr(rs, "deconvolve")  # noqa: B009 - types know that it is not there


def test_star_import_brings_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from retroscope import *", names)  # noqa: S102
    assert names.keys() >= set(rs.__all__)
