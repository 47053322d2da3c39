"""What anybody's client of the Responses API survives: its program is run against hostile servers, and judged.

    run = ClientRun(["python", "my_agent.py"])
    await run.run()
    print(run.report().tally)

A program gets a task and one tool, prints the final text and exits; everything that is judged is seen from outside: on
the wire, at the tool, in what it prints, by its exit code and the clock.
"""

from __future__ import annotations

from agentwire.testing.clients import catalogue as catalogue
from agentwire.testing.clients.contract import VARIABLES as VARIABLES
from agentwire.testing.clients.judging import RULES as RULES
from agentwire.testing.clients.judging import Observed as Observed
from agentwire.testing.clients.judging import Rule as Rule
from agentwire.testing.clients.running import ClientRun as ClientRun
from agentwire.testing.clients.running import Result as Result
from agentwire.testing.clients.running import run_scenario as run_scenario
from agentwire.testing.clients.scenarios import SCENARIOS as SCENARIOS
from agentwire.testing.clients.scenarios import Scenario as Scenario

__all__ = [
    "RULES",
    "SCENARIOS",
    "VARIABLES",
    "ClientRun",
    "Observed",
    "Result",
    "Rule",
    "Scenario",
    "catalogue",
    "run_scenario",
]
