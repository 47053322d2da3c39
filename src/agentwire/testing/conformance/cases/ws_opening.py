"""Cases about the opening handshake of any WebSocket server."""

from __future__ import annotations

import base64
from typing import Final

import trio

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.strict import answer_to, opened, upgrade
from agentwire.testing.conformance.turns import check
from agentwire.testing.conformance.wire import PING, frame

__all__ = [
    "a_handshake_is_answered_for_its_key",
    "a_handshake_may_come_byte_by_byte",
    "a_handshake_that_never_ends_is_given_up",
    "a_huge_handshake_is_refused",
    "an_incomplete_handshake_is_refused",
    "another_version_is_refused_with_those_that_are_known",
    "handshakes_are_read_without_regard_to_case",
    "nothing_is_selected_that_was_not_offered",
    "only_a_get_of_http_11_is_upgraded",
    "what_comes_with_the_handshake_is_refused_or_read",
]

HUGE: Final = 1 << 20


@case(188, "AW-N-001")
async def a_handshake_is_answered_for_its_key(peer: Peer) -> None:
    """Open a WebSocket twice, with different keys."""
    for _ in range(2):
        async with opened(peer) as socket:
            await socket.alive("a handshake")


@case(189, "AW-N-002")
async def handshakes_are_read_without_regard_to_case(peer: Peer) -> None:
    """Ask with other letters in names and values, and with more than one token in `Connection`."""
    for upgrades, connection in (
        ("WebSocket", "upgrade"),
        ("websocket", "keep-alive, Upgrade"),
        ("WEBSOCKET", "UPGRADE"),
    ):
        async with opened(peer, {"Upgrade": upgrades, "Connection": connection}) as socket:
            await socket.alive("a handshake")
    names: dict[str, str | None] = {"Upgrade": None, "Connection": None, "Sec-WebSocket-Version": None}
    async with opened(peer, {**names, "upgrade": "websocket", "CONNECTION": "Upgrade", "sec-websocket-version": "13"}):
        pass


async def refused(peer: Peer, changed: dict[str, str | None], what: str, line: str = "GET {} HTTP/1.1") -> None:
    """There is no 101; another connection is served."""
    answer = await answer_to(peer, upgrade(peer, changed, line=line))
    status = 400 if answer is None else answer.status
    check(status != 101, f"{what} was answered with 101")
    check(status < 500 or status in (501, 505), f"{what} was answered with {status}, a server's fault")


@case(190, "AW-N-003")
async def an_incomplete_handshake_is_refused(peer: Peer) -> None:
    """Leave each header out, and send keys that are none."""
    for name in ("Upgrade", "Connection", "Sec-WebSocket-Key"):
        await refused(peer, {name: None}, f"a handshake without {name}")
    await refused(peer, {"Upgrade": "h2c"}, "an upgrade to h2c")
    await refused(peer, {"Connection": "keep-alive"}, "a handshake without Connection: Upgrade")
    for key in ("", "no base64!", base64.b64encode(b"x" * 15).decode(), base64.b64encode(b"x" * 17).decode()):
        await refused(peer, {"Sec-WebSocket-Key": key}, f"the key {key!r}")
    async with opened(peer) as socket:
        await socket.alive("a handshake")


@case(191, "AW-N-004")
async def only_a_get_of_http_11_is_upgraded(peer: Peer) -> None:
    """Ask with POST, with PUT, and in HTTP/1.0."""
    for method in ("POST", "PUT"):
        await refused(peer, {"Content-Length": "0"}, f"an upgrade by {method}", f"{method} {{}} HTTP/1.1")
    await refused(peer, {}, "an upgrade in HTTP/1.0", "GET {} HTTP/1.0")


@case(192, "AW-N-005")
async def another_version_is_refused_with_those_that_are_known(peer: Peer) -> None:
    """Ask for the versions 8, 12, 14 and 130, and for none."""
    for version in ("8", "12", "14", "130", None):
        answer = await answer_to(peer, upgrade(peer, {"Sec-WebSocket-Version": version}))
        check(answer is not None, f"version {version} was not answered")
        assert answer is not None
        check(answer.status != 101, f"version {version} was answered with 101")
        named = dict(answer.headers).get("sec-websocket-version", "")
        check("13" in named or version is None, f"the answer to version {version} does not name 13")


@case(193, "AW-N-006")
async def nothing_is_selected_that_was_not_offered(peer: Peer) -> None:
    """Offer nothing, then made-up subprotocols and extensions."""
    made_up: dict[str, str | None] = {
        "Sec-WebSocket-Protocol": "x-made-up, x-other",
        "Sec-WebSocket-Extensions": "x-made-up; a=1, x-other",
    }
    for offers in ({}, made_up):
        answer = await answer_to(peer, upgrade(peer, offers))
        check(answer is not None and answer.status in (101, 400), f"the answer is {answer and answer.status}")
        assert answer is not None
        headers = dict(answer.headers)
        chosen, agreed = headers.get("sec-websocket-protocol"), headers.get("sec-websocket-extensions", "")
        offered = ("x-made-up", "x-other") if offers else ()
        check(chosen is None or chosen in offered, f"the subprotocol {chosen!r} was selected")
        check(not agreed, f"the extension {agreed!r} was selected")


@case(194, "AW-N-007")
async def what_comes_with_the_handshake_is_refused_or_read(peer: Peer) -> None:
    """Send a ping in one piece with the request's head, as no client may: a refusal comes, or a pong."""
    answer = await answer_to(peer, upgrade(peer) + frame(PING, b"early"))
    if answer is None or answer.status != 101:
        return
    async with opened(peer, first=frame(PING, b"early")) as socket:
        await socket.alive("a frame that came with the handshake")
        check(socket.pongs[0] == b"early", "a ping that came with the handshake was lost")


@case(195, "AW-N-008")
async def a_handshake_may_come_byte_by_byte(peer: Peer) -> None:
    """Send the head one byte at a time."""
    async with opened(peer, drip=True) as socket:
        await socket.alive("a handshake byte by byte")


@case(196, "AW-N-033")
async def a_huge_handshake_is_refused(peer: Peer) -> None:
    """Send a head of 1 MiB."""
    answer = await answer_to(peer, upgrade(peer, {f"X-Padding-{n}": "x" * 1000 for n in range(HUGE // 1000)}))
    check(answer is None or 400 <= answer.status < 500, f"the answer is {answer and answer.status}")
    async with opened(peer) as socket:
        await socket.alive("a handshake")


@case(197, "AW-N-033", needs=["patience"])
async def a_handshake_that_never_ends_is_given_up(peer: Peer) -> None:
    """Send half a head, and nothing more for two minutes."""
    async with peer.connected() as stream:
        head = upgrade(peer)[:-2]
        peer.log.note("http", "> (without its last line)", head)
        await stream.send_all(head)
        with trio.move_on_after(120) as scope:
            try:
                while await stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                await trio.lowlevel.checkpoint()
        check(not scope.cancelled_caught, "two minutes later the connection was still held")
