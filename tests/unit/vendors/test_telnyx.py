"""Telnyx against a strict local server: what is asked, what becomes of it, and that nothing is paid twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringline.vendors import client as client_module
from ringline.vendors.base import Vendor
from ringline.vendors.client import Answer
from ringline.vendors.errors import (
    NotSupported,
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import (
    Address,
    Held,
    Letter,
    Offer,
    Order,
    Port,
    PortProgress,
    Purchase,
    Search,
    Sent,
    Text,
)
from ringline.vendors.reach import reachable
from ringline.vendors.telnyx import Telnyx
from tests.vendors.telnyx_server import API_KEY, CONNECTION, PROFILE, Available, TelnyxServer, telnyx_server

HOOK = "https://ringline.example/hooks/telnyx"
NUMBER = "+14155550100"
OFFICE = Address("Example Inc", "1 Market St", "San Francisco", "CA", "94105", "US", "Floor 3")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module.random, "uniform", lambda _low, _high: 0.01)


@pytest.fixture
async def server() -> AsyncIterator[TelnyxServer]:
    async with telnyx_server() as account:
        yield account


Make = Callable[..., Telnyx]


@pytest.fixture
async def make(server: TelnyxServer) -> AsyncIterator[Make]:
    """Makes vendors of this server's account; options replace settings."""
    made = []

    def maker(**options: Any) -> Telnyx:
        usual: dict[str, Any] = {
            "api_key": API_KEY,
            "public_key": server.public_key,
            "connection_id": CONNECTION,
            "messaging_profile_id": PROFILE,
            "hook_url": HOOK,
            "base_url": server.url,
        }
        made.append(Telnyx(**{**usual, **options}))
        return made[-1]

    yield maker
    for vendor in made:
        await vendor.close()


@pytest.fixture
def telnyx(make: Make) -> Telnyx:
    return make()


async def failing(call: Awaitable[object]) -> VendorError:
    with pytest.raises(VendorError) as caught:
        await call
    return caught.value


def purchase(number: str = NUMBER) -> Purchase:
    return Purchase(uuid4(), number)


# -- searching --


async def test_search(telnyx: Vendor, server: TelnyxServer) -> None:
    found = await telnyx.search(Search("US"))
    assert found[0] == Offer(
        NUMBER,
        "US",
        "local",
        region="CA",
        city="SAN FRANCISCO",
        features=("voice", "sms", "mms", "fax", "emergency"),
    )
    assert [offer.number for offer in found if offer.kind == "toll_free"] == ["+18005550199"]
    assert len(await telnyx.search(Search("US", limit=2))) == 2
    numbers = [offer.number for offer in await telnyx.search(Search("US", kind="toll_free"))]
    assert numbers == ["+18005550199"]
    for region in ("NY", "new york", "  New   York "):
        assert [offer.number for offer in await telnyx.search(Search("US", region=region))] == [
            "+12125550177"
        ]
    assert [o.number for o in await telnyx.search(Search("DE", region="Berlin"))] == ["+493055501234"]
    assert await telnyx.search(Search("DE", features=("sms",))) == []
    assert len(await telnyx.search(Search("US", features=("sms", "voice"), region="Los Angeles"))) == 1
    # no coverage is no error
    assert await telnyx.search(Search("FR")) == []
    assert len(server.seen) == 10


@pytest.mark.parametrize(
    ("contains", "numbers"),
    [
        ("5550100", [NUMBER]),
        ("415*550100", [NUMBER]),
        ("4*5*5*0100", [NUMBER]),
        ("0*00", [NUMBER]),
        ("1415", [NUMBER, "+14155550101"]),
        ("1415***010*", [NUMBER, "+14155550101"]),
        ("12135550123", ["+12135550123"]),
        ("9999", []),
        ("*", ["+12125550177", "+12135550123", NUMBER, "+14155550101", "+18005550199"]),
    ],
)
async def test_patterns(telnyx: Vendor, contains: str, numbers: list[str]) -> None:
    assert sorted(offer.number for offer in await telnyx.search(Search("US", contains=contains))) == sorted(
        numbers
    )


async def test_find(telnyx: Vendor, server: TelnyxServer) -> None:
    for number in server.available:
        found = await telnyx.find(number)
        assert found is not None
        assert found.number == number
    assert await telnyx.find("+14155550199") is None
    assert await telnyx.find("+80012345678") is None
    server.stock(Available("+14155550", "US", "4155550"))
    assert await telnyx.find("+1415555") is None


async def test_a_broken_search_is_no_empty_one(telnyx: Vendor, server: TelnyxServer) -> None:
    server.fail("GET", ".*", "error", times=9)
    assert isinstance(await failing(telnyx.search(Search("US"))), VendorUnavailable)
    server.faults.clear()
    server.fail("GET", ".*", "garbage_after", times=9)
    assert isinstance(await failing(telnyx.find(NUMBER)), VendorUnavailable)


# -- buying --


async def test_buy(telnyx: Vendor, server: TelnyxServer) -> None:
    wanted = purchase()
    order = await telnyx.buy(wanted)
    (held,) = server.numbers.values()
    (placed,) = server.orders.values()
    assert (order.state, order.reference, order.number_reference) == ("done", placed["id"], held["id"])
    assert (held["connection_id"], held["messaging_profile_id"]) == (CONNECTION, PROFILE)
    assert held["customer_reference"] == str(wanted.id)
    assert await telnyx.find_order(wanted, order.reference) == order
    assert await telnyx.find_order(wanted, "") == order
    # somebody else's wish for the same number is refused, and seen to be
    assert isinstance(await failing(telnyx.buy(purchase())), VendorRefused)
    assert await telnyx.find_order(purchase(), "") is None
    assert server.charges == [NUMBER]


async def test_a_number_without_texts_is_bought_for_calls(telnyx: Vendor, server: TelnyxServer) -> None:
    order = await telnyx.buy(purchase("+493055501234"))
    assert order.state == "done"
    assert server.numbers[order.number_reference]["messaging_profile_id"] is None


async def test_an_order_takes_days_and_may_fail(telnyx: Vendor, server: TelnyxServer) -> None:
    server.instant = False
    one, other = purchase(), purchase("+14155550101")
    orders = [await telnyx.buy(one), await telnyx.buy(other)]
    assert [order.state for order in orders] == ["pending", "pending"]
    server.settle(orders[0].reference)
    server.settle(orders[1].reference, failed=True)
    done, failed = await telnyx.find_order(one, orders[0].reference), await telnyx.find_order(other, "")
    assert done is not None
    assert (done.state, bool(done.number_reference)) == ("done", True)
    assert failed is not None
    assert (failed.state, failed.reason) == ("failed", "telnyx could not deliver the number")


async def test_documents_that_are_missing_are_said(telnyx: Vendor, server: TelnyxServer) -> None:
    server.instant = False
    order = await telnyx.buy(wanted := purchase())
    server.orders[order.reference]["requirements_met"] = False
    found = await telnyx.find_order(wanted, order.reference)
    assert found is not None
    assert (found.state, "documents" in found.reason) == ("pending", True)


@pytest.mark.parametrize("kind", ["error_after", "cut_after", "drop_after", "garbage_after", "slow_after"])
async def test_paid_once_although_the_answer_was_lost(make: Make, server: TelnyxServer, kind: Any) -> None:
    telnyx = make(total_seconds=1.0)
    server.fail("POST", "/v2/number_orders", kind, times=5, seconds=1.5)
    wanted = purchase()
    error = await failing(telnyx.buy(wanted))
    assert isinstance(error, VendorUncertain)
    assert len(server.asked("POST", "/v2/number_orders")) == 1
    found = await telnyx.find_order(wanted, "")
    assert found is not None
    assert found.state == "done"
    assert server.numbers[found.number_reference]["phone_number"] == NUMBER
    assert server.charges == [NUMBER]


@pytest.mark.parametrize("kind", ["error", "drop"])
async def test_nothing_bought_is_seen(telnyx: Vendor, server: TelnyxServer, kind: Any) -> None:
    server.fail("POST", "/v2/number_orders", kind)
    wanted = purchase()
    assert (await failing(telnyx.buy(wanted))).uncertain
    assert await telnyx.find_order(wanted, "") is None
    assert (await telnyx.buy(wanted)).state == "done"
    assert server.charges == [NUMBER]


async def test_lists_that_lag_are_no_proof(make: Make, server: TelnyxServer) -> None:
    clock = [0.0]
    telnyx = make(clock=lambda: clock[0])
    server.fail("POST", "/v2/number_orders", "drop_after")
    wanted = purchase()
    assert (await failing(telnyx.buy(wanted))).uncertain
    server.list_lag = True
    for clock[0] in (0.0, 100.0, 599.0):
        error = await failing(telnyx.find_order(wanted, ""))
        assert isinstance(error, VendorBusy)
        assert error.retry_after == 30.0
    server.list_lag = False
    found = await telnyx.find_order(wanted, "")
    assert found is not None
    assert found.state == "done"
    # a number that somebody else has got is gone after ten minutes of that
    server.available.clear()
    other = purchase("+14155550101")
    clock[0] = 1000.0
    assert isinstance(await failing(telnyx.find_order(other, "")), VendorBusy)
    clock[0] = 1600.0
    assert await telnyx.find_order(other, "") is None


async def test_an_order_that_is_done_before_the_account_lists_the_number(
    telnyx: Vendor, server: TelnyxServer
) -> None:
    server.list_lag = True
    wanted = purchase()
    order = await telnyx.buy(wanted)
    assert (order.state, order.number_reference) == ("pending", "")
    server.fail("GET", "/v2/phone_numbers", "error", times=3)
    again = await telnyx.find_order(wanted, order.reference)
    assert again is not None
    assert again.state == "pending"
    server.list_lag = False
    found = await telnyx.find_order(wanted, order.reference)
    assert found is not None
    assert found.state == "done"


async def test_a_look_before_buying_that_fails_leaves_nothing_open(
    telnyx: Vendor, server: TelnyxServer
) -> None:
    server.fail("GET", "/v2/available_phone_numbers", "drop_after", times=9)
    error = await failing(telnyx.buy(purchase()))
    assert isinstance(error, VendorUnavailable)
    assert not error.uncertain
    assert server.asked("POST", ".*") == []


async def test_too_often(telnyx: Vendor, server: TelnyxServer) -> None:
    server.fail("POST", "/v2/number_orders", "busy")
    assert (await telnyx.buy(purchase())).state == "done"
    assert server.charges == [NUMBER]
    server.fail("GET", ".*", "busy", seconds=120)
    error = await failing(telnyx.find(NUMBER))
    assert isinstance(error, VendorBusy)
    assert error.retry_after == 120


async def test_what_is_the_operators_business(telnyx: Vendor, make: Make, server: TelnyxServer) -> None:
    server.funds = False
    error = await failing(telnyx.buy(purchase()))
    assert isinstance(error, VendorMisconfigured)
    assert (error.code, "fund" in error.message) == ("20100", False)
    wrong = make(api_key="KEYwrong")
    error = await failing(wrong.find(NUMBER))
    assert isinstance(error, VendorMisconfigured)
    assert "KEYwrong" not in error.message
    unset = make(connection_id="")
    error = await failing(unset.buy(purchase()))
    assert isinstance(error, VendorMisconfigured)
    assert server.charges == []
    server.funds = True
    stale = make(connection_id="123")
    error = await failing(stale.buy(purchase()))
    assert isinstance(error, VendorMisconfigured)
    assert (error.code, server.charges) == ("10017", [])


# -- what a number is to do --


def held_of(server: TelnyxServer, reference: str, **options: Any) -> Held:
    return Held(server.numbers[reference]["phone_number"], reference, **options)


async def test_configure(telnyx: Vendor, server: TelnyxServer) -> None:
    reference = (await telnyx.buy(purchase())).number_reference
    number = server.numbers[reference]
    number |= {"connection_id": None, "messaging_profile_id": None}
    for _ in range(2):
        await telnyx.configure(held_of(server, reference, t38=True, emergency=OFFICE))
    assert (number["connection_id"], number["messaging_profile_id"]) == (CONNECTION, PROFILE)
    assert (number["t38_fax_gateway_enabled"], number["emergency_enabled"]) == (True, True)
    (address,) = server.addresses.values()
    assert address["id"] == number["emergency_address_id"]
    assert (address["business_name"], address["postal_code"]) == ("Example Inc", "94105")
    await telnyx.configure(held_of(server, reference, messaging=False))
    assert (number["messaging_profile_id"], number["t38_fax_gateway_enabled"]) == (None, False)
    assert number["emergency_enabled"] is False
    await telnyx.configure(Held(NUMBER, "", t38=True))
    assert number["t38_fax_gateway_enabled"] is True


async def test_a_number_that_cannot_text_is_configured_for_calls(
    telnyx: Vendor, make: Make, server: TelnyxServer
) -> None:
    reference = (await telnyx.buy(purchase("+493055501234"))).number_reference
    await telnyx.configure(held_of(server, reference))
    assert server.numbers[reference]["connection_id"] == CONNECTION
    # while a profile that does not exist is a fault
    other = (await telnyx.buy(purchase())).number_reference
    stale = make(messaging_profile_id="b8f9a0d2-0000-4000-8000-000000000000")
    assert isinstance(await failing(stale.configure(held_of(server, other))), VendorMisconfigured)


async def test_an_address_that_is_none(telnyx: Vendor, server: TelnyxServer) -> None:
    reference = (await telnyx.buy(purchase())).number_reference
    nowhere = Address("Jo", "9 Nowhere", "X", "CA", "1", "US")
    error = await failing(telnyx.configure(held_of(server, reference, emergency=nowhere)))
    assert isinstance(error, VendorRefused)
    assert error.message == "telnyx: The address could not be validated. (street_address)"
    assert server.numbers[reference]["emergency_enabled"] is False


async def test_configuring_survives_faults(telnyx: Vendor, server: TelnyxServer) -> None:
    reference = (await telnyx.buy(purchase())).number_reference
    for method, path in (("PATCH", ".*"), ("POST", ".*enable_emergency"), ("GET", "/v2/addresses")):
        server.fail(method, path, "drop_after")
        server.fail(method, path, "error")
    await telnyx.configure(held_of(server, reference, emergency=OFFICE))
    assert server.numbers[reference]["emergency_enabled"] is True


async def test_release(telnyx: Vendor, server: TelnyxServer) -> None:
    reference = (await telnyx.buy(purchase())).number_reference
    server.fail("DELETE", ".*", "drop_after")
    await telnyx.release(held_of(server, reference))
    assert server.numbers[reference]["status"] == "deleted"
    await telnyx.release(Held(NUMBER, reference))
    await telnyx.release(Held(NUMBER, ""))
    assert isinstance(await failing(telnyx.configure(Held(NUMBER, ""))), VendorUnknown)
    assert await telnyx.find(NUMBER) is not None


async def test_release_refused_or_misdirected_is_no_success(telnyx: Vendor, server: TelnyxServer) -> None:
    reference = (await telnyx.buy(purchase())).number_reference
    server.numbers[reference]["deletion_lock_enabled"] = True
    assert isinstance(await failing(telnyx.release(Held(NUMBER, reference))), VendorRefused)


# -- texts --


async def active(telnyx: Vendor) -> str:
    await telnyx.buy(purchase())
    return NUMBER


async def test_send(telnyx: Vendor, server: TelnyxServer) -> None:
    source = await active(telnyx)
    text = Text(uuid4(), source, "+14155550777", "Grüße 👋\nzwei Zeilen")
    sent = await telnyx.send(text)
    (message,) = server.texted
    assert sent == Sent("sending", message["id"], parts=1)
    assert (message["text"], message["type"]) == (text.text, "SMS")
    assert message["webhook_url"] == f"{HOOK}?text={text.id}"
    server.text_status(sent.reference, "delivered")
    assert await telnyx.find_text(text, sent.reference) == Sent("delivered", sent.reference, parts=1)
    server.text_status(sent.reference, "delivery_failed", ("40008", "Undeliverable"))
    failed = await telnyx.find_text(text, sent.reference)
    assert failed is not None
    assert (failed.state, failed.reason) == ("failed", "40008 Undeliverable")
    # an id that Telnyx gave is of a text that it had: never "never heard of it", which would be sent again
    assert isinstance(await failing(telnyx.find_text(text, str(uuid4()))), NotSupported)
    assert isinstance(await failing(telnyx.find_text(text, "")), NotSupported)
    picture = Text(uuid4(), source, "+14155550777", "", ("https://example.com/a.png",))
    assert (await telnyx.send(picture)).state == "sending"
    assert server.texted[1]["type"] == "MMS"
    assert "text" not in server.asked("POST", "/v2/messages")[1].body
    assert (await telnyx.send(Text(uuid4(), source, "+14155550777", "x" * 500))).parts == 4


@pytest.mark.parametrize("kind", ["cut_after", "drop_after", "garbage_after"])
async def test_a_text_is_sent_once_although_the_answer_was_lost(
    telnyx: Vendor, server: TelnyxServer, kind: Any
) -> None:
    source = await active(telnyx)
    server.fail("POST", "/v2/messages", kind, times=2)
    sent = await telnyx.send(Text(uuid4(), source, "+14155550777", "hello"))
    assert [message["id"] for message in server.texted] == [sent.reference]
    assert len(server.asked("POST", "/v2/messages")) == 3


async def test_a_text_that_telnyx_failed_with_is_left_open(telnyx: Vendor, server: TelnyxServer) -> None:
    source = await active(telnyx)
    server.fail("POST", "/v2/messages", "error_after", times=3)
    error = await failing(telnyx.send(Text(uuid4(), source, "+14155550777", "hello")))
    assert isinstance(error, VendorUncertain)
    assert len(server.texted) == 1
    assert len(server.asked("POST", "/v2/messages")) == 1


async def test_texts_that_are_refused(telnyx: Vendor, server: TelnyxServer) -> None:
    source = await active(telnyx)
    error = await failing(telnyx.send(Text(uuid4(), source, "+14155550404", "hello")))
    assert isinstance(error, VendorRefused)
    assert (error.code, error.message) == (
        "40300",
        "telnyx: Messages cannot be sent from this to that number.",
    )
    error = await failing(telnyx.send(Text(uuid4(), "+14155550101", "+14155550777", "hello")))
    assert (type(error), error.code) == (VendorRefused, "40305")
    assert server.texted == []


# -- ports --

LETTER = Letter("letter.pdf", "application/pdf", b"%PDF-1.7 letter")


def wish(*numbers: str, **options: Any) -> Port:
    fields: dict[str, Any] = {"letter": LETTER, "pin": "4321", "wanted": date(2026, 12, 3)}
    return Port(
        uuid4(),
        numbers or ("+13035550000", "+13035550001"),
        "Other Carrier",
        "ACC-77",
        OFFICE,
        "Jo Porter",
        **{**fields, **options},
    )


async def test_port(telnyx: Vendor, server: TelnyxServer) -> None:
    port = wish(bill=Letter("bill.png", "image/png", b"\x89PNG bill"))
    progress = await telnyx.port(port)
    (order,) = server.ports.values()
    assert (progress.state, progress.reference) == ("submitted", order["id"])
    assert order["end_user"]["admin"] == {
        "entity_name": "Example Inc",
        "auth_person_name": "Jo Porter",
        "account_number": "ACC-77",
        "billing_phone_number": "+13035550000",
        "pin_passcode": "4321",
    }
    assert order["end_user"]["location"]["extended_address"] == "Floor 3"
    assert order["phone_number_configuration"] == {
        "connection_id": CONNECTION,
        "messaging_profile_id": PROFILE,
    }
    assert order["activation_settings"]["foc_datetime_requested"] == "2026-12-03T15:00:00Z"
    assert set(order["documents"]) == {"loa", "invoice"}
    assert order["webhook_url"] == HOOK
    assert [(each.state, each.reference) for each in [await telnyx.find_port(port, "")] if each] == [
        ("submitted", order["id"])
    ]
    server.port_status(order["id"], "exception", ("PASSCODE_PIN_INVALID", "The PIN is wrong"))
    found = await telnyx.find_port(port, progress.reference)
    assert found is not None
    assert (found.state, found.reason) == ("exception", "The PIN is wrong")
    server.port_status(order["id"], "foc-date-confirmed")
    found = await telnyx.find_port(port, progress.reference)
    assert found is not None
    assert (found.state, found.tm_foc) == ("foc-confirmed", datetime(2026, 12, 1, 15, tzinfo=UTC))
    server.port_status(order["id"], "ported")
    found = await telnyx.find_port(port, progress.reference)
    assert found is not None
    assert found.state == "ported"
    assert {server.numbers[each]["phone_number"] for each in found.number_references.values()} == set(
        port.numbers
    )
    assert isinstance(await failing(telnyx.cancel_port(port, progress.reference)), VendorRefused)


async def test_a_port_of_several_kinds_is_one_port(telnyx: Vendor, server: TelnyxServer) -> None:
    port = wish("+13035550000", "+18005550777")
    progress = await telnyx.port(port)
    one, other = server.ports
    assert progress.reference == f"{one},{other}"
    server.port_status(one, "ported")
    server.port_status(other, "in-process")
    found = await telnyx.find_port(port, progress.reference)
    assert found is not None
    assert (found.state, list(found.number_references)) == ("in-process", ["+13035550000"])
    server.port_status(other, "ported")
    server.list_lag = True
    found = await telnyx.find_port(port, progress.reference)
    assert found is not None
    assert (found.state, dict(found.number_references)) == ("ported", dict.fromkeys(port.numbers, ""))
    server.list_lag = False
    found = await telnyx.find_port(port, progress.reference)
    assert found is not None
    assert all(found.number_references.values())


async def test_ports_that_are_refused_leave_nothing(telnyx: Vendor, server: TelnyxServer) -> None:
    error = await failing(telnyx.port(wish("+13035559999")))
    assert isinstance(error, VendorRefused)
    error = await failing(telnyx.port(wish(letter=None)))
    assert isinstance(error, VendorRefused)
    assert error.message == "telnyx: Requirements are missing: loa. (loa)"
    error = await failing(telnyx.port(wish(letter=Letter("a.exe", "application/pdf", b"MZ"))))
    assert isinstance(error, VendorRefused)
    assert server.ports == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/porting_orders"),
        ("POST", "/v2/documents"),
        ("PATCH", "/v2/porting_orders/.*"),
        ("POST", ".*/actions/confirm"),
        ("GET", "/v2/porting_orders/[^/]+"),
    ],
)
@pytest.mark.parametrize("kind", ["drop_after", "error_after", "error"])
async def test_a_port_is_asked_for_once(
    telnyx: Vendor, server: TelnyxServer, method: str, path: str, kind: Any
) -> None:
    server.fail(method, path, kind, times=3)
    port = wish()
    try:
        progress = await telnyx.port(port)
    except VendorError as error:
        assert error.uncertain
        server.faults.clear()
        found = await telnyx.find_port(port, "")
        # nothing, or a draft: it goes on
        progress = await telnyx.port(port) if found is None or found.state == "draft" else found
    assert progress.state == "submitted"
    assert [order["status"]["value"] for order in server.ports.values()] == ["submitted"]


async def test_cancel(telnyx: Vendor, server: TelnyxServer) -> None:
    port = wish()
    progress = await telnyx.port(port)
    server.fail("POST", ".*/actions/cancel", "drop_after")
    assert (await telnyx.cancel_port(port, progress.reference)).state == "cancelled"
    assert (await telnyx.cancel_port(port, "")).state == "cancelled"
    later = wish("+13035550007")
    progress = await telnyx.port(later)
    server.port_status(progress.reference, "in-process")
    asked = await telnyx.cancel_port(later, progress.reference)
    assert (asked.state, "called off" in asked.reason) == ("in-process", True)
    assert isinstance(await failing(telnyx.cancel_port(wish(), "")), VendorUnknown)
    drafted = wish("+13035550008")
    server.fail("POST", ".*/actions/confirm", "error")
    assert (await failing(telnyx.port(drafted))).uncertain
    assert (await telnyx.cancel_port(drafted, "")).state == "cancelled"
    assert len(server.ports) == 2


# -- the operator --


async def test_check(make: Make, server: TelnyxServer) -> None:
    telnyx = make()
    assert await telnyx.check() == "balance 300.00 USD"
    server.hook_version = "1"
    assert "webhook API version" in (await failing(telnyx.check())).message
    server.profile_enabled = False
    assert "the messaging profile" in (await failing(telnyx.check())).message
    server.hook_version, server.profile_enabled = "2", True
    server.hook_url = "https://elsewhere.example/"
    server.connection["active"] = False
    for options, words in (
        ({"connection_id": ""}, ["RINGLINE_TELNYX_CONNECTION_ID is not set", "webhook URL"]),
        ({"connection_id": "7"}, ["RINGLINE_TELNYX_CONNECTION_ID names no"]),
        ({"public_key": "??"}, ["RINGLINE_TELNYX_PUBLIC_KEY", "switched off"]),
        ({"messaging_profile_id": "7"}, ["RINGLINE_TELNYX_MESSAGING_PROFILE_ID names no"]),
        ({"api_key": "KEYold"}, ["telnyx does not serve this installation"]),
    ):
        vendor = make(**options)
        error = await failing(vendor.check())
        assert isinstance(error, VendorMisconfigured)
        for word in words:
            assert word in error.message
        assert API_KEY not in error.message


# -- answers that nobody documented --

_FIELDS = """id status data phone_number phone_numbers customer_reference value details to from parts errors code
emergency_enabled emergency_address_id features sms region_information region_type region_name name started_at
activation_settings foc_datetime_actual requirements_met active enabled"""
_WORDS = [
    "done",
    "success",
    "draft",
    "ported",
    "active",
    NUMBER,
    "../../balance?x=#",
    "\x00",
    "2026-99-99T00:00:00Z",
]
_ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(_WORDS) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS.split()), inner, max_size=5)
    ),
    max_leaves=20,
)


_BODIES = st.lists(_ANSWERS.map(lambda data: {"data": data}) | _ANSWERS, min_size=1, max_size=8)
_HELD = Held(NUMBER, "", emergency=OFFICE)
_TEXT = Text(uuid4(), NUMBER, NUMBER, "x")
_ASKED: list[Callable[[Telnyx], Awaitable[Any]]] = [
    lambda telnyx: telnyx.search(Search("US", contains="4*5")),
    lambda telnyx: telnyx.find(NUMBER),
    lambda telnyx: telnyx.buy(purchase()),
    lambda telnyx: telnyx.find_order(purchase(), "x/../y"),
    lambda telnyx: telnyx.find_order(purchase(), ""),
    lambda telnyx: telnyx.release(_HELD),
    lambda telnyx: telnyx.configure(_HELD),
    lambda telnyx: telnyx.send(_TEXT),
    lambda telnyx: telnyx.find_text(_TEXT, ".."),
    lambda telnyx: telnyx.port(wish()),
    lambda telnyx: telnyx.find_port(wish(), "a,b?c"),
    lambda telnyx: telnyx.cancel_port(wish(), ",a"),
    lambda telnyx: telnyx.check(),
]


@settings(max_examples=80, deadline=None)
@given(_BODIES, st.sampled_from(_ASKED))
def test_strange_answers_are_errors_of_the_vendor(
    answers: list[Any], ask: Callable[[Telnyx], Awaitable[Any]]
) -> None:
    """Whatever a vendor, or a proxy before it, says: the right types come out, or ``VendorError``."""
    telnyx = Telnyx(api_key=API_KEY, connection_id=CONNECTION, messaging_profile_id=PROFILE, hook_url=HOOK)
    urls = []

    async def answered(_method: str, url: str, **_more: Any) -> Answer:
        urls.append(url)
        return Answer(200, answers[len(urls) % len(answers)])

    telnyx._client.request = answered  # type: ignore[method-assign, assignment]

    async def run() -> None:
        try:
            found = await ask(telnyx)
        except VendorError:
            return
        assert found is None or isinstance(found, list | Offer | Order | Sent | PortProgress | str)

    asyncio.run(run())
    for url in urls:
        assert url.startswith("https://api.telnyx.com/v2/")
        assert not set(url) & set("?#\x00 ")
        assert not {"", ".", ".."} & set(url.split("/")[3:])


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://ringline.example.com/hooks/telnyx", True),
        ("https://8.8.8.8/hooks", True),
        ("http://127.0.0.1:8080/hooks/telnyx", False),
        ("http://192.168.1.4/hooks", False),
        ("http://[::1]/hooks", False),
        ("http://localhost:8080/hooks", False),
        ("http://ringline.test/hooks", False),
        ("", False),
    ],
)
def test_whether_vendors_can_reach_us(url: str, wanted: bool) -> None:
    assert reachable(url) is wanted
