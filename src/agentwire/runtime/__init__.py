"""Sessions, turns and windows on Trio: the runtime, which knows nothing of the network."""

from __future__ import annotations

__all__: list[str] = []
