"""Where output comes from: an engine is any async function ``(ask, out) -> Finish``.

`builtin` needs nothing and is no language model; `scripted` plays a script of `Turn` objects, for tests and benchmarks.
"""

from __future__ import annotations

from agentwire.engines.builtin import NOTICE as NOTICE
from agentwire.engines.builtin import builtin as builtin
from agentwire.engines.script import Call as Call
from agentwire.engines.script import Delay as Delay
from agentwire.engines.script import Do as Do
from agentwire.engines.script import Fail as Fail
from agentwire.engines.script import Hang as Hang
from agentwire.engines.script import Item as Item
from agentwire.engines.script import Piece as Piece
from agentwire.engines.script import Reasoning as Reasoning
from agentwire.engines.script import Refusal as Refusal
from agentwire.engines.script import Stop as Stop
from agentwire.engines.script import Summary as Summary
from agentwire.engines.script import Text as Text
from agentwire.engines.script import Turn as Turn
from agentwire.engines.scripted import Cancellation as Cancellation
from agentwire.engines.scripted import ScriptedEngine as ScriptedEngine
from agentwire.engines.scripted import scripted as scripted

__all__ = [
    "NOTICE",
    "Call",
    "Cancellation",
    "Delay",
    "Do",
    "Fail",
    "Hang",
    "Item",
    "Piece",
    "Reasoning",
    "Refusal",
    "ScriptedEngine",
    "Stop",
    "Summary",
    "Text",
    "Turn",
    "builtin",
    "scripted",
]
