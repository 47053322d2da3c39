"""What is iterated in one loop and driven from another: what is there comes along, and nothing is lost."""

from __future__ import annotations

from concurrent.futures import wait

import pytest
import trio

from agentwire.client.portal import Portal
from agentwire.client.views import MOST, Ended, Pulled


class Numbers:
    """Counts to a limit, a few of them ready at a time; then it fails, or ends."""

    def __init__(self, limit: int, ready: int, failure: Exception | None) -> None:
        self.limit = limit
        self.steps = 0
        self.failure = failure
        self._ready = ready
        self._next = 0

    @property
    def ready(self) -> bool:
        return self._next < self.limit and self._next % self._ready != 0

    async def __anext__(self) -> int:
        if not self.ready:
            self.steps += 1
            await trio.lowlevel.checkpoint()
        if self._next == self.limit:
            raise self.failure or StopAsyncIteration
        self._next += 1
        return self._next - 1


def drive(numbers: Numbers) -> tuple[list[int], int]:
    """All of them, and how often it had to be waited for; raises what they end with."""
    portal = Portal.take()
    heard: list[int] = []
    waits = 0
    try:
        pulled = Pulled(portal, numbers)
        while True:
            work = pulled._ask()
            if work is not None:
                waits += 1
                wait([work.future])
            value = pulled._take()
            if isinstance(value, Ended):
                return heard, waits
            heard.append(value)
    except ValueError:
        assert heard == list(range(numbers.limit)), "all that came before it has been given"
        raise
    finally:
        portal.release()


@pytest.mark.parametrize(("limit", "ready"), [(0, 1), (7, 1), (40, 10), (1000, 1000)])
def test_what_is_ready_is_taken_along(limit: int, ready: int) -> None:
    heard, waits = drive(Numbers(limit, ready, None))
    assert heard == list(range(limit))
    assert waits == sum(-(-min(ready, limit - start) // MOST) for start in range(0, limit, ready)) + 1


def test_a_failure_comes_after_all_that_came_before_it() -> None:
    with pytest.raises(ValueError, match="no more"):
        drive(Numbers(100, 100, ValueError("no more")))
