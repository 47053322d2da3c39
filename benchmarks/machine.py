"""What the lifecycle machine costs, and a campaign with it: ``python -m benchmarks.machine [--examples N] [--seed N]``.

So many runs of `LifecycleMachine` against agentwire's own server, and the CPU time that they took. A run that breaks
a promise is told as in a test, with how to play it again, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import time

import hypothesis
from hypothesis.stateful import run_state_machine_as_test

from agentwire.testing.lifecycle import LifecycleMachine


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.machine", description=__doc__)
    parser.add_argument("--examples", type=int, default=1_000, help="how many runs (default 1,000)")
    parser.add_argument("--steps", type=int, default=20, help="moves in each, at most (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="which runs (default 0); the same seed, the same runs")
    args = parser.parse_args()
    ended = 0

    class Counted(LifecycleMachine):
        def teardown(self) -> None:
            nonlocal ended
            super().teardown()
            ended += 1

    play = hypothesis.seed(args.seed)(Counted)
    settings = hypothesis.settings(
        max_examples=args.examples, stateful_step_count=args.steps, deadline=None, database=None, print_blob=True
    )
    cpu, clock = time.process_time(), time.perf_counter()
    try:
        run_state_machine_as_test(play, settings=settings)
    except Exception as error:  # noqa: BLE001 - whatever a run raises is what is to be told
        print(f"seed {args.seed}: {type(error).__name__} after {ended} runs: {error}")
        print("\n".join(getattr(error, "__notes__", ())))
        return 1
    cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    print(
        f"seed {args.seed}: {ended} runs of at most {args.steps} moves, {cpu:.1f} s of CPU, {clock:.1f} s on the clock"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
