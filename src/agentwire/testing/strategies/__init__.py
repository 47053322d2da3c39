"""Hypothesis strategies for what goes over the wire, and for what clients, models, tools and networks may do.

Importing this needs Hypothesis (the extra ``testing``). Values of every class of the wire are in `values`, the pieces
of legal streams in `streams`.
"""

from __future__ import annotations

from agentwire.testing.strategies.behaviours import Move as Move
from agentwire.testing.strategies.behaviours import Said as Said
from agentwire.testing.strategies.behaviours import behaviours as behaviours
from agentwire.testing.strategies.behaviours import conversations as conversations
from agentwire.testing.strategies.behaviours import lanes as lanes
from agentwire.testing.strategies.faults import fault_plans as fault_plans
from agentwire.testing.strategies.faults import faults as faults
from agentwire.testing.strategies.programs import programs as programs
from agentwire.testing.strategies.programs import tool_programs as tool_programs
from agentwire.testing.strategies.spoilt import FAULTS as FAULTS
from agentwire.testing.strategies.spoilt import Spoilt as Spoilt
from agentwire.testing.strategies.spoilt import almost_legal as almost_legal
from agentwire.testing.strategies.streams import legal as legal
from agentwire.testing.strategies.values import of_class as of_class
from agentwire.testing.strategies.values import requests as requests
from agentwire.testing.strategies.values import responses as responses

__all__ = [
    "FAULTS",
    "Move",
    "Said",
    "Spoilt",
    "almost_legal",
    "behaviours",
    "conversations",
    "fault_plans",
    "faults",
    "lanes",
    "legal",
    "of_class",
    "programs",
    "requests",
    "responses",
    "tool_programs",
]
