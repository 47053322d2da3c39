"""Delta events are read the same, whichever way they are read."""

from __future__ import annotations

import json
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol import decode_event
from agentwire.protocol.checks import Misfit
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.protocol.events import Event, OutputTextDelta
from agentwire.protocol.pieces import Piece, read_piece
from agentwire.protocol.reading import served_reader

SLOWLY = served_reader(Event)
PIECES = {cls.type: cls for cls in typing.get_args(Piece)}
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 2**70), st.sampled_from([0.0, 1.0, 1.5, -2.0, 1e300]),
    st.text(max_size=3), st.just([]), st.just([{"token": "a"}]), st.just({}),
)  # fmt: skip
MEMBERS = (
    "item_id", "output_index", "content_index", "summary_index", "delta", "sequence_number", "stream_id", "logprobs",
    "obfuscation", "agentwire:more",
)  # fmt: skip
WHOLE = {"item_id": "i", "output_index": 0, "content_index": 0, "summary_index": 0, "delta": "x"}


def slowly(members: dict[str, Any]) -> Any:
    try:
        return SLOWLY(json.loads(json.dumps(members)))
    except Misfit:
        return None


@given(st.sampled_from(sorted(PIECES)), st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=4), st.booleans())
def test_a_piece_is_what_the_tolerant_reader_makes_of_it(kind: str, members: dict[str, Any], last: bool) -> None:
    event = {**WHOLE, **members, "type": kind} if last else {"type": kind, **WHOLE, **members}
    read: Event | None
    try:
        read = decode_event(json.dumps(event))
    except RemoteProtocolError:
        read = None
    expected = slowly(event)
    assert read == expected
    assert type(read) is type(expected)
    assert repr(read) == repr(expected), "1 is not 1.0"


@pytest.mark.parametrize("cls", PIECES.values())
def test_what_servers_send_is_read_here(cls: Any) -> None:
    names = set(typing.get_type_hints(cls)) & set(WHOLE)
    event = {"type": cls.type, "sequence_number": 4, **{name: WHOLE[name] for name in names}, "obfuscation": "ab"}
    piece = read_piece(json.dumps(event))
    assert type(piece) is cls
    assert piece == slowly(event)


def test_anything_else_is_left_alone() -> None:
    for frame in (b"", b"{", b"[]", b'{"type":"response.created"}', b'{"type":1}', b"\xff", b"[" * 100_000):
        assert read_piece(frame) is None


def test_members_of_the_future_are_kept() -> None:
    event = decode_event(json.dumps({"type": OutputTextDelta.type, **WHOLE, "summary_index": 9, "new": [1]}))
    assert isinstance(event, OutputTextDelta)
    assert event.extra == {"summary_index": 9, "new": [1]}
