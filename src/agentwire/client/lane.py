"""A lane of one's own: whoever leases one asks on it, again and again, beside everybody else on the connection.

What is asked on a lane goes one after the other; what is asked on different lanes goes side by side. A lane that is not
read fails alone (`TurnOverflow`), because each turn has its own bounded buffer. It is the same lane on the next
connection, too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from agentwire.client.asker import Asker
from agentwire.client.asking import ToolLike
from agentwire.client.means import Means
from agentwire.link.lease import Lease, lease_lane
from agentwire.protocol.errors import LocalProtocolError

__all__ = ["Lane", "open_lane"]

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,256}")


class Lane(Asker):
    """A leased lane; made by `Client.lane`. It asks as the client does, but on this lane."""

    def __init__(self, means: Means, lease: Lease, *, model: str | None, tools: Sequence[ToolLike]) -> None:
        super().__init__(means, model=model, tools=tools, lease=lease)
        self._name = str(lease.name)

    @property
    def name(self) -> str:
        """Its name, as it is on the wire (``stream_id``)."""
        return self._name


@asynccontextmanager
async def open_lane(
    means: Means, name: str | None, *, model: str | None, tools: Sequence[ToolLike]
) -> AsyncGenerator[Lane]:
    """Lease a lane; `Client.lane` says what that means."""
    if name is not None and not _NAME.fullmatch(name):
        raise LocalProtocolError(f"a lane's name must have 1 to 256 characters of [A-Za-z0-9_.-], unlike {name!r}")
    async with lease_lane(means.line, name) as lease:
        yield Lane(means, lease, model=model, tools=tools)
