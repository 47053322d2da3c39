"""What must come of each request, by the protocol's rules: the reference that a lifecycle machine is judged by.

It is written from the rules of lanes, histories and steers, with plain lists, and sees what any client sees. Where the
order of two things that happen at once decides, it knows that it does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from agentwire.runtime.contracts import Ask
from agentwire.testing.lifecycle.told import Told, open_calls, tell, tell_json, user, wrong_pair

__all__ = ["MARK", "Asked", "Lane", "Oracle", "Steered", "Unexpected"]

Event = Mapping[str, Any]

MARK: Final = "machine"
"""The member of a request's ``metadata`` that says which request of the machine it is."""

NOT_FOUND: Final = "previous_response_not_found"
UNANSWERED: Final = ("tool_output_missing", "tool_call_not_found", "duplicate_tool_output")
CANCELLED: Final = "agentwire:cancelled"
TERMINALS: Final = ("response.completed", "response.incomplete", "response.failed")


class Unexpected(AssertionError):
    """Something happened that the rules do not permit."""


@attrs.define(eq=False)
class Asked:
    """One request of a client on the plain wire, and what came of it.

    Attributes:
        number: of all requests.
        lane: its name; None is the default lane.
        parent: the response that it continues.
        given: its input.
        principal: whose key it came with.
        may: what the rules permit: that it is ``taken`` or ``refused``.
        rude: whether its input leaves calls of its parent without an answer.
        store: whether the response is to be kept.
        whole: for a client that may say a conversation in full, and ask again: what it has to begin with.
        phase: how far it has come.
        code: of its refusal or failure.
    """

    number: int
    client: str
    lane: str | None
    parent: str | None
    given: tuple[Told, ...]
    principal: str
    may: frozenset[Literal["taken", "refused"]]
    rude: bool = False
    store: bool = False
    whole: tuple[Told, ...] | None = None
    phase: Literal["waiting", "running", "ended", "refused", "lost"] = "waiting"
    response_id: str | None = None
    code: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.phase in ("ended", "refused", "lost")


@attrs.define(eq=False)
class Steered:
    """One steer: whom it told what, and what became of it.

    Attributes:
        told: what the client has heard of it last: ``accepted``, ``pending`` or ``failed``; empty for nothing.
        delivered: whether a model was shown it.
        lost: whether it went with its connection.
    """

    response_id: str
    text: str
    client: str
    told: Literal["", "accepted", "pending", "failed"] = ""
    id: str | None = None
    delivered: bool = False
    lost: bool = False

    @property
    def waits(self) -> bool:
        """Whether the server has it, and nobody was told yet."""
        return self.told in ("accepted", "pending") and not (self.delivered or self.lost)


@attrs.define(eq=False)
class Lane:
    """One lane of a client: what it asked there, and what the server remembers of it.

    Attributes:
        asked: its requests that are not over, in order.
        remembered: the response that the next request may continue.
        running: the response that runs.
        latest: the latest response that has begun.
        current: the request that it, or the response that it follows by itself, belongs to.
    """

    name: str | None
    asked: list[Asked] = attrs.field(factory=list)
    remembered: str | None = None
    running: str | None = None
    latest: str | None = None
    current: Asked | None = None


@attrs.define(eq=False)
class Oracle:
    """All requests, responses and histories of one run.

    Attributes:
        asked: by number.
        histories: by response id, all that the conversation says up to its end.
        stored: responses that were to be kept, and whose they are.
        steers: all of them, in order.
        running: numbers of the requests for which an engine works now.
    """

    asked: dict[int, Asked] = attrs.field(factory=dict)
    histories: dict[str, tuple[Told, ...]] = attrs.field(factory=dict)
    stored: dict[str, str] = attrs.field(factory=dict)
    steers: list[Steered] = attrs.field(factory=list)
    running: Counter[int] = attrs.field(factory=Counter)
    _parents: dict[str, str | None] = attrs.field(factory=dict)
    _inputs: dict[str, tuple[Told, ...]] = attrs.field(factory=dict)
    _owners: dict[str, str] = attrs.field(factory=dict)
    _unjudged: list[tuple[Asked, Ask]] = attrs.field(factory=list)

    # What a model is shown

    def shown(self, ask: Ask) -> int:
        """An engine is asked this; returns for which request, 0 for one that is not marked."""
        told = tell(ask.items)
        why = wrong_pair(told)
        if why is not None:
            raise Unexpected(f"a model is shown a torn conversation: {why}\n{_list(told)}")
        asked = self.asked.get(int(ask.request.metadata.get(MARK, 0)))
        if asked is None:
            return 0
        if ask.principal != asked.principal:
            raise Unexpected(f"request {asked.number} of {asked.principal} is answered as {ask.principal}'s")
        if asked.whole is not None:
            if told[: len(asked.whole)] != asked.whole:
                raise Unexpected(_differs(asked.number, told, asked.whole))
            return asked.number
        self._belongs(asked, ask.response_id, ask.request.previous_response_id)
        if ask.step == 0:
            self._unjudged.append((asked, ask))
            self.judge()
        return asked.number

    def _belongs(self, asked: Asked, response_id: str, parent: str | None) -> None:
        """A response is one of a request: its first, or one that follows steers."""
        if asked.response_id is None:
            asked.response_id = response_id
            if parent != asked.parent:
                raise Unexpected(f"request {asked.number} continues {asked.parent}, and its response {parent}")
        elif asked.response_id != response_id and not any(steer.response_id == parent for steer in self.steers):
            raise Unexpected(f"request {asked.number} is answered twice, by {asked.response_id} and {response_id}")
        owner = self._owners.setdefault(response_id, asked.principal)
        if owner != asked.principal:
            raise Unexpected(f"{response_id} is of {owner} and of {asked.principal}")
        self._parents[response_id] = parent

    def judge(self) -> None:
        """Compare what models were shown with what was said, as far as that is known by now."""
        self._unjudged = [one for one in self._unjudged if not self._judged(*one)]

    def _judged(self, asked: Asked, ask: Ask) -> bool:
        """Whether it was compared; a model may be shown an answer before its client has heard all of it."""
        parent, told = ask.request.previous_response_id, tell(ask.items)
        before = () if parent is None else self.histories.get(parent)
        if before is None:
            return False
        given = asked.given if ask.response_id == asked.response_id else ()
        end = len(told) - len(given)
        if told[: len(before)] != before or told[end:] != given or end < len(before):
            raise Unexpected(_differs(asked.number, told, (*before, *given)))
        for one in told[len(before) : end]:
            fit = (s for s in self.steers if (s.response_id, user(s.text)) == (parent, one) and not s.delivered)
            steer = next(fit, None)
            if steer is None:
                raise Unexpected(_differs(asked.number, told, (*before, *given)))
            steer.delivered = True
        self._inputs[ask.response_id] = told[len(before) :]
        return True

    # What a client hears

    def created(self, lane: Lane, asked: Asked, response_id: str, parent: str | None) -> None:
        """A response begins."""
        self._belongs(asked, response_id, parent)
        if response_id == asked.response_id:
            if "taken" not in asked.may:
                raise Unexpected(f"request {asked.number} is taken, and its server can know nothing of {parent}")
            asked.phase = "running"
        lane.running = lane.latest = response_id
        lane.current = asked

    def ended(self, lane: Lane, asked: Asked, response: Event) -> None:
        """A response has its terminal event."""
        response_id, lane.running = str(response["id"]), None
        if asked.response_id == response_id:
            asked.phase = "ended"
            lane.asked.remove(asked)
        if response["status"] in ("completed", "incomplete"):
            lane.remembered = response_id
            self._remember(asked, response_id, response["output"])
        else:
            asked.code = str((response.get("error") or {}).get("code"))
            if asked.code != CANCELLED:
                _evict(lane, self._parents[response_id])

    def _remember(self, asked: Asked, response_id: str, output: Sequence[Event]) -> None:
        parent = self._parents[response_id]
        before = () if parent is None else self.histories.get(parent)
        if before is None:
            return
        given = self._inputs.get(response_id, asked.given if response_id == asked.response_id else ())
        self.histories[response_id] = (*before, *given, *tell_json(output))
        if asked.store:
            self.stored[response_id] = asked.principal
        self.judge()

    def refused(self, lane: Lane, asked: Asked, code: str) -> None:
        """A request is refused, without a response."""
        asked.phase, asked.code = "refused", code
        lane.asked.remove(asked)
        if "refused" not in asked.may and code in (NOT_FOUND, *UNANSWERED):
            raise Unexpected(f"request {asked.number} is refused ({code}), and nothing is wrong with it")
        if code != NOT_FOUND:
            _evict(lane, asked.parent)

    # What may be asked

    def open_calls(self, response_id: str | None) -> list[str]:
        """Calls that whoever continues this response has to answer."""
        return open_calls(self.histories.get(response_id or "", ()))

    def waits(self, response_id: str | None) -> bool:
        """Whether steers of this response have still to be told to somebody."""
        return any(steer.response_id == response_id and steer.waits for steer in self.steers)


def _evict(lane: Lane, parent: str | None) -> None:
    """What failed takes what it continued with it, where that was the lane's own."""
    if parent is not None and lane.remembered == parent:
        lane.remembered = None


def _differs(number: int, told: Sequence[Told], expected: Sequence[Told]) -> str:
    return (
        f"the model that answers request {number} is shown another conversation than was had.\n"
        f"It is shown:\n{_list(told)}\nWhat was said:\n{_list(expected)}"
    )


def _list(told: Sequence[Told]) -> str:
    return "\n".join(f"    {' '.join(one)[:100]}" for one in told) or "    (nothing)"
