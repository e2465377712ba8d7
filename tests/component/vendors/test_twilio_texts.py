"""Texts through a strict local Twilio, with the room of messages on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from tests.component.messages.conftest import World
from tests.vendors.twilio_server import Fault, Sale, TwilioServer

from ringline.errors import FailedPrecondition, Unavailable
from ringline.messages.media import MediumNotFound
from ringline.messages.sending import Patience
from ringline.messages.service import MessageNotFound
from ringline.storage import Database
from ringline.vendors.events import Hook, TextArrived, TextChanged
from ringline.vendors.models import Purchase
from ringline.vendors.twilio import Twilio

HANDSET = "+14155550199"
HOOK_URL = "https://api.example.com/hooks/twilio"
PATIENCE = Patience()


class Texting(World):
    """A customer with a number of Twilio's, and what Twilio reports."""

    def __init__(self, database: Database, server: TwilioServer) -> None:
        super().__init__(database)
        self.server = server
        self.vendor = Twilio(
            server.account_sid,
            server.auth_token,
            trunk_sid=server.trunk_sid,
            hook_url=HOOK_URL,
            base_url=server.url,
        )
        self.carrier = self.vendor  # type: ignore[assignment]  # the room's only vendor
        self.another()

    async def begin(self) -> None:
        await self.read()
        self.owner = await self.customer()
        self.source = await self.number(self.owner, provider_name="twilio")
        self.server.on_sale.append(Sale(self.source))
        await self.vendor.buy(Purchase(self.owner, self.source))
        # reports are brought to the room by hand, in the order that a test wants
        self.server.call_hook = self._note  # type: ignore[method-assign]
        self.hooks: list[Hook] = []

    async def _note(self, url: str, form: list[tuple[str, str]]) -> list[tuple[int, str, str]]:
        from urllib.parse import urlencode

        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-twilio-signature": self.server.signature(url, form),
        }
        self.hooks.append(Hook("twilio", "POST", url, headers, urlencode(form).encode()))
        return [(200, "text/xml", "<Response/>")]

    async def bring(self, hook: Hook) -> None:
        for event in self.vendor.read_hook(hook):
            if isinstance(event, TextArrived):
                await self.room.reports.arrived("twilio", event)
            elif isinstance(event, TextChanged):
                await self.room.reports.changed("twilio", event)

    async def send(self, body: str = "hello") -> UUID:
        message = await self.text(self.owner, self.source, HANDSET, text=body)
        await self.turn()
        return message.id

    async def target(self, message_id: UUID) -> Any:
        return (await self.one(self.owner, message_id)).targets[0]

    def of(self, body: str) -> dict[str, Any]:
        """Twilio's only row of a text."""
        [row] = [row for row in self.server.messages.values() if row["body"] == body]
        return row


@pytest.fixture
async def texting(database: Database) -> AsyncIterator[Texting]:
    server = TwilioServer()
    await server.start()
    made = Texting(database, server)
    await made.begin()
    yield made
    await made.vendor.close()
    await server.close()


async def test_reports_out_of_order_and_twice(texting: Texting) -> None:
    message = await texting.send()
    sid = texting.of("hello")["sid"]
    for status in ("queued", "sent", "delivered"):
        await texting.server.report(sid, status)
    queued, sent, delivered = texting.hooks
    seen = []
    for hook in (sent, delivered, queued, sent, delivered):
        await texting.bring(hook)
        seen.append((await texting.target(message)).status)
    assert seen == ["sent", "delivered", "delivered", "delivered", "delivered"]


async def test_why_a_text_was_not_delivered(texting: Texting) -> None:
    message = await texting.send()
    await texting.server.report(texting.of("hello")["sid"], "undelivered", 30005)
    await texting.bring(texting.hooks[0])
    target = await texting.target(message)
    assert (target.status, target.reason) == ("failed", "undelivered")
    assert target.detail == "30005: the destination is unknown or no longer in service"


async def test_a_lost_answer_is_made_good_by_the_report(texting: Texting) -> None:
    texting.server.faults = [Fault("cut", "POST", "Messages")]
    message = await texting.send()
    assert (await texting.target(message)).status == "sending"
    await texting.server.report(texting.of("hello")["sid"], "delivered")
    await texting.bring(texting.hooks[0])
    await texting.turn(PATIENCE.answer + PATIENCE.look + 1)
    assert (await texting.target(message)).status == "delivered"
    assert len(texting.server.messages) == 1


@pytest.mark.parametrize("kind", ["500", "cut"])
async def test_a_lost_answer_without_any_report_is_looked_for(texting: Texting, kind: str) -> None:
    texting.server.faults = [Fault(kind, "POST", "Messages")]
    message = await texting.send()
    texting.of("hello")["status"] = "sent"
    for _ in range(3):
        await texting.turn(PATIENCE.answer + PATIENCE.look + 1)
    assert (await texting.target(message)).status == "sent"
    assert len(texting.server.messages) == 1


@pytest.mark.parametrize("kind", ["503", "drop"])
async def test_what_twilio_never_had_is_sent_again(texting: Texting, kind: str) -> None:
    texting.server.faults = [Fault(kind, "POST", "Messages")]
    message = await texting.send()
    assert not texting.server.messages
    for _ in range(3):
        await texting.turn(PATIENCE.answer + PATIENCE.look + 1)
    assert (await texting.target(message)).status == "sending"
    assert len(texting.server.messages) == 1


async def test_refusals_say_why(texting: Texting) -> None:
    texting.server.opted_out.add(HANDSET)
    target = await texting.target(await texting.send())
    assert (target.status, target.reason) == ("failed", "opted_out")
    assert "opted out" in target.detail


async def test_a_text_comes_in_once(texting: Texting) -> None:
    media = {"https://api.twilio.com/2010-04-01/x": "image/png"}
    sid, _ = await texting.server.receive(HANDSET, texting.source, "héllo 👋", media)
    for _ in range(3):
        await texting.bring(texting.hooks[0])
    [row] = await texting.all(texting.owner, direction="inbound")
    assert (row.text, row.type, row.source_number) == ("héllo 👋", "mms", HANDSET)
    assert row.media == [{"url": "https://api.twilio.com/2010-04-01/x", "content_type": "image/png"}]
    assert sid.startswith("MM")


async def test_a_picture_that_came_in_is_fetched_for_its_owner_only(texting: Texting) -> None:
    root = f"https://api.twilio.com/2010-04-01/Accounts/{texting.server.account_sid}/Messages/MM1/Media"
    places = [f"{root}/ME0", f"{root}/ME1", f"{root}/ME2", "https://elsewhere.example/ME3"]
    texting.server.media = {
        "ME0": ("image/png", b"\x89PNG"),
        "ME1": ("text/html", b"<script>alert(1)</script>"),
        "ME3": ("image/png", b"x"),
    }
    await texting.server.receive(HANDSET, texting.source, "look", dict.fromkeys(places, "image/png"))
    await texting.bring(texting.hooks[0])
    [row] = await texting.all(texting.owner, direction="inbound")
    media = texting.room.media

    picture = await media.fetch(texting.owner, row.id, "0")
    assert (picture.content, picture.content_type, picture.name) == (
        b"\x89PNG",
        "image/png",
        f"{row.id}-0.png",
    )
    page = await media.fetch(texting.owner, row.id, "1")
    # a name makes a browser save it, whatever it is
    assert (page.content_type, page.name) == ("text/html", f"{row.id}-1")
    for index in ("2", "4", "-1", "x", "", "\u00b2", "0/../1"):
        with pytest.raises(MediumNotFound):
            await media.fetch(texting.owner, row.id, index)
    with pytest.raises(FailedPrecondition, match="not twilio's"):
        await media.fetch(texting.owner, row.id, "3")
    with pytest.raises(MessageNotFound):
        await media.fetch(await texting.customer(), row.id, "0")
    texting.server.auth_token = "another"
    with pytest.raises(Unavailable):
        await media.fetch(texting.owner, row.id, "0")


async def test_what_was_sent_is_where_the_customer_has_it(texting: Texting) -> None:
    message = await texting.text(
        texting.owner, texting.source, HANDSET, media=["https://93.184.216.34/map.png"], type="mms"
    )
    with pytest.raises(FailedPrecondition, match="at its `url` only"):
        await texting.room.media.fetch(texting.owner, message.id, "0")
