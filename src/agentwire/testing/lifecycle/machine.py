"""The lifecycle of clients, turns and servers as a Hypothesis state machine, to be subclassed with your own parts.

    class Deploys(LifecycleMachine):
        def tools(self): return [self.deploy]
        def engine(self): return my_engine

    TestDeploys = Deploys.TestCase

Clients ask, fork, steer, cancel, vanish, come back and are cut off on a network in memory, servers drain and die, and
time passes; after each move and in the end, what the protocol promises is held against what happened.
"""

from __future__ import annotations

from agentwire.testing.lifecycle.ending import Ending
from agentwire.testing.lifecycle.fate import FateMoves
from agentwire.testing.lifecycle.holding import HolderMoves
from agentwire.testing.lifecycle.replay import ReplayableTestCase
from agentwire.testing.lifecycle.talking import TalkerMoves

__all__ = ["LifecycleMachine"]


class LifecycleMachine(Ending, TalkerMoves, HolderMoves, FateMoves):
    """Plays a server, its clients, and what may happen to them.

    Override what is yours; each of the methods is called once for every run:

    Attributes:
        tasks: a strategy for what clients say to the model; programs of `agentwire.testing.programs` unless you have an
            engine of your own.
        talkers: which clients on the plain wire there may be: ``plain``, ``session``, ``rival``.
        holders: which of agentwire's clients there may be: ``wire``, ``brittle``, ``http``.
        limits: of the server and of the clients.
        latency: seconds that a byte is on its way.
        errors: what a turn or a run of the agent may raise when something was done to its connection or its server.
    """

    TestCase = ReplayableTestCase()
