"""What a scripted server says to a request, as data: words, tool calls, pauses, a bad end, or a refusal.

A script is a list of these, one for each turn, or a function that looks at the turn and returns one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from agentwire.testing.replies import Pause

if TYPE_CHECKING:
    from agentwire.testing.hostile.scene import Scene

__all__ = ["Answer", "Break", "Call", "End", "Ending", "Refuse", "Reply", "Say", "Script", "next_reply"]

Ending = Literal["completed", "failed", "incomplete"]
How = Literal["reset", "eof", "close", "dead", "quiet"]
"""How a connection ends, or only seems to:

* ``reset``: the peer gets an RST, and loses what it has not read;
* ``eof``: the stream ends, without a close frame or a last chunk;
* ``close``: a close frame, and the end of the stream once it is answered;
* ``dead``: nothing is sent, read or answered any more, and nothing is closed: a peer behind a broken network;
* ``quiet``: this response goes no further, and everything else goes on.
"""


@attrs.frozen
class Say:
    """Text of the assistant.

    Attributes:
        text: all of it.
        pieces: events that it comes in.
        every: seconds between two of them.
    """

    text: str
    pieces: int = 1
    every: float = 0.0


@attrs.frozen
class Call:
    """A call of one of the client's functions.

    Attributes:
        name: of the function.
        arguments: for it; a string goes out as it is, whether it is JSON or not.
        call_id: a new one if left out.
    """

    name: str
    arguments: Mapping[str, Any] | str = attrs.field(factory=dict)
    call_id: str | None = None


@attrs.frozen
class End:
    """An end of the connection, or of the answer alone.

    Attributes:
        how: see `How`.
        code: of the close frame.
        reason: of the close frame.
        patience: seconds that the close frame waits for its answer.
    """

    how: How = "reset"
    code: int | None = 1011
    reason: str = ""
    patience: float = 5.0


@attrs.frozen
class Break:
    """The connection ends within an answer.

    Attributes:
        at: events that are sent before.
        end: how it ends.
    """

    at: int
    end: End = End()


@attrs.frozen
class Refuse:
    """An error instead of a response; over HTTP its status and body.

    Attributes:
        status: the HTTP status that goes with it.
        code: of the error.
        message: of the error.
        param: of the error.
        headers: such as ``retry-after``: headers over HTTP, and ``error.headers`` over a WebSocket.
        flat: the error's members beside ``type``, instead of within ``error``.
    """

    status: int
    code: str
    message: str = "this request is refused"
    param: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    flat: bool = False


class Answer:
    """A response.

    Args:
        parts: what it has, in order.
        ending: its terminal event.
        why: the code of the error of a failed one, the reason of an incomplete one.
        breaks: where the connection ends, if it does.
    """

    def __init__(
        self,
        *parts: Say | Call | Pause,
        ending: Ending = "completed",
        why: str = "",
        breaks: Break | None = None,
    ) -> None:
        self.parts = parts
        self.ending = ending
        self.why = why or ("server_error" if ending == "failed" else "max_output_tokens")
        self.breaks = breaks

    def __repr__(self) -> str:
        return f"Answer({', '.join(map(repr, self.parts))})"


Reply = Answer | Refuse
Script = Sequence[Reply] | Callable[["Scene"], Reply]
"""What is said in each turn; the last element of a list is for all further turns."""

_NOTHING: Final = Answer(Say("Hello."))


def next_reply(script: Script, scene: Scene) -> Reply:
    """What the script says in this turn."""
    if callable(script):
        return script(scene)
    return script[min(scene.turn, len(script)) - 1] if script else _NOTHING
