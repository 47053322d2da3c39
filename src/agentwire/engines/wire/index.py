"""Which response of the upstream a conversation continues, found by what the conversation says.

A client that sends its whole history each time names no response. The history's content, item by item, leads to the
response after which the upstream has just that: a digest of the items so far, of the settings, and of whose they are.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from agentwire.engines.wire.canonical import canonical_item, canonical_settings, sealed_part

__all__ = ["ChainIndex", "Mark", "Transcript", "settings_key"]


@attrs.frozen
class Mark:
    """A point in a conversation.

    Attributes:
        count: items before it.
        said: digest of their content.
        sealed: digest of what is sealed in them; empty if nothing is.
    """

    count: int
    said: bytes
    sealed: bytes


class Transcript:
    """A conversation's content so far; immutable, so that forks share it."""

    __slots__ = ("_said", "_sealed", "count")

    def __init__(self, count: int = 0, said: Any = None, sealed: Any = None) -> None:
        self.count = count
        self._said = said if said is not None else hashlib.blake2b(digest_size=32)
        self._sealed = sealed

    def marks(self, items: Iterable[Mapping[str, Any]]) -> Iterator[Transcript]:
        """The same with each of these items added, one after the other."""
        said, sealed, count = self._said, self._sealed, self.count
        for item in items:
            count += 1
            said = said.copy()
            _add(said, canonical_item(item))
            if seal := sealed_part(item):
                sealed = sealed.copy() if sealed is not None else hashlib.blake2b(digest_size=32)
                _add(sealed, seal)
            yield Transcript(count, said, sealed)

    def extend(self, items: Iterable[Mapping[str, Any]]) -> Transcript:
        """The same with these items added."""
        return [self, *self.marks(items)][-1]

    @property
    def mark(self) -> Mark:
        """Where it ends."""
        return Mark(self.count, self._said.digest(), self._sealed.digest() if self._sealed is not None else b"")


def _add(hasher: Any, data: bytes) -> None:
    hasher.update(len(data).to_bytes(8, "big"))
    hasher.update(data)


def settings_key(principal: str, model: str, settings: Mapping[str, Any]) -> bytes:
    """A digest of whose conversation it is and of everything in a request but what is said."""
    hasher = hashlib.blake2b(digest_size=32)
    _add(hasher, principal.encode())
    _add(hasher, canonical_settings(model, settings))
    return hasher.digest()


class ChainIndex:
    """Responses of the upstream by the conversations that end with them; the least recently used make room.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._chains: OrderedDict[tuple[bytes, bytes], tuple[str, bytes]] = OrderedDict()
        self._keys: dict[str, tuple[bytes, bytes]] = {}

    def __len__(self) -> int:
        return len(self._chains)

    def put(self, settings: bytes, mark: Mark, response_id: str) -> None:
        """This response ends a conversation that says this."""
        key = (settings, mark.said)
        before = self._chains.pop(key, None)
        if before is not None:
            self._keys.pop(before[0], None)
        self._chains[key] = response_id, mark.sealed
        self._keys[response_id] = key
        while len(self._chains) > self._most:
            _, (eldest, _) = self._chains.popitem(last=False)
            self._keys.pop(eldest, None)

    def drop(self, response_id: str) -> None:
        """The upstream has it no longer."""
        key = self._keys.pop(response_id, None)
        if key is not None:
            del self._chains[key]

    def find(
        self, settings: bytes, marks: list[Mark], reaches: Callable[[str], bool] = lambda _: True
    ) -> tuple[str, int] | None:
        """The response that has the most of a conversation, and how many items that is.

        Sealed content that the client never saw, or did not keep, need not be in what it hands back; where it is, it
        must be the same.

        Args:
            settings: of the request.
            marks: the conversation's, oldest first.
            reaches: whether the upstream has a response still.
        """
        for mark in reversed(marks):
            chain = self._chains.get((settings, mark.said))
            if chain is None or not reaches(chain[0]):
                continue
            if not mark.sealed or mark.sealed == chain[1]:
                self._chains.move_to_end((settings, mark.said))
                return chain[0], mark.count
        return None
