"""An agent that may die at any moment. In one terminal: agentwire serve. In another: python examples/journal.py

It sends three invoices, which nobody may get twice. Kill it while it runs, by Ctrl-C or by kill -9, and start it again:
it goes on where it was. "python examples/journal.py URL FOLDER 2" dies by itself right after the second invoice, before
it can say so: of that one, the next run says that nobody knows whether it was sent.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio

import agentwire
from agentwire.client import TextDelta, ToolFinished

URL = "http://127.0.0.1:8000/v1"
TASK = """
1. Send an invoice to `Ada`.
2. Send an invoice to `Grace`.
3. Send an invoice to `Edsger`.
4. Report what you found.
"""


async def main(url: str, folder: Path, dies_after: int) -> None:
    outbox = folder / "outbox.txt"

    @agentwire.tool(rerun="never")  # the default: what may have happened is not done again
    async def send_invoice(customer: str) -> str:
        """Send an invoice to a customer."""
        await trio.sleep(0.2)
        with outbox.open("a", encoding="utf-8") as sent:
            sent.write(f"{customer}\n")
        if len(outbox.read_text(encoding="utf-8").splitlines()) == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"sent to {customer}"

    async with (
        agentwire.connect(url) as wire,
        wire.run(TASK, tools=[send_invoice], journal=folder / "journal.db", key="invoices of May") as run,
    ):
        async for step in run:
            match step:
                case ToolFinished():
                    print(step.result.text, flush=True)
                case TextDelta():
                    print(step.text, end="", flush=True)
        for result in run.results.values():
            if result.unknown:
                print(f"\n{result.error}")
        print(f"\n{run.turns} turns in all")


url, folder, dies_after = [*sys.argv[1:4], *(URL, ".", "0")[len(sys.argv) - 1 :]]
trio.run(main, url, Path(folder), int(dies_after))
