from __future__ import annotations

from typing import Any

import pytest

from agentwire.engines.chat import parts
from agentwire.engines.chat.parts import UnsupportedContent, attachments, plain
from agentwire.protocol.content import InputFile, InputImage, InputText, OpaquePart, OutputText, Part, Refusal
from agentwire.protocol.items import FunctionCallOutput, Message

FILE_ID, FILE_URL = InputImage(file_id="file_1"), InputFile(file_url="https://x/y.pdf")
IMAGE = InputImage("data:image/png;base64,AA==", detail="low")
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}


def content_of(content: str | tuple[Part, ...]) -> Any:
    return parts.content_of(Message("user", content))


def test_text_alone_is_a_string() -> None:
    assert content_of("hi") == "hi"
    assert content_of((InputText("hi"),)) == "hi"
    assert content_of((InputText("hi"), InputText(""), OutputText("there"), Refusal("no"))) == "hi\nthere\nno"
    assert content_of(()) == ""
    assert plain("x") == "x"


def test_images_and_files_make_a_list() -> None:
    shown = (InputText("what is"), IMAGE, Refusal("no"), InputText(""), InputImage("https://x/y.png"))
    assert content_of(shown) == [
        {"type": "text", "text": "what is"},
        SHOWN,
        {"type": "text", "text": "no"},
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
    ]
    file = InputFile(file_data="data:text/plain;base64,AA==", filename="a.txt")
    assert content_of((file,)) == [
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,AA=="}}
    ]
    assert content_of((InputFile(file_id="file_1"),)) == [{"type": "file", "file": {"file_id": "file_1"}}]


def test_a_part_of_another_type_goes_through() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    assert content_of((OpaquePart(audio),)) == [audio]


def test_the_attachments_of_an_output() -> None:
    assert attachments(FunctionCallOutput("c1", "x")) == []
    assert attachments(FunctionCallOutput("c1", (InputText("x"), IMAGE))) == [SHOWN]


@pytest.mark.parametrize("part", [FILE_ID, FILE_URL])
def test_what_a_chat_server_cannot_be_told_is_an_error_that_says_where(part: InputImage | InputFile) -> None:
    message, output = Message("user", (IMAGE, part)), FunctionCallOutput("c1", (part,))
    with pytest.raises(UnsupportedContent, match="must be sent as") as caught:
        parts.content_of(message)
    error = caught.value.told((output, message))
    assert (error.status, error.code, error.param) == (400, "unsupported_content", "input[1].content[1]")
    assert caught.value.told(()).param == "input"  # an earlier turn's
    with pytest.raises(UnsupportedContent) as caught:
        attachments(output)
    assert caught.value.told((output, message)).param == "input[0].output[0]"
