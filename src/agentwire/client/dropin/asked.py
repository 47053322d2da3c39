"""A request as an SDK posts it, read as far as the wire needs it; what is asked for stays as it was written.

On the socket a request is the same object with a type and a lane, and without what only HTTP knows. A request that
cannot go there is not judged: over HTTP its server says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

import attrs
import msgspec

from agentwire.engines.relay.asking import runs_tools
from agentwire.engines.wire.index import Mark, Transcript, settings_key

__all__ = ["Asked"]

_HTTP_ONLY: Final = frozenset(("stream", "stream_options", "background"))
"""Members that a socket does not know, or need not be told."""
_ELSEWHERE: Final = ("background", "conversation", "stream_id", "type")
"""Members that, where they say anything, make it a request for HTTP: two the socket lacks, and two it would confuse."""
_OWN: Final = frozenset(("generate", "input", "model", "previous_response_id"))
"""Members that are no settings (section 6.6.7): what is said, whom to ask, what it continues, and a warm-up's mark."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ENTRIES: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


@attrs.frozen(kw_only=True)
class Asked:
    """One ``POST /responses``; made by `Asked.read`.

    Attributes:
        members: what it says, member by member, as it was written.
        entries: its input, item by item, as it was written; empty if it is no list.
        before: what is said up to each item but the last; empty if the conversation is not all here.
        transcript: all that is said; None if the conversation is not all here.
        settings: everything else in it.
        model: whom it asks.
        stream: whether the answer is wanted as events.
        stored: whether the server keeps the response; it does unless it is told not to.
        continues: the response that it names itself.
    """

    members: Mapping[str, msgspec.Raw] = attrs.field(repr=False)
    entries: tuple[msgspec.Raw, ...] = attrs.field(repr=False)
    before: tuple[Mark, ...] = attrs.field(repr=False)
    transcript: Transcript | None = attrs.field(repr=False)
    settings: Mapping[str, Any] = attrs.field(repr=False)
    model: str
    stream: bool
    stored: bool
    continues: str | None

    @classmethod
    def read(cls, body: bytes) -> Self | None:
        """Read a body; None if it is nothing for a socket."""
        try:
            members = _MEMBERS(body)
            settings = {name: msgspec.json.decode(raw) for name, raw in members.items() if name not in _OWN}
            given, model = _value(members, "input"), _value(members, "model")
            continues = _value(members, "previous_response_id")
            entries = _ENTRIES(members["input"]) if isinstance(given, list) else ()
        except (ValueError, RecursionError):
            return None
        stream = settings.get("stream") or False
        if any(settings.get(name) for name in _ELSEWHERE) or not isinstance(stream, bool):
            return None
        if not (isinstance(model, str | None) and isinstance(continues, str | None)):
            return None
        said = _items(given) if continues is None else ()
        states = list(Transcript().marks(said))
        return cls(
            members={name: raw for name, raw in members.items() if name not in _HTTP_ONLY},
            entries=tuple(entries),
            before=tuple(state.mark for state in states[:-1]),
            transcript=states[-1] if states else None,
            settings={name: value for name, value in settings.items() if name not in _HTTP_ONLY and value is not None},
            model=model or "",
            stream=stream,
            stored=settings.get("store") is not False,
            continues=continues,
        )

    @property
    def repeatable(self) -> bool:
        """Whether it may run twice with no more harm than what it costs (the model's call alone)."""
        tools = self.settings.get("tools") or ()
        plain = isinstance(tools, list | tuple) and all(isinstance(tool, dict) for tool in tools)
        return not self.stored and plain and not runs_tools(tools)

    def key(self, principal: str) -> bytes:
        """What must be the same in a request that this one continues: whose it is, and all its settings."""
        settings = {name: value for name, value in self.settings.items() if name != "store"}
        return settings_key(principal, self.model, {**settings, "store": self.stored})

    def message(self, lane: str | None, *, after: int = 0, known: str | None = None) -> bytes:
        """The ``response.create``.

        Args:
            lane: its lane; None is the default lane.
            after: items of the conversation that the server has.
            known: the response that ends with them.
        """
        message: dict[str, Any] = {"type": "response.create"}
        if lane is not None:
            message["stream_id"] = lane
        message |= self.members
        if known is not None:
            message |= {"previous_response_id": known, "input": self.entries[after:]}
        return msgspec.json.encode(message)


def _value(members: Mapping[str, msgspec.Raw], name: str) -> Any:
    return msgspec.json.decode(members[name]) if name in members else None


def _items(given: Any) -> tuple[Mapping[str, Any], ...]:
    if isinstance(given, str):
        return ({"role": "user", "content": given},)
    if isinstance(given, list) and all(isinstance(item, dict) for item in given):
        return tuple(given)
    return ()
