"""Deeds at the door: an upgrade that is refused, not answered, or answered with something else."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Final

import trio

from agentwire.testing.hostile.deeds.model import Deed, Door
from agentwire.testing.hostile.socket import reset_now
from agentwire.transport.http11 import HttpConnection

__all__ = ["DEEDS", "REFUSALS"]

_SLOW_TO_REFUSE: Final = (
    "provos/ironcurtain#341",
    "ranxianglei/billion-context#169",
    "qxcnm/Codex-Manager#92",
    "nick3/copilot-api#86",
)

REFUSALS: Final = {
    400: ("Bad Request", _SLOW_TO_REFUSE),
    401: ("Unauthorized", ()),
    403: ("Forbidden", ()),
    404: ("Not Found", _SLOW_TO_REFUSE),
    405: ("Method Not Allowed", _SLOW_TO_REFUSE),
    426: ("Upgrade Required", ("openai/codex#43353", "openai/codex#13041")),
    429: ("Too Many Requests", ()),
    500: ("Internal Server Error", ("openclaw/openclaw#57659",)),
    502: ("Bad Gateway", ()),
    503: ("Service Unavailable", ()),
}
"""Statuses that an upgrade can be refused with."""


def _refuse(status: int, **headers: str) -> Door:
    async def door(connection: HttpConnection) -> None:
        error = {"type": "invalid_request_error", "code": f"http_{status}", "message": REFUSALS[status][0]}
        body = json.dumps({"error": {**error, "param": None}}).encode()
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        await connection.respond(status, {"content-type": "application/json", **more}, body)

    return door


async def _hang(connection: HttpConnection) -> None:
    connection.take_over()
    await trio.sleep_forever()


async def _reset(connection: HttpConnection) -> None:
    stream, _ = connection.take_over()
    await reset_now(stream)


async def _wrong_accept(connection: HttpConnection) -> None:
    stream, _ = connection.take_over()
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    await stream.send_all(head + b"Sec-WebSocket-Accept: bm90IHRoZSByaWdodCBvbmU=\r\n\r\n")
    await trio.sleep_forever()


async def _no_http(connection: HttpConnection) -> None:
    stream, _ = connection.take_over()
    await stream.send_all(b"\x00\x01\x02 this is not HTTP\r\n" * 20)
    await stream.aclose()


def _refusal(status: int) -> Deed:
    phrase, reports = REFUSALS[status]
    return Deed(
        name=f"refuse-{status}",
        title=f"Every upgrade is refused with HTTP {status} ({phrase}); POST goes on to work",
        reports=reports,
        when="upgrade",
        first=1,
        times=math.inf,
        door=_refuse(status),
    )


DEEDS: Final[Sequence[Deed]] = (
    *map(_refusal, REFUSALS),
    Deed(
        name="upgrade-busy",
        title="The upgrade is refused once with HTTP 503 and retry-after: 1",
        when="upgrade",
        first=1,
        door=_refuse(503, retry_after="1"),
    ),
    Deed(
        name="upgrade-hangs",
        title="No upgrade is ever answered; POST goes on to work",
        reports=_SLOW_TO_REFUSE,
        when="upgrade",
        first=1,
        times=math.inf,
        door=_hang,
    ),
    Deed(
        name="upgrade-reset",
        title="The connection is reset instead of the answer to the upgrade, once",
        when="upgrade",
        first=1,
        door=_reset,
    ),
    Deed(
        name="upgrade-wrong-accept",
        title="Each 101 has a Sec-WebSocket-Accept that does not answer the key",
        when="upgrade",
        first=1,
        times=math.inf,
        door=_wrong_accept,
    ),
    Deed(
        name="upgrade-no-http",
        title="Each upgrade is answered with bytes that are no HTTP",
        when="upgrade",
        first=1,
        times=math.inf,
        door=_no_http,
    ),
    Deed(
        name="key-revoked",
        title="From the second upgrade on, the key is refused with HTTP 401",
        when="upgrade",
        first=2,
        times=math.inf,
        door=_refuse(401),
    ),
)
