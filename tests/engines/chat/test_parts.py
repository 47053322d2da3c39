from __future__ import annotations

import pytest

from agentwire.engines.chat.parts import attachments, content_of, plain
from agentwire.protocol.content import InputFile, InputImage, InputText, OpaquePart, OutputText, Refusal
from agentwire.protocol.errors import EngineError

IMAGE = InputImage("data:image/png;base64,AA==", detail="low")
SHOWN = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}}


def test_text_alone_is_a_string() -> None:
    assert content_of("hi") == "hi"
    assert content_of((InputText("hi"),)) == "hi"
    assert content_of((InputText("hi"), InputText(""), OutputText("there"), Refusal("no"))) == "hi\nthere\nno"
    assert content_of(()) == ""
    assert plain("x") == "x"


def test_images_and_files_make_a_list() -> None:
    parts = (InputText("what is"), IMAGE, Refusal("no"), InputImage("https://x/y.png"))
    assert content_of(parts) == [
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
    assert attachments("x") == []
    assert attachments((InputText("x"), IMAGE)) == [SHOWN]


@pytest.mark.parametrize("part", [InputImage(file_id="file_1"), InputFile(file_url="https://x/y.pdf")])
def test_what_a_chat_server_cannot_be_told_is_an_error(part: InputImage | InputFile) -> None:
    with pytest.raises(EngineError, match="must be sent as") as caught:
        content_of((part,))
    assert (caught.value.status, caught.value.code, caught.value.param) == (400, "unsupported_content", "input")
