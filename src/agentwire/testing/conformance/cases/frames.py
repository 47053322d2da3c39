"""Cases about frames: what is read, what is answered, and what ends a connection."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

import trio

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.plays import Play
from agentwire.testing.conformance.registry import case
from agentwire.testing.conformance.turns import CaseFailed, Socket, check
from agentwire.testing.conformance.wire import CONTINUATION, PING, TEXT, Closed, frame

__all__ = [
    "LONG_TASK",
    "a_binary_message_is_read_or_refused",
    "a_message_has_a_largest_size",
    "a_silent_client_is_pinged_and_given_up",
    "a_silent_response_gives_signs_of_life",
    "an_unmasked_frame_fails_the_connection",
    "every_message_is_text_and_an_object",
    "fragments_are_one_message",
    "pings_are_answered_in_the_midst_of_a_response",
    "reserved_bits_and_opcodes_fail_the_connection",
    "silence",
    "text_that_is_not_utf8_closes",
    "what_is_dear_to_read_is_refused",
]

MIB: Final = 1024 * 1024
LONG_TASK: Final = "Write the numbers from one to two hundred, in words."
SILENCE: Final = "Be silent for a minute, then answer."


def silence(peer: Peer) -> str:
    """A message that the model is silent about for more than a minute: a real one thinks, the companion is told to."""
    return SILENCE if peer.companion is None else f"{SILENCE} {Play(first=70.0)}"


async def closing(socket: Socket) -> Closed:
    """How the server closes."""
    try:
        while True:
            event = await socket.receive()
            check(event.get("type") == "keepalive", f"instead of closing, it said {event}")
    except Closed as closed:
        return closed


async def closes_with(peer: Peer, data: bytes, *codes: int) -> None:
    """Send these bytes: the connection ends with one of these codes, and another one is served."""
    async with peer.socket() as socket:
        await socket.ws.send_frames(data)
        closed = await closing(socket)
        check(closed.code in codes, f"the connection was closed with {closed.code}, and not with {codes[0]}")
    async with peer.socket() as socket:
        await socket.usable()


RESERVED: Final = frozenset(("raw", "close", "event", "open", "reconnecting", "reconnected"))


@case(14, "AW-F-001", "AW-O-014", "AW-O-015")
async def every_message_is_text_and_an_object(peer: Peer) -> None:
    """Hold a turn and be refused, and look at the opcodes and types of all messages."""
    async with peer.socket() as socket:
        await socket.ask()
        await socket.say("no JSON")
        check(socket.ws.binary == 0, f"{socket.ws.binary} messages were binary")
        for event in socket.events:
            check(isinstance(event.get("type"), str) and event["type"], f"a message has no type: {event}")
            check(event["type"] not in RESERVED, f"{event['type']} is a name that an SDK keeps for itself")


@case(15, "AW-F-002")
async def a_binary_message_is_read_or_refused(peer: Peer) -> None:
    """Send a request as a binary message: a turn, or an error of status 400, and then a turn as text."""
    async with peer.socket() as socket:
        await socket.ws.send_binary(json.dumps({"type": "response.create", **peer.body()}).encode())
        turn = await socket.finish()
        if turn.error is not None:
            turn.refused()
        await socket.usable()


@case(16, "AW-F-003")
async def text_that_is_not_utf8_closes(peer: Peer) -> None:
    """Send bytes that are no UTF-8 as text."""
    await closes_with(peer, frame(TEXT, b'{"type":"\xff\xfe"}'), 1007)


@case(17, "AW-F-004", needs=["slow"])
async def pings_are_answered_in_the_midst_of_a_response(peer: Peer) -> None:
    """Ping while nothing runs, and while a response does."""
    async with peer.socket() as socket:
        await socket.ws.ping(b"idle")
        await socket.usable()
        await socket.create(LONG_TASK, model=peer.slow_model)
        await socket.until("response.in_progress")
        await socket.ws.ping(b"busy")
        turn = await socket.finish()
        check(len(turn.events) > 1, "the pong came after the response alone")
        check(socket.ws.pongs == [b"idle", b"busy"], f"the pongs were {socket.ws.pongs}")


@case(18, "AW-F-005")
async def fragments_are_one_message(peer: Peer) -> None:
    """Send a request in three fragments, with a ping between them, cut within a character."""
    text = json.dumps({"type": "response.create", **peer.body("Say grüezi.")}, ensure_ascii=False).encode()
    middle = text.index("ü".encode()) + 1
    async with peer.socket() as socket:
        await socket.ws.send_frames(frame(TEXT, text[:5], final=False))
        await socket.ws.send_frames(frame(PING, b"between"))
        await socket.ws.send_frames(frame(CONTINUATION, text[5:middle], final=False))
        await socket.ws.send_frames(frame(CONTINUATION, text[middle:]))
        (await socket.finish()).completed()
        check(socket.ws.pongs == [b"between"], "the ping between the fragments was not answered")


@case(19, "AW-F-006")
async def an_unmasked_frame_fails_the_connection(peer: Peer) -> None:
    """Send a frame as a server would."""
    await closes_with(peer, frame(TEXT, b"{}", masked=False), 1002, 1006)


@case(20, "AW-F-007")
async def reserved_bits_and_opcodes_fail_the_connection(peer: Peer) -> None:
    """Send a frame with a bit that no extension explains, and one with an opcode that nobody has given a meaning."""
    await closes_with(peer, frame(TEXT, b"{}", reserved=0x40), 1002, 1006)
    await closes_with(peer, frame(0x3, b"{}"), 1002, 1006)


def _padded(peer: Peer, size: int) -> str:
    """A request of exactly so many bytes, most of them in a member that nobody knows."""
    empty = json.dumps({"type": "response.create", **peer.body(), "padding": ""})
    return empty[:-2] + "x" * (size - len(empty)) + empty[-2:]


@case(21, "AW-F-008", "AW-F-009")
async def a_message_has_a_largest_size(peer: Peer) -> None:
    """Send a message that is just small enough, and one that is just too large: by the run's bound, or by 16 MiB."""
    bound = peer.limit("message_bytes", 16 * MIB)
    async with peer.socket() as socket:
        await socket.ws.send(_padded(peer, bound if "message_bytes" in peer.limits else bound - 1))
        (await socket.finish()).completed()
        with suppress(Closed):  # it may close before it has read all
            await socket.ws.send(_padded(peer, bound + 1))
        closed = await closing(socket)
        check(closed.code in (1009, 1006), f"the connection was closed with {closed.code}, and not with 1009")
        check(closed.code == 1009 or bound > MIB, "the close frame with 1009 never came")


@case(23, "AW-F-011", "AW-O-028", needs=["slow", "patience"])
async def a_silent_response_gives_signs_of_life(peer: Peer) -> None:
    """Wait for a model that is silent for a minute or more: signs of life come, each with the next number."""
    async with peer.socket() as socket:
        await socket.create(silence(peer), model=peer.slow_model)
        turn = (await socket.finish()).completed()
        beats = [event for event in turn.events if event.get("type") == "keepalive"]
        if not beats:
            raise CaseFailed("no keepalive came within a minute of silence", "AW-F-011")
        numbers = [event.get("sequence_number") for event in turn.events]
        check(numbers == list(range(len(numbers))), f"the events are not numbered one by one: {numbers}", "AW-O-028")


@case(22, "AW-F-010", needs=["patience"])
async def a_silent_client_is_pinged_and_given_up(peer: Peer) -> None:
    """Be silent: pings come, and are answered. Then answer nothing: the connection ends."""
    async with peer.socket() as socket:
        with trio.move_on_after(120):
            await socket.receive()
        check(socket.ws.pings, "in two minutes of silence no ping came")
        socket.ws.answers = False
        with trio.move_on_after(120) as scope:
            await closing(socket)
        check(not scope.cancelled_caught, "a client that answers no ping is kept for two minutes and more")


@case(48, "AW-C-028")
async def what_is_dear_to_read_is_refused(peer: Peer) -> None:
    """Send very deep and very many values, in few bytes."""
    async with peer.socket() as socket:
        for padding in ("[" * 20_000 + "]" * 20_000, f"[{'0,' * 40_000}0]" if peer.limits else "{}"):
            text = json.dumps({"type": "response.create", **peer.body()})
            turn = await socket.say(f'{text[:-1]},"metadata":{padding}}}')
            if padding != "{}":
                turn.refused()
        await socket.usable()
