"""Whatever becomes of the connection, a refund is paid once."""

from __future__ import annotations

import trio
from refunds import Shop, answer

import agentwire
from agentwire.engines.script import Call, Text, Turn
from agentwire.engines.scripted import scripted
from agentwire.testing import Rig, cancel_everywhere, survives

MODEL = scripted([
    Turn(Call("refund", {"order": "A17"}), Text("I have asked our bank.", pieces=4, every=0.5)),
    Turn(Text("A17 is refunded.")),
])  # fmt: skip


class FakeBank:
    def __init__(self) -> None:
        self.paid: list[str] = []

    async def pay(self, order: str) -> None:
        await trio.sleep(0.7)
        self.paid.append(order)
        await trio.sleep(0.7)  # until we hear of it


@survives(engine=MODEL, policy=agentwire.Cancel())
async def test_a_refund_is_paid_once(rig: Rig) -> None:
    bank = FakeBank()
    said = await answer(rig.connect, Shop(bank), "Please refund A17.")
    assert said == "A17 is refunded."
    assert bank.paid == ["A17"]


def test_a_customer_may_leave_at_any_time() -> None:
    shops: list[Shop] = []

    async def ask(rig: Rig) -> None:
        shops.append(Shop(FakeBank()))
        await answer(rig.connect, shops[-1], "Please refund A17.")

    def paid_is_what_is_written_down() -> None:
        shop = shops[-1]
        assert isinstance(shop.bank, FakeBank)
        assert shop.bank.paid == sorted(shop.refunded)

    cancel_everywhere(ask, check=paid_is_what_is_written_down, engine=MODEL, policy=agentwire.Cancel())
