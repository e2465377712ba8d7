"""What Telnyx's webhooks are translated to, and that nothing in them is believed without its signature."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Event, Hook, Media, OrderChanged, PortChanged, TextArrived, TextChanged
from ringline.vendors.models import Order, PortProgress, Sent
from ringline.vendors.telnyx import Telnyx
from tests.vendors.telnyx_server import API_KEY, TelnyxServer

URL = "https://ringline.example/hooks/telnyx"
SERVER = TelnyxServer()
TELNYX = Telnyx(api_key=API_KEY, public_key=SERVER.public_key)


def signed(body: bytes, url: str = URL) -> Hook:
    headers = {name.lower(): value for name, value in SERVER.signed(body).items()}
    return Hook("telnyx", "POST", url, headers, body)


def read(event_type: str, payload: Any, url: str = URL) -> list[Event]:
    event = {"id": "e-1", "event_type": event_type, "occurred_at": "2026-01-01T00:00:00Z", "payload": payload}
    return TELNYX.read_hook(signed(json.dumps({"data": event, "meta": {"attempt": 1}}).encode(), url))


def order(status: str, **fields: Any) -> dict[str, Any]:
    entry = {"id": str(uuid4()), "phone_number": "+14155550100", "status": status}
    return {"id": "o-1", "status": status, "customer_reference": None, "phone_numbers": [entry], **fields}


def test_orders() -> None:
    purchase = uuid4()
    done = read("number_order.complete", order("success", customer_reference=str(purchase)))
    assert done == [OrderChanged("e-1", purchase, "+14155550100", Order("done", "o-1"))]
    (failed,) = read("number_order.complete", order("failure"))
    assert isinstance(failed, OrderChanged)
    assert (failed.purchase_id, failed.order.state, bool(failed.order.reason)) == (None, "failed", True)
    # as the documentation shows it: without a status of the order
    shown = order("success")
    del shown["status"]
    assert read("number_order.complete", shown) == [
        OrderChanged("e-1", None, "+14155550100", Order("done", "o-1"))
    ]
    two = order("success", customer_reference="PO 4711")
    two["phone_numbers"].append({"phone_number": "+14155550101", "status": "failure"})
    states = [(each.event_id, each.number, each.order.state) for each in read("number_order.complete", two)]  # type: ignore[union-attr]
    assert states == [("e-1", "+14155550100", "done"), ("e-1#1", "+14155550101", "failed")]


def test_texts_that_arrive() -> None:
    payload = {
        "id": "m-1",
        "type": "MMS",
        "from": {"phone_number": "+14155550777"},
        "to": [
            {"phone_number": "+14155550100"},
            {"phone_number": "+14155550101"},
            {"phone_number": "+14155550100"},
        ],
        "text": "a\u200bb 👋",
        "media": [{"url": "https://media.example/1", "content_type": "image/png"}, {"url": None}],
    }
    media = (Media("https://media.example/1", "image/png"),)
    assert read("message.received", payload) == [
        TextArrived("e-1", "m-1", "+14155550777", "+14155550100", "a\u200bb 👋", media),
        TextArrived("e-1#1", "m-1", "+14155550777", "+14155550101", "a\u200bb 👋", media),
    ]
    assert read("message.received", {**payload, "type": "WHATSAPP"}) == []
    plain = {**payload, "type": "SMS", "text": None, "media": [], "to": [{"phone_number": "+14155550100"}]}
    assert read("message.received", plain) == [TextArrived("e-1", "m-1", "+14155550777", "+14155550100", "")]


def test_reports() -> None:
    text = uuid4()

    def report(status: str, **fields: Any) -> dict[str, Any]:
        to = [{"phone_number": "+14155550777", "status": status}]
        return {
            "id": "m-1",
            "to": to,
            "webhook_url": f"{URL}?text={text}",
            "parts": 2,
            "errors": [],
            **fields,
        }

    for status, state in (("sent", "sent"), ("delivered", "delivered"), ("delivery_unconfirmed", "sent")):
        assert read("message.finalized", report(status)) == [
            TextChanged("e-1", text, "+14155550777", Sent(state, "m-1", parts=2))  # type: ignore[arg-type]
        ]
    errors = [{"code": "40001", "title": "Not routable", "detail": "A landline."}]
    (failed,) = read("message.finalized", report("delivery_failed", errors=errors))
    assert isinstance(failed, TextChanged)
    assert failed.sent == Sent("failed", "m-1", reason="40001 A landline.", parts=2)
    # whose text it is says the signed body, not the address that anybody may add something to
    (foreign,) = read("message.sent", report("sent", webhook_url=URL), f"{URL}?text={uuid4()}")
    assert isinstance(foreign, TextChanged)
    assert foreign.text_id is None


def test_ports() -> None:
    port = UUID(int=7)
    details = [{"code": "PASSCODE_PIN_INVALID", "description": "The PIN is wrong"}, {"code": "OTHER"}]
    payload = {
        "id": "p-1",
        "customer_reference": str(port),
        "status": {"value": "exception", "details": details},
    }
    assert read("porting_order.status_changed", payload) == [
        PortChanged("e-1", port, PortProgress("exception", "p-1", reason="The PIN is wrong; OTHER"))
    ]


def test_what_means_nothing_to_us() -> None:
    assert read("call.initiated", {"id": "1"}) == []
    assert read("porting_order.new_comment", {"id": "1"}) == []
    for body in (b"", b"[]", b"null", b"{", b'{"data": []}', b'{"data": {"event_type": {}}}', b"\xff\xfe"):
        assert TELNYX.read_hook(signed(body)) == []


def test_without_an_event_id_the_body_is_one() -> None:
    body = json.dumps({"data": {"event_type": "number_order.complete", "payload": order("success")}}).encode()
    (first,), (again,) = TELNYX.read_hook(signed(body)), TELNYX.read_hook(signed(body))
    assert first.event_id == again.event_id != ""


KINDS = st.sampled_from(
    [
        "number_order.complete",
        "message.received",
        "message.sent",
        "message.finalized",
        "porting_order.status_changed",
    ]
)
_NAMED = """id status customer_reference phone_numbers phone_number to from text media url errors code webhook_url
type value details activation_settings foc_datetime_actual parts requirements_met"""
NAMES = st.sampled_from(_NAMED.split())
WORDS = st.sampled_from(["+14155550100", "ported", "success"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(KINDS, JSON)
def test_signed_nonsense_raises_nothing(kind: str, payload: Any) -> None:
    for event in read(kind, payload):
        assert event.event_id


async def test_a_key_that_is_none_keeps_nobody_from_buying() -> None:
    for key in ("", "abc"):
        await Telnyx(api_key=API_KEY, public_key=key)._reports.prepare()


@pytest.mark.parametrize("key", ["", "abc", "*" * 44, base64.b64encode(b"x" * 31).decode()])
def test_without_a_key_nothing_is_believed(key: str) -> None:
    vendor = Telnyx(api_key=API_KEY, public_key=key)
    with pytest.raises(HookRefused):
        vendor.read_hook(signed(b"{}"))


def test_time_is_told_by_a_clock_that_can_be_set() -> None:
    body = b"{}"
    hook = Hook("telnyx", "POST", URL, {k.lower(): v for k, v in SERVER.signed(body, 1000.0).items()}, body)
    assert Telnyx(api_key=API_KEY, public_key=SERVER.public_key, now=lambda: 1300.0).read_hook(hook) == []
    for now in (1301.0, 699.0):
        with pytest.raises(HookRefused):
            Telnyx(api_key=API_KEY, public_key=SERVER.public_key, now=lambda at=now: at).read_hook(hook)
