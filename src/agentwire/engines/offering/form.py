"""Tools whose calls are items of a type of their own: what such a tool is as a function, and as that item.

A model's arguments are taken as they are meant. Where nothing can be made of them, the item says so in a way that the
client's tool answers with an error, which the model can read: a turn never fails of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import msgspec

__all__ = ["Form", "Json", "Said", "count_of", "read_arguments", "shape", "text_of", "texts_of"]

Json: TypeAlias = dict[str, Any]

Said: TypeAlias = Mapping[str, Any] | str
"""What a model wrote as arguments: an object, or what else it wrote."""


class Form(ABC):
    """One type of tool.

    Attributes:
        tool_types: the types of the tools.
        call_type: the type of the items that call them.
        output_type: the type of the items that answer those.
        id_prefix: what the ids of such calls begin with.
        name: the plain name of the function.
    """

    tool_types: ClassVar[tuple[str, ...]]
    call_type: ClassVar[str]
    output_type: ClassVar[str]
    id_prefix: ClassVar[str]
    name: ClassVar[str]

    @abstractmethod
    def function(self, tool: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
        """Description and schema of the function; None if the client cannot run this tool.

        Args:
            tool: as the client offers it.
        """

    @abstractmethod
    def calls(self, said: Said, tool: Mapping[str, Any]) -> Sequence[Json]:
        """The members of the calls that a model's call amounts to: usually one, never none.

        Args:
            said: the model's arguments.
            tool: as the client offers it.
        """

    @abstractmethod
    def arguments(self, call: Mapping[str, Any]) -> Json:
        """A call in a conversation, as the function's arguments."""

    @abstractmethod
    def output(self, answer: Mapping[str, Any], name_of: Callable[[str, str | None], str]) -> str:
        """An answer in a conversation, as the function's output.

        Args:
            answer: the item.
            name_of: the backend's name of a function, by name and namespace.
        """


def read_arguments(text: str) -> Said:
    """What a model wrote as arguments; JSON may stand between other words, such as those of a Markdown fence."""
    start, end = text.find("{"), text.rfind("}") + 1
    for piece in (text, text[start:end] if 0 <= start < end else ""):
        try:
            told = msgspec.json.decode(piece)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            return told
    return text


def text_of(said: Mapping[str, Any], *names: str) -> str | None:
    """The first of these members that is a text, and not an empty one."""
    return next((value for name in names if isinstance(value := said.get(name), str) and value), None)


def texts_of(value: object) -> list[str]:
    """A list of texts, however it was written: numbers become texts, one text a list, and the rest is left out."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    entries = value if isinstance(value, list | tuple) else ()
    return [str(entry) for entry in entries if isinstance(entry, str | int | float) and not isinstance(entry, bool)]


def count_of(value: object) -> int | None:
    """A whole number above 0, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 1 <= value < 2**53 else None


def shape(required: Sequence[str], **properties: Json) -> Json:
    """The schema of an object."""
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}
