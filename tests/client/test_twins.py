"""What the Trio client's objects have, their twins for plain Python and for asyncio have, too."""

from __future__ import annotations

from types import ModuleType
from typing import Final

import pytest

import agentwire.aio
import agentwire.sync
from agentwire.client import Client, Lane, Run, Turn

INNER: Final = {
    Client: {"means", "lease"},
    Lane: {"means", "lease"},
    Turn: {"exchange", "ready", "server_is_working", "way"},
    Run: {"ready"},
}
"""What the client's own parts say to each other."""


@pytest.mark.parametrize("bridge", [agentwire.sync, agentwire.aio], ids=["sync", "aio"])
@pytest.mark.parametrize("kind", INNER)
def test_nothing_is_missing(bridge: ModuleType, kind: type) -> None:
    twin = getattr(bridge, kind.__name__)
    here, there = ({name for name in dir(one) if not name.startswith("_")} for one in (kind, twin))
    assert here - there - INNER[kind] == set()
