"""Results show themselves in a notebook, and cost nothing where there is none."""

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest

import retroscope as rs
from retroscope.notebook import SHOWN, display_results, png
from retroscope.render.draw import MARKS

FIELD = rs.ReceptiveField(rs.Field(3), rs.Field(3))
LAYER = rs.Layer("features.0", "conv", channels=2, size=(8, 8), field=FIELD)
MAPS = rs.Activations(LAYER, np.ones((2, 8, 8), np.float32))


class Shell:
    """So much of IPython as a result meets."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], Callable[[object], bytes]] = {}
        formatter = SimpleNamespace(for_type_by_name=self._take)
        self.display_formatter = SimpleNamespace(formatters={"image/png": formatter})

    def _take(self, module: str, name: str, show: Callable[[object], bytes]) -> None:
        self.known[module, name] = show

    def shows(self, result: object) -> PIL.Image.Image:
        kind = type(result)
        return PIL.Image.open(BytesIO(self.known[kind.__module__, kind.__name__](result)))


def test_a_result_is_shown_as_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    display_results()
    assert shell.known.keys() == {(kind.__module__, kind.__name__) for kind in MARKS}
    np.testing.assert_array_equal(np.asarray(shell.shows(MAPS)), np.asarray(rs.draw(MAPS)))


def test_every_result_with_a_picture_of_its_own_shows_itself() -> None:
    assert {kind.__name__ for kind in MARKS} == {name for names in SHOWN.values() for name in names}


@pytest.mark.parametrize("shell", [SimpleNamespace(), SimpleNamespace(get_ipython=lambda: None)])
def test_an_ipython_that_does_not_run_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, shell: object
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", shell)
    display_results()


def says(code: str) -> list[str]:
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return ran.stdout.split()


def test_importing_the_library_imports_neither_torch_nor_ipython() -> None:
    code = "import retroscope, sys; print('torch' in sys.modules, 'IPython' in sys.modules)"
    assert says(code) == ["False", "False"]


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
        "print(len(shell.known), 'torch' in sys.modules)"
    )
    assert says(code) == [str(sum(map(len, SHOWN.values()))), "False"]


def test_ipython_itself_takes_the_picture() -> None:
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell.instance()
    try:
        display_results()
        shown, _ = shell.display_formatter.format(MAPS)
    finally:
        shells.InteractiveShell.clear_instance()
    assert shown["image/png"] == png(MAPS)
