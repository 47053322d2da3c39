"""A report as one HTML file: no script, nothing from elsewhere, readable on a phone and on paper.

What was seen on the wire was written by strangers, so every text is escaped; control characters are shown, not obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from typing import Final

from agentwire.testing.report.model import VERDICTS, Reference, Report, Row, Tally, Verdict

__all__ = ["to_html"]

_ORDER: Final[tuple[Verdict, ...]] = ("failed", "fell short", "differs", "passed", "not applicable")
_CODE: Final = re.compile(r"`([^`]+)`")
_WAY: Final = re.compile(r"\s*\d[\d.:]*\s+\S+ ([<>])")
_CONTROLS: Final = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"} | {0x7F: "\u2421"}
_WHY: Final = 140
_ABOUT: Final = {"server": "Conformance of a server", "client": "Conformance of a client"}


def to_html(report: Report) -> str:
    """The report as a page."""
    title = f"{_ABOUT[report.kind]}: {report.subject}"
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title>",
            f"<style>\n{_style()}</style>\n</head>\n<body>",
            *_head(report),
            *_table(report),
            *_attention(report),
            *_filter(report.tally),
            *(line for topic, rows in report.topics().items() for line in _section(topic, rows)),
            "</body>\n</html>\n",
        )
    )


def _style() -> str:
    """The style sheet, and what the filter shows and hides."""
    sheet = files("agentwire.testing.report").joinpath("style.css").read_text(encoding="utf-8")
    shown = "\n".join(
        f"body:has(#show-{_slug(verdict)}:checked) :is(.row.{_slug(verdict)}, section.with-{_slug(verdict)})"
        " { display: block; }"
        for verdict in _ORDER
    )
    return f"{sheet}@supports selector(body:has(a)) {{\n.row, section {{ display: none; }}\n{shown}\n}}\n"


def _head(report: Report) -> Iterator[str]:
    tally = report.tally
    worst = next((verdict for verdict in _ORDER if tally.count(verdict)), "not applicable")
    yield f"<h1>{_ABOUT[report.kind]}</h1>"
    yield f'<p class="subject"><code>{_text(report.subject)}</code></p>'
    yield f'<div class="judgement {_slug(worst)}"><strong>{_judgement(report)}</strong>{_text(str(tally))}</div>'
    yield "<dl>"
    for name, value in _facts(report):
        yield f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>"
    yield "</dl>"


def _judgement(report: Report) -> str:
    tally = report.tally
    stopped = "" if report.complete else " The run was stopped before its end."
    if tally.failed:
        return f"{_many(tally.failed, 'check')} failed.{stopped}"
    if not tally.passed + tally.fell_short + tally.differs:
        return f"Nothing could be checked.{stopped}"
    return f"Nothing failed.{stopped}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    if report.profile:
        yield "profile", report.profile
    yield "begun", report.started_at
    yield "took", f"{report.seconds:.1f} s"
    yield "made by", f"agentwire {report.version}"
    if report.options:
        yield "options", "; ".join(f"{name} = {value}" for name, value in report.options.items())
    yield from (("found" if not place else "", sentence) for place, sentence in enumerate(report.found))


def _table(report: Report) -> Iterator[str]:
    shown = [verdict for verdict in _ORDER if report.tally.count(verdict)]
    yield "<h2>By topic</h2>\n<table>"
    yield f"<thead><tr><th></th>{''.join(f'<th>{verdict}</th>' for verdict in shown)}</tr></thead>\n<tbody>"
    for topic, rows in report.topics().items():
        link = f'<a href="#{_slug(topic)}">{_text(topic)}</a>'
        yield f"<tr><th>{link}</th>{_counts(Tally.of(rows), shown)}</tr>"
    yield f"</tbody>\n<tfoot><tr><th>all</th>{_counts(report.tally, shown)}</tr></tfoot>\n</table>"


def _counts(tally: Tally, shown: Iterable[Verdict]) -> str:
    counts = [(verdict, tally.count(verdict)) for verdict in shown]
    return "".join(f'<td class="{_slug(verdict) if count else "zero"}">{count}</td>' for verdict, count in counts)


def _attention(report: Report) -> Iterator[str]:
    rows = report.having("failed")
    if rows:
        yield '<h2>What failed</h2>\n<ul class="failed">'
        yield from (f"<li>{_link(row)} {_marked(row.title)} <span>{_short(row.why)}</span></li>" for row in rows)
        yield "</ul>"


def _link(row: Row) -> str:
    return f'<a href="#{_text(row.number)}">{_text(row.number)}</a>'


def _short(text: str) -> str:
    return _text(text if len(text) <= _WHY else f"{text[:_WHY]}...")


def _filter(tally: Tally) -> Iterator[str]:
    yield "<fieldset><legend>Show</legend>"
    for verdict in _ORDER:
        if tally.count(verdict):
            box = f'<input type="checkbox" id="show-{_slug(verdict)}" checked>'
            yield (
                f'<label class="{_slug(verdict)}" title="{_text(VERDICTS[verdict])}">{box} '
                f'<span class="mark">{verdict}</span> {tally.count(verdict)}</label>'
            )
    yield "</fieldset>"


def _section(topic: str, rows: Iterable[Row]) -> Iterator[str]:
    rows = tuple(rows)
    kinds = " ".join(f"with-{_slug(verdict)}" for verdict in sorted({row.verdict for row in rows}))
    yield f'<section class="{kinds}" id="{_slug(topic)}">\n<h2>{_text(topic)}</h2>'
    yield from (line for row in rows for line in _row(row))
    yield "</section>"


def _row(row: Row) -> Iterator[str]:
    yield f'<details class="row {_slug(row.verdict)}" id="{_text(row.number)}">'
    yield (
        f'<summary><span class="number">{_text(row.number)}</span><span class="title">{_marked(row.title)}</span>'
        f'<span class="verdict">{row.verdict}</span>'
    )
    if row.why:
        yield f'<span class="why">{_text(row.why)}</span>'
    yield '</summary>\n<div class="more">'
    yield from _rules(row)
    if row.advice and row.verdict not in ("passed", "not applicable"):
        yield f"<p><strong>What to do:</strong> {_marked(row.advice)}</p>"
    if row.evidence:
        yield f'<div class="dim">What was seen</div>\n<pre>{"".join(_line(line) for line in row.evidence)}</pre>'
    yield f'<div class="dim"><code>{_text(row.name)}</code>, {row.seconds:.2f} s</div>\n</div>\n</details>'


def _rules(row: Row) -> Iterator[str]:
    if row.rules:
        yield "<ul>"
        yield from (f"<li>{_rule(rule, broken=rule.id in row.broken)}</li>" for rule in row.rules)
        yield "</ul>"


def _rule(rule: Reference, *, broken: bool) -> str:
    name = f'<strong class="mark">{_text(rule.id)}</strong>' if broken else f"<strong>{_text(rule.id)}</strong>"
    origin = "; ".join((rule.level, *rule.sources))
    return f'{name} {_marked(rule.text)} <span class="dim">({_text(origin)})</span>'


def _line(line: str) -> str:
    line = line.rstrip()
    way = _WAY.match(line)
    kind = "" if way is None else "out" if way[1] == ">" else "in"
    return f'<span class="{kind}">{_text(line)}</span>\n' if kind else f"{_text(line)}\n"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _text(text: str) -> str:
    return escape(text.translate(_CONTROLS))


def _marked(text: str) -> str:
    """The text, with what stands in backquotes as code."""
    return _CODE.sub(r"<code>\1</code>", _text(text))
