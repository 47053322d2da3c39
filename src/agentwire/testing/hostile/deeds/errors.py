"""Deeds that are errors: the right ones at a bad moment, and the ones whose names or shapes were changed on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from agentwire.testing.hostile.deeds.editing import cut
from agentwire.testing.hostile.deeds.model import Deed
from agentwire.testing.hostile.scene import Scene
from agentwire.testing.hostile.script import End, Refuse
from agentwire.testing.hostile.steps import Plan, Tell

__all__ = ["DEEDS", "NOT_FOUND"]

_LOST: Final = (
    "earendil-works/pi#6931",
    "PrimeIntellect-ai/prime-agent#2314",
    "Soju06/codex-lb#464",
    "openai-agents 0.24.0",
)
_RENAMED: Final = ("Soju06/codex-lb#1529", "Soju06/codex-lb#1550")

NOT_FOUND: Final = Refuse(
    400,
    "previous_response_not_found",
    "No such response is available on this connection.",
    "previous_response_id",
)


def _refused(name: str, title: str, *reports: str, refusal: Refuse, times: float = 1, lost: bool = False) -> Deed:
    """A turn is refused; if something is lost, only one that continues another, and none can be continued any more."""

    def turn(plan: Plan, scene: Scene) -> Plan:
        if not lost:
            return refusal
        if scene.asked.body.get("previous_response_id") is None:
            return plan
        scene.forget()
        return refusal

    return Deed(name=name, title=title, reports=reports, times=times, turn=turn)


_FAILED: Final = {"code": "server_error", "message": "The model failed."}


def _fails(plan: Plan, scene: Scene) -> Plan:
    """An error and response.failed, in the middle of what was said."""
    error = Tell({"type": "error", "status": 500, "error": {"type": "server_error", "param": None, **_FAILED}})
    cut_off = cut(error)(plan, scene)
    if not isinstance(cut_off, list):
        return cut_off
    created = next((step.event for step in cut_off if isinstance(step, Tell) and "response" in step.event), None)
    if created is None:
        return plan  # another deed has left no response that could fail
    response = {**created["response"], "status": "failed", "error": _FAILED}
    number = sum(isinstance(step, Tell) for step in cut_off)
    failed = {"type": "response.failed", "sequence_number": number, "response": response}
    return [*cut_off, Tell(failed)]


def _slow_goodbye(_plan: Plan, _scene: Scene) -> Plan:
    error = {"type": "server_error", "code": "server_error", "message": "The server had an error.", "param": None}
    event = {"type": "error", "status": 500, "error": error}
    return [Tell(event), End("close", 1011, "internal error", patience=math.inf)]


DEEDS: Final[Sequence[Deed]] = (
    _refused(
        "forgets",
        "Every conversation is forgotten: a request that continues one gets previous_response_not_found",
        *_LOST,
        refusal=NOT_FOUND,
        lost=True,
    ),
    _refused(
        "forgets-flat",
        "The same, with the error in the flat shape",
        "openclaw/openclaw#122717",
        "openclaw/openclaw#122727",
        refusal=Refuse(400, NOT_FOUND.code, NOT_FOUND.message, NOT_FOUND.param, flat=True),
        lost=True,
    ),
    _refused(
        "forgets-renamed",
        "The same, with another code than the protocol's: a gateway has renamed it",
        *_RENAMED,
        refusal=Refuse(400, "invalid_request", "The request could not be processed.", None),
        lost=True,
    ),
    _refused(
        "forgets-always",
        "No conversation is ever found: every request that continues one gets previous_response_not_found",
        *_LOST,
        refusal=NOT_FOUND,
        lost=True,
        times=math.inf,
    ),
    _refused(
        "rate-limit",
        "A later turn gets 429 with retry-after: 1, once; the connection lives on",
        "Wei-Shaw/sub2api#5845",
        refusal=Refuse(
            429, "rate_limit_exceeded", "Rate limit reached. Try again in 1s.", headers={"retry-after": "1"}
        ),
    ),
    _refused(
        "overloaded",
        "A later turn gets 503 (server_is_overloaded), once; the connection lives on",
        refusal=Refuse(503, "server_is_overloaded", "The server is overloaded. Try again later."),
    ),
    _refused(
        "server-error",
        "A later turn gets 500 (server_error), once; the connection lives on",
        refusal=Refuse(500, "server_error", "The server had an error."),
    ),
    _refused(
        "server-error-always",
        "Every turn from the second one on gets 500 (server_error)",
        "openclaw/openclaw#57659",
        refusal=Refuse(500, "server_error", "The server had an error."),
        times=math.inf,
    ),
    _refused(
        "no-status",
        "A later turn gets an error whose status is missing and whose code is null",
        "openclaw/openclaw#122717",
        refusal=Refuse(0, "", "Something went wrong."),
    ),
    Deed(
        name="fails-midway", title="In the middle of a response comes an error, and then response.failed", turn=_fails
    ),
    Deed(
        name="goodbye-stuck",
        title="An error, then a close frame, and then the connection stays open for ever",
        reports=("openai/codex, a comment in its source",),
        turn=_slow_goodbye,
    ),
)
