"""Sockets, HTTP and WebSocket: the only package that talks to the network."""

from __future__ import annotations

__all__: list[str] = []
