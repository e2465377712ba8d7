"""Ports to a strict local Twilio, with the room of ports on a real database."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from tests.component.ports import conftest as porting
from tests.component.ports.conftest import PDF, PNG, House
from tests.vendors.twilio_server import Fault, Sale, TwilioServer

from ringline.numbers.ports import steps
from ringline.numbers.ports.tables import number_ports
from ringline.numbers.tables import numbers
from ringline.storage import Database
from ringline.vendors.events import Hook, PortChanged
from ringline.vendors.models import Purchase
from ringline.vendors.twilio import Twilio

HOOK_URL = "https://api.example.com/hooks/twilio"
BILL = {"bill": {"name": "bill.png", "content": base64.b64encode(PNG).decode()}}


@pytest.fixture
async def server() -> AsyncIterator[TwilioServer]:
    server = TwilioServer()
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def house(
    database: Database, server: TwilioServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    vendor = Twilio(
        server.account_sid,
        server.auth_token,
        trunk_sid=server.trunk_sid,
        hook_url=HOOK_URL,
        base_url=server.url,
    )
    monkeypatch.setattr(porting, "PortingVendor", lambda: vendor)
    monkeypatch.setattr(steps, "SETTLE", timedelta(seconds=0.3))
    # a look comes by a webhook, or because an answer was lost
    monkeypatch.setattr(steps, "FIRST_LOOK", 60.0)
    async with database.begin() as connection:
        await connection.execute(number_ports.delete())
    house = House(database)
    await house.start()
    await house.ports.start()
    yield house
    await house.close()
    await vendor.close()


async def told(house: House, server: TwilioServer, **said: Any) -> None:
    """Twilio's webhook, through our verifier to the room."""
    hooks: list[Hook] = []

    async def post(url: str, body: bytes, headers: Any) -> tuple[int, str, str]:
        hooks.append(
            Hook("twilio", "POST", url, {name.lower(): value for name, value in headers.items()}, body)
        )
        return 200, "", ""

    server._post = post  # type: ignore[method-assign]
    [reference] = server.ports
    await server.call_json_hook(server.port_hook, {"port_in_request_sid": reference, **said})
    for event in house.vendor.read_hook(hooks[0]):
        assert isinstance(event, PortChanged)
        await house.ports.changed("twilio", event)


async def until_ordered(house: House, server: TwilioServer) -> dict[str, Any]:
    await house.until(lambda: bool(server.ports))
    [row] = server.ports.values()
    return row


async def test_from_the_bill_to_the_number(house: House, server: TwilioServer) -> None:
    owner = await house.customer()
    port = await house.made(owner, **BILL)
    row = await until_ordered(house, server)
    await house.status(owner, port["id"], "submitted")
    assert list(server.documents.values()) == [PNG]
    assert server.port_hook == HOOK_URL
    carrier = row["losing_carrier_information"]
    assert (carrier["authorized_representative_email"], carrier["customer_type"]) == (
        "anna@example.com",
        "Business",
    )
    [entry] = row["phone_numbers"]
    assert PDF not in server.documents.values()

    row["port_in_request_status"] = "In progress"
    entry["port_date"] = "2030-01-07T15:00:00Z"
    await told(house, server, status="PortInPhoneNumberPending", phone_number=entry["phone_number"])
    await house.status(owner, port["id"], "foc-confirmed")

    server.on_sale.append(Sale(entry["phone_number"]))
    order = await house.vendor.buy(Purchase(owner.id, entry["phone_number"]))
    row["port_in_request_status"] = "Completed"
    entry["port_in_phone_number_status"] = "Completed"
    for _ in range(2):
        await told(house, server, status="completed")
    await house.status(owner, port["id"], "ported")
    async with house.database.connect() as connection:
        [held] = await connection.execute(sa.select(numbers).where(numbers.c.number == entry["phone_number"]))
    assert (held.provider_name, held.provider_reference_id) == ("twilio", order.number_reference)


async def test_without_a_bill_the_customer_is_told(house: House, server: TwilioServer) -> None:
    owner = await house.customer()
    port = await house.made(owner)
    port = await house.status(owner, port["id"], "exception")
    assert "latest bill" in port["reason"]
    assert not server.ports


@pytest.mark.parametrize("kind", ["500", "cut"])
async def test_a_lost_answer_orders_nothing_twice(house: House, server: TwilioServer, kind: str) -> None:
    server.faults = [Fault(kind, "POST", "/PortIn")]
    owner = await house.customer()
    port = await house.made(owner, **BILL)
    await house.status(owner, port["id"], "submitted")
    row = await until_ordered(house, server)
    row["port_in_request_status"] = "In progress"

    async def looked() -> None:
        await told(house, server, status="InProgress")
        await house.status(owner, port["id"], "in-process", seconds=20)

    await house.until(lambda: sum("/PortInRequests" in one.path for one in server.requests) > 0)
    await looked()
    assert sum(one.method == "POST" and one.path.endswith("/PortIn") for one in server.requests) == 1


async def test_cancelled(house: House, server: TwilioServer) -> None:
    owner = await house.customer()
    port = await house.made(owner, **BILL)
    row = await until_ordered(house, server)
    await house.status(owner, port["id"], "submitted")
    status, _ = await house.call(owner, "DELETE", f"/{port['id']}")
    assert status == 200
    await house.status(owner, port["id"], "cancelled")
    assert row["port_in_request_status"] == "Canceled"
