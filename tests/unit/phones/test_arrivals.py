"""Phones and trunks at the door: what they may call, as whom, and what everybody else is told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote_plus
from uuid import UUID, uuid4

import pytest

from ringline.calls.call import ZERO, Call
from ringline.calls.inbound import Inbound
from ringline.customers import Customer
from ringline.errors import InvalidArgument
from ringline.extensions import Extension, Trunk
from ringline.phones import Directories, PhoneArrivals, PhoneFlows
from ringline.sip.cause import Cause

CUSTOMER, FLOW = uuid4(), uuid4()
CHANNEL = {"id": "1.1", "protocol_id": "sip-call-id"}
REALM = "test.x"
FROM = '"Eva" <sip:test11@test.x>;tag=1'


def extension(name: str, title: str = "", customer: UUID = CUSTOMER) -> Extension:
    return Extension(uuid4(), customer, title or name, name, REALM)


PHONE = extension("test11", "Front desk")
TRUNK = Trunk(uuid4(), CUSTOMER, "Office", "office")


@dataclass
class House:
    """Everything that is in memory."""

    status: str = "active"
    country: str = "us"
    broke: bool = False
    extensions: list[Extension] = field(
        default_factory=lambda: [PHONE, extension("test12"), extension("5551230000", "Porter")]
    )
    numbers: dict[str, Any] = field(default_factory=dict)
    forbidden: str = "+4930"
    contacts: int | None = 2
    shown: str = "+15552222222"

    def customer(self, customer_id: UUID) -> Customer | None:
        if customer_id != CUSTOMER:
            return None
        return Customer(CUSTOMER, "Acme", self.status, "test", None, "", "", country=self.country)

    def check(self, customer: Customer, number: str, where: str) -> None:
        if number.startswith(self.forbidden):
            raise InvalidArgument(f"{where}: not there")

    def inbound(self) -> Inbound:
        by_name = {(one.domain_name, one.extension): one for one in self.extensions}
        by_id = {one.id: one for one in self.extensions}
        balances: Any = SimpleNamespace(exhausted=lambda _: self.broke)
        customers: Any = SimpleNamespace(by_id=self.customer)
        numbers: Any = SimpleNamespace(by_number=self.numbers.get)
        known = Directories(
            SimpleNamespace(by_id=by_id.get, by_name=lambda realm, name: by_name.get((realm, name))),
            SimpleNamespace(by_id=lambda row_id: TRUNK if row_id == TRUNK.id else None),
            customers,
            numbers,
            balances,
            self,
        )
        phones = PhoneArrivals(known, sip_domain="x", country=lambda customer: customer.country)
        return Inbound(numbers, customers, balances, lambda: False, phones)

    def admit(
        self,
        dialled: str,
        *,
        source: str = "extension",
        who: str = FROM,
        asserted: str = "",
        privacy: str = "",
    ) -> Call | Cause:
        account = PHONE.id if source == "extension" else TRUNK.id
        args = [dialled, source, str(account), who, asserted, privacy]
        return self.inbound().admit(CHANNEL, [*args[:3], *(quote_plus(argument) for argument in args[3:])])

    def count(self, customer_id: UUID, name: str) -> int | None:
        assert (customer_id, name) == (CUSTOMER, "test11")
        return self.contacts

    async def actions(self, call: Call) -> list[dict[str, Any]]:
        customers: Any = SimpleNamespace(by_id=self.customer)
        made = await PhoneFlows(customers, lambda _, given: given or self.shown, self).actions(call)
        assert made is not None
        again = await PhoneFlows(customers, lambda _, given: given or self.shown, self).actions(call)
        assert again == made, "a successor makes the same flow"
        return made

    async def connect(self, dialled: str, **more: Any) -> dict[str, Any]:
        """The one action that a call becomes."""
        call = self.admit(dialled, **more)
        assert isinstance(call, Call)
        (action,) = await self.actions(call)
        assert action["type"] == "connect"
        option: dict[str, Any] = action["option"]
        return option


@pytest.fixture
def house() -> House:
    return House()


async def test_a_number_is_connected_as_the_customer(house: House) -> None:
    call = house.admit("+15559876543", asserted="<sip:+15550009999@forged>")
    assert isinstance(call, Call)
    assert (call.customer_id, call.flow_id, call.type, call.account_id) == (CUSTOMER, ZERO, "flow", PHONE.id)
    assert (call.source.type, call.source.target, call.source.target_name) == ("extension", "test11", "Eva")
    assert (call.destination.type, call.destination.target) == ("tel", "+15559876543")
    assert (call.status, call.direction, call.anonymous, call.sip_call_id) == (
        "ringing",
        "incoming",
        False,
        "sip-call-id",
    )
    option = await house.connect("+15559876543")
    assert (option["early_media"], option["relay_reason"], option["anonymous"]) == (True, True, "auto")
    assert (option["source"]["type"], option["source"]["target"]) == ("tel", "")
    assert [one["target"] for one in option["destinations"]] == ["+15559876543"]


@pytest.mark.parametrize(
    ("dialled", "country", "number"),
    [
        ("5559876543", "us", "+15559876543"),
        ("030123456", "de", "+4930123456"),
        ("0015559876543", "de", "+15559876543"),
    ],
)
def test_the_formats_of_the_customers_country(dialled: str, country: str, number: str) -> None:
    call = House(country=country, forbidden="+0").admit(dialled)
    assert isinstance(call, Call)
    assert call.destination.target == number


@pytest.mark.parametrize("privacy", ["id", "user;id", "header", "critical"])
def test_privacy_is_honoured(house: House, privacy: str) -> None:
    call = house.admit("+15559876543", privacy=privacy)
    assert isinstance(call, Call)
    assert (call.anonymous, call.source.target) == (True, "test11")


def test_privacy_none_shows(house: House) -> None:
    call = house.admit("+15559876543", privacy="none")
    assert isinstance(call, Call)
    assert not call.anonymous


async def test_another_extension_rings_with_the_callers_name(house: House) -> None:
    option = await house.connect("test12")
    assert (option["destinations"][0]["type"], option["destinations"][0]["target"]) == ("extension", "test12")
    assert (option["source"]["type"], option["source"]["target"]) == ("extension", "test11")
    assert option["source"]["target_name"] == "Eva"
    assert option["relay_reason"]


def test_a_name_of_digits_goes_before_a_number(house: House) -> None:
    call = house.admit("5551230000")
    assert isinstance(call, Call)
    assert (call.destination.type, call.destination.target_name) == ("extension", "Porter")


def test_other_customers_extensions_are_unknown() -> None:
    foreign = House(extensions=[PHONE, extension("bob", customer=uuid4())])
    assert foreign.admit("bob") == Cause.UNALLOCATED


def test_a_number_of_ones_own_runs_its_flow(house: House) -> None:
    house.numbers["+899100000001"] = SimpleNamespace(customer_id=CUSTOMER, status="active", call_flow_id=FLOW)
    call = house.admit("+899100000001")
    assert isinstance(call, Call)
    assert (call.flow_id, call.destination.target, call.source.type) == (FLOW, "+899100000001", "extension")


async def test_a_number_inside_of_somebody_else_is_a_call_of_its_own(house: House) -> None:
    house.numbers["+899100000001"] = SimpleNamespace(customer_id=uuid4(), status="active", call_flow_id=FLOW)
    option = await house.connect("+899100000001")
    assert option["destinations"][0]["target"] == "+899100000001"


@pytest.mark.parametrize(
    ("changes", "dialled", "cause"),
    [
        ({}, "+899100000001", Cause.UNALLOCATED),
        ({}, "nobody", Cause.UNALLOCATED),
        ({}, "", Cause.UNALLOCATED),
        ({}, "*99", Cause.UNALLOCATED),
        ({}, "911", Cause.UNALLOCATED),
        ({}, "+1555", Cause.INVALID_NUMBER_FORMAT),
        ({}, "9876543", Cause.INVALID_NUMBER_FORMAT),
        ({}, "+4930123456", Cause.CALL_REJECTED),
        ({"status": "frozen"}, "+15559876543", Cause.NORMAL_CIRCUIT_CONGESTION),
        ({"broke": True}, "*43", Cause.SWITCH_CONGESTION),
        ({"extensions": []}, "+15559876543", Cause.CALL_REJECTED),
    ],
)
def test_who_is_refused(changes: dict[str, Any], dialled: str, cause: Cause) -> None:
    assert House(**changes).admit(dialled) == cause


@pytest.mark.parametrize(
    ("status", "flow", "cause"),
    [
        ("suspended", FLOW, Cause.NO_ANSWER),
        ("deleted", FLOW, Cause.UNALLOCATED),
        ("active", None, Cause.NO_ANSWER),
    ],
)
def test_ones_own_number_that_takes_no_calls(
    house: House, status: str, flow: UUID | None, cause: Cause
) -> None:
    house.numbers["+899100000001"] = SimpleNamespace(customer_id=CUSTOMER, status=status, call_flow_id=flow)
    assert house.admit("+899100000001") == cause


@pytest.mark.parametrize("dialled", ["+15552223333", "5552223333", "0115552223333"])
def test_a_number_of_ones_own_runs_its_flow_without_the_telephone_network(dialled: str) -> None:
    house = House()
    house.numbers["+15552223333"] = SimpleNamespace(customer_id=CUSTOMER, status="active", call_flow_id=FLOW)
    call = house.admit(dialled)
    if dialled.startswith("011"):
        # abroad: another number
        assert isinstance(call, Cause) or call.flow_id != FLOW
        return
    assert isinstance(call, Call)
    assert (call.flow_id, call.destination.target) == (FLOW, "+15552223333")


@pytest.mark.parametrize(
    ("customer", "status", "flow", "goes"),
    [
        (CUSTOMER, "suspended", FLOW, "nowhere"),
        (CUSTOMER, "purchase-pending", FLOW, "out"),
        (CUSTOMER, "active", None, "out"),
        (uuid4(), "active", FLOW, "out"),
        (uuid4(), "suspended", FLOW, "out"),
    ],
)
async def test_other_numbers_go_out_and_suspended_ones_nowhere(
    customer: UUID, status: str, flow: UUID | None, goes: str
) -> None:
    house = House()
    house.numbers["+15552223333"] = SimpleNamespace(customer_id=customer, status=status, call_flow_id=flow)
    if goes == "nowhere":
        assert house.admit("+15552223333") == Cause.NO_ANSWER
    else:
        option = await house.connect("+15552223333")
        assert option["destinations"][0]["target"] == "+15552223333"


def test_an_account_that_is_no_id(house: House) -> None:
    assert house.inbound().admit(CHANNEL, ["+15559876543", "extension", "x", FROM]) == Cause.CALL_REJECTED


async def test_a_trunk_says_which_of_its_numbers_calls(house: House) -> None:
    option = await house.connect("+15559876543", source="trunk", who='"Bob" <sip:5551234567@office.trunk.x>')
    assert (option["source"]["type"], option["source"]["target"]) == ("tel", "+15551234567")
    assert option["source"]["target_name"] == "Bob"
    nobody = await house.connect("+15559876543", source="trunk", who="<sip:pbx@office.trunk.x>")
    assert nobody["source"]["target"] == ""


async def test_the_echo_test(house: House) -> None:
    call = house.admit("*43")
    assert isinstance(call, Call)
    assert (call.type, call.destination.target, call.destination.target_name) == (
        "sip-service",
        "*43@test.x",
        "Echo test",
    )
    actions = await house.actions(call)
    assert [action["type"] for action in actions] == ["answer", "talk", "echo", "talk"]


@pytest.mark.parametrize(
    ("changes", "privacy", "words"),
    [
        (
            {},
            "",
            ["extension test 1 1 of Acme", "2 phones are registered", "show the number plus 1 5 5 5 2 2"],
        ),
        ({"contacts": 1}, "id", ["One phone is registered", "2 2 2 is hidden"]),
        ({"shown": "", "contacts": 0}, "", ["No phone is registered", "show no number"]),
        ({"contacts": None}, "", ["of Acme. Calls to"]),
    ],
)
async def test_who_am_i(changes: dict[str, Any], privacy: str, words: list[str]) -> None:
    house = House(**changes)
    call = house.admit("*65", privacy=privacy)
    assert isinstance(call, Call)
    actions = await house.actions(call)
    text = next(action["option"]["text"] for action in actions if action["type"] == "talk")
    for part in words:
        assert part in text, text
    assert actions[0]["type"] == "answer"


@pytest.mark.parametrize(
    ("srtp", "endpoint", "taken"),
    [
        ("optional", "kamailio", True),
        ("optional", "srtp", True),
        ("required", "kamailio", False),
        ("required", "srtp", True),
        ("required", "webrtc", True),
        ("none", "srtp", False),
        ("none", "kamailio", True),
        ("none", "webrtc", True),
    ],
)
@pytest.mark.parametrize("source", ["extension", "trunk"])
def test_sound_is_secured_as_the_account_wants_it(
    monkeypatch: pytest.MonkeyPatch, source: str, srtp: str, endpoint: str, taken: bool
) -> None:
    house = House(extensions=[replace(PHONE, srtp=srtp)])
    monkeypatch.setitem(globals(), "TRUNK", replace(TRUNK, srtp=srtp))
    monkeypatch.setitem(CHANNEL, "name", f"PJSIP/{endpoint}-0000001f")
    found = house.admit("+15559876543", source=source)
    assert isinstance(found, Call) if taken else found is Cause.BEARER_CAPABILITY_NOT_AVAILABLE
