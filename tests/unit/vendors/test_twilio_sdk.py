"""Our requests beside those of Twilio's own SDK, both as the same server saw them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client
from twilio.rest.numbers.v1.porting_port_in import PortingPortInList

from ringline.vendors.models import Held, Letter, Port, Search
from ringline.vendors.twilio import Twilio
from ringline.vendors.twilio.holding import _address_name
from ringline.vendors.twilio.texts import callback_url
from tests.unit.vendors.twilio_account import HANDSET, HOME, HOOK_URL, NUMBER, account, purchase, text
from tests.vendors.twilio_server import Recorded, TwilioServer, without_nulls


class Rerouted(TwilioHttpClient):
    """The SDK's own client, with scheme and host replaced and nothing else."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self.base_url = base_url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return super().request(method, self.base_url + parts.path + query, *args, **kwargs)


def facts(request: Recorded) -> dict[str, Any]:
    """What Twilio reads of a request. The order of parameters is none of it, but the order of equal ones is."""
    json_body = request.content_type == "application/json"
    return {
        "method": request.method,
        "path": request.path,
        "query": sorted(request.query),
        # requests without a body have no type to compare
        "type": request.content_type if request.body else "",
        "authorization": request.authorization,
        "body": without_nulls(json.loads(request.body))
        if json_body
        else sorted(request.form, key=lambda pair: pair[0]),
    }


async def both(
    server: TwilioServer, ours: Callable[[], Awaitable[object]], theirs: Callable[[Client], object]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of each."""
    server.requests.clear()
    await ours()
    mine = [facts(request) for request in server.requests]
    server.requests.clear()
    client = Client(server.account_sid, server.auth_token, http_client=Rerouted(server.url))
    await asyncio.to_thread(theirs, client)
    return mine, [facts(request) for request in server.requests]


async def bought(server: TwilioServer, vendor: Twilio) -> str:
    await vendor.buy(purchase())
    return next(sid for sid, row in server.numbers.items() if row["phone_number"] == NUMBER)


async def test_account_and_trunk() -> None:
    async with account() as (server, vendor):

        def sdk(client: Client) -> None:
            client.api.v2010.accounts(server.account_sid).fetch()
            client.trunking.v1.trunks(server.trunk_sid).fetch()
            client.trunking.v1.trunks(server.trunk_sid).origination_urls.page(page_size=50)

        mine, theirs = await both(server, vendor.check, sdk)
        assert mine == theirs


@pytest.mark.parametrize(
    ("wanted", "kind", "how"),
    [
        (Search("US", "local", limit=20), "local", {"page_size": 20}),
        (
            Search(
                "US", "local", region="California", contains="555", features=("voice", "sms", "mms"), limit=5
            ),
            "local",
            {
                "contains": "555",
                "in_region": "CA",
                "voice_enabled": True,
                "sms_enabled": True,
                "mms_enabled": True,
                "page_size": 5,
            },
        ),
        (
            Search("US", "toll_free", features=("voice",), limit=7),
            "toll_free",
            {"voice_enabled": True, "page_size": 7},
        ),
        (Search("GB", "mobile", features=("sms",), limit=9), "mobile", {"sms_enabled": True, "page_size": 9}),
    ],
    ids=["all", "filtered", "toll-free", "mobile"],
)
async def test_search(wanted: Search, kind: str, how: dict[str, Any]) -> None:
    async with account() as (server, vendor):

        def sdk(client: Client) -> None:
            # one page, as we ask for it
            getattr(client.available_phone_numbers(wanted.country), kind).page(**how)

        mine, theirs = await both(server, lambda: vendor.search(wanted), sdk)
        assert mine == theirs


async def test_buy() -> None:
    async with account() as (server, vendor):
        wanted = purchase()

        def sdk(client: Client) -> None:
            server.on_sale += [sale for sale in [sold] if sale not in server.on_sale]
            client.incoming_phone_numbers.create(
                phone_number=NUMBER,
                friendly_name=f"ringline {wanted.id}",
                sms_url=HOOK_URL,
                sms_method="POST",
                sms_fallback_url=HOOK_URL,
                sms_fallback_method="POST",
                trunk_sid=server.trunk_sid,
            )

        sold = server.on_sale[0]
        mine, theirs = await both(server, lambda: vendor.buy(wanted), sdk)
        assert mine == theirs


async def test_find_an_order() -> None:
    async with account() as (server, vendor):
        sid = await bought(server, vendor)

        def sdk(client: Client) -> None:
            client.incoming_phone_numbers.page(phone_number=NUMBER, page_size=20)
            client.incoming_phone_numbers(sid).fetch()

        async def ours() -> None:
            await vendor.find_order(purchase(), "")
            await vendor.find_order(purchase(), sid)

        mine, theirs = await both(server, ours, sdk)
        assert mine == theirs


async def test_configure_with_an_emergency_address_and_release() -> None:
    async with account() as (server, vendor):
        sid = await bought(server, vendor)

        async def ours() -> None:
            await vendor.configure(Held(NUMBER, sid, emergency=HOME))
            server.numbers[sid] |= {"emergency_address_sid": None, "emergency_address_status": "unregistered"}
            await vendor.release(Held(NUMBER, sid))

        def sdk(client: Client) -> None:
            server.numbers[sid] = row
            name = _address_name(HOME)
            client.incoming_phone_numbers(sid).update(
                trunk_sid=server.trunk_sid,
                sms_url=HOOK_URL,
                sms_method="POST",
                sms_fallback_url=HOOK_URL,
                sms_fallback_method="POST",
            )
            client.addresses.page(friendly_name=name, emergency_enabled=True, page_size=1)
            made = client.addresses.create(
                customer_name="Jane Doe",
                street="1 Main St",
                street_secondary="Floor 5",
                city="San Francisco",
                region="CA",
                postal_code="94107",
                iso_country="US",
                friendly_name=name,
                emergency_enabled=True,
            )
            client.incoming_phone_numbers(sid).update(emergency_address_sid=made.sid)
            row["emergency_address_sid"] = None
            client.incoming_phone_numbers(sid).delete()

        row = server.numbers[sid]
        mine, theirs = await both(server, ours, sdk)
        # the address that each made has a name of its own
        for requests in (mine, theirs):
            [name] = [pair for pair in requests[3]["body"] if pair[0] == "EmergencyAddressSid"]
            requests[3]["body"].remove(name)
            assert name[1] in server.addresses
        assert mine == theirs


@pytest.mark.parametrize(
    "media", [(), ("https://example.com/a.png?b=c d", "https://example.com/ü.jpg")], ids=["sms", "mms"]
)
@pytest.mark.parametrize(
    "body", ["hello", "grüße 👋 + & = %\n\u200b", " a  "], ids=["plain", "signs", "spaces"]
)
async def test_send(body: str, media: tuple[str, ...]) -> None:
    async with account() as (server, vendor):
        await bought(server, vendor)
        wanted = text(body, media=media)

        def sdk(client: Client) -> None:
            client.messages.create(
                to=HANDSET,
                from_=NUMBER,
                body=body,
                status_callback=callback_url(HOOK_URL, wanted),
                **({"media_url": list(media)} if media else {}),
            )

        mine, theirs = await both(server, lambda: vendor.send(wanted), sdk)
        assert mine == theirs
        assert [row["body"] for row in server.messages.values()] == [body, body]


async def test_find_a_text() -> None:
    async with account() as (server, vendor):
        await bought(server, vendor)
        sent = await vendor.send(text())

        async def ours() -> None:
            await vendor.find_text(text(), sent.reference)
            await vendor.find_text(text("another"), "")

        def sdk(client: Client) -> None:
            client.messages(sent.reference).fetch()
            client.messages.page(to=HANDSET, from_=NUMBER, page_size=50)

        mine, theirs = await both(server, ours, sdk)
        assert mine == theirs


async def test_papers_of_a_country() -> None:
    async with account() as (server, vendor):
        server.on_sale[0].wants = "bundle"
        server.bundles.append(
            {"sid": "BU" + "1" * 32, "status": "twilio-approved", "iso_country": "US", "number_type": "local"}
        )
        wanted = purchase()

        def sdk(client: Client) -> None:
            client.numbers.v2.regulatory_compliance.bundles.page(
                status="twilio-approved", iso_country="US", number_type="local", page_size=1
            )

        mine, theirs = await both(server, lambda: vendor.buy(wanted), sdk)
        assert [mine[1]] == theirs
        assert ("BundleSid", "BU" + "1" * 32) in mine[2]["body"]


class Body:
    """What the SDK wants where it has no class for a body."""

    def __init__(self, **body: object) -> None:
        self.to_dict = lambda: body


async def test_port() -> None:
    """Uploading the bill is no part of the SDK."""
    bill = Letter("bill.pdf", "application/pdf", b"%PDF-1.4 bill")
    wanted = Port(
        uuid4(), ("+14155550150", "+14155550151"), "Old Carrier", "A-1", HOME, "Jane Doe",
        pin="1234", wanted=date(2030, 1, 7), email="jane@example.com", bill=bill,
    )  # fmt: skip
    async with account() as (server, vendor):
        progress = await vendor.port(wanted)
        assert progress.state == "submitted"
        [document] = server.documents
        assert server.documents[document] == bill.content
        mine = [facts(request) for request in server.requests if "/Documents" not in request.path]
        server.ports.clear()

        def sdk(client: Client) -> None:
            porting = client.numbers.v1
            for number in wanted.numbers:
                porting.porting_portabilities(number).fetch(target_account_sid=server.account_sid)
            porting.porting_webhook_configurations.create(
                Body(port_in_target_url=HOOK_URL, notifications_of=[])
            )
            porting.porting_port_ins.create(
                PortingPortInList.NumbersV1PortingPortInCreate(
                    {
                        "account_sid": server.account_sid,
                        "documents": [document],
                        "phone_numbers": [
                            {"phone_number": number, "pin": "1234"} for number in wanted.numbers
                        ],
                        "target_port_in_date": "2030-01-07",
                        "losing_carrier_information": {
                            "customer_type": "Individual",
                            "customer_name": "Jane Doe",
                            "account_number": "A-1",
                            "authorized_representative": "Jane Doe",
                            "authorized_representative_email": "jane@example.com",
                            "address": {
                                "street": "1 Main St",
                                "street_2": "Floor 5",
                                "city": "San Francisco",
                                "state": "CA",
                                "zip": "94107",
                                "country": "US",
                            },
                        },
                    }
                )
            )

        server.requests.clear()
        client = Client(server.account_sid, server.auth_token, http_client=Rerouted(server.url))
        await asyncio.to_thread(sdk, client)
        theirs = [facts(request) for request in server.requests]
        assert mine[-1] == theirs[-1]
        # the questions before are asked side by side
        assert sorted(mine[:-1], key=str) == sorted(theirs[:-1], key=str)


async def test_find_and_cancel_a_port() -> None:
    bill = Letter("bill.pdf", "application/pdf", b"%PDF-1.4 bill")
    wanted = Port(uuid4(), ("+14155550150",), "", "", HOME, "Jane Doe", email="jane@example.com", bill=bill)
    async with account() as (server, vendor):
        reference = (await vendor.port(wanted)).reference

        def sdk(client: Client) -> None:
            client.numbers.v1.porting_port_ins(reference).fetch()
            client.numbers.v1.porting_port_ins(reference).delete()
            client.numbers.v1.porting_port_ins(reference).fetch()

        async def ours() -> None:
            await vendor.find_port(wanted, reference)
            await vendor.cancel_port(wanted, reference)

        mine, theirs = await both(server, ours, sdk)
        assert mine == theirs
