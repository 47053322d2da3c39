"""What a run finds out about a server before its first case: who may ask, which models there are, what they can do.

Each question is asked once, within a deadline, and what comes back is only believed as far as it was seen. It costs a
server up to three short turns of its model.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import trio

from agentwire.testing.conformance.peer import Peer
from agentwire.testing.conformance.runner import told_of
from agentwire.testing.conformance.turns import Turn
from agentwire.testing.conformance.wire import Closed, Log, Refused
from agentwire.transport.dial import ConnectFailed

__all__ = ["NotReached", "Survey", "survey"]

ANY_MODEL: Final = "default"
"""What is asked for where no model is named and none is listed."""

QUICK: Final = "companion"
SLOW: Final = "companion-slow"
FAILING: Final = "companion-fails"
"""Models of the companion, which a server in front of it may pass through."""

_SOON: Final = 30.0
_SLOW: Final = 2.0
_REFUSING: Final = frozenset((401, 403))
_ABSENT: Final = frozenset((404, 405, 501))
_LISTED: Final = 5
_TOOL: Final = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


class NotReached(Exception):
    """The server cannot be looked at; the text says why, and what to do."""


@attrs.frozen
class Survey:
    """What was found.

    Attributes:
        peer: the server, with what is known of it now.
        told: the same in sentences.
        answers: whether a plain turn came to its end.
        silent: whether it was waited for in vain.
    """

    peer: Peer
    told: tuple[str, ...]
    answers: bool
    silent: bool = False


async def survey(peer: Peer, *, turns: bool = True, timeout: float = 60.0) -> Survey:  # noqa: ASYNC109 - a bound on the server
    """Ask a server about itself. Cancelling it leaves nothing behind.

    Args:
        peer: the server, with what its owner has said of it; an empty model is found out.
        turns: whether to have its model answer; without, only a path is looked for on which a WebSocket opens.
        timeout: seconds for each turn; other questions have 30 at most.

    Raises:
        NotReached: nobody answers there, or the API key is missing or refused.
    """
    return await _Surveyor(attrs.evolve(peer, log=Log()), timeout).ask(turns=turns)


@attrs.define
class _Surveyor:
    peer: Peer
    timeout: float
    told: list[str] = attrs.field(factory=list)
    silent: bool = False
    refusal: str = ""

    async def ask(self, *, turns: bool) -> Survey:
        if not turns:
            return await self._socket_alone()
        listed = await self._reach()
        await self._keys(listed)
        self._models(listed)
        upgraded = await self._upgrade()
        answers = await self._turn(upgraded=upgraded)
        if answers:
            await self._tools(upgraded=upgraded)
            await self._reasoning(upgraded=upgraded)
            await self._through(upgraded=upgraded)
        if answers and upgraded and self.peer.slow_model is not None:
            await self._steering(self.peer.slow_model)
        return Survey(self.peer, tuple(self.told), answers, self.silent)

    async def _socket_alone(self) -> Survey:
        """Find the path on which a WebSocket opens: the URL's own, or that of the responses resource."""
        parts = urlsplit(self.peer.url)
        own = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        paths = [own, self.peer.resource] if parts.scheme in ("ws", "wss") else [self.peer.resource, own]
        refused: list[str] = []
        for path in dict.fromkeys(paths):
            found = await self._try(partial(self._open, path))
            if isinstance(found, ConnectFailed):
                raise NotReached(str(found)) from found
            if not (isinstance(found, Refused | trio.TooSlowError) or _ended_early(found)):
                self.peer = attrs.evolve(self.peer, websocket=path)
                self.told.append(f"a WebSocket opens at {path}" if found is None else f"at {path}: {_said(found)}")
                return Survey(self.peer, tuple(self.told), answers=False)
            refused.append(f"{path}: {_said(found)}")
        raise NotReached(f"{self.peer.url} opens no WebSocket ({'; '.join(refused)})")

    async def _reach(self) -> Any:
        """Ask for the list of models: what came, or why nothing did."""
        path = self.peer.resource.partition("?")[0].removesuffix("/responses") + "/models"
        found = await self._try(lambda: self.peer.http("GET", path))
        if isinstance(found, ConnectFailed):
            raise NotReached(str(found)) from found
        if isinstance(found, trio.TooSlowError):
            upgrade = await self._try(self._open)
            if isinstance(upgrade, trio.TooSlowError):
                said = f"{self.peer.url} takes connections, and says nothing within {self._soon:g} s"
                raise NotReached(f"{said}; is it the right address?")
        return found

    async def _keys(self, listed: Any) -> None:
        """Whether it asks who asks, and takes the key."""
        without = await self._try(lambda: self.peer.http("POST", "", {}, key=""))
        asked = getattr(without, "status", None) in _REFUSING or getattr(listed, "status", None) in _REFUSING
        if not asked:
            if self.peer.key is not None:
                self.told.append("it takes requests without the API key, so the key proves nothing")
                self._able(without=("keys", "second key"))
            return
        if self.peer.key is None:
            raise NotReached(f"{self.peer.url} asks for an API key, and none was given")
        given = await self._try(lambda: self.peer.http("POST", "", {}))
        if getattr(given, "status", None) == 401:
            raise NotReached(f"{self.peer.url} refuses the API key (HTTP 401)")
        self.told.append("it asks for an API key, and takes the one that was given")

    def _models(self, listed: Any) -> None:
        names = _listed(listed)
        if self.peer.model:
            if names and self.peer.model not in names:
                self.told.append(f"it does not list the model {self.peer.model!r}, which is asked for all the same")
            return
        own = self.peer.companion is not None and QUICK in names
        chosen = QUICK if own else names[0] if names else ANY_MODEL
        self.peer = attrs.evolve(self.peer, model=chosen)
        if names:
            shown = ", ".join(names[:_LISTED]) + (" ..." if len(names) > _LISTED else "")
            self.told.append(f"it lists the models {shown}; asked for is {chosen!r}")
        else:
            self.told.append(f"it lists no models, so {chosen!r} is asked for; --model names another one")

    async def _open(self, path: str | None = None) -> None:
        async with self.peer.socket(target=path):
            pass

    async def _upgrade(self) -> bool:
        found = await self._try(self._open)
        if found is None:
            return True
        if isinstance(found, Refused):
            self.told.append(f"it refuses a WebSocket with HTTP {found.status}")
            self.refusal = f"a WebSocket with HTTP {found.status}" if found.status in _ABSENT else ""
        elif isinstance(found, trio.TooSlowError):
            self.told.append(f"it does not answer to the upgrade within {self._soon:g} s")
        else:
            self.told.append(f"it opens no WebSocket: {_said(found)}")
        return False

    async def _turn(self, *, upgraded: bool) -> bool:
        begun = trio.current_time()
        found = await self._answer(upgraded=upgraded)
        if isinstance(found, dict):
            way = "over a WebSocket" if upgraded else "over HTTP"
            self.told.append(f"it answers in {trio.current_time() - begun:.1f} s {way}")
            return True
        if self.refusal and isinstance(found, Refused) and found.status in _ABSENT:
            said = f"{self.peer.url} refuses {self.refusal}, and a POST with HTTP {found.status}"
            raise NotReached(f"{said}; is the base URL right?")
        self.told.append(f"a plain turn does not come to its end: {_said(found)}")
        self.silent = isinstance(found, trio.TooSlowError)
        return False

    async def _tools(self, *, upgraded: bool) -> None:
        if "tools" in self.peer.able:
            return
        found = await self._answer(
            upgraded=upgraded, tools=[_TOOL], tool_choice={"type": "function", "name": _TOOL["name"]}
        )
        called = _has(found, "function_call")
        self.told.append("its model calls a function that is forced" if called else _lacks("a forced function", found))
        self._able(*(("tools",) if called else ()))

    async def _reasoning(self, *, upgraded: bool) -> None:
        if "reasoning" in self.peer.able:
            return
        found = await self._answer(upgraded=upgraded, reasoning={"summary": "auto"})
        if _has(found, "reasoning", "summary"):
            self.told.append("its model shows a summary of its reasoning")
            self._able("reasoning")

    async def _through(self, *, upgraded: bool) -> None:
        """Whether the companion's models that are slow, or fail, can be had through the server.

        Neither speaks for long: a server that waits for ever after a failure is not given the patience of a case.
        """
        if self.peer.companion is None:
            return
        if self.peer.slow_model is None:
            begun = trio.current_time()
            found = await self._answer(upgraded=upgraded, seconds=self._soon, model=SLOW)
            if isinstance(found, dict) and trio.current_time() - begun > _SLOW:
                self.peer = attrs.evolve(self.peer, slow_model=SLOW)
        if self.peer.failing_model is None:
            found = await self._answer(upgraded=upgraded, seconds=self._soon, model=FAILING)
            if isinstance(found, Exception) and not isinstance(found, trio.TooSlowError | Closed):
                self.peer = attrs.evolve(self.peer, failing_model=FAILING)
        named = [name for name in (self.peer.slow_model, self.peer.failing_model) if name is not None]
        self.told.append(f"it has these models of the companion: {', '.join(named) or 'none that is slow or fails'}")

    async def _steering(self, slow: str) -> None:
        """Whether what runs can be steered."""
        if "steering" in self.peer.able:
            return

        async def steer() -> Any:
            async with self.peer.socket() as socket:
                await socket.create("Count to 100, in words.", model=slow)
                begun = (await socket.until("response.in_progress"))[-1]["response"]["id"]
                said = {"type": "response.steer", "previous_response_id": begun, "input": "Be brief."}
                await socket.ws.send(said)
                answers = ("response.steer.accepted", "response.steer.failed", "error")
                return (await socket.until(*answers, "response.completed"))[-1]

        found = await self._try(steer, self.timeout)
        if isinstance(found, dict) and found["type"] == "response.steer.accepted":
            self.told.append("what runs can be steered")
            self._able("steering")

    def _able(self, *more: str, without: tuple[str, ...] = ()) -> None:
        peer = self.peer
        self.peer = attrs.evolve(peer, able=peer.able.union(more), unable=peer.unable.union(without))

    async def _answer(self, *, upgraded: bool, seconds: float | None = None, **fields: Any) -> Any:
        """The response to a short request, or what was wrong."""

        async def socket() -> dict[str, Any]:
            async with self.peer.socket() as opened:
                return _ended(await opened.ask("What is the weather in Paris?", **fields))

        async def post() -> Any:
            reply = await self.peer.post("What is the weather in Paris?", **fields)
            if reply.status != 200:
                raise Refused(reply.status, reply.headers, reply.body)
            return reply.json()

        return await self._try(socket if upgraded else post, self.timeout if seconds is None else seconds)

    @property
    def _soon(self) -> float:
        return min(self.timeout, _SOON)

    async def _try(self, ask: Callable[[], Awaitable[Any]], seconds: float | None = None) -> Any:
        """What comes of a question, or the error; never later than the deadline."""
        try:
            with trio.fail_after(self._soon if seconds is None else seconds):
                return await ask()
        except Exception as error:  # noqa: BLE001 - whatever a stranger's server does is an answer
            return error


def _ended_early(found: Any) -> bool:
    return isinstance(found, Closed | trio.BrokenResourceError)


def _listed(found: Any) -> list[str]:
    """The names in a list of models, if it is one."""
    if getattr(found, "status", None) != 200:
        return []
    try:
        return [str(model["id"]) for model in found.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return []


def _ended(turn: Turn) -> dict[str, Any]:
    return turn.completed().response


def _has(found: Any, kind: str, *members: str) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("output"), list):
        return False
    items = [item for item in found["output"] if isinstance(item, dict) and item.get("type") == kind]
    return any(all(item.get(member) for member in members) for item in items)


def _lacks(what: str, found: Any) -> str:
    why = "" if isinstance(found, dict) else f" ({_said(found)})"
    return f"its model does not call {what}{why}"


def _said(error: Any) -> str:
    if isinstance(error, trio.TooSlowError):
        return "nothing came in time"
    if isinstance(error, Refused):
        return f"HTTP {error.status}: {' '.join(error.body.decode(errors='replace').split())[:200]}"
    return told_of(error)[:300] if isinstance(error, Exception) else f"{error!r}"[:200]
