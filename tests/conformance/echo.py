"""A small echo server on any stream, which keeps every rule of RFC 6455 but those that it is told to break.

It shares no code with the library, and knows nothing of responses.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio

from agentwire.testing import network
from agentwire.testing.conformance import Peer

__all__ = ["MISDEEDS", "echo_server"]

HEAD = 65_536
NOTHING = b""
KNOWN = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}

MISDEEDS = {
    "answers no key": "a_handshake_is_answered_for_its_key",
    "upgrades nothing in its answer": "a_handshake_is_answered_for_its_key",
    "minds case": "handshakes_are_read_without_regard_to_case",
    "reads one token": "handshakes_are_read_without_regard_to_case",
    "takes any handshake": "an_incomplete_handshake_is_refused only_a_get_of_http_11_is_upgraded "
    "another_version_is_refused_with_those_that_are_known",
    "names no version": "another_version_is_refused_with_those_that_are_known",
    "selects what it likes": "nothing_is_selected_that_was_not_offered",
    "loses what comes early": "what_comes_with_the_handshake_is_refused_or_read",
    "reads once": "a_handshake_may_come_byte_by_byte",
    "takes huge heads": "a_huge_handshake_is_refused",
    "waits for ever": "a_handshake_that_never_ends_is_given_up",
    "reads lengths backwards": "every_length_is_read",
    "halves what is long": "every_length_is_read a_mask_of_zeros_is_a_mask",
    "takes long lengths": "lengths_are_encoded_in_the_shortest_way",
    "needs no mask": "every_frame_of_a_client_is_masked",
    "takes bits": "reserved_bits_fail_the_connection",
    "takes opcodes": "reserved_opcodes_fail_the_connection",
    "minds zeros": "a_mask_of_zeros_is_a_mask",
    "reads whole frames": "frames_may_be_cut_anywhere",
    "forgets fragments": "fragments_are_a_message_with_control_frames_between",
    "takes fragments as they come": "fragments_out_of_order_fail_the_connection",
    "pongs nothing": "pings_are_answered_whatever_they_hold",
    "minds pongs": "a_pong_that_nobody_asked_for_is_no_fault",
    "takes long pings": "control_frames_are_short_and_whole",
    "pongs backwards": "several_pings_are_answered_in_order",
    "takes any text": "text_must_be_utf8",
    "minds fragments of text": "a_character_may_be_split",
    "masks": "the_servers_frames_are_as_they_must_be",
    "sets bits": "the_servers_frames_are_as_they_must_be",
    "wastes bytes": "the_servers_frames_are_as_they_must_be",
    "names no fault": "a_fault_is_named_by_its_code",
    "dies of a fault": "a_faulty_connection_harms_no_other",
    "says no goodbye": "a_close_frame_is_answered_and_ends_the_connection a_close_frame_without_a_code_is_answered "
    "codes_that_may_be_sent_are_taken codes_that_were_registered_later_are_taken",
    "stays": "a_close_frame_is_answered_and_ends_the_connection",
    "knows few codes": "codes_that_may_be_sent_are_taken codes_that_were_registered_later_are_taken",
    "knows every code": "codes_that_must_not_be_sent_are_a_fault",
    "takes any close frame": "a_malformed_close_frame_is_a_fault",
    "talks on": "nothing_is_said_after_a_close_frame",
    "listens on": "nothing_is_read_after_a_close_frame",
}
"""What it may do wrong, and the cases that have to notice."""


class Fault(Exception):
    """The connection fails with this code."""

    def __init__(self, code: int = 1002) -> None:
        super().__init__(code)
        self.code = code


def framed(opcode: int, payload: bytes, deeds: frozenset[str]) -> bytes:
    """A frame of a server."""
    first, size = 0x80 | opcode | (0x40 if "sets bits" in deeds else 0), len(payload)
    if "masks" in deeds:
        return bytes((first, 0x80 | min(size, 125))) + bytes(4) + payload[:125]
    if "wastes bytes" in deeds:
        return bytes((first, 127)) + size.to_bytes(8, "big") + payload
    if size < 126:
        return bytes((first, size)) + payload
    return bytes((first, 126 if size < 65_536 else 127)) + size.to_bytes(2 if size < 65_536 else 8, "big") + payload


class Connection:
    """One client."""

    def __init__(self, stream: trio.abc.Stream, deeds: frozenset[str]) -> None:
        self.stream = stream
        self.deeds = deeds
        self.buffer = b""
        self.partial: bytes | None = None
        self.text = False
        self.out: list[bytes] = []

    def does(self, deed: str) -> bool:
        assert deed in MISDEEDS
        return deed in self.deeds

    # The handshake

    async def shake_hands(self) -> bool:
        head = b""
        while b"\r\n\r\n" not in head:
            data = bytes(await self.stream.receive_some(65_536))
            if not data or (self.does("reads once") and b"\r\n\r\n" not in data):
                return False
            head += data
            if len(head) > HEAD and not self.does("takes huge heads"):
                return await self._say("431 Too Large")
        head, _, self.buffer = head.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        refusal = self._refusal(line, headers)
        if refusal and not self.does("takes any handshake"):
            return await self._say(refusal)
        if self.does("loses what comes early"):
            self.buffer = b""
        return await self._accept(headers)

    def _refusal(self, line: str, headers: dict[str, str]) -> str:
        method, _, version = line.split()
        wanted, tokens = headers.get("upgrade", ""), headers.get("connection", "")
        if not self.does("minds case"):
            wanted, tokens = wanted.lower(), tokens.lower().replace("upgrade", "Upgrade")
        names = tokens if self.does("reads one token") else [token.strip() for token in tokens.split(",")]
        if wanted != "websocket" or "Upgrade" not in names or (names == tokens and tokens != "Upgrade"):
            return "400 No upgrade"
        if headers.get("sec-websocket-version") != "13":
            return "426 Upgrade" + ("" if self.does("names no version") else "\r\nSec-WebSocket-Version: 13")
        with suppress(ValueError):
            if len(base64.b64decode(headers.get("sec-websocket-key", ""), validate=True)) == 16:
                return "" if (method, version) == ("GET", "HTTP/1.1") else "400 No upgrade"
        return "400 No key"

    async def _accept(self, headers: dict[str, str]) -> bool:
        key = headers.get("sec-websocket-key", "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            f"Upgrade: {'h2c' if self.does('upgrades nothing in its answer') else 'websocket'}",
            "Connection: Upgrade",
            f"Sec-WebSocket-Accept: {'x' if self.does('answers no key') else accept}",
            *(["Sec-WebSocket-Protocol: its-own"] if self.does("selects what it likes") else []),
        ]
        await self.stream.send_all("\r\n".join((*lines, "", "")).encode())
        return True

    async def _say(self, status: str) -> bool:
        await self.stream.send_all(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        return False

    # Frames

    async def echo(self) -> None:
        """From the end of the handshake to the end."""
        over, data = False, self.buffer
        self.buffer = b""
        while not over:
            self.buffer = data if self.does("reads whole frames") else self.buffer + data
            try:
                over = any(self._frame(*cut) for cut in self._cuts())  # what follows a goodbye is not read
            except Fault as fault:
                self._put(8, b"" if self.does("names no fault") else fault.code.to_bytes(2, "big"))
                over = True
                if self.does("dies of a fault"):
                    raise
            if self.does("pongs backwards"):
                self.out.reverse()
            await self.stream.send_all(b"".join(self.out))
            self.out = []
            data = b"" if over else bytes(await self.stream.receive_some(65_536))
            over = over or not data
        if self.does("stays"):
            await trio.sleep_forever()

    def _cuts(self) -> Iterator[tuple[int, bytes]]:
        """The frames that are here, judged."""
        while len(self.buffer) >= 2:
            first, second = self.buffer[0], self.buffer[1]
            self._judge(first, second)
            size, start = second & 0x7F, 2
            if size > 125:
                start = 4 if size == 126 else 10
                raw = self.buffer[2:start]
                if len(raw) < start - 2:
                    return
                size = int.from_bytes(raw, "little" if self.does("reads lengths backwards") else "big")
                long = size < (126 if start == 4 else 65_536) or size >> 63
                if long and not self.does("takes long lengths"):
                    raise Fault
            masked = bool(second & 0x80)
            key = self.buffer[start : start + 4] if masked else bytes(4)
            start += 4 * masked
            if len(self.buffer) < start + size:
                return
            if self.does("minds zeros") and key == bytes(4):
                raise Fault
            payload = bytes(byte ^ key[at % 4] for at, byte in enumerate(self.buffer[start : start + size]))
            self.buffer = self.buffer[start + size :]
            yield first, payload

    def _judge(self, first: int, second: int) -> None:
        opcode, final, size = first & 0x0F, first & 0x80, second & 0x7F
        if first & 0x70 and not self.does("takes bits"):
            raise Fault
        if not second & 0x80 and not self.does("needs no mask"):
            raise Fault
        if opcode not in (0, 1, 2, 8, 9, 10) and not self.does("takes opcodes"):
            raise Fault
        if opcode >= 8 and (size > 125 or not final) and not self.does("takes long pings"):
            raise Fault
        if opcode < 3 and (opcode == 0) is (self.partial is None) and not self.does("takes fragments as they come"):
            raise Fault

    def _frame(self, first: int, payload: bytes) -> bool:
        """Answer a frame; True if it is the last one that is read."""
        opcode = first & 0x0F
        if opcode == 8:
            return self._goodbye(payload)
        if opcode == 9:
            self._put(10, NOTHING if self.does("pongs nothing") else payload)
            if self.does("forgets fragments") and self.partial is not None:
                self.partial = b""
        elif opcode == 10 and self.does("minds pongs"):
            raise Fault
        elif opcode < 3:
            self._data(opcode, bool(first & 0x80), payload)
        return False

    def _data(self, opcode: int, final: bool, payload: bytes) -> None:
        self.text = opcode == 1 if opcode else self.text
        whole = (self.partial or b"") + payload
        self.partial = None if final else whole
        if self.text and self.does("minds fragments of text"):
            self._read(payload)
        if final:
            if self.text:
                self._read(whole)
            long = len(whole) > 19
            self._put(
                1 if self.text else 2, whole[: len(whole) // 2] if long and self.does("halves what is long") else whole
            )

    def _read(self, text: bytes) -> None:
        try:
            text.decode()
        except UnicodeDecodeError:
            if not self.does("takes any text"):
                raise Fault(1007) from None

    def _goodbye(self, payload: bytes) -> bool:
        if not self.does("takes any close frame"):
            if len(payload) == 1:
                raise Fault
            self._read(payload[2:])
        code = int.from_bytes(payload[:2], "big") if payload else 1000
        known = {1000, 1001} if self.does("knows few codes") else KNOWN
        if code not in known and not self.does("knows every code"):
            raise Fault
        if not self.does("says no goodbye"):
            self._put(8, payload[:2])
        if self.does("talks on"):
            self._put(1, b"one more thing")
        return not self.does("listens on")

    def _put(self, opcode: int, payload: bytes) -> None:
        self.out.append(framed(opcode, payload, self.deeds))


async def _serve(deeds: frozenset[str], stream: trio.abc.Stream) -> None:
    connection = Connection(stream, deeds)
    with suppress(trio.BrokenResourceError):
        opened = False
        with trio.move_on_after(1e6 if connection.does("waits for ever") else 60):
            opened = await connection.shake_hands()
        if opened:
            await connection.echo()


@asynccontextmanager
async def echo_server(*deeds: str) -> AsyncGenerator[Peer]:
    """Such a server on a network in memory."""
    net = network(keep=False, capacity=1 << 22)

    async def serve() -> None:
        with suppress(*([] if "dies of a fault" not in deeds else [Fault, BaseExceptionGroup])):
            await net.serve(partial(_serve, frozenset(deeds)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield Peer("http://localhost", model="none", websocket="/any/path", able={"patience"}, dial=net.connect)
        nursery.cancel_scope.cancel(reason="the test is over")
