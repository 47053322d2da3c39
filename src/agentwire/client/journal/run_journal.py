"""A run in its journal: what was said, how far each call has come, and how it ended.

Everything is noted in order; whoever needs it on the disk waits for that, and what others have noted goes along. Once
something could not be written, nothing is any more: a run without its journal does not go on.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import trio

from agentwire.client.journal import entries
from agentwire.client.journal.contract import Journal, JournalError, JournalMismatch, Log
from agentwire.client.journal.entries import Entry
from agentwire.client.journal.sharing import share_journal
from agentwire.protocol.ids import Sources
from agentwire.protocol.items import CustomToolCall, CustomToolCallOutput, FunctionCall, FunctionCallOutput, Item
from agentwire.protocol.limits import Limits
from agentwire.protocol.response import Response, Usage
from agentwire.runtime.tools import ToolResult

__all__ = ["RunJournal", "answer", "open_run_journal"]

Call = FunctionCall | CustomToolCall
Output = FunctionCallOutput | CustomToolCallOutput


def answer(call: Call, result: ToolResult) -> Output:
    """The item that answers a call."""
    kind = FunctionCallOutput if isinstance(call, FunctionCall) else CustomToolCallOutput
    return kind(call.call_id, result.output)


class RunJournal:
    """The journal of one run; without a log, it remembers nothing. Its attributes are as they were when it was opened.

    Attributes:
        began: whether the run was begun before, by a process that is gone or by a run that was left.
        context: what was said before the run, if only its client knew that.
        items: what was said in it, oldest first, its input included.
        asked: whether the model was asked for a turn of which nothing came, and which must not be asked for twice.
        turns: of the model, that have ended, or left calls.
        usage: of these.
        response: what it came to, if it is over.
    """

    def __init__(self, log: Log | None = None, *, key: str = "") -> None:
        self.began = False
        self.context: tuple[Item, ...] = ()
        self.items: list[Item] = []
        self.asked = False
        self.turns = 0
        self.usage = Usage()
        self.response: Response | None = None
        self._continues: str | None = None
        self._given = b""
        self._key = key
        self._log = log
        self._calls: dict[str, tuple[ToolResult, Output] | None] = {}
        self._heard: list[Item] = []
        self._noted: list[bytes] = []
        self._count = self._written = 0
        self._writing = trio.Lock()
        self._broken: JournalError | None = None
        self._torn = False
        for entry in log.entries if log is not None else ():
            self._read(entries.decode(entry))
        self._count_torn()

    def outcome(self, call: Call) -> ToolResult | None:
        """What a call has come to, if it has come to its end."""
        known = self._calls.get(call.call_id)
        return known[0] if known is not None else None

    def was_started(self, call: Call) -> bool:
        """Whether a call has been started; without an outcome, nobody knows what it did."""
        return call.call_id in self._calls

    # What happens

    def begin(self, given: Sequence[Item], *, continues: str | None, context: Sequence[Item]) -> None:
        """The run begins, or goes on: then it must be the same one.

        Args:
            given: its input.
            continues: the response that it continues.
            context: what was said up to that, as far as only the client knows it.

        Raises:
            JournalMismatch: it began with something else.
        """
        if self._log is None:
            return
        began = entries.Began(entries.raw(context), entries.raw(given), continues)
        if not self.began:
            self._note(began)
        elif (_normal(began.input), continues) != (self._given, self._continues):
            raise JournalMismatch(self._key)

    async def asking(self) -> None:
        """The model is about to be asked for a turn that must not be asked for twice; on return that is on the disk.

        Raises:
            JournalError: it cannot be written.
        """
        if self._log is not None:
            self._note(entries.Asked())
            await self._commit()

    def heard(self, items: Sequence[Item]) -> None:
        """The model's turn has said these items so far, and one of them is a call that is about to run."""
        if self._log is None:
            return
        known = {item.call_id for item in self._heard if isinstance(item, Call)}
        news = [
            item for item in items if (item.call_id not in known if isinstance(item, Call) else item not in self._heard)
        ]
        self._heard += news
        self._say(news)

    def lost(self, items: Sequence[Item]) -> None:
        """The model's turn was lost after these items, which stand."""
        self.heard(items)
        self._heard.clear()

    def said(self, items: Sequence[Item]) -> None:
        """Items were said in answer to the model, or by it at its turn's end."""
        self._heard.clear()
        if self._log is not None:
            self._say(items)

    async def starting(self, call: Call) -> None:
        """A call is about to run; on return that is on the disk. Cancelled, it does not run.

        Raises:
            JournalError: it cannot be written; the call must not run.
        """
        if self._log is None:
            return
        self._calls[call.call_id] = None
        self._note(entries.Started(call=call.call_id))
        await self._commit()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except trio.Cancelled:
            del self._calls[call.call_id]
            self._note(entries.Withdrawn(call=call.call_id))
            await self._commit()  # noqa: ASYNC102 - it is shielded, and the journal's patience is bounded
            raise

    async def finished(self, call: Call, result: ToolResult) -> None:
        """A call has come to its end; on return that is on the disk, even if this is cancelled.

        Raises:
            JournalError: it cannot be written: to the journal, its outcome stays unknown.
        """
        if self._log is None:
            return
        output = answer(call, result)
        self._calls[call.call_id] = (result, output)
        self._note(entries.Finished(call.call_id, entries.raw((output,)), result.error, result.unknown))
        await self._commit()

    async def ended(self, response: Response, *, over: bool) -> None:
        """A turn of the model has ended.

        Args:
            response: what came of it.
            over: whether the run ends with it.

        Raises:
            JournalError: it cannot be written.
        """
        if self._log is None:
            return
        heard, output = len(self._heard), response.output
        if [item.id for item in self._heard] == [item.id for item in output[:heard]]:
            self.said(output[heard:])
        else:
            self._note(entries.Instead(heard, entries.raw(output)))
        used = response.usage or Usage()
        counts = (used.input_tokens, used.output_tokens, used.cached_tokens, used.reasoning_tokens)
        self._note(entries.Ended((*counts, used.cache_write_tokens)))
        if over:
            self._note(entries.Over(entries.raw(response)))
        await self._commit()

    async def settle(self) -> None:
        """Wait until everything that was said is on the disk.

        Raises:
            JournalError: it cannot be written.
        """
        if self._log is not None:
            await self._commit()

    # Notes

    def _say(self, items: Sequence[Item]) -> None:
        known: list[str] = []
        others: list[Item] = []
        for item in items:
            call_id = item.call_id if isinstance(item, Output) else ""
            finished = self._calls.get(call_id)
            if finished is not None and finished[1] == item:
                self._say_others(others)
                known.append(call_id)
            else:
                self._say_known(known)
                others.append(item)
        self._say_others(others)
        self._say_known(known)

    def _say_others(self, items: list[Item]) -> None:
        if items:
            self._note(entries.Said(entries.raw(items)))
            items.clear()

    def _say_known(self, calls: list[str]) -> None:
        if calls:
            self._note(entries.Answered([*calls]))
            calls.clear()

    def _note(self, entry: Entry) -> None:
        self._noted.append(entries.encode(entry))
        self._count += 1

    def _read(self, entry: Entry) -> None:
        self.asked = isinstance(entry, entries.Asked)
        match entry:
            case entries.Began():
                self.began = True
                self.context = entries.items_of(entry.context)
                self.items = [*entries.items_of(entry.input)]
                self._given, self._continues = _normal(entry.input), entry.continues
            case entries.Said():
                items = entries.items_of(entry.items)
                self.items += items
                self._torn |= any(isinstance(item, Call) for item in items)
            case entries.Instead():
                del self.items[len(self.items) - entry.count :]
                self.items += entries.items_of(entry.items)
            case entries.Answered():
                self._count_torn()
                self.items += [known[1] for call in entry.calls if (known := self._calls.get(call)) is not None]
            case entries.Started():
                self._calls[entry.call] = None
            case entries.Withdrawn():
                self._calls.pop(entry.call, None)
            case entries.Finished():
                self._read_finished(entry)
            case entries.Ended():
                self.turns += 1
                self._torn = False
                self.usage += Usage(*entry.usage)
            case entries.Over():
                self.response = entries.response_of(entry.response)

    def _count_torn(self) -> None:
        """A turn whose calls stand has been one, also where it did not come to its end."""
        self.turns += self._torn
        self._torn = False

    def _read_finished(self, entry: entries.Finished) -> None:
        for output in entries.items_of(entry.output):
            assert isinstance(output, Output)
            self._calls[entry.call] = (ToolResult(output.output, entry.error, entry.unknown), output)

    async def _commit(self) -> None:
        """Wait until everything that is noted now is on the disk; one writes for all who wait."""
        assert self._log is not None
        wanted = self._count
        with trio.CancelScope(shield=True):  # bounded by the journal's own patience with its disk
            async with self._writing:
                if self._broken is not None:
                    raise self._broken
                if self._written >= wanted:
                    return
                noted, self._noted = self._noted, []
                try:
                    await self._log.append(noted)
                except JournalError as error:
                    self._broken = error
                    raise
                self._written += len(noted)


def _normal(items: msgspec.Raw) -> bytes:
    """The same items are the same bytes, whoever wrote them."""
    return bytes(entries.raw(entries.items_of(items)))


@asynccontextmanager
async def open_run_journal(
    journal: Journal | str | os.PathLike[str] | None, key: str | None, *, limits: Limits, sources: Sources
) -> AsyncGenerator[RunJournal]:
    """The journal of one run, held until the block is left; without a journal, one that remembers nothing.

    Raises:
        JournalError: it cannot be opened, or somebody has this key open.
    """
    if journal is None:
        yield RunJournal()
        return
    async with AsyncExitStack() as stack:
        if isinstance(journal, str | os.PathLike):
            journal = await stack.enter_async_context(share_journal(journal, limits=limits, sources=sources))
        name = key or ""
        yield RunJournal(await stack.enter_async_context(journal.open(name)), key=name)
