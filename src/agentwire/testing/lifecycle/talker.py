"""A client on the plain wire with its lanes: it asks, steers and cancels, and hears what comes of it.

It is as polite or as rude as it is told to be, and tells the oracle of everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import attrs

from agentwire.testing.lifecycle.oracle import MARK, TERMINALS, Asked, Lane, Oracle, Steered, Unexpected
from agentwire.testing.lifecycle.raw import RawClient
from agentwire.testing.lifecycle.told import Told, user

__all__ = ["ABOUT", "About", "Talker"]

Event = Mapping[str, Any]

About = Literal["nothing", "latest", "fork", "ahead", "forgotten", "foreign", "unknown"]
"""What a request continues: nothing; the lane's latest response; that of another lane; the one that runs on the lane;
one that the client knows and its server has forgotten; one of another client; one that nobody has made."""
ABOUT: Final[tuple[About, ...]] = ("nothing", "latest", "fork", "ahead", "forgotten", "foreign", "unknown")

_EXCUSES: Final = ("server_is_draining", "websocket_connection_limit_reached", "websocket_queue_full")


@attrs.define(eq=False)
class Talker:
    """One client.

    Attributes:
        name: of it.
        raw: its wire.
        oracle: what it and all others have said.
        principal: whose key it has.
        extended: whether it has the extensions.
        lanes: by name.
        complaints: codes of errors that were about no request.
    """

    name: str
    raw: RawClient
    oracle: Oracle
    principal: str
    extended: bool
    lanes: dict[str | None, Lane] = attrs.field(factory=dict)
    known: list[str] = attrs.field(factory=list)
    complaints: list[str] = attrs.field(factory=list)

    @property
    def busy(self) -> bool:
        """Whether something is to come of what it asked."""
        return any(lane.asked or lane.running for lane in self.lanes.values())

    def lane(self, name: str | None) -> Lane:
        """One of its lanes."""
        return self.lanes.setdefault(name, Lane(name))

    # What it says

    def ask(
        self,
        lane: Lane,
        parent: str | None,
        text: str,
        *,
        number: int,
        rude: bool = False,
        store: bool = False,
        generate: bool = True,
    ) -> Asked:
        """Ask for a response."""
        calls = [] if rude else self.oracle.open_calls(parent)
        outputs = [{"type": "function_call_output", "call_id": call, "output": "done"} for call in calls]
        message = {"type": "message", "role": "user", "content": text}
        rude = rude and bool(self.oracle.open_calls(parent))
        given: tuple[Told, ...] = (*(("output", call, "done") for call in calls), user(text))
        asked = Asked(
            number, self.name, lane.name, parent, given, self.principal, self._may(lane, parent, rude=rude),
            rude=rude, store=store,
        )  # fmt: skip
        self.oracle.asked[number] = asked
        self._shake(lane)
        lane.asked.append(asked)
        body = {"type": "response.create", "model": "machine", "input": [*outputs, message], "store": store}
        body |= {"metadata": {MARK: str(number)}}
        body |= {} if generate else {"generate": False}
        self._send(body, lane, previous_response_id=parent)
        return asked

    def _send(self, body: Mapping[str, Any], lane: Lane, **more: Any) -> None:
        named = {key: value for key, value in {"stream_id": lane.name, **more}.items() if value is not None}
        self.raw.say({**body, **named})

    def _may(self, lane: Lane, parent: str | None, *, rude: bool) -> frozenset[Literal["taken", "refused"]]:
        """What may come of a request that continues this."""
        if parent is None:
            return frozenset(("taken",))
        home = next((one for one in self.lanes.values() if parent in (one.remembered, one.running)), None)
        kept = self.oracle.stored.get(parent) == self.principal
        if kept or (home is not None and self._is_quiet(home) and home.running is None):
            return frozenset(("refused",)) if rude else frozenset(("taken",))
        if home is None and parent not in self._expected():
            return frozenset(("refused",))
        return frozenset(("refused",)) if rude else frozenset(("taken", "refused"))

    def _expected(self) -> set[str | None]:
        """Responses that may yet turn out to be kept: those of requests that are not over."""
        return {asked.response_id for asked in self.oracle.asked.values() if not asked.over}

    def _is_quiet(self, home: Lane) -> bool:
        """Whether nothing on this lane can put another response in the place of what it remembers."""
        return not home.asked and not self.oracle.waits(home.remembered)

    def _shake(self, lane: Lane) -> None:
        """What waits and continues this lane's response may come too late now."""
        homes = {lane.remembered, lane.running} - {None}
        for other in self.lanes.values():
            for asked in other.asked if other is not lane else ():
                if asked.phase == "waiting" and asked.parent in homes and not asked.rude:
                    asked.may |= {"refused"}

    def steer(self, response_id: str, text: str) -> None:
        """Tell a response something."""
        self.oracle.steers.append(Steered(response_id, text, self.name))
        self.raw.say({"type": "response.steer", "previous_response_id": response_id, "input": text})
        for lane in self.lanes.values():
            if response_id in (lane.running, lane.remembered):
                self._shake(lane)

    def cancel(self, response_id: str) -> None:
        """Cancel a response; a server without the extension knows no such message."""
        self.raw.say({"type": "agentwire:response.cancel", "response_id": response_id})

    # What it hears

    def hear(self, event: Event) -> None:
        """An event."""
        kind = str(event.get("type"))
        if kind.startswith("response.steer."):
            self._hear_of_steer(kind.removeprefix("response.steer."), event)
        elif kind == "error":
            self._hear_error(event)
        elif kind == "response.created":
            self._hear_created(self.lane(event.get("stream_id")), event["response"])
        elif kind in TERMINALS:
            lane = self.lane(event.get("stream_id"))
            assert lane.current is not None, "the watch has seen this"
            if kind != "response.failed":  # which nobody could continue in any case
                self.known.append(event["response"]["id"])
            self.oracle.ended(lane, lane.current, event["response"])

    def _hear_created(self, lane: Lane, response: Event) -> None:
        number = int(response["metadata"].get(MARK, 0))
        first = lane.asked[0] if lane.asked else None
        asked = self.oracle.asked.get(number)
        if asked is None or asked.client != self.name or asked.lane != lane.name:
            raise Unexpected(f"{self.name} did not ask {number} on lane {lane.name}")
        if asked is not first and asked is not lane.current:
            raise Unexpected(f"request {number} is answered before request {first.number if first else None}")
        if lane.running is not None:
            raise Unexpected(f"{response['id']} begins on lane {lane.name} while {lane.running} runs there")
        self.oracle.created(lane, asked, response["id"], response.get("previous_response_id"))

    def _hear_error(self, event: Event) -> None:
        lane = self.lane(event.get("stream_id"))
        code = str(event["error"].get("code"))
        if lane.running is not None and event.get("sequence_number") is not None:
            return  # response.failed comes next
        if event["error"].get("param") == "type" or code.startswith("agentwire:") or not lane.asked:
            self.complaints.append(code)
        elif code in _EXCUSES:
            lane.asked[0].may |= {"refused"}
            self.oracle.refused(lane, lane.asked[0], "")
        else:
            self.oracle.refused(lane, lane.asked[0], code)

    def _hear_of_steer(self, what: str, event: Event) -> None:
        told = event["steer"]
        steer = self._find_steer(told.get("id"), told["previous_response_id"])
        if steer is None:
            raise Unexpected(f"nobody steered {told['previous_response_id']} so: {told}")
        if what == "failed" and steer.delivered:
            raise Unexpected(f"steer {steer.text!r} was delivered, and is said to have failed")
        steer.id, steer.told = told.get("id"), what  # type: ignore[assignment]

    def _find_steer(self, id_: str | None, response_id: str) -> Steered | None:
        mine = [steer for steer in self.oracle.steers if steer.response_id == response_id and not steer.lost]
        named = [steer for steer in mine if steer.id is not None and steer.id == id_]
        return next(iter((*named, *(steer for steer in mine if not steer.told))), None)

    # The end of a connection, or of a session

    def lose(self) -> None:
        """Everything that lived on the connection is gone."""
        for lane in self.lanes.values():
            for asked in lane.asked:
                asked.phase = "lost"
        for steer in self.oracle.steers:
            steer.lost |= steer.client == self.name and not steer.delivered
        self.lanes = {}

    def unanswered(self) -> Sequence[Asked]:
        """Requests of which nothing was heard to the end."""
        return [asked for lane in self.lanes.values() for asked in lane.asked]
