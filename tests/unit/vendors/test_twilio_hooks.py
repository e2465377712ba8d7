"""Twilio's webhooks as the strict server sends them over HTTP, translated by our vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest
from aiohttp import web
from twilio.request_validator import RequestValidator

from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Event, Hook, Media, PortChanged, TextArrived, TextChanged
from ringline.vendors.models import Held
from ringline.vendors.twilio import Twilio
from tests.unit.vendors.twilio_account import HANDSET, NUMBER, account, purchase, text
from tests.vendors.twilio_server import TwilioServer

FORM = "application/x-www-form-urlencoded"


class Receiver:
    """What ``/hooks/twilio`` is to be: reads, verifies, answers."""

    def __init__(self) -> None:
        self.vendor: Twilio | None = None
        self.base = ""
        self.events: list[Event] = []
        self.fails = 0

    async def handle(self, request: web.Request) -> web.Response:
        assert self.vendor is not None
        if self.fails:
            self.fails -= 1
            return web.Response(status=503)
        headers = {name.lower(): value for name, value in request.headers.items()}
        hook = Hook("twilio", request.method, self.base + request.raw_path, headers, await request.read())
        try:
            self.events += self.vendor.read_hook(hook)
        except HookRefused as refused:
            return web.Response(status=403, text=str(refused))
        media_type, body = self.vendor.hook_answer
        return web.Response(content_type=media_type, text=body)


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[TwilioServer, Twilio, Receiver]]:
    receiver, app = Receiver(), web.Application()
    app.router.add_post("/hooks/twilio", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    receiver.base = f"http://{host}:{port}"
    async with account(hook_url=f"{receiver.base}/hooks/twilio") as (server, vendor):
        receiver.vendor = vendor
        yield server, vendor, receiver
    await runner.cleanup()


@pytest.mark.parametrize("body", ["hello", "grüße 👋 + & = %", "", " a\r\nb\u200b", "x" * 1600])
async def test_a_text_comes_in(body: str) -> None:
    async with receiving() as (server, vendor, receiver):
        await vendor.buy(purchase())
        sid, answers = await server.receive(HANDSET, NUMBER, body)
        assert answers == [(200, "text/xml", "<Response/>")]
        assert receiver.events == [TextArrived(f"{sid}:received", sid, HANDSET, NUMBER, body)]


async def test_pictures_come_in() -> None:
    async with receiving() as (server, vendor, receiver):
        await vendor.buy(purchase())
        media = {f"https://api.twilio.com/2010-04-01/{index}": "image/png" for index in range(3)}
        await server.receive(HANDSET, NUMBER, "look", media)
        [event] = receiver.events
        assert isinstance(event, TextArrived)
        assert event.media == tuple(Media(url, kind) for url, kind in media.items())


async def test_a_text_that_we_could_not_take_comes_again() -> None:
    async with receiving() as (server, vendor, receiver):
        await vendor.buy(purchase())
        receiver.fails = 1
        sid, answers = await server.receive(HANDSET, NUMBER, "hello")
        assert [status for status, _, _ in answers] == [503, 200]
        assert receiver.events == [TextArrived(f"{sid}:received", sid, HANDSET, NUMBER, "hello")]


async def test_reports_come_twice_in_any_order_and_before_the_reply() -> None:
    async with receiving() as (server, vendor, receiver):
        await vendor.buy(purchase())
        server.early_callback = server.callbacks_twice = True
        wanted = text()
        sent = await vendor.send(wanted)
        assert sent.state == "sending"
        await server.report(sent.reference, "delivered")
        await server.report(sent.reference, "sent")
        states = []
        for event in receiver.events:
            assert isinstance(event, TextChanged)
            assert (event.text_id, event.sent.reference) == (wanted.id, sent.reference)
            assert (event.destination, event.event_id) == (HANDSET, f"{sent.reference}:{event.event_id[35:]}")
            states.append(event.sent.state)
        assert states == ["sent", "sent", "delivered", "delivered", "sent", "sent"]
        assert len({event.event_id for event in receiver.events}) == 2


@pytest.mark.parametrize(
    ("status", "error", "state", "why"),
    [
        ("undelivered", 30003, "failed", "30003: the handset is switched off or out of reach"),
        ("undelivered", 30007, "failed", "30007: a carrier filtered the text as unwanted"),
        ("failed", 30999, "failed", "30999: no reason given"),
        ("failed", 0, "failed", "no reason given"),
        ("canceled", 0, "failed", "no reason given"),
        ("queued", 0, "sending", ""),
        ("read", 0, "delivered", ""),
    ],
)
async def test_what_became_of_a_text(status: str, error: int, state: str, why: str) -> None:
    async with receiving() as (server, vendor, receiver):
        await vendor.buy(purchase())
        sent = await vendor.send(text())
        await server.report(sent.reference, status, error)
        [event] = receiver.events
        assert isinstance(event, TextChanged)
        assert (event.sent.state, event.sent.reason) == (state, why)


async def test_a_port_goes_on() -> None:
    async with receiving() as (server, _, receiver):
        url = f"{receiver.base}/hooks/twilio"
        request = {"port_in_request_sid": "KW1", "status": "Waiting for Signature"}
        number = {
            "port_in_request_sid": "KW1",
            "phone_number": "+14155550150",
            "port_in_phone_number_sid": "PU1",
        }
        hooks = [
            request,
            {**number, "status": "PortInPhoneNumberPending", "port_date": "2030-01-07T10:00:00Z"},
            {**number, "status": "rejected", "rejection_reason": "wrong PIN"},
            {**number, "status": "completed"},
            {**request, "status": "completed", "last_date_updated": "2030-01-07"},
            {**request, "status": "canceled", "order_cancellation_reason": "no letter"},
            {**request, "status": "SomethingNew"},
            {"status": "completed"},
        ]
        answers = [await server.call_json_hook(url, hook) for hook in hooks]
        assert {status for status, _, _ in answers} == {200}
        told = []
        for event in receiver.events:
            assert isinstance(event, PortChanged)
            assert event.progress.reference == "KW1"
            told.append((event.progress.state, event.progress.reason, event.progress.tm_foc is not None))
        assert told == [
            ("submitted", "", False),
            ("in-process", "", True),
            ("exception", "wrong PIN", False),
            ("in-process", "", False),
            ("ported", "", False),
            ("cancelled", "no letter", False),
        ]
        assert len({event.event_id for event in receiver.events}) == len(told)


async def test_a_stranger_is_refused() -> None:
    async with receiving() as (server, vendor, receiver):
        order = await vendor.buy(purchase())
        server.auth_token = "another"
        _, answers = await server.receive(HANDSET, NUMBER, "hello")
        assert [status for status, _, _ in answers] == [403]
        assert not receiver.events
        assert order.state == "done"


def read(form: dict[str, str], url: str = "https://api.example.com/hooks/twilio") -> list[Event]:
    from urllib.parse import urlencode

    signed = RequestValidator("token").compute_signature(url, form)
    headers = {"content-type": FORM, "x-twilio-signature": signed}
    vendor = Twilio("AC" + "0" * 32, "token", hook_url=url)
    return vendor.read_hook(Hook("twilio", "POST", url, headers, urlencode(form).encode()))


INBOUND = {
    "MessageSid": "SM1",
    "SmsStatus": "received",
    "From": HANDSET,
    "To": NUMBER,
    "Body": "x",
    "NumMedia": "0",
}


@pytest.mark.parametrize(
    "changed",
    [
        {"From": "whatsapp:+14155550199"},
        {"To": "messenger:1"},
        {"MessageSid": ""},
        {"SmsStatus": "sideways"},
        {"SmsStatus": ""},
        {"From": ""},
        {"From": "+1415555\r\nX: y"},
    ],
)
def test_what_is_no_text_of_ours_is_left_out(changed: dict[str, str]) -> None:
    assert read({**INBOUND, **changed}) == []


@pytest.mark.parametrize("count", ["-1", "x", "1e9", "²", "99999999999999999999", "10"])
def test_strange_numbers_of_media(count: str) -> None:
    [event] = read({**INBOUND, "NumMedia": count, "MediaUrl0": "https://a/0"})
    assert isinstance(event, TextArrived)
    assert len(event.media) <= 1


@pytest.mark.parametrize("source", ["12345", "+14155550199", "My Shop", "447400123456"])
def test_senders_of_all_sorts(source: str) -> None:
    [event] = read({**INBOUND, "From": source})
    assert isinstance(event, TextArrived)
    assert event.source == source


@pytest.mark.parametrize("query", ["", "?text_id=", "?text_id=x", "?other=1"])
def test_a_report_without_our_id_has_twilios(query: str) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "sent", "From": NUMBER, "To": HANDSET}
    [event] = read(form, f"https://api.example.com/hooks/twilio{query}")
    assert isinstance(event, TextChanged)
    assert event.text_id is None
    assert event.sent.reference == "SM1"


def test_a_report_has_our_id() -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "sent", "From": NUMBER, "To": HANDSET}
    name = "0b6f6e6e-5cf6-4a3b-8f5e-2f9a8f6b1c11"
    [event] = read(form, f"https://api.example.com/hooks/twilio?text_id={name}")
    assert isinstance(event, TextChanged)
    assert event.text_id == UUID(name)


def test_nothing_comes_of_an_empty_body_with_a_signed_url() -> None:
    url = "https://api.example.com/hooks/twilio"
    signed = RequestValidator("token").compute_signature(url, {})
    vendor = Twilio("AC" + "0" * 32, "token", hook_url=url)
    for headers in ({"content-type": FORM}, {"content-type": "application/json"}, {}):
        assert (
            vendor.read_hook(Hook("twilio", "POST", url, {**headers, "x-twilio-signature": signed}, b""))
            == []
        )


async def test_a_number_without_messaging_is_not_called_back() -> None:
    async with receiving() as (server, vendor, _):
        order = await vendor.buy(purchase())
        await vendor.configure(Held(NUMBER, order.number_reference, messaging=False))
        assert server.numbers[order.number_reference]["sms_url"] == ""
