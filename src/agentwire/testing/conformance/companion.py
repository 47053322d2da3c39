"""The companion: a model server that the server under test stands in front of, and that sees what it does.

How its model behaves is chosen by the words of a request (see `Play`), so that a gateway carries the choice through;
what became of each request can be asked. It speaks chat completions and the Responses API, streamed and whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import attrs
import trio

from agentwire.testing.conformance.asked import Asked, read_chat, read_responses
from agentwire.testing.conformance.plays import MODELS, Play
from agentwire.testing.conformance.speech import answer_to, whole_answer
from agentwire.testing.network import Network
from agentwire.testing.replies import End, Pause, Reply
from agentwire.testing.streams import MemoryStream
from agentwire.testing.upstream import ScriptedUpstream, SeenAnswer, SeenRequest, scripted_upstream

__all__ = ["Companion", "Heard", "open_companion"]

_READERS: Final[Mapping[str, Callable[[dict[str, Any]], Asked]]] = {
    "/chat/completions": read_chat,
    "/responses": read_responses,
}
_KEPT: Final = 500


@attrs.frozen
class Heard:
    """A request for an answer that the server under test has sent.

    Attributes:
        asked: as it was understood.
        body: as it came.
        at: Trio's time at which it had come.
        answer: what became of the answer; ``answer.how`` is ``eof`` or ``reset`` if the server under test has left it.
    """

    asked: Asked
    body: Mapping[str, Any] = attrs.field(repr=False)
    at: float
    answer: SeenAnswer

    @property
    def left(self) -> bool:
        """Whether the server under test went away before the answer's end."""
        return self.answer.how in ("eof", "reset")

    @property
    def history(self) -> list[Any]:
        """The messages or items that it was sent, without settings."""
        said = self.body.get("messages" if self.asked.dialect == "chat" else "input", [])
        return [{"role": "user", "content": said}] if isinstance(said, str) else list(said)


class Companion:
    """The model server; made by `open_companion`.

    Attributes:
        url: its base URL, with ``/v1``.
        heard: the requests for an answer, the latest 500 of them, in the order of their coming.
        wired: it is asked over the WebSocket mode as well, where one connection carries several turns.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.wired = False
        self._more = trio.Event()
        self._upstream: ScriptedUpstream | None = None

    @property
    def url(self) -> str:
        """Its base URL, with ``/v1``."""
        assert self._upstream is not None
        return self._upstream.url

    async def connect(self) -> MemoryStream:
        """A connection in memory: the ``connector`` of an engine; only where it was opened on a network in memory."""
        assert self._upstream is not None
        return await self._upstream.connect()

    @property
    def sent(self) -> int:
        """Bytes that it has sent in all."""
        assert self._upstream is not None
        return self._upstream.sent

    @property
    def open_connections(self) -> int:
        """Connections to it that are open."""
        assert self._upstream is not None
        return self._upstream.open_connections

    def tagged(self, tag: str) -> list[Heard]:
        """The requests whose play has this tag, so far."""
        return [heard for heard in self.heard if heard.asked.play.tag == tag]

    async def wait_for(self, tag: str, number: int = 1) -> Heard:
        """Wait until so many requests with this tag have come; gives the last of these."""
        while len(found := self.tagged(tag)) < number:
            await self._more.wait()
        return found[number - 1]

    # Answering

    def choose(self, request: SeenRequest) -> Reply:
        """What is said to a request."""
        path = request.target.partition("?")[0].rstrip("/")
        reader = next((read for end, read in _READERS.items() if path.endswith(end)), None)
        if request.method == "GET" and path.endswith("/models"):
            return Reply.answer(body=_models())
        if reader is None:
            return _refusal(404, "There is nothing here.") if "health" not in path else Reply.answer(body={})
        if request.method != "POST":
            return _refusal(405, "This takes POST.")
        try:
            body = request.json
            asked = reader(body)
        except (ValueError, TypeError, AttributeError) as error:
            return _refusal(400, f"This is no request: {error}")
        said = body.get("messages" if asked.dialect == "chat" else "input")
        if not (body.get("model") and said and isinstance(said, str | list)):
            return _refusal(400, "A model and something to say are needed.")
        self._note(Heard(asked, body, request.at, request.answer))
        return _reply(asked)

    def _note(self, heard: Heard) -> None:
        self.heard.append(heard)
        del self.heard[:-_KEPT]
        assert self._upstream is not None
        self._upstream.requests.clear()  # it is kept here
        self._more.set()
        self._more = trio.Event()


def _models() -> dict[str, Any]:
    listed = [{"id": name, "object": "model", "created": 1, "owned_by": "agentwire-companion"} for name in MODELS]
    return {"object": "list", "data": listed}


def _refusal(status: int, message: str, play: Play | None = None) -> Reply:
    kind = {429: "rate_limit_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    usual = {429: "rate_limit_exceeded"}.get(status, "server_error" if status >= 500 else "invalid_value")
    code = usual if play is None else play.code or usual
    later = {"retry-after": str(play.retry_after)} if play is not None and play.retry_after is not None else {}
    return Reply.answer(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, later)


def _reply(asked: Asked) -> Reply:
    play = asked.play
    if play.status != 200:
        return _refusal(play.status, "The model refuses.", play)
    how: End = "end"
    if play.stall is not None:
        how = "stall"
    elif play.die is not None:
        how = "reset"
    elif play.cut is not None:
        how = "close"
    if asked.stream:
        return Reply.lazily(answer_to(asked), before=play.head, done=asked.dialect == "chat", end=how)
    return _whole_reply(asked, how)


def _whole_reply(asked: Asked, how: End) -> Reply:
    """The answer in one piece, after as much time as its stream would take; half of it, if it is to break off."""
    (said,) = Reply.answer(body="this is no JSON" if asked.play.rubbish is not None else whole_answer(asked)).steps
    assert isinstance(said, bytes)
    if asked.play.error is not None:
        return _refusal(500, "The model has failed.")
    pause = Pause(asked.play.head + asked.play.first + asked.play.pace * len(asked.words))
    return Reply.raw(pause, said if how == "end" else said[: len(said) // 2], end=how)


@asynccontextmanager
async def open_companion(
    host: str = "127.0.0.1", port: int = 0, *, net: Network | None = None
) -> AsyncGenerator[Companion]:
    """Run a companion as long as the block lasts; leaving it ends its connections.

    Args:
        host: where to listen; the servers under test must reach it there.
        port: likewise; 0 takes any free one.
        net: a network in memory that it is on instead, reached with `Companion.connect`.

    Raises:
        OSError: it cannot listen there.
    """
    companion = Companion()
    listening = {"net": net} if net is not None else {"sockets": True, "host": host, "port": port}
    async with scripted_upstream(choose=companion.choose, **listening) as upstream:
        companion._upstream = upstream
        yield companion
