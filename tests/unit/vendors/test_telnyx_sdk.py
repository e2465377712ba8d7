"""Our requests beside those of Telnyx's own SDK, and our webhooks beside its verifiers.

Two strict servers in the same state: one is asked by us, the other by the SDK, which was made from Telnyx's OpenAPI
description. What arrives must be the same, request by request: method, path, query, body, credentials, media type.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from telnyx import AsyncTelnyx
from telnyx import Telnyx as SyncTelnyx
from telnyx.lib.webhook_verification import WebhookVerificationError, verify_webhook_signature

from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Hook
from ringline.vendors.models import Address, Held, Letter, Port, Purchase, Search, Text
from ringline.vendors.telnyx import Telnyx
from tests.vendors.telnyx_server import API_KEY, CONNECTION, PROFILE, Seen, TelnyxServer, telnyx_server

HOOK = "https://ringline.example/hooks/telnyx"
NUMBER = "+14155550100"
ID = UUID("5f0f9f6a-8d0f-4b3e-9d57-0d6d7c1d2b11")
ADDRESS = Address("Example Inc", "1 Market St", "San Francisco", "CA", "94105", "US", "Floor 3")

# Ours differ from the SDK's on purpose in:
# - headers that are about the program and not about the request (User-Agent, X-Stainless-*, Accept-Encoding);
# - "Connection: close" on what spends money, see ringline.vendors.client;
# - "Accept: */*" of the SDK where it expects no body, while an error has one;
# - "Content-Type: application/json" of requests without a body, which the SDK sends and we do not;
# - the order of query parameters and of keys, and how the same characters are percent-encoded.


@dataclass
class Pair:
    """The two servers and who asks them."""

    server: TelnyxServer
    ours: Telnyx
    sdk_server: TelnyxServer
    sdk: AsyncTelnyx

    async def compare(self, ours: Awaitable[Any], sdk: Callable[[], Awaitable[Any]]) -> Any:
        """Do the same in both ways; what we answered, after all requests were found to be the same."""
        begun, sdk_begun = len(self.server.seen), len(self.sdk_server.seen)
        answered = await ours
        await sdk()
        mine = [plain(seen) for seen in self.server.seen[begun:]]
        theirs = [plain(seen) for seen in self.sdk_server.seen[sdk_begun:]]
        assert mine
        assert mine == theirs
        return answered


def plain(seen: Seen) -> dict[str, Any]:
    """A request without what differs from server to server (ids) and what is no part of it."""
    return {
        "request": f"{seen.method} {blank(seen.path)}",
        "query": sorted((name, blank(value)) for name, value in seen.query),
        "body": json.loads(blank(json.dumps(seen.body))),
        "authorization": seen.headers["Authorization"],
        "accept": seen.headers["Accept"].replace("*/*", "application/json"),
        "content-type": seen.headers.get("Content-Type") if seen.body is not None else None,
        "idempotency-key": seen.headers.get("Idempotency-Key"),
    }


def blank(text: str) -> str:
    """Ids that the servers made."""
    uuid = r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    text = re.sub(uuid, lambda found: found[0] if UUID(found[0]) == ID else "<uuid>", text)
    return re.sub(r"(?<!\+)\b\d{18,}\b", "<id>", text)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        server, other = [await stack.enter_async_context(telnyx_server()) for _ in range(2)]
        ours = Telnyx(
            api_key=API_KEY,
            public_key=server.public_key,
            connection_id=CONNECTION,
            messaging_profile_id=PROFILE,
            hook_url=HOOK,
            base_url=server.url,
        )
        stack.push_async_callback(ours.close)
        sdk = AsyncTelnyx(api_key=API_KEY, base_url=f"{other.url}/v2", max_retries=0)
        await stack.enter_async_context(sdk)
        yield Pair(server, ours, other, sdk)


async def search_exactly(sdk: AsyncTelnyx) -> None:
    await sdk.available_phone_numbers.list(
        filter={
            "country_code": "US",
            "phone_number": {"contains": "4155550100"},
            "best_effort": False,
            "limit": 20,
        }
    )


async def buy(pair: Pair) -> tuple[str, str]:
    """The number's id at both servers."""

    async def by_sdk() -> None:
        await search_exactly(pair.sdk)
        await pair.sdk.number_orders.create(
            phone_numbers=[{"phone_number": NUMBER}],
            connection_id=CONNECTION,
            messaging_profile_id=PROFILE,
            customer_reference=str(ID),
        )
        await pair.sdk.phone_numbers.list(filter={"phone_number": NUMBER}, page_size=20)

    order = await pair.compare(pair.ours.buy(Purchase(ID, NUMBER)), by_sdk)
    return order.number_reference, next(iter(pair.sdk_server.numbers))


async def test_search(pair: Pair) -> None:
    wanted = Search("US", "local", "California", "555", ("sms", "voice"), 30)

    async def by_sdk() -> None:
        await pair.sdk.available_phone_numbers.list(
            filter={
                "country_code": "US",
                "phone_number_type": "local",
                "features": ["sms", "voice"],
                "administrative_area": "CA",
                "phone_number": {"contains": "555"},
                "best_effort": False,
                "limit": 30,
            }
        )

    assert len(await pair.compare(pair.ours.search(wanted), by_sdk)) == 3

    async def in_berlin() -> None:
        await pair.sdk.available_phone_numbers.list(
            filter={"country_code": "DE", "locality": "Berlin", "limit": 100}
        )

    assert len(await pair.compare(pair.ours.search(Search("DE", region="Berlin")), in_berlin)) == 1
    assert await pair.compare(pair.ours.find(NUMBER), lambda: search_exactly(pair.sdk))


async def test_orders(pair: Pair) -> None:
    reference, _ = await buy(pair)
    assert reference
    (order,) = pair.server.orders
    (sdk_order,) = pair.sdk_server.orders

    async def by_id() -> None:
        await pair.sdk.number_orders.retrieve(sdk_order)
        await pair.sdk.phone_numbers.list(filter={"phone_number": NUMBER}, page_size=20)

    await pair.compare(pair.ours.find_order(Purchase(ID, NUMBER), order), by_id)

    async def by_reference() -> None:
        await pair.sdk.number_orders.list(filter={"customer_reference": str(ID)}, page_size=20)
        await pair.sdk.phone_numbers.list(filter={"phone_number": NUMBER}, page_size=20)

    await pair.compare(pair.ours.find_order(Purchase(ID, NUMBER), ""), by_reference)


async def test_numbers(pair: Pair) -> None:
    reference, sdk_reference = await buy(pair)
    held = Held(NUMBER, reference, t38=True, emergency=ADDRESS)

    async def configure() -> None:
        numbers = pair.sdk.phone_numbers
        await numbers.update(sdk_reference, connection_id=CONNECTION)
        await numbers.voice.update(sdk_reference, media_features={"t38_fax_gateway_enabled": True})
        await numbers.messaging.retrieve(sdk_reference)
        await numbers.messaging.update(sdk_reference, messaging_profile_id=PROFILE)
        (made,) = pair.server.addresses.values()
        await pair.sdk.addresses.list(
            filter={"customer_reference": {"eq": made["customer_reference"]}}, page_size=20
        )
        address = await pair.sdk.addresses.create(
            business_name="Example Inc",
            first_name="Example",
            last_name="Inc",
            street_address="1 Market St",
            extended_address="Floor 3",
            locality="San Francisco",
            administrative_area="CA",
            postal_code="94105",
            country_code="US",
            customer_reference=made["customer_reference"],
            address_book=False,
            validate_address=True,
        )
        assert address.data is not None
        assert address.data.id is not None
        await numbers.actions.enable_emergency(
            sdk_reference, emergency_enabled=True, emergency_address_id=address.data.id
        )

    await pair.compare(pair.ours.configure(held), configure)
    await pair.compare(pair.ours.release(held), lambda: pair.sdk.phone_numbers.delete(sdk_reference))


async def test_texts(pair: Pair) -> None:
    await buy(pair)
    text = Text(ID, NUMBER, "+14155550777", "Grüße 👋", ("https://example.com/a.png",))

    async def send() -> None:
        await pair.sdk.messages.send(
            from_=NUMBER,
            to="+14155550777",
            text="Grüße 👋",
            media_urls=["https://example.com/a.png"],
            type="MMS",
            webhook_url=f"{HOOK}?text={ID}",
            idempotency_key=str(ID),
        )

    sent = await pair.compare(pair.ours.send(text), send)
    (sdk_message,) = pair.sdk_server.messages
    await pair.compare(
        pair.ours.find_text(text, sent.reference), lambda: pair.sdk.messages.retrieve(sdk_message)
    )


async def test_ports(pair: Pair) -> None:
    letter = Letter("letter.pdf", "application/pdf", b"%PDF-1.7 letter")
    port = Port(
        ID,
        ("+13035550000",),
        "Other",
        "ACC-77",
        ADDRESS,
        "Jo Porter",
        pin="4321",
        letter=letter,
        wanted=date(2026, 12, 3),
    )
    orders = pair.sdk.porting_orders

    async def ask() -> None:
        await orders.list(filter={"customer_reference": str(ID)}, include_phone_numbers=True, page_size=50)
        made = await orders.create(phone_numbers=["+13035550000"], customer_reference=str(ID))
        assert made.data
        order_id = made.data[0].id or ""
        document = await pair.sdk.documents.upload_json(
            document={
                "file": base64.b64encode(letter.content).decode(),
                "filename": "letter.pdf",
                "customer_reference": str(ID),
            }
        )
        assert document.data is not None
        await orders.retrieve_allowed_foc_windows(order_id)
        await orders.update(
            order_id,
            end_user={
                "admin": {
                    "entity_name": "Example Inc",
                    "auth_person_name": "Jo Porter",
                    "account_number": "ACC-77",
                    "billing_phone_number": "+13035550000",
                    "pin_passcode": "4321",
                },
                "location": {
                    "street_address": "1 Market St",
                    "extended_address": "Floor 3",
                    "locality": "San Francisco",
                    "administrative_area": "CA",
                    "postal_code": "94105",
                    "country_code": "US",
                },
            },
            documents={"loa": document.data.id},
            misc={"type": "full"},
            phone_number_configuration={"connection_id": CONNECTION, "messaging_profile_id": PROFILE},
            messaging={"enable_messaging": True},
            webhook_url=HOOK,
            activation_settings={"foc_datetime_requested": "2026-12-03T15:00:00Z"},
        )
        await orders.actions.confirm(order_id)
        await orders.retrieve(order_id, include_phone_numbers=True)

    progress = await pair.compare(pair.ours.port(port), ask)
    assert progress.state == "submitted"
    (sdk_order,) = pair.sdk_server.ports

    async def cancel() -> None:
        await orders.retrieve(sdk_order, include_phone_numbers=True)
        await orders.actions.cancel(sdk_order)
        await orders.retrieve(sdk_order, include_phone_numbers=True)

    cancelled = await pair.compare(pair.ours.cancel_port(port, progress.reference), cancel)
    assert cancelled.state == "cancelled"


async def test_drafts_of_ports(pair: Pair) -> None:
    """What ``test_ports`` does not reach: a draft that is deleted."""
    port = Port(ID, ("+13035550000",), "Other", "ACC-77", ADDRESS, "Jo Porter")
    pair.server.fail("PATCH", ".*", "drop", times=9)
    with pytest.raises(Exception, match="telnyx broke off"):
        await pair.ours.port(port)
    made = await pair.sdk.porting_orders.create(phone_numbers=["+13035550000"], customer_reference=str(ID))
    assert made.data
    draft = made.data[0].id or ""
    (our_draft,) = pair.server.ports
    orders = pair.sdk.porting_orders

    async def delete() -> None:
        await orders.retrieve(draft, include_phone_numbers=True)
        await orders.delete(draft)

    await pair.compare(pair.ours.cancel_port(port, our_draft), delete)


async def test_the_check(pair: Pair) -> None:
    async def check() -> None:
        await pair.sdk.balance.retrieve()
        await pair.sdk.connections.retrieve(CONNECTION)
        await pair.sdk.messaging_profiles.retrieve(PROFILE)

    assert await pair.compare(pair.ours.check(), check) == "balance 300.00 USD"


# -- webhooks --


def hook(body: bytes, headers: dict[str, str]) -> Hook:
    return Hook("telnyx", "POST", HOOK, {name.lower(): value for name, value in headers.items()}, body)


def sdk_says(server: TelnyxServer, body: bytes, headers: dict[str, str]) -> bool:
    """Both of the SDK's verifiers, which must agree."""
    found = []
    for verify in (
        lambda: verify_webhook_signature(body, headers, server.public_key),
        lambda: SyncTelnyx(api_key=API_KEY, public_key=server.public_key).webhooks.unwrap(
            body.decode(), headers=headers
        ),
    ):
        try:
            verify()
            found.append(True)
        except (WebhookVerificationError, ValueError):
            found.append(False)
    assert len(set(found)) == 1
    return found[0]


def we_say(server: TelnyxServer, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Telnyx(api_key=API_KEY, public_key=server.public_key).read_hook(hook(body, headers))
    except HookRefused:
        return False
    return True


def _swapped(headers: dict[str, str], **changed: str | None) -> dict[str, str]:
    names = {"signature": "Telnyx-Signature-Ed25519", "timestamp": "Telnyx-Timestamp"}
    result = dict(headers)
    for short, value in changed.items():
        result.pop(names[short])
        if value is not None:
            result[names[short]] = value
    return result


async def test_verifiers_agree() -> None:
    server = TelnyxServer()
    body = json.dumps(
        {"data": {"id": "1", "event_type": "number_order.complete", "payload": {"ü": "👋"}}}
    ).encode()
    good = server.signed(body)
    other = TelnyxServer().signed(body)["Telnyx-Signature-Ed25519"]
    signature = good["Telnyx-Signature-Ed25519"]
    moment = time.time()
    cases: list[tuple[str, bytes, dict[str, str], bool]] = [
        ("good", body, good, True),
        ("header names in lower case", body, {name.lower(): value for name, value in good.items()}, True),
        ("another body", body + b" ", good, False),
        ("another account", body, _swapped(good, signature=other), False),
        ("no signature", body, _swapped(good, signature=None), False),
        ("an empty signature", body, _swapped(good, signature=""), False),
        ("no time", body, _swapped(good, timestamp=None), False),
        ("another time", body, _swapped(good, timestamp=str(int(good["Telnyx-Timestamp"]) + 1)), False),
        ("a time that is none", body, _swapped(good, timestamp="yesterday"), False),
        ("a long time", body, _swapped(good, timestamp="9" * 40), False),
        ("short", body, _swapped(good, signature=signature[:-4]), False),
        ("no base64", body, _swapped(good, signature="*" * 88), False),
        ("an hour ago", body, server.signed(body, moment - 3600), False),
        ("in an hour", body, server.signed(body, moment + 3600), False),
        ("just in time", body, server.signed(body, moment - 295), True),
        ("a clock that is a little fast", body, server.signed(body, moment + 295), True),
        ("just too late", body, server.signed(body, moment - 303), False),
    ]
    for name, sent, headers, wanted in cases:
        assert we_say(server, sent, headers) is wanted, name
        assert sdk_says(server, sent, headers) is wanted, name


async def test_the_sdk_reads_the_servers_events_as_we_do(pair: Pair) -> None:
    """The strict server's webhooks are what the SDK's models expect, so that we are not judged by our own idea."""
    await buy(pair)
    sent = await pair.ours.send(Text(ID, NUMBER, "+14155550777", "hello"))
    pair.server.text_status(sent.reference, "sent")
    pair.server.text_status(sent.reference, "delivered")
    pair.server.text_in("+14155550777", NUMBER, "HOURS", (("https://media.example/1.png", "image/png"),))
    kinds = []
    client = SyncTelnyx(api_key=API_KEY, public_key=pair.server.public_key)
    for told in pair.server.hooks:
        body = json.dumps(told["body"]).encode()
        headers = pair.server.signed(body)
        event: Any = client.webhooks.unwrap(body.decode(), headers=headers)
        kinds.append(event.data.event_type)
        (ours,) = pair.ours.read_hook(hook(body, headers))
        assert ours.event_id == event.data.id
        # compared with the SDK's own model of this kind of event
        assert type(event).model_validate(told["body"]).data.payload.id == event.data.payload.id
    assert kinds == ["number_order.complete", "message.sent", "message.finalized", "message.received"]
