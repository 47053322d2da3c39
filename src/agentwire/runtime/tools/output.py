"""What a tool returned, as the wire carries it: text passes, content parts pass, anything else becomes JSON.

Output is bounded in bytes; what is cut says so, because a model that does not know reads the rest as missing.
"""

from __future__ import annotations

from typing import Any, Final, TypeGuard

import attrs

from agentwire.protocol.content import PARTS, InputText, OpaquePart, Part, text_of
from agentwire.protocol.writing import encode_json
from agentwire.runtime.tools import models
from agentwire.runtime.tools.command import CommandResult

__all__ = ["ToolResult", "render"]

_PART_TYPES: Final = (*PARTS.values(), OpaquePart)


@attrs.frozen
class ToolResult:
    """How a tool call ended.

    Attributes:
        output: what the model is told.
        error: why the call failed, or None if it did not; the output then says the same.
        unknown: whether nobody knows what the call did, as it was cut off and may even go on.
        exception: what the tool raised, if that is why it failed and it was not meant for the model.
    """

    output: str | tuple[Part, ...]
    error: str | None = None
    unknown: bool = False
    exception: BaseException | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def text(self) -> str:
        """All the text of the output, joined."""
        return text_of(self.output)

    def bounded(self, limit: int) -> ToolResult:
        """The same with at most about ``limit`` bytes of output, and of the reason why it failed."""
        error = self.error if self.error is None else _cut(self.error, limit)
        return attrs.evolve(self, output=render(self.output, limit), error=error)

    @classmethod
    def failed(cls, reason: str, *, unknown: bool = False, exception: BaseException | None = None) -> ToolResult:
        """A call that failed, for this reason."""
        return cls(f"ToolError: {reason}", reason, unknown, exception)


def render(value: Any, limit: int) -> str | tuple[Part, ...]:
    """A tool's return value as output of at most about ``limit`` bytes of UTF-8 (the note that it was cut aside).

    Raises:
        TypeError: the value has no JSON.
    """
    if isinstance(value, CommandResult):
        value = value.text
    if isinstance(value, str):
        return _cut(value, limit)
    parts = (value,) if isinstance(value, _PART_TYPES) else value
    if _is_parts(parts):
        return _cut_parts(tuple(parts), limit)
    try:
        text = encode_json(models.dump(value)).decode()
    except TypeError as error:
        raise TypeError(f"it has run, and what it returned has no JSON: {error}") from error
    return _cut(text, limit)


def _is_parts(value: Any) -> TypeGuard[list[Part] | tuple[Part, ...]]:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(part, _PART_TYPES) for part in value)


def _cut(text: str, limit: int) -> str:
    """The start of a text, on a character's boundary, with a note if it is not all."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode(errors="surrogatepass")
    if len(data) <= limit:
        return text
    start = data[:limit].decode(errors="ignore")
    return f"{start}\n[cut: the output has {len(data)} bytes, and these are the first {limit}]"


def _cut_parts(parts: tuple[Part, ...], limit: int) -> tuple[Part, ...]:
    """Whole parts as long as they fit; a text that does not is cut, anything else is replaced by a note."""
    kept: list[Part] = []
    for part in parts:
        size = len(encode_json(part))
        if size <= limit:
            kept.append(part)
        elif isinstance(part, InputText):
            kept.append(attrs.evolve(part, text=_cut(part.text, max(limit, 0))))
        else:
            kept.append(InputText(f"[cut: a part of type {part.type} and {size} bytes is left out]"))
        limit -= min(size, max(limit, 0))
    return tuple(kept)
