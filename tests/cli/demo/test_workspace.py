"""The demonstration's tools: what they give, what they keep to themselves, and that they can be cancelled."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agentwire.cli.demo import workspace
from agentwire.cli.demo.command import find_root
from agentwire.cli.demo.workspace import Workspace
from agentwire.protocol.limits import Limits
from agentwire.runtime.tools import Toolbox, ToolError


@pytest.fixture
def files(tmp_path: Path) -> Workspace:
    (tmp_path / "docs").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "a.txt").write_text("first\nsecond word\n", encoding="utf-8")
    (tmp_path / "docs" / "b.md").write_text("# Title\n\na word\n", encoding="utf-8")
    (tmp_path / "docs" / "picture.png").write_bytes(b"\x89PNG\0word\n")
    (tmp_path / "nothing").write_bytes(b"")
    (tmp_path / ".git" / "hidden").write_text("word", encoding="utf-8")
    return Workspace(tmp_path)


async def test_list(files: Workspace) -> None:
    assert await files.list_files(".") == "a.txt\ndocs/\nempty/\nnothing"
    assert await files.list_files("docs/") == "docs/b.md\ndocs/picture.png"
    assert await files.list_files("empty") == "it is empty"
    with pytest.raises(ToolError, match=r"a\.txt is a file"):
        await files.list_files("a.txt")


async def test_a_long_list_is_cut(files: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "LISTED", 1)
    assert await files.list_files(".") == "a.txt\n... and 3 more"


async def test_read(files: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await files.read_file("a.txt") == "first\nsecond word\n"
    assert await files.read_file("nothing") == "it is empty"
    with pytest.raises(ToolError, match="is a folder"):
        await files.read_file("docs")
    monkeypatch.setattr(workspace, "READ_BYTES", 8)
    assert await files.read_file("a.txt") == "first\n... cut; the file has 18 bytes"


async def test_search(files: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await files.search("word") == "2 lines match 'word':\na.txt:2: second word\ndocs/b.md:3: a word"
    assert await files.search("^#", "docs") == "1 lines match '^#':\ndocs/b.md:1: # Title"
    assert await files.search("first", "a.txt") == "1 lines match 'first':\na.txt:1: first"
    assert await files.search("nowhere") == "no line matches 'nowhere'"
    with pytest.raises(ToolError, match="no regular expression"):
        await files.search("(")
    monkeypatch.setattr(workspace, "MATCHES", 1)
    assert await files.search("word") == "2 lines match 'word'; the first 1:\na.txt:2: second word"
    monkeypatch.setattr(workspace, "SEARCHED_FILES", 1)
    assert files.size == 1
    assert await files.search("word") == "1 lines match 'word':\na.txt:2: second word"


@pytest.mark.parametrize("path", ["..", "/etc/passwd", "docs/../../x"])
async def test_nothing_outside_of_the_root(files: Workspace, path: str) -> None:
    for tool in (files.list_files, files.read_file):
        with pytest.raises(ToolError, match="outside"):
            await tool(path)


async def test_a_link_that_leads_outside(files: Workspace) -> None:
    (files.root / "way_out").symlink_to("/")
    assert "way_out" not in await files.search("root")
    with pytest.raises(ToolError, match="outside"):
        await files.list_files("way_out")


async def test_what_is_not_there(files: Workspace) -> None:
    with pytest.raises(ToolError, match=r"there is no 'c\.txt'"):
        await files.read_file("c.txt")


async def test_a_search_can_be_cancelled_between_files(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    for number in range(5):
        (tmp_path / str(number)).write_text("word\n", encoding="utf-8")
    slow = Workspace(tmp_path, stride=1, pause=10)
    with trio.move_on_after(25) as scope:
        await slow.search("word")
    assert scope.cancelled_caught
    assert trio.current_time() == 25


async def test_they_are_tools(files: Workspace) -> None:
    toolbox = Toolbox.of(files.tools)
    assert toolbox.names == ("list_files", "read_file", "search")
    result = await toolbox.run("search", '{"pattern": "first"}', call_id="call_1", limits=Limits())
    assert result.text.endswith("a.txt:1: first")


def test_the_root_is_the_repository_or_the_package(tmp_path: Path) -> None:
    inner = tmp_path / "project" / "src" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "project" / "pyproject.toml").touch()
    assert find_root(inner) == tmp_path / "project"
    assert (find_root(tmp_path) / "cli" / "demo").is_dir()
