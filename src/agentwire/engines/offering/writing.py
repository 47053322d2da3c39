"""A model's call of a function, written as the item that the client waits for.

Arguments of functions go out as they come, and so does free text, out of the JSON that it is wrapped in. Items of other
types have no events for pieces and go out whole.
"""

from __future__ import annotations

from collections.abc import Callable

from agentwire.engines.offering.form import read_arguments
from agentwire.engines.offering.free_text import FreeText
from agentwire.engines.offering.tool import Offer
from agentwire.runtime.contracts import Out

__all__ = ["CallWriter"]


class CallWriter:
    """Writes one call.

    Args:
        out: where it goes.
        offer: what is called.
        call_id: the id that the client is to answer under; one is made if it is None.
        new_id: makes ids, for a prefix.
    """

    def __init__(self, out: Out, offer: Offer, *, call_id: str | None, new_id: Callable[[str], str]) -> None:
        self._out = out
        self._offer = offer
        self._call_id = call_id
        self._new_id = new_id
        self._opened = False
        self._reader = FreeText() if offer.custom else None

    async def write(self, piece: str) -> None:
        """The next piece of the arguments. Waits while the client is slow; a cancelled one was not written."""
        if self._offer.form is not None:
            return
        if self._reader is not None:
            piece = self._reader.feed(piece)
            if not self._reader.begun:
                return
        if not self._opened:
            self._opened = True
            offer = self._offer
            await self._out.open_call(
                offer.name, call_id=self._call_id, custom=offer.custom, namespace=offer.call_namespace
            )
        await self._out.arguments(piece)

    async def end(self, text: str) -> None:
        """The call is complete. Cancelled while it waits, it is written whole by what is written next.

        Args:
            text: all arguments, those that were written in pieces included.
        """
        if self._offer.form is not None:
            await self._items(text)
        elif self._opened:
            await self._out.arguments(self._rest(text))
            await self._out.close_call()
        else:
            await self._whole(text)

    def _rest(self, text: str) -> str:
        if self._reader is not None:
            return self._reader.finish()
        return "" if text.strip() else "{}"

    async def _whole(self, text: str) -> None:
        offer = self._offer
        told = FreeText.whole(text) if offer.custom else text if text.strip() else "{}"
        await self._out.call(
            offer.name, told, call_id=self._call_id, custom=offer.custom, namespace=offer.call_namespace
        )

    async def _items(self, text: str) -> None:
        form = self._offer.form
        assert form is not None
        call_id = self._call_id
        for members in form.calls(read_arguments(text), self._offer.raw):
            ids = {"id": self._new_id(form.id_prefix), "call_id": call_id or self._new_id("call")}
            await self._out.item({"type": form.call_type, **ids, **members, "status": "completed"})
            call_id = None
