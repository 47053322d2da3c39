"""The pages of docs/ are whole: all are in the contents, links lead somewhere, commands and programs work."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agentwire.cli.app import app
from tests.cli.kit import environment

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = {page.relative_to(DOCS).as_posix(): page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md"))}
TEXTS = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.py")]
COMMANDS = [
    line[2:]
    for page in PAGES.values()
    for block in re.findall(r"^```console\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("$ agentwire ")
]
ELSEWHERE = re.compile(r"^conformance/(AWC-|adding)|^project/reports/")  # these are in the contents of a page of theirs
WHOLE = [  # the programs that need nothing else
    (name, code)
    for name, page in PAGES.items()
    for code in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    if "agentwire.serve" in code and "trio.run(" in code
]


def test_the_contents_name_each_page_once() -> None:
    contents = re.findall(r"^```\{toctree\}\n.*?\n\n(.*?)^```", PAGES["index.md"], re.MULTILINE | re.DOTALL)
    named = sorted(name.removesuffix(".md") for name in PAGES if name != "index.md" and not ELSEWHERE.search(name))
    assert sorted(" ".join(contents).split()) == named


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_merge_is_left_unfinished(path: Path) -> None:
    assert not re.search(r"^(<{7}|={7}$|>{7})", path.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    here = (DOCS / name).parent
    for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[name]):
        target = link.partition("#")[0]
        assert link.startswith(("http:", "https:", "#")) or (here / target).exists(), link
    for link in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", PAGES[name]):
        assert (DOCS / f"{link.lstrip('/')}.md" if link.startswith("/") else here / f"{link}.md").exists(), link


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    arguments = shlex.split(command.partition(">")[0], comments=True)[1:]
    app.parse_args(arguments, exit_on_error=False, print_error=False)


@pytest.mark.socket
@pytest.mark.parametrize(("name", "code"), WHOLE, ids=[name for name, _ in WHOLE])
def test_a_program_runs_as_it_stands_there(name: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(code, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, path], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("ws://127.0.0.1:")
