from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentwire.protocol.limits import Limits
from agentwire.runtime.contracts import Ask, Out
from tests.runtime.kit import check_lanes
from tests.server.kit import Peer, Refused, serving


async def hello(ask: Ask, out: Out) -> None:
    await out.text("hello")


Headers = list[tuple[str, str]]


async def refusal(headers: Headers, **options: Any) -> Refused:
    async with serving(hello, **options) as rig:
        with pytest.raises(Refused) as refused:
            await rig.connect(headers=headers)
        assert rig.server.statistics().sessions_total == 0
        return refused.value


async def test_an_upgrade_is_answered_with_its_request_id(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        peer = await rig.connect()
        assert peer.headers["x-request-id"].startswith("req_")
        assert "sec-websocket-extensions" not in peer.headers
        assert "sec-websocket-protocol" not in peer.headers
        await peer.close()


@pytest.mark.parametrize(
    "headers",
    [
        [("openai-beta", "responses_websockets=2026-02-06"), ("authorization", "Bearer sk-any")],
        [("content-type", "application/json"), ("accept", "application/json")],
        [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")],
        [("sec-websocket-protocol", "openai-beta.responses-v1, other")],
        [("x-codex-turn-metadata", "\xe9\xff"), ("user-agent", "ag\xebnt")],
    ],
    ids=["codex", "openai", "deflate", "subprotocols", "not ASCII"],
)
async def test_what_clients_send_along_is_no_hindrance(headers: Headers, autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        peer = await rig.connect(headers=headers)
        await peer.ask()
        await peer.close()


async def test_a_key_is_asked_for_before_the_upgrade(autojump_clock: MockClock) -> None:
    refused = await refusal([], keys=["secret"])
    assert (refused.status, refused.error["code"]) == (401, "missing_api_key")
    assert refused.headers["www-authenticate"] == "Bearer"
    refused = await refusal([("authorization", "Bearer wrong")], keys=["secret"])
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


async def test_principals_do_not_see_each_other(autojump_clock: MockClock) -> None:
    async with serving(hello, keys=["one", "two"]) as rig:
        one = await rig.connect(headers=[("authorization", "Bearer one")])
        two = await rig.connect(headers=[("authorization", "Bearer two")])
        kept = (await one.ask(store=True))[-1]["response"]["id"]
        (error,) = await two.ask(previous_response_id=kept)
        assert error["error"]["code"] == "previous_response_not_found"
        again = await rig.connect(headers=[("authorization", "Bearer one")])
        assert (await again.ask(previous_response_id=kept))[-1]["type"] == "response.completed"


async def test_browsers_are_refused_unless_their_page_is_allowed(autojump_clock: MockClock) -> None:
    page = [("origin", "https://example.com")]
    refused = await refusal(page)
    assert (refused.status, refused.error["code"]) == (403, "origin_not_allowed")
    async with serving(hello, allowed_origins=["https://example.com"]) as rig:
        await (await rig.connect(headers=page)).ask()


async def test_connections_are_bounded(autojump_clock: MockClock) -> None:
    async with serving(hello, limits=Limits(connections=2)) as rig:
        peers = [await rig.connect() for _ in range(2)]
        with pytest.raises(Refused) as refused:
            await rig.connect()
        assert (refused.value.status, refused.value.error["code"]) == (503, "server_is_overloaded")
        assert refused.value.headers["retry-after"] == "5"
        await peers[0].close()
        await wait_all_tasks_blocked()
        await (await rig.connect()).ask()


async def test_many_at_once_do_not_slip_through(autojump_clock: MockClock) -> None:
    async with serving(hello, limits=Limits(connections=3)) as rig:
        refused = 0

        async def come() -> None:
            nonlocal refused
            try:
                await rig.connect()
            except Refused:
                refused += 1

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(come)
        assert refused == 7
        assert rig.server.statistics().connections == 3


async def test_an_upgrade_after_other_requests(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        http = await rig.http()
        assert (await http.ask(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")).status == 200
        assert (await http.ask(b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\n\r\n")).status == 426
        peer = Peer(http.stream)
        await peer.shake_hands()
        await peer.ask()
        await peer.close()


async def test_binary_frames_are_read_as_text(autojump_clock: MockClock) -> None:
    async with serving(hello) as rig:
        peer = await rig.connect()
        await peer.say(b'{"type":"response.create","model":"m","input":"hi","store":false}')
        await peer.until()
        await peer.say(b"hello")
        await peer.until("error")
        await peer.ask()
        check_lanes(peer.events)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x85\0\0\0\0hell\xff", 1007),
        (b"\x81\x05hello", 1002),
        (b"\xc1\x85\0\0\0\0hello", 1002),
        (b"\x83\x85\0\0\0\0hello", 1002),
        (b"\x80\x85\0\0\0\0hello", 1002),
        (b"\x89\xfe\x00\xff\0\0\0\0", 1002),
        (b"\x81\xff\0\0\0\0\xff\0\0\0\0\0\0\0", 1009),
    ],
    ids=["not UTF-8", "unmasked", "reserved bit", "reserved opcode", "no beginning", "long ping", "4 GiB"],
)
async def test_who_breaks_the_framing_is_told_with_which_code(
    frame: bytes, code: int, autojump_clock: MockClock
) -> None:
    async with serving(hello) as rig:
        peer, healthy = await rig.connect(), await rig.connect()
        await peer.stream.send_all(frame)
        assert (await peer.read_on()).code == code
        await peer.stream.aclose()
        await healthy.ask()
        await healthy.close()
        await rig.gone()
        assert rig.server.statistics().ended == {"protocol error": 1, "closed by the client": 1}


@pytest.mark.parametrize("filler", ["x", "é", "語", "🐘"])
async def test_a_message_of_the_largest_size_and_one_byte_more(filler: str, autojump_clock: MockClock) -> None:
    """Bytes count, and not characters."""
    async with serving(hello, limits=Limits(message_bytes=10_000)) as rig:
        peer = await rig.connect()
        message = '{"type":"response.create","model":"m","store":false,"input":"PLACE"}'
        room = 10_000 - len(message.replace("PLACE", ""))
        count, rest = divmod(room, len(filler.encode()))
        fits = message.replace("PLACE", filler * count + "x" * rest)
        assert len(fits.encode()) == 10_000
        await peer.say(fits)
        assert (await peer.until())[-1]["type"] == "response.completed"
        await peer.say(fits + " ")
        assert (await peer.read_on()).code == 1009
