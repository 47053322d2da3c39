"""Ctrl-C and SIGTERM: the first one cancels what is innermost with a reason; one more leaves; then all is as before."""

from __future__ import annotations

import signal

import pytest
import trio

from agentwire.cli.interrupts import HINT, REASON, REASON_TERMINATED, Interrupts, leaving_at_the_third


class Left(Exception):
    """Instead of the end of this process."""


def leave(code: int) -> None:
    raise Left(code)


async def test_the_innermost_block_is_cancelled() -> None:
    notes: list[str] = []
    never = trio.Event()
    before = signal.getsignal(signal.SIGINT)
    keys = Interrupts(notes.append, leave=leave)
    with keys.listening() as outer:
        with keys.cancelling() as inner:
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(trio.Cancelled) as cancelled:
                await never.wait()
            assert cancelled.value.reason == REASON
        assert not outer.cancel_called
        assert inner.cancel_called
        assert keys.pressed
        keys.settle()
        signal.raise_signal(signal.SIGINT)
        await never.wait()
    assert outer.cancelled_caught
    assert notes == [HINT]
    assert signal.getsignal(signal.SIGINT) is before


async def test_the_next_one_leaves_even_if_the_loop_is_blocked() -> None:
    keys = Interrupts(lambda _: None, leave=leave)
    with keys.listening() as scope:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Left, match="130"):
            signal.raise_signal(signal.SIGINT)
        assert not scope.cancel_called  # there was no chance to
        await trio.lowlevel.checkpoint()


async def test_one_that_comes_too_late_is_nothing() -> None:
    keys = Interrupts(lambda _: pytest.fail("nothing is cancelled"), leave=leave)
    with keys.listening():
        signal.raise_signal(signal.SIGINT)
    await trio.lowlevel.checkpoint()


async def test_sigterm_does_the_same_under_a_name_of_its_own() -> None:
    before = signal.getsignal(signal.SIGTERM)
    keys = Interrupts(lambda _: None, leave=leave)
    with keys.listening() as scope:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(trio.Cancelled) as cancelled:
            await trio.sleep_forever()
        assert cancelled.value.reason == REASON_TERMINATED
        with pytest.raises(Left, match="143"):
            signal.raise_signal(signal.SIGTERM)
    assert scope.cancel_called
    assert keys.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


async def test_the_third_signal_of_a_server_waits_for_nobody() -> None:
    left: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, leaving_at_the_third(left.append):
        signal.raise_signal(signal.SIGTERM)
        assert await anext(signals) == signal.SIGTERM
        signal.raise_signal(signal.SIGINT)
        assert await anext(signals) == signal.SIGINT
        assert left == []
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert left == [143, 130]
    assert signal.getsignal(signal.SIGINT) is before
