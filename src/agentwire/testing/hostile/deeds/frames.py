"""Deeds in the framing: events in fragments, byte by byte, too large, not JSON, or in frames that are not legal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs

from agentwire.testing.hostile.deeds.editing import before, cut, each_event, evolved, on_steps
from agentwire.testing.hostile.deeds.model import Deed
from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.script import End
from agentwire.testing.hostile.socket import server_frame_of
from agentwire.testing.hostile.steps import Plan, Raw, Step, Tell
from agentwire.transport.frames import PING, TEXT

__all__ = ["DEEDS"]

_LARGE: Final = 20 * 2**20
_PINGS: Final = 2_000


@on_steps
def _huge(steps: list[Step]) -> list[Step]:
    """response.created repeats instructions of 20 MiB."""
    for place, step in enumerate(steps):
        if isinstance(step, Tell) and "response" in step.event:
            large = evolved(step, response={**step.event["response"], "instructions": "x" * _LARGE})
            return [*steps[:place], large, *steps[place + 1 :]]
    return steps


def _deafened(plan: Plan, scene: Scene) -> Plan:
    scene.deafen()
    return [*plan] if isinstance(plan, list) else plan


def _broken(name: str, title: str, data: bytes, body: bytes, *reports: str) -> Deed:
    return Deed(name=name, title=title, reports=reports, turn=cut(Raw(data, body), End("quiet")))


DEEDS: Final[Sequence[Deed]] = (
    Deed(
        name="fragments",
        title="Every event comes in fragments, which cut its characters apart",
        first=1,
        times=math.inf,
        turn=each_event(lambda step: [attrs.evolve(step, form="fragments")]),
    ),
    Deed(
        name="drip",
        title="Every event comes byte by byte",
        first=1,
        times=math.inf,
        turn=each_event(lambda step: [attrs.evolve(step, form="drip")]),
    ),
    Deed(
        name="binary",
        title="Every event comes in a binary message",
        first=1,
        times=math.inf,
        turn=each_event(lambda step: [attrs.evolve(step, form="binary")]),
    ),
    Deed(
        name="huge",
        title="One event is larger than 20 MiB",
        reports=("qxcnm/Codex-Manager#430", "edutelligence#565"),
        turn=_huge,
    ),
    Deed(
        name="ping-flood",
        title="Before a response come 2,000 pings",
        turn=before(Raw(server_frame_of(PING, b"flood"), b": ping\n\n", _PINGS)),
    ),
    _broken(
        "not-json",
        "In the middle of a response comes a message that is not JSON",
        server_frame_of(TEXT, b"upstream connect error"),
        b"data: upstream connect error\n\n",
    ),
    _broken(
        "not-an-object",
        "In the middle of a response comes a message that is JSON and no object",
        server_frame_of(TEXT, b"[null]"),
        b"data: [null]\n\n",
    ),
    _broken(
        "not-utf8",
        "In the middle of a response comes a text message that is not UTF-8",
        server_frame_of(TEXT, b'{"type":"keepalive","x":"\xff\xfe"}'),
        b'data: {"type":"keepalive","x":"\xff\xfe"}\n\n',
    ),
    _broken(
        "masked-frame",
        "In the middle of a response comes a frame with a mask, which only clients use",
        server_frame_of(TEXT, b'{"type":"keepalive"}', masked=True),
        b"",
    ),
    _broken(
        "reserved-bits",
        "In the middle of a response comes a frame with reserved bits, although no extension was agreed on",
        server_frame_of(TEXT, b'{"type":"keepalive"}', reserved=0x40),
        b"",
    ),
    Deed(
        name="deaf",
        title="From a turn on, nothing that the client sends is read any more",
        reports=("agentic-api 0.9.0", "LiteLLM 1.106.2"),
        first=1,
        turn=_deafened,
    ),
)
