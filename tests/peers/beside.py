"""The sidecar as an engine that ``agentwire serve --engine`` can open: the upstream is in the environment."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager

from agentwire.engines.wire import open_wire_engine
from agentwire.runtime.contracts import Engine

__all__ = ["beside"]


def beside() -> AbstractAsyncContextManager[Engine]:
    """An engine in front of ``UPSTREAM``."""
    return open_wire_engine(os.environ["UPSTREAM"])
