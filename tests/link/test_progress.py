from __future__ import annotations

import json
from typing import Any

import pytest

from agentwire.link import Progress
from agentwire.protocol.errors import LocalProtocolError, RemoteProtocolError
from agentwire.protocol.hello import Position, SessionGrant, Welcome


def welcome(received: int = 0, *, resumed: bool = False, token: str = "t") -> Welcome:
    return Welcome(session=SessionGrant(token=token, within=30, received=received), resumed=resumed)


def event(kind: str, number: int | None = None, **members: Any) -> str:
    return json.dumps({"type": kind, **({} if number is None else {"sequence_number": number}), **members})


def created(response_id: str, **members: Any) -> str:
    return event("response.created", 0, response={"id": response_id}, **members)


def test_a_new_session_is_asked_for_first_and_come_back_to_then() -> None:
    progress = Progress(within=5)
    assert (progress.hello().session, progress.hello().within) == (None, 5)
    assert progress.welcome(welcome()) == 0
    progress.take(created("resp_1"))
    progress.take(event("response.in_progress", 1, response={"id": "resp_1"}))
    progress.take(created("resp_2", stream_id="a"))
    progress.take(event("error", 0, **{"agentwire:reply": 1}))
    back = progress.hello().session
    assert back is not None
    assert (back.token, back.reply) == ("t", 1)
    assert back.lanes == (
        Position(response_id="resp_1", sequence_number=1),
        Position(stream_id="a", response_id="resp_2", sequence_number=0),
    )


def test_what_did_not_arrive_is_to_be_sent_again() -> None:
    progress = Progress()
    progress.welcome(welcome())
    for _ in range(5):
        progress.say()
    assert progress.welcome(welcome(3, resumed=True)) == 2
    assert progress.sent == 3
    with pytest.raises(RemoteProtocolError, match="taken 4 messages, and 3 were sent"):
        progress.welcome(welcome(4, resumed=True))


def test_a_session_that_is_lost_is_told_and_the_new_one_is_there() -> None:
    progress = Progress()
    progress.welcome(welcome())
    progress.welcome(welcome(token="u"))  # nothing was in it
    progress.say()
    with pytest.raises(LocalProtocolError, match="could not be resumed"):
        progress.welcome(welcome(token="v"))
    assert progress.token == "v"
    with pytest.raises(LocalProtocolError, match="could not be resumed"):
        progress.welcome(Welcome())


@pytest.mark.parametrize(
    "frames",
    [
        ["{"],
        [created("resp_1"), created("resp_1")[:-1]],
        [created("resp_1"), event("response.in_progress", 2)],
        [created("resp_1"), event("response.in_progress", 0)],
        [event("error", 0, **{"agentwire:reply": 2})],
    ],
)
def test_what_does_not_come_next_is_the_servers_fault(frames: list[str]) -> None:
    progress = Progress()
    for frame in frames[:-1]:
        progress.take(frame)
    with pytest.raises(RemoteProtocolError):
        progress.take(frames[-1])


def test_what_belongs_to_no_response_moves_nothing() -> None:
    progress = Progress()
    progress.take(event("error", 0))
    progress.take(event("agentwire:goaway"))
    assert progress.lanes == {}
    progress.take(created("resp_1"))
    progress.take(event("error", 0))
    assert progress.lanes[None].sequence_number == 0
    progress.take(event("error", 1))
    progress.take(event("keepalive", 2))
    assert progress.lanes[None].sequence_number == 2
