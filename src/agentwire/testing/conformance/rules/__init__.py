"""The rules: one table of what a server of this protocol does, by topic, with sources, levels and profiles."""

from __future__ import annotations

from typing import Final

from agentwire.testing.conformance.rules.asking import EVENTS, LANES
from agentwire.testing.conformance.rules.errors import ERRORS
from agentwire.testing.conformance.rules.live import SHUTDOWN, UPSTREAM
from agentwire.testing.conformance.rules.model import BOTH as BOTH
from agentwire.testing.conformance.rules.model import LEVELS as LEVELS
from agentwire.testing.conformance.rules.model import OPEN_RESPONSES as OPEN_RESPONSES
from agentwire.testing.conformance.rules.model import OPENAI as OPENAI
from agentwire.testing.conformance.rules.model import SOURCES as SOURCES
from agentwire.testing.conformance.rules.model import Level as Level
from agentwire.testing.conformance.rules.model import Profile as Profile
from agentwire.testing.conformance.rules.model import Rule as Rule
from agentwire.testing.conformance.rules.model import Topic as Topic
from agentwire.testing.conformance.rules.opening import FRAMES, HANDSHAKE
from agentwire.testing.conformance.rules.state import STATE, WARM_UP
from agentwire.testing.conformance.rules.steering import COMPACTION, STEERING
from agentwire.testing.conformance.rules.telling import OBJECTS, ORDER
from agentwire.testing.conformance.rules.tools import TOOLS
from agentwire.testing.conformance.rules.transports import BACKGROUND, CLOSES, EVENT_STREAMS, HTTP, STORED
from agentwire.testing.conformance.rules.websocket import WEBSOCKET

__all__ = [
    "BOTH",
    "LEVELS",
    "OPENAI",
    "OPEN_RESPONSES",
    "RULES",
    "SOURCES",
    "TOPICS",
    "Level",
    "Profile",
    "Rule",
    "Topic",
]

TOPICS: Final[tuple[Topic, ...]] = (
    HANDSHAKE,
    FRAMES,
    EVENTS,
    LANES,
    ORDER,
    OBJECTS,
    TOOLS,
    ERRORS,
    STATE,
    WARM_UP,
    STEERING,
    COMPACTION,
    STORED,
    HTTP,
    EVENT_STREAMS,
    BACKGROUND,
    CLOSES,
    UPSTREAM,
    SHUTDOWN,
    WEBSOCKET,
)
"""All rules, in the order of the page."""

RULES: Final[dict[str, Rule]] = {rule.id: rule for topic in TOPICS for rule in topic.rules}
"""The rules by id."""
