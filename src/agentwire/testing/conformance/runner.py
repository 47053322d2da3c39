"""Runs cases against a server, one after the other, each on connections of its own, and keeps the evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Final, Literal

import attrs
import trio

from agentwire.protocol.errors import RemoteProtocolError
from agentwire.testing.conformance.peer import NEEDS, Peer
from agentwire.testing.conformance.process import NotStarted
from agentwire.testing.conformance.registry import CASES, Case
from agentwire.testing.conformance.rules import RULES, TOPICS
from agentwire.testing.conformance.rules.model import Profile
from agentwire.testing.conformance.turns import CaseFailed, NotShown, look_anew, looked_at
from agentwire.testing.conformance.wire import Closed, Log, Refused
from agentwire.transport.dial import ConnectFailed

__all__ = ["TIMEOUT", "Result", "run_case", "run_cases", "told_of"]

Verdict = Literal["passed", "failed", "not applicable"]

TIMEOUT: Final = 60.0
"""Seconds that one case may take."""


@attrs.frozen
class Result:
    """What came of one case.

    Attributes:
        case: the case.
        verdict: passed, failed, or not applicable to this server or profile.
        why: what was wrong, or what is missing; empty if it passed.
        evidence: what went over the wire, if it failed.
        rule: the id of the one rule that was broken, if the case could tell.
        seconds: how long it took.
        late: whether it failed because nothing came in time.
        gone: whether it failed because no connection could be made.
    """

    case: Case
    verdict: Verdict
    why: str = ""
    evidence: tuple[str, ...] = ()
    rule: str | None = None
    seconds: float = 0.0
    late: bool = False
    gone: bool = False

    def __str__(self) -> str:
        rules = ", ".join(self.case.rules)
        head = f"{self.verdict}: {self.case.name} ({rules}){': ' if self.why else ''}{self.why}"
        return "\n".join((head, *(f"    {line}" for line in self.evidence)))


def not_applicable(peer: Peer, case: Case) -> str:
    """Why a case cannot be run against this server, in its profile; empty if it can."""
    if peer.profile not in case.profiles & RULES[case.rules[0]].profiles:
        return f"it is not about the profile {peer.profile}"
    missing = [need for need in case.needs if need not in peer.abilities]
    return f"it needs {'; '.join(NEEDS[need] for need in missing)}" if missing else ""


def told_of(error: Exception) -> str:
    """What went wrong, for a person who has not the case's code."""
    match error:
        case KeyError():
            return f"what it said lacks the member {error}"
        case UnicodeDecodeError() | json.JSONDecodeError():
            return f"what it said is no JSON: {error}"
        case TypeError() | AttributeError() | LookupError():
            return f"what it said has another shape than it must have ({type(error).__name__}: {error})"
        case AssertionError() | Closed() | Refused() | RemoteProtocolError() | ConnectFailed():
            return str(error) or "it is not so"
        case trio.BrokenResourceError():
            return f"the connection broke: {error}"
    return f"{type(error).__name__}: {error}"


async def run_case(peer: Peer, case: Case, *, timeout: float = TIMEOUT) -> Result:  # noqa: ASYNC109 - a bound on the server, not on the caller
    """Run one case. Whatever goes wrong in it is the server's failure; a cancellation goes on."""
    if why := not_applicable(peer, case):
        return Result(case, "not applicable", why)
    peer = attrs.evolve(peer, log=Log())
    begun = trio.current_time()
    failed = partial(Result, case, "failed")
    try:
        look_anew()
        if peer.process is not None:
            await peer.process.start()  # the case before may have ended it; that takes none of this one's time
        with trio.fail_after(timeout):
            await case.body(peer)
        if peer.process is not None and "process" not in case.needs and not peer.process.running:
            raise CaseFailed("the process of the server ended")
    except trio.TooSlowError:
        found = failed(f"no end within {timeout:g} s", late=True, rule=looked_at())
    except NotShown as nothing:
        found = Result(case, "not applicable", str(nothing))
    except Exception as error:  # noqa: BLE001 - an answer that has not the shape it must have may raise anything
        found = failed(
            told_of(error),
            rule=getattr(error, "rule", None) or looked_at(),
            gone=isinstance(error, ConnectFailed | NotStarted),
        )
    else:
        found = Result(case, "passed")
    evidence = () if found.verdict == "passed" else tuple(peer.log.lines)
    return attrs.evolve(found, evidence=evidence, seconds=trio.current_time() - begun)


async def run_cases(
    peer: Peer,
    *,
    profile: Profile | None = None,
    cases: Iterable[Case] | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - a bound on the server, not on the caller
) -> list[Result]:
    """Run cases, all of them if none are named, in one profile. Cancelling it loses the results.

    Args:
        peer: the server.
        profile: instead of the peer's.
        cases: which.
        timeout: seconds for each.
    """
    if profile is not None:
        peer = attrs.evolve(peer, profile=profile)
    chosen = in_order() if cases is None else cases
    return [await run_case(peer, one, timeout=timeout) for one in chosen]


def in_order() -> list[Case]:
    """All cases, by the topic of the first rule that each proves."""
    places = {rule.id: place for place, rule in enumerate(rule for topic in TOPICS for rule in topic.rules)}
    return sorted(CASES.values(), key=lambda one: places[one.rules[0]])
