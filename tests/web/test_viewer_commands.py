"""serve and export, as somebody at a terminal meets them."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from socket import create_server
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from retroscope.cli import viewer_commands
from retroscope.errors import RetroscopeError
from retroscope.web import server
from retroscope.web.export import FILE_LIST
from tests.web.sample_atlases import bare_atlas, odd_atlas

SERVE = "from retroscope.cli.viewer_commands import serve; serve()"


@pytest.fixture
def atlas(tmp_path: Path) -> Path:
    bare_atlas(tmp_path / "small.atlas").close()
    return tmp_path / "small.atlas"


def test_export_writes_a_site_and_says_what_it_takes(atlas: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(viewer_commands.export, [str(atlas), str(tmp_path / "site")])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.strip() == str(tmp_path / "site/index.html")
    listed = (tmp_path / "site" / FILE_LIST).read_text("utf-8").splitlines()
    assert f"{len(listed)} files, about " in ended.stderr
    assert "index.html" in listed


def test_export_beside_another_atlas_compares_the_two(atlas: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    ended = CliRunner().invoke(
        viewer_commands.export, [str(atlas), str(site), "--compare", str(atlas)]
    )
    assert ended.exit_code == 0, ended.output
    facts = json.loads((site / "compare.json").read_text("utf-8"))
    assert [one["change"] for one in facts["units"]] == pytest.approx([0.0] * 5)
    assert (site / "other/index.html").is_file()


def test_export_compares_with_as_many_atlases_as_are_named(atlas: Path, tmp_path: Path) -> None:
    site, words = tmp_path / "site", []
    for name in ("early", "late"):
        (tmp_path / f"{name}.atlas").write_bytes(atlas.read_bytes())
        words += ["--compare", str(tmp_path / f"{name}.atlas")]
    ended = CliRunner().invoke(viewer_commands.export, [str(atlas), str(site), *words])
    assert ended.exit_code == 0, ended.output
    facts = json.loads((site / "compare.json").read_text("utf-8"))
    assert [one["name"] for one in facts["atlases"]] == ["small", "early", "late"]
    assert all((site / one["href"]).is_file() for one in facts["atlases"])
    assert all(len(unit["sides"]) == 3 for unit in facts["units"])


def test_an_atlas_of_another_network_is_not_compared(atlas: Path, tmp_path: Path) -> None:
    odd_atlas(tmp_path / "odd.atlas").close()
    with closing(sqlite3.connect(tmp_path / "odd.atlas")) as file, file:
        file.execute("UPDATE layers SET name = 'x' || name")
    words = [str(atlas), str(tmp_path / "site"), "--compare", str(tmp_path / "odd.atlas")]
    ended = CliRunner().invoke(viewer_commands.export, words)
    assert isinstance(ended.exception, RetroscopeError)
    assert str(ended.exception) == (
        "'odd.atlas' has no layer of 'small.atlas' with as many channels; compare atlases of one "
        "network"
    )


def test_export_to_a_full_folder_is_refused(atlas: Path, tmp_path: Path) -> None:
    ended = CliRunner().invoke(viewer_commands.export, [str(atlas), str(tmp_path)])
    assert isinstance(ended.exception, RetroscopeError)
    assert "not an exported site" in str(ended.exception)


def test_serve_says_its_address_answers_and_ends_on_interrupt(atlas: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(atlas), "--no-open"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = said.split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urlopen(f"{address}index.json") as answer:  # noqa: S310 - our own server
            assert json.load(answer)["atlas"] == "small"
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=120)
    assert "Traceback" not in complaints


def test_serving_needs_no_torch(atlas: Path) -> None:
    code = f"""
import sys
from starlette.testclient import TestClient
from retroscope.web.server import make_app
from retroscope.web.site.site import open_site
from retroscope.web.site.routes import list_paths
with open_site({str(atlas)!r}) as site:
    client = TestClient(make_app(site), base_url='http://localhost')
    for path in list_paths(site):
        assert client.get('/' + path).status_code == 200
assert 'torch' not in sys.modules"""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost"])
def test_a_host_that_only_this_machine_reaches_needs_no_warning(
    atlas: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_run", lambda _app, _listening: None)
    ended = CliRunner().invoke(viewer_commands.serve, [str(atlas), "--no-open", "--host", host])
    assert ended.exit_code == 0, ended.output
    assert ended.stderr == ""


def test_a_host_that_others_reach_is_warned_of_with_what_it_opens(
    atlas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_run", lambda _app, _listening: None)
    ended = CliRunner().invoke(
        viewer_commands.serve,
        [str(atlas), "--no-open", "--host", "0.0.0.0"],  # noqa: S104
    )
    assert ended.exit_code == 0, ended.output
    assert ended.stderr == (
        "retroscope: warning: anyone who can reach this machine can see this atlas, its images and "
        "the paths of their files; --host 127.0.0.1 admits only this machine\n"
    )


def test_the_warning_names_the_network_and_a_host_by_its_name(atlas: Path) -> None:
    words = [str(atlas), "--no-open", "--host", "lab.example.org", "--model", "nothing:at_all"]
    ended = CliRunner().invoke(viewer_commands.serve, words)
    assert isinstance(ended.exception, RetroscopeError)
    assert "anyone who can reach lab.example.org can see this atlas" in ended.stderr
    assert ", and run the network on images that they upload; --host 127.0.0.1" in ended.stderr


@pytest.mark.parametrize(
    "words", [["--arch", "vgg16"], ["--device", "cpu"], ["--threads", "2"], ["--mean", "0,0,0"]]
)
def test_an_option_of_the_network_without_a_network_is_refused(
    atlas: Path, words: list[str]
) -> None:
    ended = CliRunner().invoke(viewer_commands.serve, [str(atlas), "--no-open", *words])
    assert isinstance(ended.exception, RetroscopeError)
    assert str(ended.exception) == f"{words[0]} needs a network; name it with --model"


def test_a_port_that_is_taken_is_said(atlas: Path) -> None:
    with server.open_socket("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        ended = CliRunner().invoke(viewer_commands.serve, [str(atlas), "--no-open", "--port", port])
    assert isinstance(ended.exception, RetroscopeError)
    assert f"port {port}" in str(ended.exception)


def test_a_browser_is_opened_unless_told_not_to(
    atlas: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(server, "_run", lambda _app, _listening: None)
    monkeypatch.setattr("webbrowser.open", opened.append)
    server.serve(atlas)
    server.serve(atlas, browser=False)
    assert len(opened) == 1
    assert opened[0].startswith("http://127.0.0.1:")


def test_a_port_in_use_is_named_in_plain_words(atlas: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RetroscopeError) as raised:
            server.serve(atlas, port=port, browser=False)
    assert str(raised.value) == (
        f"cannot serve on 127.0.0.1 port {port} (Address already in use); check the host, or use "
        "port 0 for any free port"
    )
