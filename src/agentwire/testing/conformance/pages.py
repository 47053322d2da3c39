"""A page of the documentation for each case: ``python -m agentwire.testing.conformance.pages docs/conformance``.

The pages are made from the table of rules, the cases and the advice alone; a test compares those that are committed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from agentwire.testing.conformance import CASES, NEEDS, Case
from agentwire.testing.conformance.advice import ADVICE
from agentwire.testing.conformance.field import failures_of
from agentwire.testing.conformance.reporting import level_of, topic_of
from agentwire.testing.conformance.rules import BOTH, RULES, SOURCES, Level
from agentwire.testing.conformance.runner import in_order

__all__ = ["main", "render"]

HEAD: Final = """\
# The cases, one by one

What {doc}`agentwire conform </commands/conform>` does to a server, each case with a page of its own: what is done,
which rules it proves, why it matters, and what to do about a failure. Numbers are never given to another case.
{doc}`How to add one <adding>`.

These pages are made by `python -m agentwire.testing.conformance.pages docs/conformance`.

```{toctree}
:hidden:
:glob:

adding
AWC-*
```
"""


def render() -> Mapping[str, str]:
    """The pages by file name."""
    return {"index.md": _text(_index()), **{f"{case.number}.md": _text(_page(case)) for case in CASES.values()}}


def _text(lines: Iterator[str]) -> str:
    return "\n".join(lines) + "\n"


def _index() -> Iterator[str]:
    yield HEAD.rstrip("\n")
    topic = ""
    for case in in_order():
        if topic_of(case) != topic:
            topic = topic_of(case)
            yield from ("", f"## {topic}", "", "| case | what is done | level |", "| --- | --- | --- |")
        yield f"| [{case.number}]({case.number}.md) | {_cell(case.title)} | {_level(case)} |"


def _page(case: Case) -> Iterator[str]:
    advice = ADVICE[int(case.number.removeprefix("AWC-"))]
    profiles = case.profiles & RULES[case.rules[0]].profiles
    yield f"# {case.number}"
    yield ""
    yield " ".join((inspect.getdoc(case.body) or "").split())
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    yield f"| topic | {topic_of(case)} |"
    yield f"| level | {_level(case)} |"
    yield f"| profiles | {', '.join(sorted(profiles)) if profiles != BOTH else 'openai, open-responses'} |"
    yield f"| needs | {'; '.join(NEEDS[need] for need in case.needs) or 'nothing but a URL'} |"
    yield f"| name | `{case.name}` |"
    yield from ("", "## The rules that it proves", "", "| rule | what a server does | level | sources |")
    yield "| --- | --- | --- | --- |"
    for rule in (RULES[name] for name in case.rules):
        sources = "; ".join(SOURCES[name] for name in rule.sources)
        yield f"| {rule.id} | {_cell(rule.text)} | {_told(rule.level, rule.level_in('openai'))} | {_cell(sources)} |"
    yield from ("", "## Why it matters", "", advice.why)
    if seen := failures_of(case.name):
        yield from ("", "Seen in the field:", "", *(f"* {one.what} ({', '.join(one.reports)})" for one in seen))
    yield from ("", "## What to do about a failure", "", advice.mend)
    yield from ("", "## Running it", "", "```console")
    yield f"$ agentwire conform http://127.0.0.1:8000/v1 --only {case.number} --full"
    yield "```"
    yield from ("", "This is all that it does; `peer` is the server under test.", "")
    yield f"```{{literalinclude}} ../../src/{case.body.__module__.replace('.', '/')}.py"
    yield ":language: python"
    yield f":pyobject: {case.name}"
    yield "```"


def _level(case: Case) -> str:
    """How binding a case is in the profiles in which it is run."""
    profiles = case.profiles & RULES[case.rules[0]].profiles
    if profiles != BOTH:
        return level_of(case, *profiles)
    return _told(level_of(case, "open-responses"), level_of(case, "openai"))


def _told(level: Level, there: Level) -> str:
    return level if level == there else f"{level}; {there} in `openai`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(folder: str) -> None:
    """Write the pages. Those of cases that are there no more are left alone, for a person to look at."""
    for name, page in render().items():
        (Path(folder) / name).write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
