"""A report is a value: counted, judged, written and read again, and one page that shows what others wrote as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.testing.report import (
    LEVELS,
    VERDICTS,
    Reference,
    Report,
    Row,
    Tally,
    Verdict,
    from_json,
    to_html,
    to_json,
    without_secrets,
)

RULE = Reference(id="AW-H-001", text="A server answers `101`.", sources=("RFC 6455",), level="must")
OTHER = Reference(id="AW-H-002", text="It says who it is.", level="should")


def row(verdict: Verdict = "passed", number: str = "AWC-001", **more: object) -> Row:
    values = {"name": "a_case", "topic": "Handshake", "title": "Ask, and wait.", "rules": (RULE, OTHER), **more}
    return Row(number=number, verdict=verdict, **values)  # type: ignore[arg-type]


def report(*rows: Row, **more: object) -> Report:
    values = {"kind": "server", "subject": "http://127.0.0.1:1/v1", "started_at": "2026-01-02T03:04:05Z", **more}
    return Report(rows=rows, **values)  # type: ignore[arg-type]


def test_rows_are_counted() -> None:
    tally = report(*(row(verdict) for verdict in VERDICTS), row("passed")).tally
    assert tally == Tally(passed=2, failed=1, fell_short=1, differs=1, not_applicable=1)
    assert str(tally) == "2 passed, 1 failed, 1 fell short, 1 differs, 1 not applicable"
    assert str(Tally()) == "nothing was run"


@pytest.mark.parametrize(
    ("verdict", "good", "strictly"),
    [
        ("passed", True, True),
        ("differs", True, True),
        ("not applicable", True, True),
        ("fell short", True, False),
        ("failed", False, False),
    ],
)
def test_what_makes_a_report_bad(verdict: Verdict, good: bool, strictly: bool) -> None:
    one = report(row(), row(verdict))
    assert (one.good(), one.good(strict=True)) == (good, strictly)


def test_a_broken_rule_is_called_by_its_level() -> None:
    assert {level: LEVELS[level] for level in ("must", "should", "choice")} == LEVELS
    assert set(LEVELS.values()) < VERDICTS.keys()


def test_a_failure_is_told_with_the_rules_that_were_broken() -> None:
    assert row("failed").told == (RULE, OTHER)
    assert row("failed", broken=("AW-H-002",)).told == (OTHER,)


def test_topics_come_in_the_order_of_the_run() -> None:
    one = report(row(topic="Lanes"), row(topic="Handshake"), row(topic="Lanes"))
    assert {topic: len(rows) for topic, rows in one.topics().items()} == {"Lanes": 2, "Handshake": 1}
    assert list(one.topics()) == ["Lanes", "Handshake"]


TEXTS = st.text(max_size=20)
REFERENCES = st.builds(
    Reference, id=TEXTS, text=TEXTS, sources=st.lists(TEXTS, max_size=2), level=st.sampled_from(list(LEVELS))
)
ROWS = st.builds(
    Row,
    number=TEXTS,
    name=TEXTS,
    topic=TEXTS,
    title=TEXTS,
    verdict=st.sampled_from(list(VERDICTS)),
    rules=st.lists(REFERENCES, max_size=2),
    broken=st.lists(TEXTS, max_size=2),
    why=TEXTS,
    advice=TEXTS,
    evidence=st.lists(TEXTS, max_size=3),
    seconds=st.floats(0, 1e6),
)
REPORTS = st.builds(
    Report,
    kind=st.sampled_from(["server", "client"]),
    subject=TEXTS,
    profile=TEXTS,
    options=st.dictionaries(TEXTS, TEXTS, max_size=2),
    found=st.lists(TEXTS, max_size=2),
    complete=st.booleans(),
    rows=st.lists(ROWS, max_size=4),
)


@given(REPORTS)
def test_json_brings_back_the_same_report(one: Report) -> None:
    assert from_json(to_json(one)) == one


def test_what_a_later_version_adds_is_ignored() -> None:
    said = to_json(report(row())).replace('"kind"', '"colour": "blue", "kind"')
    assert from_json(said) == report(row())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "not JSON"),
        (b"\xff", "not JSON"),
        ("[]", "lacks 'agentwire-report'"),
        ("{}", "lacks 'agentwire-report'"),
        ('{"form":"agentwire-report","form_version":2}', "has version 2"),
        ('{"form":"agentwire-report","form_version":1}', "damaged"),
    ],
)
def test_what_is_no_report(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        from_json(text)


class Page(HTMLParser):
    """What is in a page: its elements, what is loaded, and whether each element is closed where it should be."""

    VOID = ("meta", "input", "br", "link", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def ids(self) -> list[str]:
        return [str(given["id"]) for _, given in self.seen if "id" in given]


ODD = "<script>alert(1)</script>\x1b[31m\x00 & \" ' `</code>`"


@given(REPORTS)
def test_the_page_is_whole_whatever_is_in_it(one: Report) -> None:
    Page(to_html(one))


def test_nothing_in_the_page_comes_from_elsewhere_or_runs() -> None:
    odd = row("failed", name=ODD, topic=ODD, title=ODD, why=ODD, advice=ODD, evidence=(ODD,), rules=(RULE,))
    page = to_html(report(odd, subject=ODD, profile=ODD, options={ODD: ODD}, found=(ODD,)))
    seen = Page(page).seen
    assert not {tag for tag, _ in seen} & {"script", "link", "img", "iframe", "object", "svg"}
    assert not {name for _, given in seen for name in given if name == "src" or name.startswith("on")}
    assert all(str(given["href"]).startswith("#") for _, given in seen if "href" in given)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]|url\(|@import", page)


def test_each_row_unfolds_with_its_rules_and_what_was_seen() -> None:
    evidence = ('   0.001  ws1 > {"type":"response.create"}', "   0.002  ws1 < close 1006 ", "something else")
    bad = row(
        "failed", "AWC-007", why="It was closed.", advice="Answer with `101`.", evidence=evidence, broken=[RULE.id]
    )
    page = to_html(report(row(), bad, row("not applicable", "AWC-009", why="it needs luck", advice="Nothing.")))
    assert Page(page).ids().count("AWC-007") == 1
    failed = page[page.index('<details class="row failed"') :].partition("</details>")[0]
    for said in ("It was closed.", "Answer with <code>101</code>.", "RFC 6455", "AW-H-002", "something else"):
        assert said in failed
    assert '<span class="out">   0.001' in failed
    assert '<span class="in">   0.002' in failed
    assert '<strong class="mark">AW-H-001</strong>' in failed
    assert '<a href="#AWC-007">' in page
    assert "Nothing." not in page.partition('id="AWC-009"')[2]


def test_only_verdicts_that_there_are_can_be_filtered() -> None:
    ids = Page(to_html(report(row(), row("fell short")))).ids()
    assert [name for name in ids if name.startswith("show-")] == ["show-fell-short", "show-passed"]


@pytest.mark.parametrize(
    ("rows", "complete", "said"),
    [
        ((row("failed"), row("failed")), True, "2 checks failed."),
        ((row("failed"),), False, "1 check failed. The run was stopped before its end."),
        ((row(), row("differs")), True, "Nothing failed."),
        ((row("not applicable"),), True, "Nothing could be checked."),
        ((), False, "Nothing could be checked. The run was stopped"),
    ],
)
def test_the_judgement_is_a_sentence(rows: tuple[Row, ...], complete: bool, said: str) -> None:
    assert said in to_html(report(*rows, complete=complete))


def test_secrets_are_blotted_out() -> None:
    one = row("failed", why="no sk-secret here", evidence=("sk-secret-2 and sk-secret",), title="sk-secret")
    clean = without_secrets(
        report(one, subject="run sk-secret", options={"start": "x --key sk-secret"}, found=["sk-secret"]),
        ["sk-secret", "", "a", "sk-secret-2"],
    )
    assert clean.rows[0] == attrs.evolve(one, why="no [key] here", evidence=("[key] and [key]",))
    assert (clean.subject, clean.options, clean.found) == ("run [key]", {"start": "x --key [key]"}, ("[key]",))
    assert without_secrets(clean, []) is clean
