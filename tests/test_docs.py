"""The documents agree with the code."""

import re
from pathlib import Path

import pytest
from tools.commands import commands

from retroscope.cli import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])


def test_the_python_of_the_readme_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    text = (ROOT / "README.md").read_text("utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        code = compile(block, "README.md", "exec")
        exec(code, names)  # noqa: S102
    assert Path("unit.png").exists()
    assert Path("plate.png").exists()


def test_the_commands_page_is_generated_from_the_help_texts() -> None:
    page = (ROOT / "docs/reference/commands.md").read_text("utf-8")
    assert page == commands(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_documents_use_options_that_the_commands_have(page: Path) -> None:
    text = page.read_text("utf-8")
    for name, words in re.findall(r"^ *retroscope +(\w+)(.*)$", text, re.MULTILINE):
        params = main.commands[name].params
        known = {option for entry in params for option in (*entry.opts, *entry.secondary_opts)}
        assert set(re.findall(r"(?<= )--[a-z-]+", words.partition("#")[0])) <= known, name


def test_the_readme_names_commands_that_there_are() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"^retroscope (\w+)", text, re.MULTILINE))
    assert named
    assert named <= set(main.commands)
