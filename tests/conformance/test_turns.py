"""What a case says of a turn that did not end as it should."""

from __future__ import annotations

from typing import Any

import pytest

from agentwire.testing.conformance.turns import CaseFailed, Turn

ERROR = {"type": "error", "status": 502, "error": {"code": "upstream_error", "message": "It is down."}}
FAILED = {"type": "response.failed", "response": {"id": "r", "error": {"code": "server_error", "message": "Oh."}}}
CUT = {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((ERROR,), "error, upstream_error: It is down."),
        ((ERROR, FAILED), "response.failed, upstream_error: It is down."),
        ((FAILED,), "response.failed, server_error: Oh."),
        ((CUT,), "response.incomplete, max_output_tokens"),
        (({"type": "response.failed", "response": {"error": None}},), "response.failed"),
        (({"type": "response.failed", "response": "?"},), "response.failed"),
        (({"type": "error", "error": "?"},), "error"),
    ],
)
def test_a_turn_that_did_not_complete(events: tuple[Any, ...], said: str) -> None:
    with pytest.raises(CaseFailed) as caught:
        Turn(events).completed()
    assert str(caught.value) == f"the turn did not complete: {said}"


def test_one_that_did() -> None:
    turn = Turn(({"type": "response.completed", "response": {"id": "r"}},))
    assert turn.completed() is turn
