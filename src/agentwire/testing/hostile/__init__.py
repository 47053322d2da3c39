"""Servers for testing clients and agents: one that follows a script, and one that does wrong things on cue.

async with hostile_server(["reset-midway"], Answer(Call("add", {"a": 1})), Answer(Say("Done."))) as server:
async with agentwire.connect(server.url, connector=server.connect) as client:
...
"""

from __future__ import annotations

from agentwire.testing.hostile.deeds import DEEDS as DEEDS
from agentwire.testing.hostile.deeds import Cue as Cue
from agentwire.testing.hostile.deeds import Deed as Deed
from agentwire.testing.hostile.deeds import cue as cue
from agentwire.testing.hostile.scene import Scene as Scene
from agentwire.testing.hostile.script import Answer as Answer
from agentwire.testing.hostile.script import Break as Break
from agentwire.testing.hostile.script import Call as Call
from agentwire.testing.hostile.script import End as End
from agentwire.testing.hostile.script import Refuse as Refuse
from agentwire.testing.hostile.script import Say as Say
from agentwire.testing.hostile.seen import Seen as Seen
from agentwire.testing.hostile.server import HostileServer as HostileServer
from agentwire.testing.hostile.server import ScriptedServer as ScriptedServer
from agentwire.testing.hostile.server import hostile_server as hostile_server
from agentwire.testing.hostile.server import scripted_server as scripted_server

__all__ = [
    "DEEDS",
    "Answer",
    "Break",
    "Call",
    "Cue",
    "Deed",
    "End",
    "HostileServer",
    "Refuse",
    "Say",
    "Scene",
    "ScriptedServer",
    "Seen",
    "cue",
    "hostile_server",
    "scripted_server",
]
