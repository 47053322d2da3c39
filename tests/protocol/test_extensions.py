"""What may be asked beyond the protocol, what is granted, and what is wrong with what cannot be read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentwire.protocol import extensions
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RemoteProtocolError, RequestError
from agentwire.protocol.extensions import Granted, Permitted, grant, welcome
from agentwire.protocol.hello import (
    EXTENSIONS,
    Hello,
    Position,
    Return,
    SessionGrant,
    decode_hello,
    decode_welcome,
    encode_hello,
    read_header,
)
from agentwire.protocol.limits import Limits

ALL = Permitted.of(EXTENSIONS, 60)


def hello(**members: Any) -> bytes:
    return encode_json({"type": "agentwire:hello", **members})


@pytest.mark.parametrize(
    ("names", "within", "header"),
    [
        (EXTENSIONS, 60, "goaway, response.cancel, sessions; within=60"),
        (EXTENSIONS, 0.5, "goaway, response.cancel, sessions; within=0.5"),
        (EXTENSIONS, 0, "goaway, response.cancel"),
        (["goaway"], 60, "goaway"),
        ([], 60, ""),
    ],
)
def test_what_is_permitted_is_announced(names: list[str], within: float, header: str) -> None:
    assert Permitted.of(names, within).header == header


def test_a_permission_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="no extension 'session'; there are goaway"):
        Permitted.of(["session"], 1)
    for within in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="0 or more seconds"):
            Permitted.of(EXTENSIONS, within)


@pytest.mark.parametrize(
    ("permitted", "asked", "granted"),
    [
        (ALL, Hello(extensions=EXTENSIONS), Granted(frozenset(EXTENSIONS), 60)),
        (ALL, Hello(extensions=("sessions",), within=30), Granted(frozenset(["sessions"]), 30)),
        (ALL, Hello(extensions=("sessions",), within=300), Granted(frozenset(["sessions"]), 60)),
        (ALL, Hello(extensions=("goaway", "other"), within=30), Granted(frozenset(["goaway"]), 0)),
        (Permitted.of(EXTENSIONS, 0), Hello(extensions=EXTENSIONS), Granted(frozenset(["goaway", "response.cancel"]))),
        (Permitted(), Hello(extensions=EXTENSIONS), Granted()),
    ],
)
def test_what_is_granted_is_what_is_asked_for_and_permitted(
    permitted: Permitted, asked: Hello, granted: Granted
) -> None:
    assert grant(permitted, asked) == granted
    assert (granted.goaway, granted.cancel, granted.sessions) == tuple(name in granted.names for name in EXTENSIONS)


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ((), None),
        (("",), None),
        ((" , ",), None),
        (("goaway",), Hello(extensions=("goaway",))),
        (
            ("response.cancel, sessions; within=30", "goaway"),
            Hello(extensions=("response.cancel", "sessions", "goaway"), within=30),
        ),
        (("sessions ; colour=blue ; within = 2.5",), Hello(extensions=("sessions",), within=2.5)),
        (("goaway;within=nonsense",), Hello(extensions=("goaway",))),
    ],
)
def test_a_header_asks(values: tuple[str, ...], asked: Hello | None) -> None:
    assert read_header(values) == asked


@pytest.mark.parametrize(
    "value", ["sessions;within", "sessions;within=0", "sessions;within=inf", "sessions;within=soon", "a," * 65]
)
def test_a_header_that_cannot_be_read_is_refused(value: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_header((value,))
    assert (caught.value.status, caught.value.param) == (400, "agentwire-extensions")


@pytest.mark.parametrize(
    ("members", "code", "param"),
    [
        ({}, "missing_required_parameter", "extensions"),
        ({"extensions": "sessions"}, "invalid_type", "extensions"),
        ({"extensions": [1]}, "invalid_type", "extensions[0]"),
        ({"extensions": ["x"] * 65}, "invalid_value", "extensions"),
        ({"extensions": [], "within": 0}, "invalid_value", "within"),
        ({"extensions": [], "within": "30"}, "invalid_type", "within"),
        ({"extensions": [], "session": {"token": "t"}}, "invalid_value", "extensions"),
        ({"session": []}, "invalid_type", "session"),
        ({"session": {}}, "missing_required_parameter", "session.token"),
        ({"session": {"token": ""}}, "invalid_value", "session.token"),
        ({"session": {"token": "t" * 257}}, "invalid_value", "session.token"),
        ({"session": {"token": "t", "reply": -1}}, "invalid_value", "session.reply"),
        ({"session": {"token": "t", "lanes": {}}}, "invalid_type", "session.lanes"),
        ({"session": {"token": "t", "lanes": [{}]}}, "missing_required_parameter", "session.lanes[0].response_id"),
        (
            {"session": {"token": "t", "lanes": [{"response_id": "r", "sequence_number": -1}]}},
            "invalid_value",
            "session.lanes[0].sequence_number",
        ),
        (
            {"session": {"token": "t", "lanes": [{"stream_id": "ä", "response_id": "r", "sequence_number": 1}]}},
            "invalid_stream_id",
            "session.lanes[0].stream_id",
        ),
        (
            {"session": {"token": "t", "lanes": [{"response_id": "r", "sequence_number": 1}] * 2}},
            "invalid_value",
            "session.lanes[1].stream_id",
        ),
        (
            {
                "session": {
                    "token": "t",
                    "lanes": [{"stream_id": str(n), "response_id": "r", "sequence_number": 1} for n in range(34)],
                }
            },
            "invalid_value",
            "session.lanes",
        ),
    ],
)
def test_a_hello_that_does_not_fit_is_told_where(members: dict[str, Any], code: str, param: str) -> None:
    if "session" in members and "extensions" not in members:
        members = {"extensions": ["sessions"], **members}
    with pytest.raises(RequestError) as caught:
        decode_hello(hello(**members), Limits())
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, param)


def test_a_hello_is_bounded() -> None:
    with pytest.raises(RequestError, match="at most 1000 bytes"):
        decode_hello(hello(extensions=["x" * 1000]), Limits(interrupt_bytes=1000))
    with pytest.raises(RequestError) as caught:
        decode_hello(hello(extensions=[], more=[[]] * 100), Limits(json_values=50))
    assert caught.value.code == "request_too_complex"


positions = st.builds(
    Position,
    stream_id=st.none() | st.from_regex(r"[A-Za-z0-9_.-]{1,8}", fullmatch=True),
    response_id=st.text(min_size=1, max_size=20),
    sequence_number=st.integers(0, 1 << 40),
)


@given(
    st.builds(
        Hello,
        extensions=st.lists(st.text(), max_size=5).map(lambda names: (*names, "sessions")),
        within=st.none() | st.floats(0.01, 1e6),
        session=st.none()
        | st.builds(
            Return,
            token=st.text(min_size=1, max_size=64),
            reply=st.integers(0, 1 << 40),
            lanes=st.lists(positions, max_size=5, unique_by=lambda at: at.stream_id).map(tuple),
        ),
    )
)
def test_what_a_client_says_is_what_a_server_reads(said: Hello) -> None:
    assert decode_hello(encode_hello(said), Limits()) == said


def test_unknown_members_are_passed_over() -> None:
    read = decode_hello(hello(extensions=["goaway"], colour="blue"), Limits())
    assert read.extensions == ("goaway",)


def test_a_welcome_is_read_as_it_was_written() -> None:
    told = decode_welcome(encode_json(welcome(grant(ALL, Hello(extensions=EXTENSIONS)), token="t", received=3)))
    assert told.extensions == EXTENSIONS
    assert told.session == SessionGrant(token="t", within=60, received=3)
    assert not told.resumed
    plain = decode_welcome(encode_json(welcome(Granted(frozenset(["goaway"])))))
    assert (plain.extensions, plain.session) == (("goaway",), None)


@pytest.mark.parametrize(
    "frame", [b"{", b"[]", b'{"type":"response.created"}', b'{"type":"agentwire:welcome","session":{}}']
)
def test_something_else_is_no_welcome(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_welcome(frame)


def test_an_announced_end_tells_the_seconds_that_are_left() -> None:
    assert extensions.goaway("drain", 29.96) == {"type": "agentwire:goaway", "reason": "drain", "seconds": 30.0}
    assert extensions.goaway("drain", -1)["seconds"] == 0


def test_errors_name_what_is_wrong() -> None:
    assert extensions.not_running(None).param == "response_id"
    assert "resp_1" in extensions.not_running("resp_1").message
    assert extensions.session_gap("it is not kept").message.endswith("it is not kept.")
