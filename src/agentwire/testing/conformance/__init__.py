"""What a server of this protocol does, as a table of rules, and cases that show it from outside, against any URL.

    peer = Peer("http://127.0.0.1:8000/v1", model="builtin", able=["tools"])
    for result in await run_cases(peer, profile="openai"):
        print(result)

The rules are in `agentwire.testing.conformance.rules`, with their sources. A case uses sockets and HTTP alone; what it
needs of a server beyond a URL is told to the `Peer`, and a case that needs more than there is does not apply.
"""

from __future__ import annotations

from agentwire.testing.conformance import cases as cases
from agentwire.testing.conformance.peer import NEEDS as NEEDS
from agentwire.testing.conformance.peer import Peer as Peer
from agentwire.testing.conformance.registry import CASES as CASES
from agentwire.testing.conformance.registry import Case as Case
from agentwire.testing.conformance.rules import RULES as RULES
from agentwire.testing.conformance.rules import TOPICS as TOPICS
from agentwire.testing.conformance.rules import Rule as Rule
from agentwire.testing.conformance.runner import Result as Result
from agentwire.testing.conformance.runner import run_case as run_case
from agentwire.testing.conformance.runner import run_cases as run_cases
from agentwire.testing.conformance.turns import CaseFailed as CaseFailed

__all__ = [
    "CASES",
    "NEEDS",
    "RULES",
    "TOPICS",
    "Case",
    "CaseFailed",
    "Peer",
    "Result",
    "Rule",
    "cases",
    "run_case",
    "run_cases",
]
