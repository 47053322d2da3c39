"""An agent for the customers of a shop: it refunds their orders, and goes on when its connection is lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import agentwire

Connect = Callable[[], AbstractAsyncContextManager[agentwire.Client]]


class Bank(Protocol):
    async def pay(self, order: str) -> None: ...


class Shop:
    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.refunded: set[str] = set()

    async def refund(self, order: str) -> str:
        """Refund an order to the customer who paid for it."""
        if order in self.refunded:
            return f"{order} has been refunded before"
        await self.bank.pay(order)
        self.refunded.add(order)
        return f"{order} is refunded"


async def answer(connect: Connect, shop: Shop, question: str) -> str:
    """Answer a customer; where the connection is lost on the way, ask again."""
    while True:
        try:
            async with connect() as wire, wire.run(question, tools=[shop.refund]) as run:
                await run.finish()
                return run.text
        except agentwire.ConnectionEnded:
            continue
