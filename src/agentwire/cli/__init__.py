"""The command ``agentwire``: parses arguments, opens things, prints. The only package that prints."""

from __future__ import annotations

from agentwire.cli.app import main as main

__all__ = ["main"]
