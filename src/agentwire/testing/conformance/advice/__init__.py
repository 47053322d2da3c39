"""Why each case matters, and what to do about a failure: texts for people, by the case's number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agentwire.testing.conformance.advice.asking import ASKING
from agentwire.testing.conformance.advice.framing import FRAMING
from agentwire.testing.conformance.advice.http import HTTP
from agentwire.testing.conformance.advice.lanes import LANES
from agentwire.testing.conformance.advice.live import LIVE
from agentwire.testing.conformance.advice.model import Advice as Advice
from agentwire.testing.conformance.advice.opening import OPENING
from agentwire.testing.conformance.advice.state import STATE
from agentwire.testing.conformance.advice.steering import STEERING
from agentwire.testing.conformance.advice.telling import TELLING
from agentwire.testing.conformance.advice.tools import TOOLS

__all__ = ["ADVICE", "Advice"]

ADVICE: Final[Mapping[int, Advice]] = {
    **OPENING,
    **ASKING,
    **LANES,
    **TELLING,
    **TOOLS,
    **STATE,
    **STEERING,
    **HTTP,
    **LIVE,
    **FRAMING,
}
"""What is said of each case."""
