"""What turns used, whatever became of them: totals by outcome and by principal, and one line of the log for each turn.

What an engine says with `Out.use` counts as well as what it returns, so that a turn whose client has gone is not free.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

import attrs

from agentwire.protocol.desk import Outcome
from agentwire.protocol.response import Usage

__all__ = ["Account", "Tally"]

log = logging.getLogger("agentwire.turn")

LONGEST_NAME: Final = 100
"""Most characters of a model's name that are logged: it is the client's text."""
NOTHING: Final = Usage()


@attrs.frozen(kw_only=True)
class Account:
    """One turn that has ended.

    Attributes:
        outcome: how it ended.
        response_id: of the response that it made; None for a request that was refused.
        model: as the client named it; None if the request could not be read.
        principal: who asked.
        seconds: from the time that the request could run.
        used: what its engine used, or None if it did not say.
        code: of the error that ended it, if one did.
    """

    outcome: Outcome
    response_id: str | None
    model: str | None
    principal: str
    seconds: float
    used: Usage | None = None
    code: str | None = None


@attrs.define
class Tally:
    """Running totals since the server started.

    Attributes:
        sessions: how many there were.
        turns: how many ended in which way.
        used: what the turns used that ended in that way.
        used_by: what the turns of each principal used; there are no more principals than keys.
        tool_calls: of the server's own tools.
        ended: how connections ended, by a few words that say why.
    """

    sessions: int = 0
    turns: Counter[Outcome] = attrs.field(factory=Counter)
    used: dict[Outcome, Usage] = attrs.field(factory=dict)
    used_by: dict[str, Usage] = attrs.field(factory=dict)
    tool_calls: int = 0
    ended: Counter[str] = attrs.field(factory=Counter)

    def enter(self, account: Account) -> None:
        """Count a turn, and log it."""
        self.turns[account.outcome] += 1
        self.use(account.outcome, account.principal, account.used)
        if log.isEnabledFor(logging.INFO):
            log.info("%s", _line(account))

    def use(self, outcome: Outcome, principal: str, used: Usage | None) -> None:
        """Count what an engine used."""
        if used is not None:
            self.used[outcome] = self.used.get(outcome, NOTHING) + used
            self.used_by[principal] = self.used_by.get(principal, NOTHING) + used


def _line(account: Account) -> str:
    """What the log says of a turn."""
    used, id_ = account.used, account.response_id
    ended = account.outcome.value if id_ is not None or account.outcome is Outcome.CANCELLED else "refused"
    what = f"response {id_}" if id_ is not None else "a request"
    why = "" if account.code is None else f" ({account.code})"
    model = "" if account.model is None else f", model {account.model[:LONGEST_NAME]!r}"
    tokens = "" if id_ is None else ", tokens unknown"
    if used is not None:
        tokens = f", {used.input_tokens} tokens in ({used.cached_tokens} cached), {used.output_tokens} out"
    return f"{what}: {ended}{why} after {account.seconds:.3f} s{model}{tokens}, for {account.principal}"
