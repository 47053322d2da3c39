"""A call of a tool that this server runs, made by a model elsewhere: it becomes a call of this server's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentwire.engines.relay.healing import is_same_text
from agentwire.protocol.errors import RemoteProtocolError
from agentwire.runtime.contracts import Out

__all__ = ["OwnCall"]


class OwnCall:
    """Such a call while it is told; the same shape as `HeardItem`.

    Args:
        out: where it goes, and who has it run.
        raw: the upstream's ``function_call``, with its name.

    Attributes:
        raw: what is known of it.
        id: of the ``mcp_call`` that the client sees; empty until it has ended.
    """

    def __init__(self, out: Out, raw: Mapping[str, Any]) -> None:
        self.raw = dict(raw)
        self.id = ""
        self._out = out
        self._pieces: list[str] = []

    @property
    def written(self) -> int:
        """How many pieces of arguments it has."""
        return len(self._pieces)

    @property
    def writes(self) -> bool:
        """Nobody knows when its arguments are whole."""
        return True

    async def begin(self) -> None:
        """Tell the client that it begins."""
        await self._out.open_call(self.raw["name"], call_id=self.raw["call_id"])

    async def take(self, kind: str, event: Mapping[str, Any]) -> None:
        """Its next event."""
        piece = event.get("delta")
        if kind == "response.function_call_arguments.delta" and isinstance(piece, str):
            await self._add(piece)
        elif kind == "response.function_call_arguments.done":
            await self._complete(event.get("arguments"))

    async def end(self, final: Mapping[str, Any] | None, *, status: str | None = None) -> Mapping[str, Any]:
        """Its arguments are whole: it runs.

        Returns:
            The call, as the upstream should have said it.
        """
        self.raw |= {name: value for name, value in (final or {}).items() if value is not None}
        await self._complete(self.raw.get("arguments"))
        if (status or self.raw.get("status")) != "incomplete":
            await self._out.close_call()
            self.id = self._out.calls[-1].id or ""
        return {**self.raw, "arguments": "".join(self._pieces)}

    async def _add(self, piece: str) -> None:
        await self._out.arguments(piece)
        self._pieces.append(piece)

    async def _complete(self, whole: Any) -> None:
        said = "".join(self._pieces)
        if isinstance(whole, str) and whole.startswith(said):
            if len(whole) > len(said):
                await self._add(whole[len(said) :])
        elif isinstance(whole, str) and whole.strip() and not is_same_text(whole, said):
            raise RemoteProtocolError("the arguments of a call are not what their pieces said")
