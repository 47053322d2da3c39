"""What the engine says after tools have answered: the facts of their outputs, quoted and counted, and no more.

A single short output is quoted whole; a longer one by its size and first line; a JSON object by its members. A plan
ends in a report, step by step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from agentwire.engines.builtin.facts import parse_json
from agentwire.engines.builtin.progress import Done, Progress
from agentwire.engines.builtin.reading import Exchange

__all__ = ["digest", "line_of_step", "named_call", "report"]

SHORT: Final = 400
LINE: Final = 100
DETAILS: Final = 6
MEMBERS: Final = 8

_HIT: Final = re.compile(r"(?:^|\n)([^\s:]{1,200}\.[^\s:.]{1,10}|[^\s:]{1,200}/[^\s:]{1,100}):\d{1,9}[:\s-]")


def digest(exchanges: Sequence[Exchange]) -> str:
    """What some calls came to, one paragraph each; the whole output where it is short."""
    if not exchanges:
        return "No tool was called."
    parts = [f"{named_call(exchange)} {_said(exchange)}" for exchange in exchanges[:DETAILS]]
    if len(exchanges) > DETAILS:
        rest = exchanges[DETAILS:]
        parts.append(f"Of the other {_count(len(rest), 'call')}: {_together(rest)}.")
    return "\n\n".join(parts)


def report(progress: Progress) -> str:
    """The report at the end of a plan: what each step called, and what came of it."""
    exchanges = [exchange for done in progress.done for exchange in done.exchanges]
    asked = [done for done in progress.done if done.step.offer is not None]
    counted = f"{_count(len(asked), 'step')}, made from {_count(len(exchanges), 'tool output')}"
    lines = [f"Report on {counted}: {_together(exchanges)}."]
    lines += [line for done in asked for line in _step_lines(done)]
    if progress.other:
        lines.append(f"Besides these steps: {_together(progress.other)}.")
    return "\n".join(lines)


def line_of_step(done: Done, calls: int) -> str:
    """One line on what the engine is about to do."""
    step = done.step
    tool = step.offer.name if step.offer is not None else ""
    so_far = f", after {_count(len(done.exchanges), 'call')}" if done.exchanges else ""
    return f"Step {step.number}: {_count(calls, 'call')} of {tool}{so_far}, for “{_clip(step.text)}”."


def named_call(exchange: Exchange) -> str:
    """A call as one would write it: ``read_file(path="a.py")``."""
    if exchange.parsed:
        shown = ", ".join(
            f"{name}={_json(value)}" for name, value in list(exchange.parsed.items())[:4] if value is not None
        )
    else:
        shown = _json(exchange.arguments) if exchange.arguments.strip() not in ("", "{}") else ""
    return f"{exchange.name}({_clip(shown, 2 * LINE)})"


def _step_lines(done: Done) -> Iterator[str]:
    yield ""
    yield f"{done.step.number}. {_clip(done.step.text, 2 * LINE)}"
    if not done.exchanges:
        yield "   Nothing to call: earlier outputs named no value for it."
        return
    if len(done.exchanges) > 1:
        yield f"   {_together(done.exchanges)}."
    for exchange in done.exchanges[:DETAILS]:
        yield f"   - {named_call(exchange)}: {_brief(exchange)}"
    if len(done.exchanges) > DETAILS:
        yield f"   - and {len(done.exchanges) - DETAILS} more"
    if done.left_out:
        yield f"   Left out: {_count(done.left_out, 'further value')} of the earlier outputs."


def _together(exchanges: Sequence[Exchange]) -> str:
    """Many outputs in one clause: lines and characters in all, the longest, the failures."""
    lines = [_lines(exchange.output) for exchange in exchanges]
    told = [
        f"{_count(sum(lines), 'line')} and {_count(sum(len(each.output) for each in exchanges), 'character')} in all"
    ]
    if len(exchanges) > 1 and max(lines) > 1:
        longest = max(range(len(exchanges)), key=lines.__getitem__)
        told.append(f"the longest from {named_call(exchanges[longest])} with {_count(lines[longest], 'line')}")
    failed = [exchange for exchange in exchanges if exchange.failed]
    if failed:
        told.append(
            f"{_count(len(failed), 'call')} failed: {named_call(failed[0])} said “{_first_line(failed[0].output)}”"
        )
    return "; ".join(told)


def _said(exchange: Exchange) -> str:
    """What one output says, for a paragraph of its own."""
    verb = "failed" if exchange.failed else "returned"
    text = exchange.output.strip()
    beside = f" It also returned {exchange.attached}." if exchange.attached else ""
    value = parse_json(text)
    if isinstance(value, Mapping) and value:
        return f"{verb}: {_members(value)}.{beside}"
    if not text:
        return f"{verb} {exchange.attached or 'nothing'}."
    if len(text) <= SHORT:
        return f"{verb}: {text}{beside}"
    return f"{'' if exchange.failed else 'returned '}{_brief(exchange)}{beside}"


def _brief(exchange: Exchange) -> str:
    """One output in a clause."""
    text = exchange.output.strip()
    value = parse_json(text)
    if exchange.failed:
        return f"failed: “{_first_line(text)}”"
    if isinstance(value, Mapping) and value:
        return _members(value)
    if isinstance(value, list):
        return f"a list of {_count(len(value), 'entry')}" + (f", the first {_clip(_json(value[0]))}" if value else "")
    if not text:
        return exchange.attached or "an empty output"
    files = {match[1] for match in _HIT.finditer(f"{text}\n")}
    where = f" in {_count(len(files), 'file')}" if files else ""
    if _lines(text) == 1 and len(text) <= LINE:
        return f"“{text}”"
    return f"{_count(_lines(text), 'line')}{where}, {_count(len(text), 'character')}; it begins “{_first_line(text)}”"


def _members(value: Mapping[str, Any]) -> str:
    shown = [f"{name}: {_plain(member)}" for name, member in list(value.items())[:MEMBERS]]
    more = f", and {len(value) - MEMBERS} more members" if len(value) > MEMBERS else ""
    return ", ".join(shown) + more


def _plain(value: Any) -> str:
    return _clip(value, 2 * LINE) if isinstance(value, str) else _clip(_json(value))


def _first_line(text: str) -> str:
    """The first line that has a letter or digit in it."""
    lines = text[:4096].splitlines()
    return _clip(next((line for line in lines if any(map(str.isalnum, line))), lines[0] if lines else "").strip())


def _lines(text: str) -> int:
    stripped = text.rstrip("\n")
    return stripped.count("\n") + 1 if stripped else 0


def _count(number: int, noun: str) -> str:
    plural = noun if number == 1 else f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"
    return f"{number:,} {plural}".replace(",", " ")


def _clip(text: str, most: int = LINE) -> str:
    text = " ".join(text[: 4 * most].split()) if "\n" in text[: 4 * most] else text
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def _json(value: Any) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, TypeError):
        return repr(value)
