"""How many tokens a request would put in front of the model, without running it.

It is an estimate, four bytes of JSON to a token, over everything that an engine would render: the conversation so far,
the new items, the instructions and the tools, the server's own included.
"""

from __future__ import annotations

from typing import Final

import trio

from agentwire.protocol.codec import encode_json
from agentwire.protocol.request import CreateRequest
from agentwire.protocol.transcript import History, Node
from agentwire.runtime.service import Service

__all__ = ["BYTES_PER_TOKEN", "count_input"]

BYTES_PER_TOKEN: Final = 4
"""What a token is taken for where nobody knows better."""

_BATCH = 128  # items between two checkpoints


async def count_input(service: Service, request: CreateRequest, parent: Node | None) -> int:
    """The input tokens of this request; at least 1.

    Args:
        service: whose tools are offered beside the client's.
        request: what would be asked, references resolved.
        parent: what it continues.
    """
    size = len((request.instructions or "").encode("utf-8", "replace"))
    size += sum(len(encode_json(tool)) for tool in (*request.tools, *service.toolbox.specs))
    for index, item in enumerate(History(parent, request.input)):
        if index % _BATCH == 0:
            await trio.lowlevel.checkpoint()
        size += len(encode_json(item))
    return max(1, -(-size // BYTES_PER_TOKEN))
