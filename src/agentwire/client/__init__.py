"""The client: connect to a server, ask for turns, and let a model work with tools."""

from __future__ import annotations

from agentwire.client.asking import Input as Input
from agentwire.client.asking import ToolLike as ToolLike
from agentwire.client.calls import ToolFailed as ToolFailed
from agentwire.client.client import PATIENT as PATIENT
from agentwire.client.client import Client as Client
from agentwire.client.client import connect as connect
from agentwire.client.journal import Journal as Journal
from agentwire.client.journal import JournalError as JournalError
from agentwire.client.journal import JournalHeld as JournalHeld
from agentwire.client.journal import JournalMismatch as JournalMismatch
from agentwire.client.journal import Log as Log
from agentwire.client.journal import MemoryJournal as MemoryJournal
from agentwire.client.journal import open_journal as open_journal
from agentwire.client.lane import Lane as Lane
from agentwire.client.memory import Memory as Memory
from agentwire.client.memory import MemoryStatistics as MemoryStatistics
from agentwire.client.outcomes import CallUnanswerable as CallUnanswerable
from agentwire.client.outcomes import CallUnknown as CallUnknown
from agentwire.client.outcomes import RunLost as RunLost
from agentwire.client.outcomes import RunSummary as RunSummary
from agentwire.client.outcomes import TurnsExhausted as TurnsExhausted
from agentwire.client.repeating import Repeat as Repeat
from agentwire.client.run import Run as Run
from agentwire.client.run import RunStatistics as RunStatistics
from agentwire.client.steps import ReasoningDelta as ReasoningDelta
from agentwire.client.steps import ServerToolFinished as ServerToolFinished
from agentwire.client.steps import Step as Step
from agentwire.client.steps import TextDelta as TextDelta
from agentwire.client.steps import ToolFinished as ToolFinished
from agentwire.client.steps import ToolStarted as ToolStarted
from agentwire.client.steps import TurnFinished as TurnFinished
from agentwire.client.steps import TurnLost as TurnLost
from agentwire.client.steps import TurnStarted as TurnStarted
from agentwire.client.turn import Turn as Turn
from agentwire.client.turn import TurnCancelled as TurnCancelled

__all__ = [
    "PATIENT",
    "CallUnanswerable",
    "CallUnknown",
    "Client",
    "Input",
    "Journal",
    "JournalError",
    "JournalHeld",
    "JournalMismatch",
    "Lane",
    "Log",
    "Memory",
    "MemoryJournal",
    "MemoryStatistics",
    "ReasoningDelta",
    "Repeat",
    "Run",
    "RunLost",
    "RunStatistics",
    "RunSummary",
    "ServerToolFinished",
    "Step",
    "TextDelta",
    "ToolFailed",
    "ToolFinished",
    "ToolLike",
    "ToolStarted",
    "Turn",
    "TurnCancelled",
    "TurnFinished",
    "TurnLost",
    "TurnStarted",
    "TurnsExhausted",
    "connect",
    "open_journal",
]
