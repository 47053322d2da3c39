"""The test kit: a network with faults, virtual time, machines, invariants and leak checks, for Trio programs.

Nothing here needs pytest or Hypothesis to be installed, but for the modules of machines and strategies, which are
imported by name. pytest finds the fixtures by itself, see `agentwire.pytest_plugin`.
"""

from __future__ import annotations

from agentwire.testing.clock import run as run
from agentwire.testing.clock import seeded_order as seeded_order
from agentwire.testing.clock import virtual_clock as virtual_clock
from agentwire.testing.cuts import cut_points as cut_points
from agentwire.testing.cuts import every_byte as every_byte
from agentwire.testing.cuts import every_frame as every_frame
from agentwire.testing.faults import Fault as Fault
from agentwire.testing.hostile import HostileServer as HostileServer
from agentwire.testing.hostile import ScriptedServer as ScriptedServer
from agentwire.testing.hostile import hostile_server as hostile_server
from agentwire.testing.hostile import scripted_server as scripted_server
from agentwire.testing.injection import NotCancelled as NotCancelled
from agentwire.testing.injection import cancel_everywhere as cancel_everywhere
from agentwire.testing.invariants import InvariantBroken as InvariantBroken
from agentwire.testing.invariants import check_all as check_all
from agentwire.testing.journal import Journal as Journal
from agentwire.testing.leaks import Leaked as Leaked
from agentwire.testing.leaks import no_leaks as no_leaks
from agentwire.testing.network import MemoryListener as MemoryListener
from agentwire.testing.network import Network as Network
from agentwire.testing.network import network as network
from agentwire.testing.replies import Flood as Flood
from agentwire.testing.replies import Pause as Pause
from agentwire.testing.replies import Reply as Reply
from agentwire.testing.rig import Rig as Rig
from agentwire.testing.rig import open_rig as open_rig
from agentwire.testing.spinning import Spinning as Spinning
from agentwire.testing.story import NotSurvived as NotSurvived
from agentwire.testing.streams import MemoryStream as MemoryStream
from agentwire.testing.survives import survives as survives
from agentwire.testing.trace import Record as Record
from agentwire.testing.trace import Trace as Trace
from agentwire.testing.upstream import ScriptedUpstream as ScriptedUpstream
from agentwire.testing.upstream import scripted_upstream as scripted_upstream

__all__ = [
    "Fault",
    "Flood",
    "HostileServer",
    "InvariantBroken",
    "Journal",
    "Leaked",
    "MemoryListener",
    "MemoryStream",
    "Network",
    "NotCancelled",
    "NotSurvived",
    "Pause",
    "Record",
    "Reply",
    "Rig",
    "ScriptedServer",
    "ScriptedUpstream",
    "Spinning",
    "Trace",
    "cancel_everywhere",
    "check_all",
    "cut_points",
    "every_byte",
    "every_frame",
    "hostile_server",
    "network",
    "no_leaks",
    "open_rig",
    "run",
    "scripted_server",
    "scripted_upstream",
    "seeded_order",
    "survives",
    "virtual_clock",
]
