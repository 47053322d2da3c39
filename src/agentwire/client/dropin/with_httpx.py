"""The one module that knows httpx, for SDKs that are built on it still; see `agentwire.client.dropin.library`."""

from __future__ import annotations

import httpx as library  # noqa: ASYNC127 - it is theirs

__all__ = ["library"]
