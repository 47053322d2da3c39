"""A real task: an agent's loop over a real directory, following a plan that is written in the message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentwire.engines import builtin
from agentwire.testing.recording import ask_for
from tests.engines.kit import SURVEY, loop, step

PLAN = """Survey this project and report what you found.

1. List the files in `.`
2. Read `README.md` and `pyproject.toml`
3. Read each `.py` file that step 1 listed, three at a time
4. Search for `nursery` and `cancel` in `src`
5. Search for each class that it found in step 3 in `tests`
6. Report what you found
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text("# Sample\n\nA project.\n")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'sample'\n")
    for number in range(11):
        path = tmp_path / "src" / "sample" / f"part{number:02}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            f'"""Part {number}."""\n\n\nclass Part{number}:\n    """It opens a nursery."""\n' * (1 + number % 3)
        )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_parts.py").write_text("def test_it():\n    Part3(), Part7()\n")
    return tmp_path


def tools(root: Path) -> dict[str, Callable[..., str]]:
    def list_files(path: str) -> str:
        found = sorted(each for each in (root / path).rglob("*") if each.is_file())
        return "\n".join(str(each.relative_to(root / path)) for each in found)

    def read_file(path: str, limit: int | None = None) -> str:
        target = root / path
        return target.read_text() if target.is_file() else f"error: no such file: {path}"

    def search_text(pattern: str, path: str | None) -> str:
        hits = [
            f"{each.relative_to(root)}:{number}: {line}"
            for each in sorted((root / (path or ".")).rglob("*.py"))
            for number, line in enumerate(each.read_text().splitlines(), 1)
            if pattern in line
        ]
        return "\n".join(hits) or "no match"

    return {"list_files": list_files, "read_file": read_file, "search_text": search_text}


async def test_a_survey_reads_what_is_there_and_reports_it(project: Path) -> None:
    steps = await loop(builtin(), PLAN, tools(project), tools=SURVEY)
    calls = [call for step in steps for call in step.calls]
    assert len(calls) >= 20
    assert calls[0] == ("list_files", {"path": "."})
    read = [arguments["path"] for name, arguments in calls if name == "read_file"]
    assert read[:2] == ["README.md", "pyproject.toml"]
    assert read[2:] == [f"src/sample/part{number:02}.py" for number in range(11)] + ["tests/test_parts.py"]
    assert [len(step.calls) for step in steps[:7]] == [1, 2, 3, 3, 3, 3, 2]
    searched = [arguments["pattern"] for name, arguments in calls if name == "search_text"]
    assert searched == ["nursery", "cancel", *[f"Part{number}" for number in range(11)]]
    report = steps[-1].text
    assert report.startswith(f"Report on 5 steps, made from {len(calls)} tool outputs")
    assert 'read_file(path="README.md"): 3 lines, 20 characters; it begins “# Sample”' in report
    assert 'search_text(pattern="nursery", path="src"): 21 lines in 11 files' in report
    assert 'search_text(pattern="cancel", path="src"): “no match”' in report


async def test_the_same_survey_one_call_at_a_time(project: Path) -> None:
    together = await loop(builtin(), PLAN, tools(project), tools=SURVEY)
    singly = await loop(builtin(), PLAN, tools(project), tools=SURVEY, parallel_tool_calls=False)
    assert all(len(step.calls) <= 1 for step in singly)
    assert [call for step in singly for call in step.calls] == [call for step in together for call in step.calls]
    assert singly[-1].text == together[-1].text


async def test_a_survey_of_what_is_not_there_says_so(tmp_path: Path) -> None:
    steps = await loop(builtin(), PLAN, tools(tmp_path), tools=SURVEY)
    report = steps[-1].text
    assert "2 calls failed" in report
    assert "Nothing to call: earlier outputs named no value for it." in report


async def test_a_second_message_can_go_on_from_the_first(project: Path) -> None:
    first = await loop(builtin(), "List the files in `src`", tools(project), tools=SURVEY)
    assert "part00.py" in first[-1].text
    second = await step(builtin(), ask_for("Read the first two of them", history=first[-1].history, tools=SURVEY))
    assert second.calls == [("read_file", {"path": "src/sample/part00.py"})]
