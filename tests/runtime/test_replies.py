from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from agentwire.protocol.limits import Limits
from agentwire.runtime.outbox import ReserveExhausted
from agentwire.runtime.replies import Replies
from agentwire.runtime.window import Window


class Reader:
    def __init__(self) -> None:
        self.ready: list[Window] = []
        self.events: list[int] = []

    def read(self) -> None:
        while self.ready:
            self.ready.pop(0).collect(self.frame, 1 << 20)

    def frame(self, events: Sequence[bytes]) -> bytes:
        self.events += [json.loads(event)["agentwire:reply"] for event in events]
        return b""


def said(replies: Replies, reader: Reader, count: int = 1, size: int = 10) -> None:
    for _ in range(count):
        replies.say({"type": "error", "x": "x" * size}, b"}", reader.ready.append)


def test_answers_are_numbered_and_can_be_read_again() -> None:
    replies, reader = Replies(Limits()), Reader()
    said(replies, reader, 3)
    reader.read()
    assert reader.events == [1, 2, 3]
    for number in range(4):
        assert len(replies.after(number)) == 3 - number
    for window, first in replies.after(1):
        assert first == 0
        window.rewind(0, reader.ready.append)
        reader.ready.append(window)
    reader.read()
    assert reader.events == [1, 2, 3, 2, 3]


def test_a_number_that_was_never_said_is_refused() -> None:
    with pytest.raises(ValueError, match="there was no reply 1"):
        Replies(Limits()).after(1)


def test_old_answers_are_forgotten_once_they_were_sent() -> None:
    replies, reader = Replies(Limits(reply_bytes=1000)), Reader()
    for _ in range(10):
        said(replies, reader, size=150)
        reader.read()
    assert len(replies.after(5)) == 5
    with pytest.raises(ValueError, match="reply 3 is not kept any more"):
        replies.after(2)


def test_an_answer_larger_than_all_that_is_kept_passes() -> None:
    replies, reader = Replies(Limits(reply_bytes=1000)), Reader()
    said(replies, reader, size=5000)
    assert len(replies.after(0)) == 1
    reader.read()
    said(replies, reader)
    reader.read()
    assert reader.events == [1, 2]
    with pytest.raises(ValueError, match="reply 1 is not kept"):
        replies.after(0)


def test_who_reads_none_of_them_exhausts_the_reserve() -> None:
    replies, reader = Replies(Limits(reply_bytes=1000)), Reader()
    with pytest.raises(ReserveExhausted, match="does not read them"):
        said(replies, reader, 20, size=150)
    reader.read()
    said(replies, reader)
    reader.read()
    assert reader.events == [1, 2, 3, 4, 5, 6, 7]


def test_refusals_that_turns_still_hold_stand_in_their_place() -> None:
    replies, reader = Replies(Limits()), Reader()
    said(replies, reader)
    number = replies.draw()
    refused = Window(limit=100, ready=reader.ready.append, keep=1000)
    refused.put_nowait(b'{"agentwire:reply":2,"sequence_number":', b"")
    said(replies, reader)
    windows = replies.after(0, [(number, refused)])
    assert windows[1] == (refused, 0)
    assert len(windows) == 3


def test_a_window_may_hold_several() -> None:
    """What refuses a request may have more to say: what becomes of the steers that waited for it."""
    replies, reader = Replies(Limits(reply_bytes=300)), Reader()
    said(replies, reader)
    refused = Window(limit=100, ready=reader.ready.append, keep=1000)
    first = replies.draw()
    for _ in range(2):
        refused.put_nowait(b'{"x":"%b","agentwire:reply":2,"n":' % (b"x" * 50), b"")
    replies.draw()
    assert replies.after(1, [(first, refused)]) == [(refused, 0)]
    assert replies.after(2, [(first, refused)]) == [(refused, 1)]
    assert replies.after(3, [(first, refused)]) == []
    replies.keep(first, refused)
    reader.read()
    said(replies, reader, size=200)
    assert replies.after(3)[0][1] == 0
    with pytest.raises(ValueError, match="reply 3 is not kept"):
        replies.after(2)
