"""Ports at their vendor: asked once whatever happens, mirrored, and at the end the numbers are ours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from tests.component.ports.conftest import PDF, House, Owner, lost, number

from ringline.numbers.ports import steps
from ringline.numbers.ports.tables import number_port_documents, number_ports
from ringline.numbers.tables import number_orders, numbers
from ringline.vendors.errors import (
    VendorBusy,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
)

FOC = datetime(2026, 12, 1, 15, 0, tzinfo=UTC)


async def _nothing() -> None:
    pass


async def held(house: House, text: str) -> Any:
    async with house.database.connect() as connection:
        statement = sa.select(numbers).where(numbers.c.number == text, numbers.c.tm_delete.is_(None))
        return (await connection.execute(statement)).first()


async def test_from_the_letter_to_the_number(house: House, owner: Owner) -> None:
    flow_id = uuid4()
    house.flows.add(flow_id)
    wanted = str(datetime.now(UTC).date() + timedelta(days=9))
    port = await house.made(owner, call_flow_id=str(flow_id), name="moved", wanted_date=wanted)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    reference = house.vendor.reference(port["id"])
    asked = house.vendor.ports[reference]
    (text,) = asked.numbers
    assert (asked.carrier, asked.account, asked.pin) == ("Old Telephone", "4711", "1234")
    assert asked.letter is not None
    assert (asked.letter.content, asked.letter.content_type) == (PDF, "application/pdf")
    assert (asked.owner.country, str(asked.wanted), asked.email) == ("US", wanted, "anna@example.com")
    for state in ("in-process", "foc-confirmed"):
        house.vendor.say(reference, state, tm_foc=FOC)
        await house.report(port["id"])
        await house.status(owner, port["id"], state)
    house.vendor.say(reference, "ported", number_references={text: "n-1"}, tm_foc=FOC)
    await house.report(None, reference)
    port = await house.status(owner, port["id"], "ported")
    assert [step["status"] for step in port["history"]] == [
        "draft",
        "submitted",
        "in-process",
        "foc-confirmed",
        "ported",
    ]
    assert (port["tm_foc"], port["pin_set"]) == ("2026-12-01T15:00:00Z", False)
    row = await held(house, text)
    assert port["numbers"] == [{"number": text, "status": "ported", "number_id": str(row.id), "reason": ""}]
    assert (row.customer_id, row.status, row.call_flow_id, row.name) == (owner.id, "active", flow_id, "moved")
    assert (row.provider_name, row.provider_reference_id) == ("sandbox", "n-1")
    assert house.told == [row.id]
    async with house.database.connect() as connection:
        orders = (
            await connection.execute(sa.select(number_orders).where(number_orders.c.number_id == row.id))
        ).all()
    assert [order.kind for order in orders] == ["configure"]
    assert house.vendor.asked["ported"] == 1


async def test_nobody_reports_and_it_is_found_all_the_same(house: House, owner: Owner) -> None:
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    house.vendor.say(house.vendor.reference(port["id"]), "ported")
    port = await house.status(owner, port["id"], "ported")
    assert port["numbers"][0]["status"] == "ported"


@pytest.mark.parametrize("where", ["before", "after"])
async def test_a_lost_answer_is_looked_up(house: House, owner: Owner, where: str) -> None:
    getattr(house.vendor, where)["port"] = [lost()]
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    house.vendor.say(house.vendor.reference(port["id"]), "in-process")
    await house.status(owner, port["id"], "in-process")
    assert house.vendor.asked["ported"] == 1
    assert house.vendor.asked["find"] >= 1


@pytest.mark.parametrize("error", [VendorUnavailable("away"), VendorBusy("busy", retry_after=0.1)])
async def test_what_was_not_done_is_done_again(house: House, owner: Owner, error: Exception) -> None:
    house.vendor.before["port"] = [error]
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    assert house.vendor.asked["ported"] == 1
    assert house.vendor.asked["find"] == 0


@pytest.mark.parametrize(
    "error",
    [VendorUnavailable("away"), VendorBusy("busy", retry_after=0.1), lost(), VendorMisconfigured("key")],
)
async def test_a_look_that_fails_is_no_proof(
    house: House, owner: Owner, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vendor has taken the request, its answer was lost, and then it cannot be asked what became of it."""
    monkeypatch.setattr(steps, "OPERATOR_PAUSE", 0.3)
    house.vendor.after["port"] = [lost()]
    house.vendor.before["find"] = [error]
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    house.vendor.say(house.vendor.reference(port["id"]), "in-process")
    await house.status(owner, port["id"], "in-process")
    assert house.vendor.asked["port"] == 1


async def test_a_controller_that_dies_while_it_asks(house: House, owner: Owner) -> None:
    asking, gate = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        asking.set()
        await gate.wait()

    house.vendor.after["port"] = [hang]  # the vendor has it, the controller does not know
    port = await house.made(owner)
    await asking.wait()
    await house.restart()
    house.vendor.say(house.vendor.reference(port["id"]), "in-process")
    await house.status(owner, port["id"], "in-process")
    assert house.vendor.asked["ported"] == 1


async def test_a_report_before_the_answer(house: House, owner: Owner) -> None:
    async def report() -> None:
        reference = next(iter(house.vendor.states))
        house.vendor.say(reference, "foc-confirmed", tm_foc=FOC)
        await house.report(None, reference)  # with the vendor's id alone, which nobody knows yet

    house.vendor.after["port"] = [report]
    port = await house.made(owner)
    await house.status(owner, port["id"], "foc-confirmed")
    await house.report(port["id"])
    await house.report(port["id"])
    assert house.vendor.asked["ported"] == 1


async def test_a_refusal_is_an_exception_that_can_be_mended(house: House, owner: Owner) -> None:
    house.vendor.before["port"] = [VendorRefused("the PIN is wrong")]
    port = await house.made(owner)
    port = await house.status(owner, port["id"], "exception")
    assert port["reason"] == "the PIN is wrong"
    path = f"/{port['id']}"
    assert (await house.call(owner, "PUT", path, json={"pin": "4321"}))[0] == 200
    await house.call(owner, "POST", f"{path}/submit")
    await house.until(lambda: house.vendor.asked["ported"] == 1)
    (reference,) = house.vendor.ports
    assert house.vendor.ports[reference].pin == "4321"
    house.vendor.say(reference, "in-process")
    port = await house.status(owner, port["id"], "in-process")
    assert port["reason"] == ""


async def test_an_exception_at_the_vendor_is_withdrawn_and_asked_anew(house: House, owner: Owner) -> None:
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    first = house.vendor.reference(port["id"])
    house.vendor.say(first, "exception", reason="the name does not match")
    port = await house.status(owner, port["id"], "exception")
    changed = await house.call(owner, "PUT", f"/{port['id']}", json={"authorised_person": "Bert"})
    assert changed[0] == 200
    assert (await house.call(owner, "POST", f"/{port['id']}/submit"))[0] == 200
    await house.until(lambda: len(house.vendor.ports) == 2)
    second = next(reference for reference in house.vendor.ports if reference != first)
    assert house.vendor.states[first].state == "cancelled"
    assert house.vendor.ports[second].id != UUID(port["id"])
    await house.report(port["id"], first)  # late news of the first one
    house.vendor.say(second, "ported")
    port = await house.status(owner, port["id"], "ported")
    assert "cancelled" not in [step["status"] for step in port["history"]]


async def test_a_draft_at_the_vendor_is_gone_on_with(house: House, owner: Owner) -> None:
    async def drafted() -> None:
        reference = next(iter(house.vendor.states))
        house.vendor.say(reference, "draft")
        raise lost()

    house.vendor.after["port"] = [drafted]
    house.vendor.before["port"] = [_nothing, VendorRefused("the PIN is wrong")]
    port = await house.made(owner)
    port = await house.status(owner, port["id"], "exception")
    assert port["reason"] == "the PIN is wrong"
    assert house.vendor.asked["port"] == 2


async def test_a_port_that_the_vendor_forgot(
    house: House, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FORGOTTEN", timedelta(seconds=0.5))
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    house.vendor.states.clear()
    port = await house.status(owner, port["id"], "exception")
    assert "knows nothing" in port["reason"]


async def test_submitting_while_the_vendor_is_looked_at(house: House, owner: Owner) -> None:
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    first = house.vendor.reference(port["id"])
    house.vendor.say(first, "exception", reason="odd")
    await house.status(owner, port["id"], "exception")
    looking, gate = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        looking.set()
        await gate.wait()

    house.vendor.before["find"] = [wait]
    await house.report(port["id"])
    await looking.wait()
    assert (await house.call(owner, "POST", f"/{port['id']}/submit"))[0] == 200
    gate.set()  # what is found now is of the request that was replaced
    await house.until(lambda: len(house.vendor.ports) == 2)
    house.vendor.say(next(reversed(house.vendor.ports)), "in-process")
    await house.status(owner, port["id"], "in-process")


async def test_mending_comes_too_late(house: House, owner: Owner) -> None:
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    first = house.vendor.reference(port["id"])
    house.vendor.say(first, "exception", reason="odd")
    await house.status(owner, port["id"], "exception")
    house.vendor.cancels = False
    house.vendor.say(first, "foc-confirmed", tm_foc=FOC)
    await house.call(owner, "POST", f"/{port['id']}/submit")
    await house.status(owner, port["id"], "foc-confirmed")
    house.vendor.say(first, "ported")
    await house.report(None, first)
    await house.status(owner, port["id"], "ported")
    assert len(house.vendor.ports) == 1


async def test_calling_off(house: House, owner: Owner) -> None:
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    status, answer = await house.call(owner, "DELETE", f"/{port['id']}")
    assert status == 200
    assert answer["cancel_requested"] or answer["status"] == "cancelled"
    port = await house.status(owner, port["id"], "cancelled")
    assert house.vendor.asked["cancel"] >= 1
    assert port["cancel_requested"] is False
    # the number is free again
    await house.made(owner, numbers=[port["numbers"][0]["number"]])


async def test_calling_off_comes_too_late(house: House, owner: Owner) -> None:
    port = await house.made(owner)
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    house.vendor.cancels = False
    await house.call(owner, "DELETE", f"/{port['id']}")
    await house.until(lambda: house.vendor.asked["cancel"] == 1)
    house.vendor.say(house.vendor.reference(port["id"]), "in-process")
    port = await house.status(owner, port["id"], "in-process")
    assert port["cancel_requested"] is False
    assert any("cannot be called off" in step["reason"] for step in port["history"])


async def test_calling_off_while_the_vendor_is_being_asked(house: House, owner: Owner) -> None:
    asking, gate = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        asking.set()
        await gate.wait()

    house.vendor.after["port"] = [wait]
    port = await house.made(owner)
    await asking.wait()
    _, port = await house.call(owner, "DELETE", f"/{port['id']}")
    assert (port["status"], port["cancel_requested"]) == ("submitted", True)
    gate.set()
    await house.status(owner, port["id"], "cancelled")
    assert house.vendor.states[house.vendor.reference(port["id"])].state == "cancelled"


async def test_some_numbers_come_and_some_do_not(house: House, owner: Owner) -> None:
    one, two, three = number(), number(), number()
    port = await house.made(owner, numbers=[one, two, three])
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    reference = house.vendor.reference(port["id"])
    house.vendor.say(reference, "in-process", number_references={two: "n-2"})
    await house.report(port["id"])
    port = await house.status(owner, port["id"], "in-process")
    assert [entry["status"] for entry in port["numbers"]] == ["waiting", "ported", "waiting"]
    # somebody here got hold of the third one meanwhile
    other = await house.customer()
    async with house.database.begin() as connection:
        await connection.execute(
            numbers.insert().values(
                id=uuid4(), customer_id=other.id, number=three, type="normal", status="active", tm_create=FOC
            )
        )
    house.vendor.say(
        reference, "ported", number_references={two: "n-2", three: "n-3"}, reason="the carrier kept one"
    )
    await house.report(port["id"])
    port = await house.status(owner, port["id"], "ported")
    assert [entry["status"] for entry in port["numbers"]] == ["failed", "ported", "failed"]
    assert port["numbers"][0]["reason"] == "the carrier kept one"
    assert "another customer" in port["numbers"][2]["reason"]
    assert (await held(house, three)).customer_id == other.id
    assert len(house.told) == 1


async def test_the_operator_must_mend_something(house: House, owner: Owner) -> None:
    house.vendor.before["port"] = [VendorMisconfigured("the key is wrong")]
    port = await house.made(owner)
    await house.until(lambda: house.vendor.asked["port"] == 1)
    for _ in range(1500):
        _, port = await house.call(owner, "GET", f"/{port['id']}")
        if port["reason"]:
            break
        await asyncio.sleep(0.02)
    assert port["status"] == "submitted"
    assert "whoever runs this installation" in port["reason"]
    assert "key" not in port["reason"]
    # it was mended: a new start does not wait for the hour to be over
    await house.restart()
    await house.until(lambda: UUID(port["id"]) in house.vendor.references)
    assert house.vendor.asked["port"] == 2


async def test_files_are_forgotten_in_time(idle: House, owner: Owner) -> None:
    ports = [await idle.made(owner) for _ in range(2)]
    for port in ports:
        await idle.call(owner, "DELETE", f"/{port['id']}")
    async with idle.database.begin() as connection:
        await connection.execute(
            number_ports.update()
            .where(number_ports.c.id == UUID(ports[0]["id"]))
            .values(tm_end=datetime(2020, 1, 1, tzinfo=UTC))
        )
    await idle.ports.upkeep()
    async with idle.database.connect() as connection:
        rows = await connection.execute(sa.select(number_port_documents))
        kept = {str(row.port_id): row.content for row in rows}
    assert (kept[ports[0]["id"]], kept[ports[1]["id"]]) == (None, PDF)
