"""Deeds that end a connection, or let it look alive when it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from agentwire.testing.hostile.deeds.editing import after, cut, instead
from agentwire.testing.hostile.deeds.model import Deed
from agentwire.testing.hostile.script import End
from agentwire.testing.hostile.socket import ServerSocket
from agentwire.testing.hostile.steps import Tell
from agentwire.testing.replies import Pause

__all__ = ["DEEDS", "LIMIT"]

_FROZEN: Final = ("openai/codex#38638", "openai/codex#24260", "openai/codex#23807", "openai/codex#28295")
_SILENT: Final = (
    "livekit/agents-js#1935",
    "maximhq/bifrost#2998",
    "openclaw/openclaw#44168",
    "openclaw/openclaw#77570",
)
_AGED: Final = ("earendil-works/pi#6268", "qxcnm/Codex-Manager#430", "Wei-Shaw/sub2api#4999", "openai-agents 0.24.0")
_DEPLOYED: Final = ("hivecommons/hive#5090", "mnfst/llm-gateway#2326", "openai-python 3.54.0")
_VANISHED: Final = ("cloudflare/agents#2242", "livekit/agents#6513")

LIMIT: Final = Tell(
    {
        "type": "error",
        "status": 400,
        "error": {
            "type": "invalid_request_error",
            "code": "websocket_connection_limit_reached",
            "message": "This connection has reached its limit of 60 minutes. Open another one to go on.",
            "param": None,
        },
    },
    lane="",
)
"""What a connection says when it has had its 60 minutes."""

_SOON: Final = Pause(0.05)

_ENDS: Final = {
    "reset": ("is reset", End("reset")),
    "eof": ("ends without a close frame", End("eof")),
    "close-1000": ("is closed with 1000, as if all had been said", End("close", 1000)),
    "close-1011": ("is closed with 1011", End("close", 1011, "internal error")),
    "close-1012": ("is closed with 1012, as in a deployment", End("close", 1012, "service restart")),
    "close-1001": ("is closed with 1001", End("close", 1001, "going away")),
}


def _no_goodbye(socket: ServerSocket) -> None:
    socket.answers_close = False


def _no_pongs(socket: ServerSocket) -> None:
    socket.pongs = False


def _ends() -> Iterator[Deed]:
    """Every way to end a connection, at every moment."""
    for how, (what, end) in _ENDS.items():
        yield Deed(
            name=f"{how}-midway",
            title=f"In the middle of a response, the connection {what}",
            reports=_DEPLOYED if "101" in how else ("headroom 0.42",) if "1000" in how else (),
            turn=cut(end),
        )
        yield Deed(
            name=f"{how}-unanswered",
            title=f"After a request and before any event, the connection {what}",
            reports=("brainlid/langchain#483",) if "1000" in how else (),
            turn=instead(end),
        )
        yield Deed(
            name=f"{how}-idle",
            title=f"After a turn, the connection {what}",
            reports=_FROZEN if how == "reset" else _AGED if "1000" in how else (),
            first=1,
            turn=after(_SOON, end),
        )


DEEDS: Final[Sequence[Deed]] = (
    *_ends(),
    Deed(
        name="silence",
        title="A request is never answered, and the connection stays open",
        reports=_SILENT,
        turn=instead(End("quiet")),
    ),
    Deed(
        name="silence-midway",
        title="In the middle of a response, nothing more comes, and the connection stays open",
        reports=_SILENT,
        turn=cut(End("quiet")),
    ),
    Deed(
        name="terminal-missing",
        title="All of a response comes but its terminal event, and the connection stays open",
        reports=("LiteLLM 1.106.2", *_SILENT[:1]),
        turn=cut(End("quiet"), at="output_item.done"),
    ),
    Deed(
        name="reset-after-call",
        title="A tool call is complete, and the connection is reset before the response is",
        reports=("Soju06/codex-lb#586", "dyad-sh/dyad#2853", "odysseus-dev/odysseus#5105"),
        first=1,
        turn=cut(End("reset"), at="output_item.done"),
    ),
    Deed(
        name="half-open-idle",
        title="After a turn the connection is dead and nobody says so: the next message vanishes",
        reports=(*_VANISHED, "openai/codex#28579"),
        first=1,
        turn=after(_SOON, End("dead")),
    ),
    Deed(
        name="half-open-midway",
        title="In the middle of a response the connection is dead and nobody says so",
        reports=_VANISHED,
        turn=cut(End("dead")),
    ),
    Deed(
        name="aged-out",
        title="A request is answered with websocket_connection_limit_reached, and the connection is closed with 1001",
        reports=_AGED,
        turn=instead(LIMIT, End("close", 1001)),
    ),
    Deed(
        name="aged-out-idle",
        title="Between two turns comes websocket_connection_limit_reached, and the connection is closed with 1001",
        reports=_AGED,
        first=1,
        turn=after(_SOON, LIMIT, End("close", 1001)),
    ),
    Deed(
        name="born-old",
        title="Each connection says websocket_connection_limit_reached as soon as it is open, and is closed",
        reports=("openclaw/openclaw#57659",),
        when="connection",
        first=1,
        times=math.inf,
        opened=(LIMIT, End("close", 1001)),
    ),
    Deed(
        name="opened-then-1008",
        title="Each upgrade is accepted, and the connection closed with 1008 at once",
        reports=("openai/codex#13041",),
        when="connection",
        first=1,
        times=math.inf,
        opened=(End("close", 1008, "this server takes no WebSockets"),),
    ),
    Deed(
        name="dropped-always",
        title="Every turn is cut off by a reset in its middle, from the second one on",
        reports=("openclaw/openclaw#57659",),
        times=math.inf,
        turn=cut(End("reset")),
    ),
    Deed(
        name="goodbye-unanswered",
        title="The client's close frame is never answered, and the connection stays open",
        reports=("openai/codex, a comment in its source",),
        when="connection",
        first=1,
        times=math.inf,
        socket=_no_goodbye,
    ),
    Deed(
        name="never-pongs",
        title="No ping is ever answered; everything else is",
        reports=("openai/openai-agents-python#3080", "livekit/agents-js#1219", "BasedHardware/omi#5131"),
        when="connection",
        first=1,
        times=math.inf,
        socket=_no_pongs,
    ),
)
