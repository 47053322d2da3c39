"""What is true of the work that a program does for a connection: nothing twice, nothing left, nothing too large.

The rules judge what a `Journal` has taken down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentwire.testing.entry import Entry, InvariantBroken
from agentwire.testing.journal import Happened, entries
from agentwire.testing.wires import Recorded, Wire

__all__ = [
    "bounded",
    "cancelled_within",
    "tool_once",
    "tools_awaited",
]


def tool_once(happened: Happened) -> None:
    """No tool runs twice for one call id.

    Source: Soju06/codex-lb#586 and dyad-sh/dyad#2853 (side effects repeated by a replay).
    """
    started: dict[object, Entry] = {}
    for entry in _work(happened, "work.started"):
        if entry.event["kind"] != "tool":
            continue
        name = entry.event["name"]
        if name in started:
            raise InvariantBroken("tool_once", f"call {name!r} has run twice", [started[name], entry])
        started[name] = entry


def tools_awaited(happened: Happened) -> None:
    """All work that started has ended: done, failed, or cancelled and waited for.

    Source: odysseus-dev/odysseus#5105 and google/adk-python#6769 (tools that go on after a cancel).
    """
    left = _running(entries(happened))
    if left:
        raise InvariantBroken("tools_awaited", "this was left running", left)


def cancelled_within(happened: Happened, seconds: float) -> None:
    """What runs when its connection ends has ended so many seconds later.

    Work belongs to the connection on which its name, the id of a response or of a call, was said; work of which nothing
    was said belongs to every connection. What follows a blank in a name, such as the number of a step, is left aside.

    Source: OpenAI, background mode guide (a dropped connection cancels); bman654/clodex#170 (the model went on).

    Args:
        happened: what happened.
        seconds: how long it may take, on the clock of the entries.
    """
    recorded = Recorded.of(happened)
    told, owners = recorded.entries, _owners(recorded)
    for place, entry in enumerate(told):
        if entry.type != "connection.ended":
            continue
        in_time = [later for later in told[place:] if later.time <= entry.time + seconds]
        left = [
            one
            for one in _running([*told[:place], *in_time])
            if one.time <= entry.time and entry.connection in owners.get(_base(one), {entry.connection})
        ]
        if left:
            raise InvariantBroken("cancelled_within", f"still running {seconds:g} s later", [*left, entry])


def _base(work: Entry) -> str:
    return str(work.event["name"]).partition(" ")[0]


def _owners(recorded: Recorded) -> dict[str, set[int]]:
    """Name of a response or a call -> the connections, of its wire, on which it was told last."""
    owners: dict[str, set[int]] = {}
    for wire in recorded.wires:
        for name in _names(wire):
            owners.setdefault(name, set()).add(wire.connection)
    return owners


def _names(wire: Wire) -> set[str]:
    names: set[str] = set()
    for entry in wire.messages:
        for member, key in (("response", "id"), ("item", "call_id"), ("item", "id")):
            body = entry.event.get(member)
            if isinstance(body, Mapping) and isinstance(body.get(key), str):
                names.add(body[key])
    return names


def bounded(happened: Happened, limits: Mapping[str, int]) -> None:
    """Nothing that was measured, with `Journal.size`, is larger than its limit.

    Source: donovan-yohan/relay-ide#1249 (a queue of 15 GiB).

    Args:
        happened: what happened.
        limits: name of what was measured -> bytes.
    """
    for entry in entries(happened):
        if entry.who == "local" and entry.type == "size":
            name, size = entry.event["name"], entry.event["bytes"]
            if size > limits.get(name, size):
                raise InvariantBroken("bounded", f"{name} may have {limits[name]} bytes", [entry])


def _work(happened: Happened, kind: str) -> list[Entry]:
    return [entry for entry in entries(happened) if entry.who == "local" and entry.type == kind]


def _running(told: Sequence[Entry]) -> list[Entry]:
    """Where work started that has not ended yet."""
    running: list[Entry] = []
    for entry in told:
        if entry.who == "local" and entry.type == "work.started":
            running.append(entry)
        elif entry.who == "local" and entry.type == "work.ended":
            which = (entry.event["kind"], entry.event["name"])
            running = [one for one in running if (one.event["kind"], one.event["name"]) != which]
    return running
