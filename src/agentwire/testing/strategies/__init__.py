"""Hypothesis strategies for everything that goes over the wire, and for what clients, models and networks may do."""

from __future__ import annotations

from agentwire.testing.strategies.programs import programs as programs
from agentwire.testing.strategies.programs import tool_programs as tool_programs

__all__ = ["programs", "tool_programs"]
