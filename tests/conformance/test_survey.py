"""What a run finds out about a server, and what it says of one that cannot be looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentwire.engines import builtin
from agentwire.engines.chat import open_chat_engine
from agentwire.runtime.contracts import Ask, Finish, Out
from agentwire.runtime.groups import open_flat_nursery
from agentwire.testing import MemoryStream, network
from agentwire.testing.conformance import Peer
from agentwire.testing.conformance.companion import open_companion
from agentwire.testing.conformance.survey import ANY_MODEL, NotReached, survey
from agentwire.transport.dial import ConnectFailed
from tests.conformance.kit import in_memory
from tests.server.kit import serving

Talk = Callable[[MemoryStream], Awaitable[None]]


def unknown(peer: Peer, **more: object) -> Peer:
    """The same server, of which nothing was said but its address."""
    bare = Peer(peer.url, model="", key=peer.key, dial=peer.dial)
    return attrs.evolve(bare, **more)  # type: ignore[arg-type]


async def test_what_our_own_server_can_do_is_found_out(autojump_clock: MockClock) -> None:
    async with in_memory("openai") as peer:
        found = await survey(unknown(peer, slow_model="slow"))
    assert found.answers
    assert found.peer.model in ("builtin", ANY_MODEL)
    assert found.peer.able == {"tools", "reasoning", "steering"}
    assert "keys" in found.peer.abilities
    told = " ".join(found.told)
    for said in ("asks for an API key", "calls a function", "summary of its reasoning", "can be steered"):
        assert said in told


async def test_a_key_that_nobody_looks_at_proves_nothing(autojump_clock: MockClock) -> None:
    async with serving(builtin(), net=network(keep=False)) as rig:
        peer = Peer("http://localhost/v1", model="m", key="sk-any", second_key="sk-other", dial=rig.dial)
        found = await survey(peer)
    assert not found.peer.abilities & {"keys", "second key"}
    assert found.peer.key == "sk-any"
    assert "without the API key" in found.told[0]


async def test_a_key_is_missing_or_refused(autojump_clock: MockClock) -> None:
    async with in_memory("openai") as peer:
        with pytest.raises(NotReached, match="asks for an API key, and none was given"):
            await survey(unknown(peer, key=None))
        with pytest.raises(NotReached, match="refuses the API key"):
            await survey(unknown(peer, key="sk-wrong"))


async def test_models_of_the_companion_are_found_through_the_server(autojump_clock: MockClock) -> None:
    net = network(keep=False)
    async with open_companion(net=network(keep=False)) as companion:
        engine = open_chat_engine(companion.url, connector=companion.connect)
        async with engine as relay, serving(relay, net=net) as rig:
            found = await survey(Peer("http://localhost/v1", model="", companion=companion, dial=rig.dial))
    assert (found.peer.slow_model, found.peer.failing_model) == ("companion-slow", "companion-fails")
    assert "companion-slow, companion-fails" in " ".join(found.told)


async def test_the_patience_of_a_case_is_not_spent_on_a_model_that_fails(autojump_clock: MockClock) -> None:
    quick = builtin()

    async def engine(ask: Ask, out: Out) -> Finish | None:
        if ask.model == "companion-fails":
            await trio.sleep_forever()
        return await quick(ask, out)

    async with open_companion(net=network(keep=False)) as companion, serving(engine, net=network(keep=False)) as rig:
        begun = trio.current_time()
        found = await survey(Peer("http://localhost/v1", model="m", companion=companion, dial=rig.dial), timeout=700)
        assert trio.current_time() - begun < 60
    assert found.peer.failing_model is None


async def test_the_socket_alone_may_be_looked_at(autojump_clock: MockClock) -> None:
    async with in_memory("openai") as peer:
        found = await survey(unknown(peer), turns=False)
        assert found.told == ("a WebSocket opens at /v1/responses",)
        found = await survey(unknown(attrs.evolve(peer, url="ws://localhost/v1")), turns=False)
        assert found.peer.websocket == "/v1/responses"
        with pytest.raises(NotReached, match=r"opens no WebSocket .*/other/responses: .*404.*/other: .*404"):
            await survey(unknown(attrs.evolve(peer, url="http://localhost/other")), turns=False)
    with pytest.raises(NotReached, match="connection refused"):
        await survey(Peer("ws://localhost", model="", dial=nobody), turns=False)


async def nobody() -> MemoryStream:
    raise ConnectFailed("localhost:80", "connection refused")


async def test_nobody_answers() -> None:
    with pytest.raises(NotReached, match="connection refused"):
        await survey(Peer("http://localhost/v1", model="", dial=nobody))


async def _strange(talk: Talk, *, turns: bool = True) -> object:
    """What is found of a server that talks like this."""
    net = network(keep=False)
    listener = net.listener()

    async def handle(stream: trio.abc.Stream) -> None:
        assert isinstance(stream, MemoryStream)
        async with stream:
            await stream.receive_some()
            await talk(stream)

    async with open_flat_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, handle, [listener]))
        try:
            return await survey(Peer("http://localhost/v1", model="m", dial=net.connect), turns=turns, timeout=5)
        finally:
            nursery.cancel_scope.cancel(reason="the survey is over")


async def _say_nothing(stream: MemoryStream) -> None:
    await trio.sleep_forever()


async def _say(stream: MemoryStream, answer: bytes) -> None:
    await stream.send_all(answer)


async def test_a_server_that_says_nothing(autojump_clock: MockClock) -> None:
    with pytest.raises(NotReached, match="says nothing within 5 s"):
        await _strange(_say_nothing)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_of_something_else(status: int, autojump_clock: MockClock) -> None:
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno".encode()
    with pytest.raises(
        NotReached, match=f"WebSocket with HTTP {status}, and a POST with HTTP {status}; is the base URL"
    ):
        await _strange(partial(_say, answer=answer))


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"", b"\x00" * 70_000, b"HTTP/1.1 200 OK\r\n\r\n[1, 2"])
async def test_a_server_that_says_rubbish_is_looked_at_all_the_same(answer: bytes, autojump_clock: MockClock) -> None:
    found = await _strange(partial(_say, answer=answer))
    assert isinstance(found.told, tuple)  # type: ignore[attr-defined]
    assert not found.answers  # type: ignore[attr-defined]
