"""The built-in engine: read the conversation, decide, write.

The decision is a function of the conversation alone: the next calls of the plan that the latest message makes, or a
call because ``tool_choice`` demands one, or the answer. ``tool_choice``, ``text.format`` and ``max_output_tokens`` are
obeyed, not taken as hints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec
import trio

from agentwire.engines.builtin.answer import digest, line_of_step, report
from agentwire.engines.builtin.arguments import Context, Job, jobs_for, structured
from agentwire.engines.builtin.matching import closest
from agentwire.engines.builtin.pen import Pen
from agentwire.engines.builtin.plan import Plan, plan_steps
from agentwire.engines.builtin.progress import Progress, facts_in, follow
from agentwire.engines.builtin.reading import Reading, read
from agentwire.engines.builtin.schema import Unfillable
from agentwire.engines.builtin.talk import reply
from agentwire.engines.builtin.toolbox import Offer, allowed
from agentwire.protocol.errors import EngineError
from agentwire.protocol.items import McpCall
from agentwire.runtime.contracts import Ask, Engine, Finish, Out
from agentwire.runtime.counting import item_tokens, settings_tokens

__all__ = ["builtin"]


def builtin(*, delay: float = 0.0, context_tokens: int | None = None) -> Engine:
    """The engine that needs nothing: deterministic rules, not a language model.

    It completes the tool loops of agent clients: it calls the tools that the latest message asks for, in the order
    that it gives, with arguments from the message and from earlier outputs, and reports what they said.

    Args:
        delay: seconds to wait after each word and each call, to make a demonstration look alive.
        context_tokens: how much it says that it can read; nothing if left out.
    """
    return _Builtin(delay, context_tokens)


@attrs.frozen
class _Builtin:
    """The engine itself; see `builtin`."""

    delay: float
    context_tokens: int | None

    async def __call__(self, ask: Ask, out: Out) -> Finish:
        """Answer one step; nothing is kept between steps but the conversation's memo. May be cancelled anywhere."""
        mind = await _Mind.of(ask)
        pen = Pen(out, ask.max_output_tokens, self.delay, new_id=ask.sources.new_id)
        jobs = mind.jobs()
        if mind.wants_summary:
            await pen.summary(mind.summary(jobs))
        for job in jobs:
            await pen.call(job)
        if not jobs:
            await pen.text(mind.answer())
        return pen.finish(mind.input_tokens(), mind.cached_tokens())


@attrs.frozen
class _Mind:
    """One step's view of what is asked, and what to do about it."""

    ask: Ask
    reading: Reading
    on_offer: tuple[Offer, ...]
    plan: Plan
    progress: Progress
    context: Context

    @classmethod
    async def of(cls, ask: Ask) -> _Mind:
        """Read and plan.

        Raises:
            EngineError: a tool must be called, and there is none that anybody here can run.
        """
        reading = read(ask.items, ask.memo)
        on_offer = allowed((*ask.tools, *reading.late), ask.tool_choice)
        plan = await _planned(reading.request, on_offer)
        facts = {**reading.facts, **facts_in(reading.since)}
        bare = Context(facts, lambda: _answer_text(reading, Progress(()), on_offer))
        progress = follow(plan, reading.since, reading.before, bare, parallel=ask.request.parallel_tool_calls)
        context = Context(facts, lambda: _answer_text(reading, progress, on_offer))
        return cls(ask, reading, on_offer, plan, progress, context)

    @property
    def must_call(self) -> bool:
        return self.ask.tool_choice.mode == "required"

    def jobs(self) -> Sequence[Job]:
        """The calls to make now; of one kind, since a client answers one and the server runs another."""
        jobs = self.progress.next
        if not jobs and self.must_call:
            called = [exchange.name for exchange in self.reading.since]
            offer = closest(self.reading.request, self.on_offer, called)
            jobs = (*jobs_for(offer, self.reading.request, self.context), Job(offer, {}))[:1]
        return [job for job in jobs if job.offer.namespace == jobs[0].offer.namespace]

    @property
    def wants_summary(self) -> bool:
        reasoning = self.ask.request.reasoning or {}
        return bool(reasoning.get("summary") or reasoning.get("generate_summary"))

    def summary(self, jobs: Sequence[Job]) -> str:
        step = self.progress.step
        if jobs and step is not None:
            done = next(done for done in self.progress.done if done.step is step)
            return line_of_step(done, len(jobs))
        if jobs:
            return f"A tool must be called; {jobs[0].offer.name} is the closest."
        if self.reading.since:
            return "No call is left to make; this says what the tools answered."
        return "The message asks for no tool; this answers in words."

    def answer(self) -> str:
        """The text of the answer, in the format that the client set.

        Raises:
            EngineError: the client's schema allows no value, or none that this engine finds.
        """
        wanted: Mapping[str, Any] = self.ask.text_format
        if wanted.get("type") == "json_object":
            return _json({"answer": self.context.answer()})
        if wanted.get("type") != "json_schema":
            return self.context.answer()
        schema = wanted.get("schema")
        try:
            return _json(structured(schema if isinstance(schema, Mapping) else {}, self.reading.request, self.context))
        except Unfillable as error:
            message = f"The built-in engine found no value for the schema: {error}."
            raise EngineError(message, code="unsupported_schema", status=400, param="text.format.schema") from error

    def input_tokens(self) -> int:
        """The same as the server counts, of a reading that is done already."""
        ask = self.ask
        return self.reading.tokens + settings_tokens(ask.instructions, ask.tools, ask.text_format)

    def cached_tokens(self) -> int:
        """What an earlier turn, or an earlier step of this one, has already read."""
        ask = self.ask
        fresh = 0
        if ask.step == 0:
            fresh = sum(map(item_tokens, ask.new_items))
            return max(self.reading.tokens - fresh, 0) if ask.request.previous_response_id else 0
        for item in reversed(ask.items):
            if not isinstance(item, McpCall):
                break
            fresh += item_tokens(item)
        return self.reading.tokens - fresh


async def _planned(message: str, on_offer: Sequence[Offer]) -> Plan:
    """The plan of a message, with a checkpoint between its slices."""
    steps = plan_steps(message, on_offer)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            plan: Plan = stop.value
            return plan
        await trio.lowlevel.checkpoint()


def _answer_text(reading: Reading, progress: Progress, on_offer: Sequence[Offer]) -> str:
    """A report for a plan of several steps or calls, a digest of a few outputs, or words."""
    asked = [done for done in progress.done if done.step.offer is not None]
    if asked and (len(asked) > 1 or len(asked[0].exchanges) > 1 or not reading.since):
        return report(progress)
    if reading.since:
        return digest(reading.since)
    return reply(reading.request, reading.attached, reading.facts, on_offer)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
