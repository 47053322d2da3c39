"""Where output comes from: an engine is any async function ``(ask, out) -> Finish``.

`builtin` needs nothing and is no language model; `scripted` plays a script of `Turn` objects, for tests and benchmarks.
The engines in front of servers, and `Routes`, an engine made of engines, are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

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

if TYPE_CHECKING:
    from agentwire.engines.chat import ChatDialect as ChatDialect
    from agentwire.engines.chat import open_chat_engine as open_chat_engine
    from agentwire.engines.responses import open_responses_engine as open_responses_engine
    from agentwire.engines.routing import Route as Route
    from agentwire.engines.routing import Routes as Routes
    from agentwire.engines.routing import Upstream as Upstream
    from agentwire.engines.wire import open_wire_engine as open_wire_engine

LATER: Final = {
    "ChatDialect": "agentwire.engines.chat",
    "Route": "agentwire.engines.routing",
    "Routes": "agentwire.engines.routing",
    "Upstream": "agentwire.engines.routing",
    "open_chat_engine": "agentwire.engines.chat",
    "open_responses_engine": "agentwire.engines.responses",
    "open_wire_engine": "agentwire.engines.wire",
}
"""Name that is loaded when it is used -> package that has it."""

__all__ = [
    "NOTICE",
    "Call",
    "Cancellation",
    "ChatDialect",
    "Delay",
    "Do",
    "Fail",
    "Hang",
    "Item",
    "Piece",
    "Reasoning",
    "Refusal",
    "Route",
    "Routes",
    "ScriptedEngine",
    "Stop",
    "Summary",
    "Text",
    "Turn",
    "Upstream",
    "builtin",
    "open_chat_engine",
    "open_responses_engine",
    "open_wire_engine",
    "scripted",
]

if not TYPE_CHECKING:  # a typed ``__getattr__`` would make every misspelt name an object of type Any

    def __getattr__(name: str) -> object:
        """Load a name (PEP 562); the module keeps it, so this runs once a name."""
        if name not in LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(LATER[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
