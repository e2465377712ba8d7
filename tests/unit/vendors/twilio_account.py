"""What the tests of Twilio share: a local Twilio with numbers on sale, and our vendor on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

from ringline.vendors.models import Address, Purchase, Text
from ringline.vendors.twilio import Twilio
from tests.vendors.twilio_server import Sale, TwilioServer

HOOK_URL = "https://api.example.com/hooks/twilio"
NUMBER = "+14155550100"
HANDSET = "+14155550199"
HOME = Address("Jane Doe", "1 Main St", "San Francisco", "CA", "94107", "US", extended="Floor 5")
OFFICE = Address("Jane Doe", "2 Side St", "San Francisco", "CA", "94107", "US")


@asynccontextmanager
async def account(
    *, hook_url: str = HOOK_URL, total_seconds: float = 10
) -> AsyncIterator[tuple[TwilioServer, Twilio]]:
    """A server with a few numbers, and a vendor that has its account."""
    server = TwilioServer()
    server.on_sale = [
        Sale(NUMBER),
        Sale("+14155550123"),
        Sale("+12125550123", region="NY", locality="New York"),
        Sale("+18005550123", kind="TollFree", region="", locality=""),
        Sale(
            "+447400123456", country="GB", kind="Mobile", region="", locality="", capabilities={"SMS": True}
        ),
        Sale("+442079460123", country="GB", region="", locality="London", capabilities={"voice": True}),
    ]
    await server.start()
    vendor = Twilio(
        server.account_sid,
        server.auth_token,
        trunk_sid=server.trunk_sid,
        hook_url=hook_url,
        base_url=server.url,
        total_seconds=total_seconds,
    )
    try:
        yield server, vendor
    finally:
        await vendor.close()
        await server.close()


def purchase(number: str = NUMBER, id_: UUID | None = None) -> Purchase:
    return Purchase(id_ or uuid4(), number)


def text(body: str = "hello", *, media: tuple[str, ...] = (), to: str = HANDSET) -> Text:
    return Text(uuid4(), NUMBER, to, body, media)
