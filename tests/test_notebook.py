"""Results display themselves in a notebook, and importing costs nothing outside of one."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest

import retroscope as rs
from retroscope.notebook import FIGURE_TYPES, TABLE_TYPES, figure_png, register_formatters
from retroscope.render.draw import FIGURES
from tests.atlas import small_atlas

FIELD = rs.ReceptiveField(rs.Field(3), rs.Field(3))
LAYER = rs.Layer("features.0", "conv", channels=2, size=(8, 8), field=FIELD)
MAPS = rs.Activations(LAYER, np.ones((2, 8, 8), np.float32))


class Shell:
    """The part of IPython that registers formatters."""

    def __init__(self) -> None:
        self.renderers: dict[str, dict[tuple[str, str], Callable[[Any], Any]]] = {}
        formatters = {
            mime_type: SimpleNamespace(for_type_by_name=partial(self._register, mime_type))
            for mime_type in ("image/png", "text/html")
        }
        self.display_formatter = SimpleNamespace(formatters=formatters)

    def _register(
        self, mime_type: str, module: str, name: str, render: Callable[[Any], Any]
    ) -> None:
        self.renderers.setdefault(mime_type, {})[module, name] = render

    def render(self, mime_type: str, result: object) -> Any:
        kind = type(result)
        return self.renderers[mime_type][kind.__module__, kind.__name__](result)


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    register_formatters()
    return shell


def test_a_result_displays_as_draw_draws_it(shell: Shell) -> None:
    assert shell.renderers["image/png"].keys() == {
        (kind.__module__, kind.__name__) for kind in FIGURES
    }
    displayed = PIL.Image.open(BytesIO(shell.render("image/png", MAPS)))
    np.testing.assert_array_equal(np.asarray(displayed), np.asarray(rs.draw(MAPS)))


def test_every_result_with_a_figure_displays_it() -> None:
    registered = {name for names in FIGURE_TYPES.values() for name in names}
    assert {kind.__name__ for kind in FIGURES} == registered


def test_an_atlas_displays_as_a_table(shell: Shell, tmp_path: Path) -> None:
    small_atlas.write(tmp_path / "a.atlas")
    html = shell.render("text/html", rs.open_atlas(tmp_path / "a.atlas"))
    assert re.fullmatch(r"<table>\n(<tr><th>\w+</th><td>[^<]+</td></tr>\n)+</table>\n", html)
    assert "a.atlas</td>" in html


@pytest.mark.parametrize("shell", [SimpleNamespace(), SimpleNamespace(get_ipython=lambda: None)])
def test_an_ipython_that_does_not_run_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, shell: object
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", shell)
    register_formatters()


def run_python(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_importing_the_library_imports_neither_torch_nor_ipython() -> None:
    code = "import retroscope, sys; print('torch' in sys.modules, 'IPython' in sys.modules)"
    assert run_python(code) == ["False", "False"]


def test_importing_the_library_in_a_notebook_is_enough_and_imports_no_torch() -> None:
    code = (
        "import sys\n"
        "from tests.test_notebook import Shell\n"
        "from types import SimpleNamespace\n"
        "for name in [name for name in sys.modules if name.startswith('retroscope')]:\n"
        "    del sys.modules[name]\n"
        "shell = Shell()\n"
        "sys.modules['IPython'] = SimpleNamespace(get_ipython=lambda: shell)\n"
        "import retroscope\n"
        "print(sum(map(len, shell.renderers.values())), 'torch' in sys.modules)"
    )
    count = sum(map(len, (*FIGURE_TYPES.values(), *TABLE_TYPES.values())))
    assert run_python(code) == [str(count), "False"]


def test_ipython_itself_displays_the_figure() -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell.instance()
    try:
        register_formatters()
        displayed, _ = shell.display_formatter.format(MAPS)
    finally:
        shells.InteractiveShell.clear_instance()
    assert displayed["image/png"] == figure_png(MAPS)
