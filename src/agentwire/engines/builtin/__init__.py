"""The embedded engine: deterministic rules, not a language model, and good enough for every agent's tool loop.

`agentwire.engines.builtin.engine` decides; the other modules each hold one idea: plans, references to earlier outputs,
mentions, slots, schemas, answers. None of them knows of sockets or keeps state between turns.
"""

from __future__ import annotations

from agentwire.engines.builtin.engine import builtin as builtin
from agentwire.engines.builtin.talk import NOTICE as NOTICE

__all__ = ["NOTICE", "builtin"]
