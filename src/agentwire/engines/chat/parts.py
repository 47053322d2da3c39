"""Content of messages and tool outputs, as a chat server takes it.

Text alone is a plain string, which every server takes; images, files and sound make it a list of parts. What a chat
server could not even be told is an error that names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from agentwire.engines.offering import SEALED, screenshot, unsealed
from agentwire.protocol.content import (
    InputFile,
    InputImage,
    OpaquePart,
    Part,
    Refusal,
    text_of,
)
from agentwire.protocol.errors import AgentwireError, EngineError
from agentwire.protocol.items import CustomToolCallOutput, FunctionCallOutput, Item, Message, OpaqueItem

__all__ = ["UnsupportedContent", "attachments", "content_of", "picture_of", "plain"]

NO_FILE_IDS: Final = "An image must be sent as a URL or a data URL; the model's server has no file ids for images."


class UnsupportedContent(AgentwireError):
    """A part that no chat server can be told.

    Args:
        message: what to send instead.
        item: the item that it is in.
        path: where in that item.
    """

    def __init__(self, message: str, item: Item, path: str) -> None:
        super().__init__(message)
        self._message = message
        self._item = item
        self._path = path

    def told(self, new: Sequence[Item]) -> EngineError:
        """As the client is told: 400 ``unsupported_content``.

        Args:
            new: the items of its request, among which the param counts; an earlier turn's item is just ``input``.
        """
        index = next((index for index, item in enumerate(new) if item is self._item), None)
        param = "input" if index is None else f"input[{index}].{self._path}"
        return EngineError(self._message, code="unsupported_content", status=400, param=param)


def plain(content: str | Iterable[Part]) -> str:
    """The text alone, one part a line."""
    if isinstance(content, str):
        return content
    return "\n".join(text for part in content if (text := _words(part)))


def content_of(message: Message) -> str | list[dict[str, Any]]:
    """The ``content`` of a user's message; empty text beside images is left out, as some servers refuse it.

    Raises:
        UnsupportedContent: a part of it.
    """
    content = message.content
    if isinstance(content, str) or not any(map(_is_attached, content)):
        return plain(content)
    return [
        _attached(part, message, f"content[{index}]") if _is_attached(part) else _text(part)
        for index, part in enumerate(content)
        if _is_attached(part) or text_of((part,))
    ]


def attachments(item: FunctionCallOutput | CustomToolCallOutput | Message) -> list[dict[str, Any]]:
    """The images and files of a tool's output, or of a message that holds text alone; raises as `content_of` does."""
    name, parts = ("content", item.content) if isinstance(item, Message) else ("output", item.output)
    if isinstance(parts, str):
        return []
    return [_attached(part, item, f"{name}[{index}]") for index, part in enumerate(parts) if _is_attached(part)]


def picture_of(item: OpaqueItem) -> list[dict[str, Any]]:
    """The picture in an answer of a computer, if it is one; raises as `content_of` does."""
    address = screenshot(item)
    if address is not None:
        return [_image(address, None)]
    output = item.raw.get("output")
    if isinstance(output, Mapping) and output.get("file_id") is not None:
        raise UnsupportedContent(NO_FILE_IDS, item, "output.file_id")
    return []


def _is_attached(part: Part) -> bool:
    return isinstance(part, InputImage | InputFile) or (isinstance(part, OpaquePart) and part.type != SEALED)


def _text(part: Part) -> dict[str, Any]:
    return {"type": "text", "text": part.refusal if isinstance(part, Refusal) else _words(part)}


def _words(part: Part) -> str:
    if isinstance(part, OpaquePart) and part.type == SEALED:
        return unsealed(str(part.raw.get(SEALED)))
    return text_of((part,))


def _attached(part: Part, item: Item, path: str) -> dict[str, Any]:
    if isinstance(part, InputImage):
        if part.image_url is None:
            raise UnsupportedContent(NO_FILE_IDS, item, path)
        return _image(part.image_url, part.detail)
    if isinstance(part, InputFile):
        if part.file_data is None and part.file_id is None:
            message = "A file must be sent as file_data; the model's server fetches no URLs of files."
            raise UnsupportedContent(message, item, path)
        return _file(part)
    assert isinstance(part, OpaquePart)
    return dict(part.raw)


def _image(url: str, detail: str | None) -> dict[str, Any]:
    told = {"url": url}
    if detail is not None:
        told["detail"] = detail
    return {"type": "image_url", "image_url": told}


def _file(file: InputFile) -> dict[str, Any]:
    told = {"filename": file.filename, "file_data": file.file_data, "file_id": file.file_id}
    return {"type": "file", "file": {name: value for name, value in told.items() if value is not None}}
