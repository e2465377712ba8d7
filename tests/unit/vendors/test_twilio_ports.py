"""Numbers that come to Twilio from other carriers, on a strict local Twilio."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from ringline.vendors.errors import VendorRefused, VendorUnavailable, VendorUncertain
from ringline.vendors.models import Letter, Port
from tests.unit.vendors.twilio_account import HOME, HOOK_URL, account, purchase
from tests.vendors.twilio_server import Fault, Sale, TwilioServer

BILL = Letter("bill.pdf", "application/pdf", b"%PDF-1.4 bill")
NUMBERS = ("+14155550150", "+14155550151")


def order(**changed: Any) -> Port:
    wanted = Port(
        uuid4(), NUMBERS, "Old Carrier", "A-1", replace(HOME, name="Doe Ltd."), "Jane Doe",
        email="jane@example.com", bill=BILL,
    )  # fmt: skip
    return replace(wanted, **changed)


def row_of(server: TwilioServer) -> dict[str, Any]:
    [row] = server.ports.values()
    return row


async def test_a_port_from_order_to_end() -> None:
    async with account() as (server, vendor):
        wanted = order()
        progress = await vendor.port(wanted)
        assert (progress.state, progress.reason) == ("submitted", "")
        row = row_of(server)
        assert row["losing_carrier_information"]["customer_type"] == "Business"
        assert server.port_hook == HOOK_URL

        async def now() -> tuple[str, str]:
            found = await vendor.find_port(wanted, progress.reference)
            assert found is not None
            return found.state, found.reason

        row |= {
            "port_in_request_status": "Waiting for Signature",
            "signature_request_url": "https://sign.example",
        }
        state, why = await now()
        assert (state, "signature" in why) == ("submitted", True)
        row |= {"port_in_request_status": "In progress", "signature_request_url": None}
        assert await now() == ("in-process", "")
        row["phone_numbers"][0]["port_date"] = "2030-01-07T10:00:00Z"
        assert (await now())[0] == "in-process"
        row["phone_numbers"][1]["port_date"] = "2030-01-08T10:00:00Z"
        assert (await now())[0] == "foc-confirmed"
        row["port_in_request_status"] = "Action Required"
        assert (await now())[1].endswith("its support knows")
        row["phone_numbers"][1]["rejection_reason"] = "the PIN is wrong"
        assert await now() == ("exception", "+14155550151: the PIN is wrong")
        row["port_in_request_status"] = "Completed"
        for entry in row["phone_numbers"]:
            entry |= {"port_in_phone_number_status": "completed", "rejection_reason": None}
        for number in NUMBERS:
            server.on_sale.append(Sale(number))
            await vendor.buy(purchase(number))
        done = await vendor.find_port(wanted, progress.reference)
        assert done is not None
        assert done.state == "ported"
        assert set(done.number_references) == set(NUMBERS)
        assert set(done.number_references.values()) == set(server.numbers)


async def test_completed_with_one_number_left_behind_or_all() -> None:
    async with account() as (server, vendor):
        wanted = order()
        reference = (await vendor.port(wanted)).reference
        row = row_of(server)
        server.on_sale.append(Sale(NUMBERS[0]))
        held = (await vendor.buy(purchase(NUMBERS[0]))).number_reference
        row["port_in_request_status"] = "In progress"
        row["phone_numbers"][0]["port_in_phone_number_status"] = "Completed"
        found = await vendor.find_port(wanted, reference)
        assert found is not None
        assert (found.state, dict(found.number_references)) == ("in-process", {NUMBERS[0]: held})
        row["port_in_request_status"] = "Completed"
        row["phone_numbers"][1] |= {
            "port_in_phone_number_status": "canceled",
            "rejection_reason": "not theirs",
        }
        found = await vendor.find_port(wanted, reference)
        assert found is not None
        assert (found.state, found.reason) == ("ported", "+14155550151: not theirs")
        assert dict(found.number_references) == {NUMBERS[0]: held}
        row["phone_numbers"][0]["port_in_phone_number_status"] = "canceled"
        found = await vendor.find_port(wanted, reference)
        assert found is not None
        assert found.state == "cancelled"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"email": ""}, "e-mail"),
        ({"bill": None}, "latest bill"),
        ({"bill": Letter("bill.doc", "application/msword", b"x")}, "PDF, PNG or JPEG"),
        ({"bill": Letter("bill.pdf", "application/pdf", b"")}, "at most 10 MB"),
        ({"numbers": ("+442079460123",)}, "United States only"),
        ({"numbers": ()}, "1 to 1000"),
    ],
)
async def test_what_twilio_needs_for_a_port(changed: dict[str, Any], words: str) -> None:
    async with account() as (server, vendor):
        with pytest.raises(VendorRefused, match=words):
            await vendor.port(order(**changed))
        assert not server.requests


async def test_a_number_that_cannot_be_ported() -> None:
    async with account() as (server, vendor):
        server.not_portable[NUMBERS[1]] = "Manual porting available"
        with pytest.raises(VendorRefused, match=r"\+14155550151 cannot be ported.*Manual porting"):
            await vendor.port(order())
        server.not_portable.clear()
        server.wants_pin = True
        with pytest.raises(VendorRefused, match="PIN"):
            await vendor.port(order())
        assert not server.ports
        assert not server.documents
        assert (await vendor.port(order(pin="1234"))).state == "submitted"


@pytest.mark.parametrize("kind", ["500", "cut"])
async def test_an_order_whose_answer_was_lost_is_found(kind: str) -> None:
    async with account() as (server, vendor):
        wanted = order()
        assert await vendor.find_port(wanted, "") is None
        server.faults = [Fault(kind, "POST", "/PortIn")]
        with pytest.raises(VendorUncertain):
            await vendor.port(wanted)
        found = await vendor.find_port(wanted, "")
        assert found is not None
        assert found.reference == row_of(server)["port_in_request_sid"]
        assert await vendor.find_port(order(numbers=NUMBERS[:1]), "") is None
        with pytest.raises(VendorRefused, match="already in progress"):
            await vendor.port(wanted)


async def test_an_order_is_found_among_many() -> None:
    async with account() as (server, vendor):
        wanted = order()
        for index in range(130):
            sid = f"KW{index:032x}"
            entry = {"phone_number": f"+1415556{index:04}"}
            row = {
                "port_in_request_sid": sid,
                "port_in_request_status": "Completed",
                "phone_numbers": [entry],
            }
            server.ports[sid] = row
        reference = (await vendor.port(wanted)).reference
        found = await vendor.find_port(wanted, "")
        assert found is not None
        assert found.reference == reference


@pytest.mark.parametrize("path", ["Portability", "/Documents"])
async def test_before_the_order_nothing_is_uncertain(path: str) -> None:
    async with account() as (server, vendor):
        server.faults = [Fault("500", "GET" if path == "Portability" else "POST", path, times=10)]
        with pytest.raises(VendorUnavailable):
            await vendor.port(order())
        assert not server.ports


async def test_reports_that_cannot_be_ordered_hinder_no_port() -> None:
    async with account() as (server, vendor):
        server.faults = [Fault("503", "POST", "/Configuration/Webhook", times=10)]
        assert (await vendor.port(order())).state == "submitted"
        assert server.port_hook == ""


async def test_cancelled_in_time_twice_and_too_late() -> None:
    async with account() as (server, vendor):
        wanted = order()
        reference = (await vendor.port(wanted)).reference
        server.too_late = True
        with pytest.raises(VendorRefused, match="can no longer be canceled"):
            await vendor.cancel_port(wanted, reference)
        server.too_late = False
        server.faults = [Fault("500", "DELETE", reference)]
        assert (await vendor.cancel_port(wanted, "")).state == "cancelled"
        assert (await vendor.cancel_port(wanted, reference)).state == "cancelled"
        assert (await vendor.cancel_port(wanted, "")).state == "cancelled"
        assert (await vendor.port(wanted)).reference != reference
