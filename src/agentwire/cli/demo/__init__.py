"""The demonstration: each module one part of it, `command` puts them together."""

from __future__ import annotations

from agentwire.cli.demo.command import demo as demo

__all__ = ["demo"]
