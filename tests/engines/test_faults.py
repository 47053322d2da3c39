"""Everything that can go wrong at an upstream, through a whole server: what the client is told, and that it goes on."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from agentwire.protocol.limits import Limits
from agentwire.testing import Pause, Reply, scripted_upstream
from tests.engines.upstreams import KINDS, Kind, client_of, serving, stand
from tests.runtime.kit import Event

Clock = trio.testing.MockClock

LIMITS = Limits(message_bytes=1 << 20, upstream_first_event=50, upstream_silence=20)
BIG = "x" * 1_000_000


@attrs.frozen
class Case:
    """A fault, and what the client is told of it.

    Attributes:
        name: what happens.
        reply: what the upstream does.
        status: the client is told.
        code: the client is told.
        says: stands in the message.
    """

    name: str
    reply: Callable[[Kind], Reply]
    status: int
    code: str
    says: str = ""

    def __str__(self) -> str:
        return self.name


def _error(status: int, **headers: str) -> Callable[[Kind], Reply]:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda kind: Reply.answer(status, {"error": {"message": "it says why", "code": "because"}}, names)


def _no_path(kind: Kind) -> Reply:
    """What llama.cpp says of a path that it does not have."""
    return Reply.answer(404, {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}})


def _no_model(kind: Kind) -> Reply:
    """What vLLM says of a model that it does not have."""
    told = {"message": "The model `m` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}
    return Reply.answer(404, {"error": told})


CASES = (
    Case("nobody there", lambda kind: Reply.refusal(), 502, "upstream_unreachable", "refused"),
    Case("401", _error(401), 502, "upstream_unauthorized", "refused this server's own key"),
    Case("nothing at the path", _no_path, 502, "upstream_not_found", "is its base URL right?"),
    Case("no such model", _no_model, 404, "model_not_found", "does not exist"),
    Case("429", _error(429, retry_after="7"), 429, "because", "it says why"),
    Case("500", _error(500), 502, "because", "it says why"),
    Case("503", _error(503), 503, "because", "it says why"),
    Case("error after the first event", lambda kind: kind.begun(kind.fault), 502, "server_error", "out of memory"),
    Case("gone without a byte", lambda kind: Reply.raw(), 502, "upstream_unreachable", "ended before the answer did"),
    Case("reset without a byte", lambda kind: Reply.raw(end="reset"), 502, "upstream_unreachable", "reset"),
    Case("half a head", lambda kind: Reply.raw(b"HTTP/1.1 200 O"), 502, "upstream_unreachable", "ended before"),
    Case(
        "reset before the first event",
        lambda kind: Reply.stream(end="reset"),
        502,
        "upstream_unreachable|upstream_disconnected",
        "reset",
    ),
    Case(
        "reset within an event",
        lambda kind: kind.begun(b'data: {"cho', end="reset"),
        502,
        "upstream_disconnected",
        "reset",
    ),
    Case(
        "cut off within a line",
        lambda kind: kind.begun(b'data: {"cho', end="close"),
        502,
        "upstream_disconnected",
        "ended before",
    ),
    Case(
        "half a line, then the end", lambda kind: kind.begun(b'data: {"cho', done=False), 502, "upstream_disconnected"
    ),
    Case("no terminal event", lambda kind: kind.begun(done=False), 502, "upstream_disconnected", "without saying"),
    Case(
        "a line of more than a megabyte",
        lambda kind: kind.begun(kind.text(BIG + BIG)),
        502,
        "upstream_protocol_error",
        "larger than 1048576 bytes",
    ),
    Case(
        "another content type",
        lambda kind: Reply.stream(b"<html>", headers={"content-type": "text/html"}),
        502,
        "upstream_protocol_error",
        "text/html instead of text/event-stream",
    ),
    Case("not JSON", lambda kind: kind.begun("{rubbish"), 502, "upstream_protocol_error"),
    Case("not HTTP", lambda kind: Reply.raw(b"SSH-2.0-x\r\n\r\n"), 502, "upstream_protocol_error", "not speak HTTP"),
    Case(
        "a broken chunk",
        lambda kind: Reply.raw(*Reply.stream(end="close").steps, b"zz\r\n"),
        502,
        "upstream_protocol_error",
        "no size of a chunk",
    ),
    Case(
        "stalls before its head", lambda kind: Reply.raw(end="stall"), 504, "upstream_timeout", "no answer within 50 s"
    ),
    Case(
        "stalls before the first event",
        lambda kind: Reply.stream(end="stall"),
        504,
        "upstream_timeout",
        "no first event within 50 s",
    ),
    Case(
        "stalls between two events",
        lambda kind: kind.begun(end="stall"),
        504,
        "upstream_timeout",
        "no further event within 20 s",
    ),
)


def check_told(events: list[Event], case: Case) -> None:
    """Exactly one ``error``, and then exactly one ``response.failed``, with the code."""
    kinds = [event["type"] for event in events]
    assert kinds.count("error") == kinds.count("response.failed") == 1, kinds
    assert kinds[-2:] == ["error", "response.failed"]
    error, failed = events[-2:]
    assert error["status"] == case.status
    assert error["error"]["code"] in case.code.split("|")
    assert failed["response"]["error"]["code"] == error["error"]["code"]
    assert case.says in error["error"]["message"]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_fault_is_told_once_and_the_next_turn_works(case: Case, kind: Kind, autojump_clock: Clock) -> None:
    async with stand(kind, case.reply(kind), kind.good(), limits=LIMITS) as found, found.client() as peer:
        check_told(await peer.ask("one"), case)
        await wait_all_tasks_blocked()  # the formal end of an answer is waited for in the background
        assert found.books[:2] == (0, 0)
        again = await peer.ask("two")
        assert again[-1]["type"] == "response.completed"
        assert again[-1]["response"]["output"][0]["content"][0]["text"] == "fine"
        assert found.upstream.open_connections <= 1


TOO_DEEP = Case(
    "nesting", lambda kind: kind.good(), 502, "upstream_protocol_error", "what it sent is nested too deeply"
)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("depth", [700, 970, 100_000])
async def test_nesting_is_told_as_a_fault_of_the_upstream(depth: int, kind: Kind, autojump_clock: Clock) -> None:
    """How much Python takes differs with its version, and reading takes more than telling it: there is one error."""
    said = json.dumps(kind.nested).replace('"..."', "[" * depth + "]" * depth)
    async with stand(kind, kind.begun(said, *kind.end("I thi")), kind.good()) as found, found.client() as peer:
        events = await peer.ask("one")
        if depth > 970 or events[-1]["type"] != "response.completed":
            check_told(events, TOO_DEEP)
        assert (await peer.ask("two"))[-1]["type"] == "response.completed"


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_how_long_to_wait_is_handed_on(kind: Kind, autojump_clock: Clock) -> None:
    reply = Reply.answer(429, {"error": {"message": "slow down"}}, {"retry-after": "7"})
    async with stand(kind, reply, kind.good()) as found, found.client() as peer:
        *_, error, failed = await peer.ask()
        assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
        assert error["headers"]["retry-after"] == "7"
        assert failed["type"] == "response.failed"


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_the_body_of_an_error_holds_nobody_up(kind: Kind, autojump_clock: Clock) -> None:
    """A status that says what happened is not kept from the client by a body that comes byte by byte."""
    drip = [part for _ in range(200) for part in (Pause(10), b" ")]
    reply = Reply.raw(b"HTTP/1.1 500 Oh\r\ncontent-length: 1000\r\n\r\n{", *drip)
    async with stand(kind, reply, kind.good(), limits=LIMITS) as found, found.client() as peer:
        begun = trio.current_time()
        *_, error, failed = await peer.ask()
        assert trio.current_time() - begun <= LIMITS.upstream_silence + 1
        assert (error["status"], failed["type"]) == (502, "response.failed")
        assert found.books == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_megabyte_in_one_line_is_an_event_like_any_other(kind: Kind, autojump_clock: Clock) -> None:
    async with stand(kind, kind.good(BIG)) as found, found.client() as peer:
        events = await peer.ask()
        assert events[-1]["response"]["output"][0]["content"][0]["text"] == BIG


@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_kept_connection_that_the_server_gave_up_is_no_fault(kind: Kind, autojump_clock: Clock) -> None:
    gone = attrs.evolve(kind.good("one"), end="close")
    async with stand(kind, gone, kind.good("two")) as found, found.client() as peer:
        for text in ("one", "two"):
            events = await peer.ask()
            assert events[-1]["response"]["output"][0]["content"][0]["text"] == text


# On real sockets


@pytest.mark.socket
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_faults_on_sockets(kind: Kind) -> None:
    listener = trio.socket.socket()
    await listener.bind(("127.0.0.1", 0))  # bound, not listening: nobody else can take the port
    nobody = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    replies = (kind.begun(b'data: {"cho', end="reset"), kind.good())
    with listener:
        async with (
            scripted_upstream(*replies, sockets=True) as upstream,
            kind.open(upstream.url) as engine,
            serving(engine) as server,
            client_of(server) as peer,
        ):
            check_told(await peer.ask(), Case("reset", lambda _: Reply(), 502, "upstream_disconnected", "reset"))
            assert (await peer.ask())[-1]["type"] == "response.completed"
        async with kind.open(nobody) as engine, serving(engine) as server, client_of(server) as peer:
            refused = Case("refused", lambda _: Reply(), 502, "upstream_unreachable", "Connection refused")
            for _ in range(2):
                check_told(await peer.ask(), refused)


@pytest.mark.socket
@pytest.mark.parametrize("kind", KINDS, ids=str)
async def test_a_server_that_speaks_no_tls(kind: Kind) -> None:
    async with scripted_upstream(kind.good(), sockets=True) as upstream:
        url = upstream.url.replace("http://", "https://")
        async with (
            kind.open(url, tls=ssl.create_default_context()) as engine,
            serving(engine) as server,
            client_of(server) as peer,
        ):
            no_tls = Case("no TLS", lambda _: Reply(), 502, "upstream_unreachable", "no TLS")
            for _ in range(2):
                check_told(await peer.ask(), no_tls)
