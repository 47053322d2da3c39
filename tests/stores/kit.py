"""Conversations to store, and how to tell that what comes back is the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentwire.protocol.codec import decode_item, encode_json, to_wire
from agentwire.protocol.items import Item
from agentwire.protocol.transcript import Node
from agentwire.runtime.contracts import Stored

__all__ = ["answer", "call", "chain", "output", "same", "say", "stored", "whole"]


def say(text: str, **members: Any) -> Item:
    """A message of the user's."""
    return decode_item({"type": "message", "role": "user", "content": text, **members})


def answer(text: str, item_id: str) -> Item:
    """A message of the model's, as a response lists it."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return decode_item(
        {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": [part]}
    )


def call(call_id: str) -> Item:
    """A call for the client."""
    return decode_item(
        {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": "look", "arguments": "{}"}
    )


def output(call_id: str) -> Item:
    """The client's answer to a call."""
    return decode_item({"type": "function_call_output", "call_id": call_id, "output": "seen"})


def chain(length: int, name: str = "resp") -> list[Node]:
    """A conversation of that many responses, oldest first; ``name_0`` is the first one's id."""
    nodes: list[Node] = []
    for number in range(length):
        given, made = (say(f"question {number}"),), (answer(f"answer {number}", f"msg_{name}_{number}"),)
        id_ = f"{name}_{number}"
        nodes.append(nodes[-1].extend(id_, given, made) if nodes else Node.root(id_, given, made))
    return nodes


def stored(node: Node | str, *, status: str = "completed", background: bool = False, size: int = 100) -> Stored:
    """A response at rest, with a response object that fits."""
    node = Node.root(node, (say("hi"),), ()) if isinstance(node, str) else node
    shown = {"id": node.response_id, "object": "response", "status": status, "output": to_wire(node.output)}
    return Stored(node=node, response=encode_json(shown), size=size, status=status, background=background)


def whole(node: Node) -> Sequence[Any]:
    """All that a conversation is: per response its id, what was put in and what came out, oldest first."""
    return [(one.response_id, one.input, one.output) for one in node.chain()][::-1]


def same(one: Node, other: Node) -> bool:
    """True if two nodes are the same conversation, to everybody who continues it."""
    return (
        whole(one) == whole(other)
        and (one.root_id, one.depth, one.size) == (other.root_id, other.depth, other.size)
        and dict(one.unanswered) == dict(other.unanswered)
        and to_wire(list(one.items())) == to_wire(list(other.items()))
    )
