"""What was said in a run, from its first item on: its own, whatever any server still has of it.

It grows in one place, in whole steps: what a response brought, and what its calls were answered with. Each turn says
either what is new since the latest response, or everything.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from agentwire.client.context import latest_compaction, said_in_full
from agentwire.client.memory import Parent
from agentwire.client.recovery import Prompt
from agentwire.protocol.items import Item
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.response import Response

__all__ = ["History"]


class History:
    """The items of one run.

    Args:
        parent: the response that the run continues, as the client knows it.
        root_id: the same response's id, where the client does not know it.

    Attributes:
        items: all that was said and is not folded into a compaction, oldest first.
    """

    def __init__(self, parent: Parent | None, root_id: str | None) -> None:
        self.items: list[Item] = list(parent.recall()) if parent is not None else []
        self._root_id = parent.root_id if parent is not None else root_id
        self._latest = parent
        self._known = len(self.items)
        self._brought = 0

    def take_up(self, items: Sequence[Item]) -> None:
        """What the run had said before its process ended; no connection knows of it."""
        items = said_in_full(items)
        if (cut := latest_compaction(items)) is not None:
            items = items[cut:]
            self.items.clear()
            self._root_id = self._latest = None
            self._known = 0
        self.items += items

    async def said(self, items: Sequence[Item]) -> None:
        """Something was said, and will not be taken back."""
        self.items += items

    def heard(self) -> None:
        """What was said since the latest response, its server has already: it was steered with it."""
        self._brought = len(self.items) - self._known

    async def answered(self, response: Response, *, way: int, stored: bool) -> None:
        """A response has ended well: the next turn can continue it.

        Args:
            response: as it ended.
            way: the number of the way over which it came.
            stored: whether the server keeps it beyond that.
        """
        await self.said(response.output)
        if (cut := latest_compaction(response.output)) is not None:
            del self.items[: len(self.items) - len(response.output) + cut]
            self._root_id = None
        self._known, self._brought = len(self.items), 0
        self._latest = Parent(response_id=response.id, way=way, stored=stored, recall=lambda: self.items[: self._known])

    def prompt(self, settings: CreateRequest) -> Prompt:
        """What to ask next.

        Args:
            settings: the request but for its input and what it continues.
        """
        news = tuple(self.items[self._known :])
        if self._latest is None:
            return Prompt(request=attrs.evolve(settings, input=news, previous_response_id=self._root_id))
        parent = attrs.evolve(self._latest, root_id=self._root_id)
        request = attrs.evolve(settings, input=news, previous_response_id=parent.response_id)
        return Prompt(request=request, parent=parent, brought=self._brought)
