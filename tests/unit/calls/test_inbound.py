"""Who is let in, and what the others are told."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID, uuid4

import pytest

from ringline.calls import metrics
from ringline.calls.call import Call
from ringline.calls.inbound import Inbound
from ringline.sip.cause import Cause

CUSTOMER, FLOW = uuid4(), uuid4()
CHANNEL = {"id": "1.1", "protocol_id": "sip-call-id"}


@dataclass
class Numbers:
    status: str = "active"
    call_flow_id: UUID | None = FLOW
    type: str = "normal"
    number: str = "+15551234567"

    def by_number(self, number: str) -> Any:
        return self._own() if number == self.number else None

    def by_national(self, dialled: str) -> Any:
        return self._own() if dialled == "5551234567" else None

    def _own(self) -> Any:
        return SimpleNamespace(
            customer_id=CUSTOMER,
            status=self.status,
            call_flow_id=self.call_flow_id,
            type=self.type,
            number=self.number,
        )


@dataclass
class Customers:
    status: str = "active"

    def by_id(self, customer_id: UUID) -> Any:
        return SimpleNamespace(status=self.status, billing_account_id=customer_id)


@dataclass
class Balances:
    broke: bool = False

    def exhausted(self, account_id: UUID | None) -> bool:
        return self.broke


def admit(
    *args: str,
    numbers: Numbers | None = None,
    customers: Customers | None = None,
    broke: bool = False,
    overloaded: bool = False,
) -> Call | Cause:
    inbound = Inbound(
        numbers or Numbers(),  # type: ignore[arg-type]
        customers or Customers(),  # type: ignore[arg-type]
        Balances(broke),
        lambda: overloaded,
    )
    return inbound.admit(CHANNEL, [*args[:3], *(quote_plus(argument) for argument in args[3:])])


def test_a_call_to_a_number_with_a_flow() -> None:
    call = admit("+15551234567", "provider", "p", '"Joe" <sip:+15550001111@carrier.test>;tag=1', "", "")
    assert isinstance(call, Call)
    assert (call.customer_id, call.flow_id, call.channel_id) == (CUSTOMER, FLOW, "1.1")
    assert (call.source.target, call.source.target_name) == ("+15550001111", "Joe")
    assert (call.destination.target, call.sip_call_id) == ("+15551234567", "sip-call-id")
    assert (call.status, call.direction, call.anonymous) == ("ringing", "incoming", False)
    assert call.tm_ringing == call.tm_create


def test_an_anonymous_caller_is_known_and_marked() -> None:
    call = admit(
        "+15551234567",
        "provider",
        "p",
        '"Anonymous" <sip:anonymous@anonymous.invalid>',
        "<sip:+15550001111@carrier.test>",
        "id",
    )
    assert isinstance(call, Call)
    assert (call.source.target, call.anonymous) == ("+15550001111", True)


@pytest.mark.parametrize(
    ("changes", "dialled", "cause", "reason"),
    [
        ({}, "+15550000000", Cause.UNALLOCATED, "unknown_number"),
        ({}, "", Cause.UNALLOCATED, "unknown_number"),
        ({"numbers": Numbers(type="virtual")}, "+15551234567", Cause.UNALLOCATED, "unknown_number"),
        ({"numbers": Numbers(status="suspended")}, "+15551234567", Cause.NO_ANSWER, "number_suspended"),
        (
            {"numbers": Numbers(status="purchase-pending")},
            "+15551234567",
            Cause.UNALLOCATED,
            "number_not_active",
        ),
        ({"numbers": Numbers(status="deleted")}, "+15551234567", Cause.UNALLOCATED, "number_not_active"),
        ({"numbers": Numbers(call_flow_id=None)}, "+15551234567", Cause.NO_ANSWER, "no_flow"),
        (
            {"customers": Customers(status="frozen")},
            "+15551234567",
            Cause.NORMAL_CIRCUIT_CONGESTION,
            "customer_not_active",
        ),
        ({"broke": True}, "+15551234567", Cause.SWITCH_CONGESTION, "balance_exhausted"),
        ({"overloaded": True}, "+15551234567", Cause.NORMAL_CIRCUIT_CONGESTION, "overloaded"),
    ],
)
def test_refusals(changes: dict[str, Any], dialled: str, cause: Cause, reason: str) -> None:
    counter = metrics.calls_refused.labels(reason)
    before = counter._value.get()
    assert admit(dialled, "provider", "p", "<sip:+15550001111@x>", "", "", **changes) is cause
    assert counter._value.get() == before + 1


def test_a_number_without_its_country() -> None:
    call = admit("5551234567", "provider", "p", "<sip:+15550001111@x>", "", "")
    assert isinstance(call, Call)
    assert call.destination.target == "+15551234567", "the record names the number as we know it"
    assert admit("5551234567", "internal", "", "<sip:+15550001111@x>", "", "") is Cause.UNALLOCATED


def test_a_virtual_number_is_reached_from_inside() -> None:
    virtual = Numbers(type="virtual", number="+899100000001")
    call = admit("+899100000001", "internal", "", "<sip:+15550001111@x>", "", "", numbers=virtual)
    assert isinstance(call, Call)
    assert call.destination.target == "+899100000001"


@pytest.mark.parametrize(
    ("asserted", "number"),
    [
        ("<tel:+49-30-901820>", "+4930901820"),
        ("<sip:004930901820@c.test>", "+4930901820"),
        ("<sip:+4930901820;npdi@c.test;user=phone>", "+4930901820"),
        ("<sip:030901820@c.test>", "030901820"),
        ("<sip:alice@c.test>", "alice"),
    ],
)
def test_a_callers_number_as_carriers_write_it(asserted: str, number: str) -> None:
    call = admit("+15551234567", "provider", "p", "<sip:x@y>", asserted, "")
    assert isinstance(call, Call)
    assert call.source.target == number


def test_missing_and_oversized_arguments_do_not_harm() -> None:
    assert isinstance(admit("+15551234567"), Call)
    call = admit("+15551234567", "provider", "p", f'"{"x" * 9000}" <sip:{"1" * 9000}@h>', "", "")
    assert isinstance(call, Call)
    assert len(call.source.target) <= 255


@pytest.mark.parametrize("name", ["M%C3%BCller", "M%FCller"])
def test_a_name_with_an_umlaut_hides_no_number(name: str) -> None:
    """In UTF-8, and in Latin-1 as older switches write it."""
    header = f"%22{name}+%26+Co%22+%3Csip%3A%2B4930123456%40x%3E"
    inbound = Inbound(Numbers(), Customers(), Balances(), lambda: False)  # type: ignore[arg-type]
    call = inbound.admit(CHANNEL, ["+15551234567", "provider", "p", header, "", ""])
    assert isinstance(call, Call)
    assert (call.source.target, call.source.target_name) == ("+4930123456", "M\u00fcller & Co")
    assert not call.anonymous
