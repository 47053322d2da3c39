"""What the assistant did between two inputs: one message with its calls, and behind it each call's answer.

Chat servers want a call's answer right behind it; reasoning goes back in the message that it led to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import msgspec

from agentwire.engines.chat.dialect import NoText
from agentwire.engines.chat.thoughts import Style, Thought
from agentwire.protocol.checks import EMPTY
from agentwire.protocol.codec import encode_json

__all__ = ["NO_ANSWER", "CallAnswer", "Group"]

NO_ANSWER: Final = "(no output)"
"""What a tool has said that has said nothing: some servers refuse an empty message."""
BELOW: Final = "(see below)"
"""What a tool has said that has said nothing but the images behind it."""

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@attrs.define
class CallAnswer:
    """What came of a call.

    Attributes:
        text: what the tool said.
        attached: parts that a tool's message cannot hold, such as images.
    """

    text: str
    attached: list[dict[str, Any]] = attrs.field(factory=list)


@attrs.define
class Group:
    """One message of the assistant while it is put together.

    Attributes:
        start: the index of its first item.
        style: how reasoning goes back.
        no_text: the content beside calls where there is no text.
    """

    start: int
    style: Style
    no_text: NoText = "empty"
    _thought: Thought | None = None
    _extra: Mapping[str, Any] = EMPTY
    _texts: list[str] = attrs.field(factory=list)
    _calls: list[dict[str, Any]] = attrs.field(factory=list)
    _answers: list[CallAnswer] = attrs.field(factory=list)

    @property
    def call_ids(self) -> list[str]:
        """The ids of its calls."""
        return [call["id"] for call in self._calls]

    def say(self, text: str) -> None:
        """Text of one item."""
        self._texts.append(text)

    def think(self, thought: Thought) -> None:
        """The reasoning of one item."""
        self._extra = thought.extra or self._extra
        if thought.text or thought.details:
            self._thought = thought if self._thought is None else self._thought + thought

    def call(self, call_id: str, name: str, arguments: str, answer: CallAnswer) -> None:
        """A call, and what came of it."""
        function = {"name": name, "arguments": _arguments(arguments)}
        extra, self._extra = self._extra, EMPTY
        made = {"id": call_id, "type": "function", "function": function}
        self._calls.append({**made, "extra_content": extra} if extra else made)
        self._answers.append(answer)

    def messages(self) -> Iterator[dict[str, Any]]:
        """The message, then each call's answer; images cannot stand in those and come after them."""
        if not self._texts and not self._calls:
            return
        said = "\n\n".join(self._texts)
        content = said if said or self.no_text == "empty" else None
        message: dict[str, Any] = {"role": "assistant", "content": content}
        message |= self.style.members(self._thought, calls=bool(self._calls), said=said)
        yield {**message, "tool_calls": self._calls} if self._calls else message
        attached: list[dict[str, Any]] = []
        for call, answer in zip(self._calls, self._answers, strict=True):
            text = answer.text or (BELOW if answer.attached else NO_ANSWER)
            yield {"role": "tool", "tool_call_id": call["id"], "content": text}
            attached += answer.attached
        if attached:
            yield {"role": "user", "content": attached}


def _arguments(text: str) -> str:
    """Arguments that are a JSON object, whatever a model wrote: servers read them again, and fail on anything else."""
    if not text.strip():
        return "{}"
    try:
        _object(text)
    except (ValueError, RecursionError):
        return encode_json({"arguments": text}).decode()
    return text
