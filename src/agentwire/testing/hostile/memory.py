"""What a scripted server remembers of conversations, and what it refuses of a history.

Each lane of a connection remembers its latest response; what a request lets be stored is there for everybody. A history
whose calls and outputs do not pair is refused, as the hosted service does.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from agentwire.testing.hostile.script import Refuse

__all__ = ["Memory", "Remembered", "judge_history"]

_STORED: Final = 1_000
_CALLS: Final = frozenset(("function_call", "custom_tool_call"))
_OUTPUTS: Final = frozenset(f"{kind}_output" for kind in _CALLS)

Item = Mapping[str, Any]


@attrs.frozen
class Remembered:
    """A response that can be continued: its id, and all items up to and with its output."""

    response_id: str
    items: tuple[Item, ...]


class Memory:
    """Responses that were stored, of all connections.

    Attributes:
        stores: whether anything is.
    """

    def __init__(self, *, stores: bool = True) -> None:
        self.stores = stores
        self._stored: OrderedDict[str, Remembered] = OrderedDict()

    def store(self, response: Remembered) -> None:
        """Keep one; the oldest makes room."""
        if self.stores:
            self._stored[response.response_id] = response
            while len(self._stored) > _STORED:
                self._stored.popitem(last=False)

    def forget(self) -> None:
        """Forget all that was stored."""
        self._stored.clear()

    def find(self, response_id: object, cached: Iterable[Remembered]) -> Remembered | Refuse:
        """What a request continues."""
        for response in cached:
            if response.response_id == response_id:
                return response
        found = self._stored.get(response_id) if isinstance(response_id, str) else None
        if found is not None:
            return found
        message = f"No response {response_id} is available on this connection."
        return Refuse(400, "previous_response_not_found", message, "previous_response_id")


def judge_history(items: Iterable[Item]) -> Refuse | None:
    """What is wrong with a history; None if nothing is.

    A call id that was given twice may be answered once or twice.
    """
    calls: Counter[object] = Counter()
    outputs: Counter[object] = Counter()
    for item in items:
        kind, call_id = item.get("type"), item.get("call_id")
        if kind in _CALLS:
            calls[call_id] += 1
        elif kind in _OUTPUTS:
            outputs[call_id] += 1
            if not calls[call_id]:
                return _refuse("tool_call_not_found", f"No tool call found for the output of {call_id}.")
            if outputs[call_id] > calls[call_id]:
                return _refuse("duplicate_tool_output", f"There is more than one output for {call_id}.")
    if missing := calls.keys() - outputs.keys():
        return _refuse("tool_output_missing", f"No output found for the call {min(map(str, missing))}.")
    return None


def _refuse(code: str, message: str) -> Refuse:
    return Refuse(400, code, message, "input")
