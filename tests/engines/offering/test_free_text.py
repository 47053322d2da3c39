"""The text of a free-text call, however its JSON is cut and however badly it is written."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.engines.offering.free_text import MOST_AFTER, FreeText


def read(pieces: Iterable[str]) -> tuple[bool, str]:
    """Whether the text came in pieces, and all of it."""
    reader = FreeText()
    text = "".join([*map(reader.feed, pieces), reader.finish()])
    return reader.begun, text


@given(st.text(max_size=40), st.booleans(), st.booleans(), st.integers(1, 9))
def test_however_it_is_cut(text: str, ascii_: bool, more: bool, size: int) -> None:
    told = {"input": text, "why": "because"} if more else {"input": text}
    sent = json.dumps(told, ensure_ascii=ascii_)
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert read(pieces) == (True, text)
    assert FreeText.whole(sent) == text


def test_what_is_certain_goes_out_at_once() -> None:
    reader = FreeText()
    said = [reader.feed(piece) for piece in (' {"in', 'put" :', ' "a', "b\\", "n", "c\\u00", 'e9"', " }", "\n")]
    assert said == ["", "", "a", "b", "\n", "c", "é", "", ""]
    assert reader.finish() == ""


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ('{"input":"print("hi")"}', 'print("hi")'),  # quotation marks that were not escaped
        ('{"input":"f("a") }"}', 'f("a") }'),
        ('{"input":"re.match(\\d+)"}', "re.match(\\d+)"),  # an escape that JSON does not have
        ('{"input":"a\nb"}', "a\nb"),  # a line end that was not escaped
        ('{"input":"\\uZZZZ"}', "\\uZZZZ"),
        ('{"input":"\\ud83d!"}', "\ud83d!"),  # half a pair
        ('{"input":"\\ud83d\\n"}', "\ud83d\n"),
        ('{"input":"it breaks off', "it breaks off"),
        ('{"input":"it breaks off\\', "it breaks off\\"),
        ('{"input":"it breaks off\\u00', "it breaks off\\u00"),
        ('{"input":"it breaks off"', "it breaks off"),
    ],
)
def test_bad_json_is_taken_as_it_is_meant(sent: str, meant: str) -> None:
    assert read(sent) == read([sent]) == (True, meant)
    assert FreeText.whole(sent) == meant


@pytest.mark.parametrize(
    "said", ["just text", '{"text": "x"}', '{"input": 3}', '"quoted"', "", "{ const x = 1 }", '{"inp']
)
def test_anything_else_is_the_text_itself(said: str) -> None:
    reader = FreeText()
    assert [reader.feed(piece) for piece in said] == [""] * len(said)
    assert not reader.begun
    assert FreeText.whole(said) == said


def test_the_input_is_found_behind_other_members() -> None:
    sent = '{"why": "because", "input": "text"}'
    assert read(sent) == (False, "")
    assert FreeText.whole(sent) == "text"


def test_blanks_without_an_end_are_text_and_cost_little() -> None:
    text = '"' + " " * 3 * MOST_AFTER
    assert read(['{"input":"', *text])[1].startswith('"' + " " * MOST_AFTER)
