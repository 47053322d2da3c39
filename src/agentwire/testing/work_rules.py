"""What is true of the work that a program does for a connection: nothing twice, nothing left, nothing too large.

The rules judge what a `Journal` has taken down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentwire.testing.journal import Entry, Happened, InvariantBroken, entries

__all__ = [
    "bounded",
    "cancelled_within",
    "tool_once",
    "tools_awaited",
]


def tool_once(happened: Happened) -> None:
    """No tool runs twice for one call id."""
    started: dict[object, Entry] = {}
    for entry in _work(happened, "work.started"):
        if entry.event["kind"] != "tool":
            continue
        name = entry.event["name"]
        if name in started:
            raise InvariantBroken("tool_once", f"call {name!r} has run twice", [started[name], entry])
        started[name] = entry


def tools_awaited(happened: Happened) -> None:
    """All work that started has ended: done, failed, or cancelled and waited for."""
    left = _running(entries(happened))
    if left:
        raise InvariantBroken("tools_awaited", "this was left running", left)


def cancelled_within(happened: Happened, seconds: float) -> None:
    """What runs when the connection ends has ended so many seconds later."""
    told = entries(happened)
    for place, entry in enumerate(told):
        if entry.type != "connection.ended":
            continue
        in_time = [later for later in told[place:] if later.time <= entry.time + seconds]
        left = [one for one in _running([*told[:place], *in_time]) if one.time <= entry.time]
        if left:
            raise InvariantBroken("cancelled_within", f"still running {seconds:g} s later", [*left, entry])


def bounded(happened: Happened, limits: Mapping[str, int]) -> None:
    """Nothing that was measured is larger than its limit.

    Args:
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
