"""The tool journal: what a run was told, said and did, kept so that a restarted process goes on where it was.

No call runs that is not written down first, and none that was written down runs again unless its tool says that this
is safe; so whatever dies when, each call has run at most once, and one whose outcome nobody knows is reported.
"""

from __future__ import annotations

from agentwire.client.journal.contract import Journal, JournalError, JournalHeld, JournalMismatch, Log
from agentwire.client.journal.file import FileJournal, JournalStatistics, open_journal
from agentwire.client.journal.memory import MemoryJournal
from agentwire.client.journal.run_journal import RunJournal, answer, open_run_journal

__all__ = [
    "FileJournal",
    "Journal",
    "JournalError",
    "JournalHeld",
    "JournalMismatch",
    "JournalStatistics",
    "Log",
    "MemoryJournal",
    "RunJournal",
    "answer",
    "open_journal",
    "open_run_journal",
]
