"""The one module that knows httpx2; see `agentwire.client.dropin.library`."""

from __future__ import annotations

import httpx2 as library

__all__ = ["library"]
