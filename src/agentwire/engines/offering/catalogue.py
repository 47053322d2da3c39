"""All tools that a conversation knows, under the names that the backend has for them.

It begins with a request's own tools and grows by those that items bring. A tool keeps its name; the second that would
have the same one gets another, in the definition as in the history's calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from agentwire.engines.offering.names import distinct_name, plain_name
from agentwire.engines.offering.tool import Offer, offers_in
from agentwire.protocol.tools import TOOL_ITEMS, OpaqueTool, Tool

__all__ = ["Catalogue"]


@attrs.define
class Catalogue:
    """The tools of one request.

    Of each identity the request's first counts; of one that items alone have brought, the newest.
    """

    _by_name: dict[str, Offer] = attrs.field(factory=dict)
    _names: dict[tuple[str, str | None, str], str] = attrs.field(factory=dict)
    _own: set[str] = attrs.field(factory=set)

    @classmethod
    def of(cls, tools: Iterable[Tool]) -> Catalogue:
        """One that begins with these."""
        made = cls()
        made.add(tools)
        return made

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._by_name.values())

    def add(self, tools: Iterable[Tool]) -> None:
        """More tools, or items that bring them; one that was deferred and is found now comes last, like a new one."""
        for tool in tools:
            late = isinstance(tool, OpaqueTool) and tool.type in TOOL_ITEMS
            for offer in offers_in(tool):
                self._add(offer, late=late)

    def _add(self, offer: Offer, *, late: bool) -> None:
        name = self._names.get(offer.identity)
        if name is None:
            name = offer.backend_name
            if name in self._by_name:
                name = distinct_name(*offer.identity)
            self._names[offer.identity] = name
            if not late:
                self._own.add(name)
        else:
            known = self._by_name[name]
            if offer.found and known.deferred and not known.found:
                del self._by_name[name]
            elif not late or name in self._own:
                return
            offer = attrs.evolve(offer, found=offer.found or known.found)
        self._by_name[name] = offer if name == offer.backend_name else attrs.evolve(offer, backend_name=name)

    def name_of(self, name: str, namespace: str | None = None, call_type: str = "") -> str:
        """The backend's name of a tool, whether it is known or not.

        Args:
            name: its own.
            namespace: the one that it is in.
            call_type: of the items that call it, where those are neither of functions nor of free text.
        """
        found = self._names.get((name, namespace, call_type))
        if found is None and namespace == name:  # a deferred function's call
            return self.name_of(name, None, call_type)
        return found or plain_name(name, namespace)
