"""The rules as a page of the documentation: ``python -m agentwire.testing.conformance.page docs/reference/rules.md``.

The page is made from the table alone, so that it cannot say anything else; a test compares the one that is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from agentwire.testing.conformance import CASES, NEEDS, Rule
from agentwire.testing.conformance.registry import Case
from agentwire.testing.conformance.rules import BOTH, LEVELS, SOURCES, TOPICS, Topic

__all__ = ["main", "render"]

HEAD: Final = """\
# The rules, one by one

What a server of the Responses API's WebSocket mode does, and of the HTTP API beside it, as one table: each rule in a
sentence, where it comes from, how binding it is, and the case that shows it from outside. The cases need nothing but a
URL, so that they can be run against any server; agentwire's own runs them all in its tests. The ids are ours, and
stable: a rule that is given up leaves its number behind.

This page is made from `agentwire.testing.conformance.rules` by `python -m agentwire.testing.conformance.page`.
"""

TAIL: Final = """\
## Running the cases

```python
import trio

from agentwire.testing.conformance import Peer, run_cases


async def main() -> None:
    peer = Peer("http://127.0.0.1:8000/v1", model="builtin", able=["tools", "reasoning"])
    for result in await run_cases(peer, profile="openai"):
        print(result)


trio.run(main)
```

A case is passed, failed, with what went over the wire as evidence, or not applicable, with what it needs:

"""


def render() -> str:
    """The page."""
    return "\n".join(
        (HEAD, *_legend(), *(line for topic in TOPICS for line in _topic(topic)), *_departures(), *_tail())
    )


def _legend() -> Iterator[str]:
    yield "## How to read it"
    yield ""
    yield "| level | meaning |"
    yield "| --- | --- |"
    yield from (f"| {level} | {meaning} |" for level, meaning in LEVELS.items())
    yield ""
    yield "| source | what it is |"
    yield "| --- | --- |"
    yield from (f"| {name} | {meaning} |" for name, meaning in SOURCES.items())
    yield ""
    yield "A rule holds in both profiles, `openai` and `open-responses`, unless it says otherwise. What Open Responses"
    yield "alone demands binds in its own profile, and is what a good server does in OpenAI's. Cases are named;"
    yield "`tests/...` is a test of agentwire's own, for what cannot be seen from outside or takes more than a client."
    yield ""


def _topic(topic: Topic) -> Iterator[str]:
    yield f"## {topic.title}"
    yield ""
    yield "| rule | what a server does | level | sources | shown by |"
    yield "| --- | --- | --- | --- | --- |"
    proofs = _proofs()
    for rule in topic.rules:
        cells = (rule.id, _text(rule), _level(rule), ", ".join(rule.sources), _shown(rule, proofs))
        yield f"| {' | '.join(cells)} |"
    yield ""


def _level(rule: Rule) -> str:
    there = rule.level_in("openai")
    return rule.level if there == rule.level else f"{rule.level}; {there} in `openai`"


def _proofs() -> Mapping[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in CASES.values():
        for rule in case.rules:
            found.setdefault(rule, []).append(case)
    return found


def _text(rule: Rule) -> str:
    text = rule.text.replace("|", "\\|")
    return text if rule.profiles == BOTH else f"{text} *({', '.join(sorted(rule.profiles))})*"


def _shown(rule: Rule, proofs: Mapping[str, list[Case]]) -> str:
    shown = [f"`{case.name}`" for case in proofs.get(rule.id, ())]
    if rule.proof is not None:
        shown.append(f"`{rule.proof}`")
    return ", ".join(shown) if shown else "not followed, see below"


def _departures() -> Iterator[str]:
    yield "## Not followed"
    yield ""
    yield "| rule | why agentwire does otherwise |"
    yield "| --- | --- |"
    for topic in TOPICS:
        yield from (f"| {rule.id} | {rule.departure} |" for rule in topic.rules if rule.departure is not None)
    yield ""


def _tail() -> Iterator[str]:
    yield TAIL.rstrip("\n")
    yield ""
    yield "| what it needs | meaning |"
    yield "| --- | --- |"
    yield from (f"| {name} | {meaning} |" for name, meaning in NEEDS.items())
    yield ""


def main(path: str) -> None:
    """Write the page."""
    Path(path).write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
