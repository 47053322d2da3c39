"""A state machine of clients, turns and servers, to be subclassed with your own agent, tools and engine.

Importing this needs Hypothesis (the extra ``testing``).
"""

from __future__ import annotations

from agentwire.testing.lifecycle.machine import LifecycleMachine as LifecycleMachine
from agentwire.testing.lifecycle.oracle import Unexpected as Unexpected
from agentwire.testing.lifecycle.replay import REPLAY as REPLAY

__all__ = ["REPLAY", "LifecycleMachine", "Unexpected"]
