"""Writing: words, tokens, bounds, delays."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agentwire.engines.builtin.arguments import Job
from agentwire.engines.builtin.pen import Pen, count_tokens, pieces
from agentwire.engines.builtin.toolbox import Offer
from agentwire.protocol.ids import Sources
from agentwire.testing.recording import RecordingOut

NEW_ID = Sources.seeded(1).new_id


@given(st.text(max_size=200))
def test_pieces_join_to_the_text_and_none_is_long(text: str) -> None:
    cut = list(pieces(text))
    assert "".join(cut) == text
    assert all(len(piece.strip()) <= 32 for piece in cut)
    assert count_tokens(text) >= len(text.split())


async def test_text_comes_word_by_word(autojump_clock: MockClock) -> None:
    out = RecordingOut()
    pen = Pen(out, new_id=NEW_ID, delay=0.5)
    await pen.text("one two  three")
    assert [event[1] for event in out.events] == ["one", " two", "  three"]
    assert trio.current_time() == 1.5
    assert pen.used == 4


async def test_the_bound_stops_the_text_between_two_words() -> None:
    out = RecordingOut()
    pen = Pen(out, new_id=NEW_ID, most=2)
    await pen.text("one two three")
    await pen.text("x")
    assert out.text_written == "one two"
    assert pen.finish(10, 20).incomplete == "max_output_tokens"


async def test_a_summary_or_a_call_goes_out_whole_or_not_at_all() -> None:
    out = RecordingOut()
    pen = Pen(out, new_id=NEW_ID, most=7)
    job = Job(Offer("grep"), {"q": "x"})
    await pen.summary("two words")
    await pen.call(job)
    assert [event[0] for event in out.events] == ["summary", "call"]
    assert (pen.used, pen.thought) == (7, 3)
    await pen.call(job)
    await pen.summary("no more")
    assert len(out.events) == 2
    finish = pen.finish(10, 20)
    assert finish.incomplete == "max_output_tokens"
    assert finish.usage is not None
    assert (finish.usage.cached_tokens, finish.usage.reasoning_tokens, finish.usage.output_tokens) == (10, 3, 7)


async def test_a_call_waits_too(autojump_clock: MockClock) -> None:
    out = RecordingOut()
    pen = Pen(out, new_id=NEW_ID, delay=2)
    await pen.call(Job(Offer("note", "custom"), "free"))
    assert out.events == [("call", "note", "free")]
    assert trio.current_time() == 2
