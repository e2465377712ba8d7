"""Handing texts to a vendor: never twice, nothing forgotten."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from ringline.customers.tables import customers
from ringline.http import utc_now
from ringline.messages import store
from ringline.messages.records import tel
from ringline.messages.sending import SOON_SECONDS, Patience
from ringline.messages.texting import FlowTexts
from ringline.vendors.errors import (
    VendorBusy,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
)
from ringline.vendors.events import TextChanged
from ringline.vendors.models import Sent

from .conftest import Lost, World

HANDSET = "+491701234567"
PATIENCE = Patience()


async def sent_one(world: World, *destinations: str) -> Any:
    customer = await world.customer()
    number = await world.number(customer)
    message = await world.text(customer, number, *(destinations or (HANDSET,)))
    return customer, number, message


async def test_a_text_is_stored_handed_over_and_reported(world: World) -> None:
    customer, number, message = await sent_one(world)
    assert (message.status, message.direction, message.type) == ("sending", "outbound", "sms")
    assert message.targets[0].parts == 1
    await world.turn()
    [text] = world.carrier.sent.values()
    assert (text.source, text.destination, text.text) == (number, HANDSET, "hello")
    assert (await world.one(customer, message.id)).status == "sent"
    report = TextChanged("e1", text.id, HANDSET, Sent("delivered", f"ref-{text.id}", parts=2))
    await world.room.reports.changed("fake", report)
    shown = await world.one(customer, message.id)
    assert (shown.status, shown.targets[0].status, shown.targets[0].parts) == ("delivered", "delivered", 2)
    # late and again: nothing changes
    late = TextChanged("e0", text.id, HANDSET, Sent("sent", f"ref-{text.id}"))
    for again in (late, report, late):
        await world.room.reports.changed("fake", again)
    assert (await world.one(customer, message.id)).status == "delivered"


async def test_several_handsets_have_states_of_their_own(world: World) -> None:
    customer, _, message = await sent_one(world, HANDSET, "+491701234568", HANDSET)
    assert [target.destination.target for target in message.targets] == [HANDSET, "+491701234568"]
    world.carrier.plan = [None, VendorRefused("no such handset", code="21211")]
    await world.turn()
    shown = await world.one(customer, message.id)
    states = sorted((target.status, target.reason, target.detail) for target in shown.targets)
    assert states == [("failed", "refused", "21211: no such handset"), ("sent", "", "")]
    assert shown.status == "sent"


@pytest.mark.parametrize(
    "error", [VendorUnavailable("away"), VendorBusy("too often", retry_after=3.0)], ids=["away", "busy"]
)
async def test_what_did_not_reach_the_vendor_is_asked_again(world: World, error: Exception) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.plan = [error, error, None]  # type: ignore[list-item]
    await world.turn()
    await world.turn()
    assert len(world.carrier.attempts) == 1, "it was asked again at once"
    await world.turn(5)
    await world.turn(5)
    assert (await world.one(customer, message.id)).status == "sent"
    assert len(world.carrier.attempts) == 3


async def test_a_vendor_that_stays_away_is_given_up(world: World) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.plan = [VendorUnavailable("away")] * 50
    for _ in range(5):
        await world.turn(PATIENCE.give_up / 4)
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason, target.detail) == ("failed", "provider_unavailable", "away")


@pytest.mark.parametrize(
    "error", [VendorUncertain("cut off"), TimeoutError(), RuntimeError("a fault of ours")], ids=repr
)
async def test_a_lost_answer_is_looked_up_and_not_sent_again(world: World, error: Exception) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.plan = [Lost(error)]
    await world.turn()
    assert (await world.one(customer, message.id)).status == "sending"
    await world.turn(PATIENCE.look + 1)
    assert world.carrier.looks == 1
    assert (await world.one(customer, message.id)).status == "sent"
    assert len(world.carrier.attempts) == 1


async def test_a_text_that_the_vendor_never_heard_of_is_sent(world: World) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.plan = [VendorUncertain("500")]
    await world.turn()
    await world.turn(PATIENCE.look + 1)
    await world.turn()
    assert (await world.one(customer, message.id)).status == "sent"
    assert len(world.carrier.attempts) == 2


async def test_where_nobody_can_tell_it_fails_and_a_late_report_is_believed(world: World) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.tells = False
    world.carrier.plan = [Lost(VendorUncertain("cut off"))]
    await world.turn()
    for _ in range(11):
        await world.turn(PATIENCE.unknown / 10)
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason) == ("failed", "unknown_outcome")
    [text] = world.carrier.attempts
    await world.room.reports.changed("fake", TextChanged("e", text.id, HANDSET, Sent("delivered", "r-late")))
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason, target.detail) == ("delivered", "", "")


async def test_a_report_before_the_answer_wins(world: World) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.gate = asyncio.Event()
    await world.room.sending.turn()
    while not world.carrier.sent:
        await asyncio.sleep(0.01)
    [text] = world.carrier.sent.values()
    await world.room.reports.changed("fake", TextChanged("e", text.id, HANDSET, Sent("delivered", "r-early")))
    world.carrier.gate.set()
    await world.room.sending.idle()
    [target] = (await world.one(customer, message.id)).targets
    assert target.status == "delivered"
    await world.turn(PATIENCE.answer + PATIENCE.look + 5)
    assert len(world.carrier.attempts) == 1


async def test_a_report_by_reference_before_the_answer_is_brought_again(world: World) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.gate = asyncio.Event()
    await world.room.sending.turn()
    while not world.carrier.sent:
        await asyncio.sleep(0.01)
    [text] = world.carrier.sent.values()
    report = TextChanged("e", None, HANDSET, Sent("delivered", f"ref-{text.id}"))
    with pytest.raises(Exception, match="not known yet"):
        await world.room.reports.changed("fake", report)
    world.carrier.gate.set()
    await world.room.sending.idle()
    await world.room.reports.changed("fake", report)
    assert (await world.one(customer, message.id)).status == "delivered"


async def test_unknown_and_foreign_reports_change_nothing(world: World) -> None:
    customer, _, message = await sent_one(world)
    await world.turn()
    [text] = world.carrier.sent.values()
    delivered = Sent("delivered", "nobody's")
    await world.room.reports.changed("fake", TextChanged("e", uuid4(), HANDSET, delivered))
    await world.room.reports.changed("fake", TextChanged("e", None, HANDSET, delivered))
    await world.room.reports.changed("other", TextChanged("e", text.id, HANDSET, delivered))
    assert (await world.one(customer, message.id)).status == "sent"


async def test_a_process_that_dies_with_a_text_handed_over(world: World) -> None:
    """Killed after the vendor has it, and killed before it does: a successor finds out which it was."""
    customer, _, first = await sent_one(world)
    world.carrier.gate = asyncio.Event()
    await world.room.sending.turn()
    while not world.carrier.sent:
        await asyncio.sleep(0.01)
    for task in list(world.room.sending._busy.values()):
        task.cancel()
    await asyncio.gather(*world.room.sending._busy.values(), return_exceptions=True)
    world.carrier.gate = None
    _, _, second = await sent_one(world)
    async with world.database.begin() as connection:  # as if it had died between noting and asking
        await connection.execute(
            update(store.targets)
            .where(store.targets.c.message_id == second.id)
            .values(step="handed", tm_due=world.clock.now(), tm_handed=world.clock.now())
        )
    await world.another().sending.take_over()
    await world.turn(SOON_SECONDS + 1)
    assert (await world.one(customer, first.id)).status == "sent"
    await world.turn()
    assert len(world.carrier.sent) == 1, "the vendor was not given the time to know of it"
    await world.turn(PATIENCE.look)
    await world.turn()
    assert (await world.one(second.customer_id, second.id)).status == "sent"
    assert len(world.carrier.sent) == 2


async def test_two_processes_do_not_hand_over_the_same_text(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    for index in range(10):
        await world.text(customer, number, f"+4917012345{index:02d}")
    one, other = world.room.sending, world.another().sending
    await asyncio.gather(one.turn(), other.turn())
    await asyncio.gather(one.idle(), other.idle())
    assert len(world.carrier.attempts) == 10


async def test_texts_of_a_number_leave_one_after_another_and_in_order(world: World) -> None:
    customer = await world.customer()
    number, fast = await world.number(customer), await world.number(customer)
    world.with_rate(1.0)
    for index in range(4):
        await world.text(customer, number, HANDSET, text=f"text {index}")
    await world.text(customer, fast, HANDSET, text="another number")
    sent = []
    for _ in range(7):
        await world.turn(0.5)
        sent.append([text.text for text in world.carrier.attempts])
        world.carrier.attempts.clear()
    # together with the other number's first one, then one a second
    assert sorted(sent[0]) == ["another number", "text 0"]
    assert [one for several in sent[1:] for one in several] == ["text 1", "text 2", "text 3"]
    assert all(len(several) <= 1 for several in sent[1:])


async def test_a_later_text_to_a_handset_does_not_overtake(world: World) -> None:
    """Neither while one is asked for again later, nor when that is a matter of seconds."""
    customer, number, _ = await sent_one(world)
    world.carrier.plan = [VendorUnavailable("away")]
    await world.turn()
    await world.text(customer, number, HANDSET, text="second")
    await world.text(customer, number, "+4917012346", text="to another")
    await world.turn()
    assert [text.text for text in world.carrier.sent.values()] == ["to another"]
    for _ in range(3):
        await world.turn(2.0)
    assert [text.text for text in world.carrier.sent.values()] == ["to another", "hello", "second"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"status": "suspended"}, "number_not_active"), ({"tm_delete": True}, "number_not_active")],
    ids=["suspended", "given back"],
)
async def test_a_number_that_stops_sends_nothing_more(world: World, change: Any, reason: str) -> None:
    customer, number, message = await sent_one(world)
    if "tm_delete" in change:
        change = {"tm_delete": world.clock.now()}
    await world.change(number, **change)
    await world.turn()
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason) == ("failed", reason)
    assert not world.carrier.attempts


async def test_our_own_fault_at_the_vendor_is_told_without_retries(world: World) -> None:
    customer, _, message = await sent_one(world)
    world.carrier.plan = [VendorMisconfigured("fake refuses our credentials", code="401")]
    await world.turn()
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason) == ("failed", "refused")


async def test_a_vendor_that_knows_of_a_stop_is_believed(world: World) -> None:
    customer, number, message = await sent_one(world)
    world.carrier.plan = [VendorRefused("the recipient has unsubscribed", code="21610")]
    await world.turn()
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason) == ("failed", "opted_out")
    [target] = (await world.text(customer, number, HANDSET)).targets
    assert (target.status, target.reason) == ("failed", "opted_out")


async def test_what_waits_cannot_be_deleted_and_what_was_sent_can(world: World) -> None:
    customer, _, message = await sent_one(world)
    with pytest.raises(Exception, match="on its way"):
        await world.room.service.delete(customer, message.id)
    await world.turn()
    assert (await world.room.service.delete(customer, message.id)).tm_delete is not None
    with pytest.raises(Exception, match="no such message"):
        await world.one(customer, message.id)
    with pytest.raises(Exception, match="no such message"):
        await world.room.service.delete(customer, message.id)


async def test_a_flow_that_is_resumed_sends_nothing_twice(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    texts: FlowTexts = world.room.texts
    message_id, activeflow_id = uuid4(), uuid4()
    for _ in range(3):
        await texts.send(
            message_id,
            customer,
            source=tel(number),
            destinations=[tel(HANDSET)],
            text="once",
            activeflow_id=activeflow_id,
        )
    await world.turn()
    assert [text.text for text in world.carrier.attempts] == ["once"]
    assert (await world.one(customer, message_id)).activeflow_id == activeflow_id


@pytest.mark.parametrize("status", ["frozen", "deleted"])
async def test_a_text_of_a_customer_that_was_frozen_meanwhile_stays(world: World, status: str) -> None:
    customer, _, message = await sent_one(world)
    async with world.database.begin() as connection:
        values: dict[str, Any] = {"status": status, "tm_delete": utc_now() if status == "deleted" else None}
        await connection.execute(update(customers).where(customers.c.id == customer).values(values))
    await world.customers.reload()
    await world.turn()
    assert world.carrier.sent == {}
    shown = await world.one(customer, message.id)
    assert (shown.status, shown.targets[0].reason) == ("failed", "customer_not_active")
