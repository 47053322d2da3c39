"""Content parts: what messages, tool outputs and reasoning are made of.

A part of an unknown type is an `OpaquePart` and goes through unchanged; unknown members of a known part stay in its
``extra``. Every class carries the wire's tag as ``type``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias

import attrs

from agentwire.protocol.checks import EMPTY

__all__ = [
    "PARTS",
    "InputFile",
    "InputImage",
    "InputText",
    "OpaquePart",
    "OutputText",
    "Part",
    "ReasoningText",
    "Refusal",
    "SummaryText",
    "text_of",
]


@attrs.frozen
class InputText:
    """Text that a client gives (Responses API, ``input_text``)."""

    type: ClassVar[str] = "input_text"
    text: str
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class InputImage:
    """An image, by URL, data URL or file id (``input_image``)."""

    type: ClassVar[str] = "input_image"
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class InputFile:
    """A file, by id, URL or content (``input_file``)."""

    type: ClassVar[str] = "input_file"
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    filename: str | None = None
    detail: str | None = None
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class OutputText:
    """Text that a model wrote (``output_text``); ``annotations`` and ``logprobs`` are always on the wire."""

    type: ClassVar[str] = "output_text"
    text: str
    annotations: tuple[Any, ...] = ()
    logprobs: tuple[Any, ...] = ()
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class Refusal:
    """A model's refusal to answer (``refusal``)."""

    type: ClassVar[str] = "refusal"
    refusal: str
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class SummaryText:
    """A paragraph of a reasoning summary (``summary_text``)."""

    type: ClassVar[str] = "summary_text"
    text: str
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class ReasoningText:
    """Raw reasoning (``reasoning_text``)."""

    type: ClassVar[str] = "reasoning_text"
    text: str
    extra: Mapping[str, Any] = attrs.field(default=EMPTY, kw_only=True)


@attrs.frozen
class OpaquePart:
    """A part of a type that is carried and not understood.

    Attributes:
        raw: the JSON object as it came; not to be changed.
    """

    raw: Mapping[str, Any]

    @property
    def type(self) -> str:
        """The tag it came with."""
        return str(self.raw.get("type", ""))


Part: TypeAlias = InputText | InputImage | InputFile | OutputText | Refusal | SummaryText | ReasoningText | OpaquePart
"""Any content part."""

PARTS: Mapping[str, type] = {
    cls.type: cls for cls in (InputText, InputImage, InputFile, OutputText, Refusal, SummaryText, ReasoningText)
}
"""The known parts by their tag."""


def text_of(content: str | Iterable[Part]) -> str:
    """All the text in a message's content or a tool's output, joined; images, files and opaque parts have none."""
    if isinstance(content, str):
        return content
    return "".join(_text(part) for part in content)


def _text(part: Part) -> str:
    if isinstance(part, Refusal):
        return part.refusal
    return part.text if isinstance(part, InputText | OutputText | SummaryText | ReasoningText) else ""
