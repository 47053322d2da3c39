"""A tool call from a server that does not enforce ``tool_choice``: the arguments as an answer in JSON.

Where a tool must be called and the model wrote text instead, it is asked once more, for nothing but the arguments; a
JSON schema made from the tools leaves it no other answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs
import msgspec

from agentwire.engines.chat.dialect import Schemas
from agentwire.engines.chat.offers import function_of
from agentwire.engines.offering import Offer, Offers
from agentwire.protocol.codec import encode_json
from agentwire.protocol.errors import RemoteProtocolError

__all__ = ["Demand"]

_WITHOUT: Final = ("tools", "tool_choice", "parallel_tool_calls", "response_format", "logprobs", "top_logprobs", "stop")


@attrs.frozen
class Demand:
    """The second request, and how its answer is read.

    Attributes:
        offers: what may be called.
        schemas: what the server enforces of an answer's form.
    """

    offers: Offers
    schemas: Schemas = "json_schema"

    @property
    def _only(self) -> Offer | None:
        offers = tuple(self.offers.by_name.values())
        return offers[0] if len(offers) == 1 else None

    def instructions(self) -> str:
        """What the system says besides: which tools there are, and what to write."""
        if self._only is not None:
            what = "the JSON object of the arguments for a call of this tool, and nothing else"
        else:
            what = 'a JSON object with the "name" of one of these tools and the "arguments" for a call of it'
        tools = "\n".join(encode_json(function_of(offer)).decode() for offer in self.offers.by_name.values())
        return f"Answer with {what}:\n{tools}"

    def settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The first request's settings, with a schema in place of the tools, as far as the server enforces one."""
        kept = {name: value for name, value in settings.items() if name not in _WITHOUT}
        if self.schemas == "none":
            return kept
        if self.schemas == "json_object":
            return {**kept, "response_format": {"type": "json_object"}}
        schema = {"name": "tool_call", "schema": self._schema()}
        return {**kept, "response_format": {"type": "json_schema", "json_schema": schema}}

    def _schema(self) -> Mapping[str, Any]:
        if self._only is not None:
            return self._only.parameters
        return {"anyOf": [_named(offer) for offer in self.offers.by_name.values()]}

    def read(self, text: str) -> tuple[str, str]:
        """The name of the tool, as the server knows it, and its arguments.

        Raises:
            RemoteProtocolError: the answer is no such call either.
        """
        try:
            told = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
            if self._only is not None:
                return self._only.backend_name, text
            name = msgspec.json.decode(told["name"], type=str)
            if name in self.offers.by_name:
                return name, bytes(told["arguments"]).decode()
        except (ValueError, KeyError, RecursionError):
            pass
        raise RemoteProtocolError("a tool had to be called, and its model did not call any")


def _named(offer: Offer) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": offer.backend_name}, "arguments": offer.parameters},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
