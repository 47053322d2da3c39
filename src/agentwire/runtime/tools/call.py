"""The call that a tool answers, as the tool sees it: its id, and whether it is still wanted.

An async tool is cancelled by Trio itself. A plain one runs in a thread, which nobody can interrupt: it can ask.
"""

from __future__ import annotations

import attrs

__all__ = ["Stop", "ToolCall", "ToolCancelled"]


class ToolCancelled(BaseException):
    """Raised by `ToolCall.check` in a tool whose call is not wanted any more; let it pass, as `trio.Cancelled`.

    Like that one, it is no `Exception`, so that a tool that catches those still ends.
    """


@attrs.define(eq=False)
class Stop:
    """Tells a thread to end; set in the event loop, read in the thread.

    Attributes:
        reason: why; None while the call is wanted.
    """

    reason: str | None = None


@attrs.frozen
class ToolCall:
    """The call that a tool is answering; a parameter annotated with this class receives it.

    Attributes:
        id: the call id: one side effect, one id, so it serves as an idempotency key.
        name: the tool's name.
        arguments: the arguments as the model wrote them: JSON, or the text for a free-text tool.
    """

    id: str
    name: str
    arguments: str
    _stop: Stop = attrs.field(factory=Stop, eq=False, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether the call is not wanted any more: out of time, or its run was left. May be asked in any thread."""
        return self._stop.reason is not None

    def check(self) -> None:
        """Return if the call is still wanted. A plain tool that takes long asks this between two pieces of work.

        Raises:
            ToolCancelled: it is not; the text says why.
        """
        if self._stop.reason is not None:
            raise ToolCancelled(self._stop.reason)
