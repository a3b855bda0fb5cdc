"""Results show themselves, and are saved as images; an explanation also as a web page."""

import sys
from inspect import signature
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, ImageShow

from retroscope.errors import RetroscopeError
from retroscope.render.draw import FIGURES, SHEETS, draw
from retroscope.results.display import DrawableResult, DrawOptions
from retroscope.web.site.explanation_page import explanation_html
from tests.render.specimens import plate, projection
from tests.render.test_explanation_figures import explanation


def test_every_result_with_a_figure_can_show_and_save_itself() -> None:
    assert all(issubclass(kind, DrawableResult) for kind in FIGURES)


def test_a_saved_figure_is_the_drawn_one(tmp_path: Path) -> None:
    path = projection().save(tmp_path / "unit.png", tone="gamma", scale=2)
    assert path == tmp_path / "unit.png"
    with Image.open(path) as saved:
        assert saved.tobytes() == draw(projection(), tone="gamma", scale=2).tobytes()
    assert [file.name for file in tmp_path.iterdir()] == ["unit.png"]


def test_the_extension_is_the_format(tmp_path: Path) -> None:
    for name, kind in (("a.webp", "WEBP"), ("a.JPG", "JPEG")):
        with Image.open(projection().save(str(tmp_path / name))) as saved:
            assert saved.format == kind


def test_an_explanation_is_saved_as_a_web_page(tmp_path: Path) -> None:
    path = explanation().save(tmp_path / "page.html", tone="tile", colours="viridis")
    expected = explanation_html(explanation(), tone="tile", colours="viridis")
    assert path.read_text("utf-8") == expected
    assert expected != explanation_html(explanation())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("unit.html", "only an Explanation is a web page, not Projection"),
        ("unit", "it has no extension; use .png"),
        ("unit.txt", "'.txt' is not an image format"),
        ("no/unit.png", "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(RetroscopeError, match=says):
        projection().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_show_opens_the_figure_in_the_image_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Image.Image] = []

    def view(image: Image.Image) -> bool:
        opened.append(image)
        return True

    monkeypatch.setattr(ImageShow, "show", view)
    plate().show(lit=False)
    (figure,) = opened
    assert figure.tobytes() == draw(plate(), lit=False).tobytes()


def test_show_says_that_there_is_no_image_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageShow, "_viewers", [])
    with pytest.raises(RetroscopeError, match=r"no image viewer was found; save\(PATH\)"):
        projection().show()


def test_show_displays_the_figure_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Image.Image] = []
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", shell)
    display = SimpleNamespace(display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    projection().show(bare=True)
    assert [image.tobytes() for image in shown] == [draw(projection(), bare=True).tobytes()]


def test_the_signatures_list_every_keyword_of_the_figures() -> None:
    figures = [*FIGURES.values(), *SHEETS.values()]
    keywords = {name for figure in figures for name in list(signature(figure).parameters)[1:]}
    assert DrawOptions.__annotations__.keys() == keywords
    for function in (draw, DrawableResult.show, DrawableResult.save):
        parameters = signature(function).parameters.values()
        assert {part.name for part in parameters if part.kind is part.KEYWORD_ONLY} == keywords
        assert not any(part.kind is part.VAR_KEYWORD for part in parameters)
    assert draw.__doc__ is not None
    assert all(name in draw.__doc__ for name in keywords)


def test_a_keyword_that_does_not_suit_a_result_is_refused() -> None:
    with pytest.raises(RetroscopeError, match="the figure of Projection has no 'histogram'; it t"):
        draw(projection(), histogram=True)
    with pytest.raises(RetroscopeError, match="the figure of a list of Plate has no 'view'"):
        draw([plate()], view="lit")
    mistyped: dict[str, str] = {"tnoe": "gamma"}
    with pytest.raises(RetroscopeError, match="has no 'tnoe'; did you mean 'tone'"):
        draw(projection(), **mistyped)  # type: ignore[arg-type]


def test_a_keyword_of_another_type_is_refused() -> None:
    wide: dict[str, str] = {"scale": "big"}
    with pytest.raises(RetroscopeError, match="scale of draw_projection"):
        draw(projection(), **wide)  # type: ignore[arg-type]


def test_none_is_the_default_of_the_result() -> None:
    assert draw(projection(), tone=None).tobytes() == draw(projection()).tobytes()
