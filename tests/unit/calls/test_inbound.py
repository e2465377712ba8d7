"""Who is let in, and what the others are told."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import Call
from ringline.calls.inbound import Inbound
from ringline.sip.cause import Cause

CUSTOMER, FLOW = uuid4(), uuid4()
CHANNEL = {"id": "1.1", "protocol_id": "sip-call-id"}


@dataclass
class Numbers:
    status: str = "active"
    call_flow_id: UUID | None = FLOW

    def by_number(self, number: str) -> Any:
        if number != "+15551234567":
            return None
        return SimpleNamespace(customer_id=CUSTOMER, status=self.status, call_flow_id=self.call_flow_id)


@dataclass
class Customers:
    status: str = "active"

    def by_id(self, customer_id: UUID) -> Any:
        return SimpleNamespace(status=self.status)


def admit(
    *args: str, numbers: Numbers | None = None, customers: Customers | None = None, overloaded: bool = False
) -> Call | Cause:
    inbound = Inbound(numbers or Numbers(), customers or Customers(), lambda: overloaded)  # type: ignore[arg-type]
    return inbound.admit(CHANNEL, [quote(argument, safe="") for argument in args])


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
    ("changes", "dialled", "cause"),
    [
        ({}, "+15550000000", Cause.UNALLOCATED),
        ({}, "", Cause.UNALLOCATED),
        ({"numbers": Numbers(status="suspended")}, "+15551234567", Cause.NO_ANSWER),
        ({"numbers": Numbers(call_flow_id=None)}, "+15551234567", Cause.NO_ANSWER),
        ({"customers": Customers(status="frozen")}, "+15551234567", Cause.NORMAL_CIRCUIT_CONGESTION),
        ({"overloaded": True}, "+15551234567", Cause.NORMAL_CIRCUIT_CONGESTION),
    ],
)
def test_refusals(changes: dict[str, Any], dialled: str, cause: Cause) -> None:
    assert admit(dialled, "provider", "p", "<sip:+15550001111@x>", "", "", **changes) is cause


def test_missing_and_oversized_arguments_do_not_harm() -> None:
    assert admit("+15551234567") and isinstance(admit("+15551234567"), Call)
    call = admit("+15551234567", "provider", "p", f'"{"x" * 9000}" <sip:{"1" * 9000}@h>', "", "")
    assert isinstance(call, Call)
    assert len(call.source.target) <= 255
