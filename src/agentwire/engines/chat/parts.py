"""Content of messages and tool outputs, as a chat server takes it.

Text alone is a plain string, which every server takes; images and files make it a list of parts. What a chat server
could not even be told is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentwire.protocol.content import (
    InputFile,
    InputImage,
    OpaquePart,
    Part,
    Refusal,
    text_of,
)
from agentwire.protocol.errors import EngineError

__all__ = ["attachments", "content_of", "plain"]


def plain(content: str | Iterable[Part]) -> str:
    """The text alone, one part a line."""
    if isinstance(content, str):
        return content
    return "\n".join(text for part in content if (text := text_of((part,))))


def content_of(content: str | tuple[Part, ...]) -> str | list[dict[str, Any]]:
    """The ``content`` of a user's message.

    Raises:
        EngineError: 400 ``unsupported_content``.
    """
    if isinstance(content, str) or not any(map(_is_attached, content)):
        return plain(content)
    return [_attached(part) if _is_attached(part) else _text(part) for part in content]


def attachments(content: str | tuple[Part, ...]) -> list[dict[str, Any]]:
    """The images and files of a tool's output; raises as `content_of` does."""
    return [] if isinstance(content, str) else [_attached(part) for part in content if _is_attached(part)]


def _is_attached(part: Part) -> bool:
    return isinstance(part, InputImage | InputFile | OpaquePart)


def _text(part: Part) -> dict[str, Any]:
    assert not isinstance(part, InputImage | InputFile | OpaquePart)
    return {"type": "text", "text": part.refusal if isinstance(part, Refusal) else part.text}


def _attached(part: Part) -> dict[str, Any]:
    if isinstance(part, InputImage):
        return _image(part)
    if isinstance(part, InputFile):
        return _file(part)
    assert isinstance(part, OpaquePart)
    return dict(part.raw)


def _image(image: InputImage) -> dict[str, Any]:
    if image.image_url is None:
        raise _unsupported("An image must be sent as a URL or a data URL; the model's server has no file ids.")
    told = {"url": image.image_url}
    if image.detail is not None:
        told["detail"] = image.detail
    return {"type": "image_url", "image_url": told}


def _file(file: InputFile) -> dict[str, Any]:
    if file.file_data is None and file.file_id is None:
        raise _unsupported("A file must be sent as file_data; the model's server fetches no URLs.")
    told = {"filename": file.filename, "file_data": file.file_data, "file_id": file.file_id}
    return {"type": "file", "file": {name: value for name, value in told.items() if value is not None}}


def _unsupported(message: str) -> EngineError:
    return EngineError(message, code="unsupported_content", status=400, param="input")
