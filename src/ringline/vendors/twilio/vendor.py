"""Twilio as a vendor."""

from __future__ import annotations

import re
from typing import ClassVar, Final

from ringline.vendors.base import Vendor
from ringline.vendors.client import TOTAL_SECONDS
from ringline.vendors.errors import VendorMisconfigured
from ringline.vendors.events import Event, Hook
from ringline.vendors.models import (
    Capability,
    Held,
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
from ringline.vendors.twilio import hooks, inventory, media, porting, texts
from ringline.vendors.twilio.client import TRUNKING, TwilioClient
from ringline.vendors.twilio.holding import Holding

_ACCOUNT: Final = re.compile(r"AC[0-9a-fA-F]{32}")
_TRUNK: Final = re.compile(r"TK[0-9a-fA-F]{32}")


class Twilio(Vendor):
    """One account of Twilio's.

    ``trunk_sid``: the Elastic SIP Trunk that leads to our edge; without it numbers carry texts only. ``hook_url``:
    our webhook as Twilio reaches it. ``base_url`` replaces scheme and host of all of Twilio's.
    """

    name: ClassVar[str] = "twilio"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    # a text in the answer would be sent to whoever texted us
    hook_answer: ClassVar[tuple[str, str]] = ("text/xml", "<Response/>")

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        trunk_sid: str = "",
        hook_url: str,
        base_url: str = "",
        total_seconds: float = TOTAL_SECONDS,
    ) -> None:
        self._token = auth_token
        self._trunk_sid = trunk_sid
        self._hook_url = hook_url
        self._vendors_own = not base_url
        self._client = TwilioClient(account_sid, auth_token, base_url=base_url, total_seconds=total_seconds)
        self._holding = Holding(self._client, trunk_sid, hook_url)

    async def close(self) -> None:
        """Close the session."""
        await self._client.close()

    async def check(self) -> str:
        """Account and trunk as Twilio has them; and whether it can reach our webhook at all."""
        if _ACCOUNT.fullmatch(self._client.account_sid) is None:
            raise VendorMisconfigured(
                "RINGLINE_TWILIO_ACCOUNT_SID is no account SID (AC and 32 hexadecimal digits)"
            )
        account = await self._client.get(self._client.of_account())
        if account.get("status") != "active":
            raise VendorMisconfigured(f"the account is {account.get('status')}, not active")
        found = f"account {account.get('friendly_name')!r} is active"
        if account.get("type") == "Trial":
            found += ", on trial (texts to verified numbers only)"
        if not self._trunk_sid:
            found += ", no trunk: numbers carry texts only"
        else:
            if _TRUNK.fullmatch(self._trunk_sid) is None:
                raise VendorMisconfigured(
                    "RINGLINE_TWILIO_TRUNK_SID is no trunk SID (TK and 32 hexadecimal digits)"
                )
            trunk = await self._client.get(f"{TRUNKING}/v1/Trunks/{self._trunk_sid}")
            found += f", trunk {trunk.get('friendly_name')!r} leads to {await self._origination()}"
        if self._vendors_own and not reachable(self._hook_url):
            raise VendorMisconfigured(f"twilio cannot reach {self._hook_url}: set RINGLINE_PUBLIC_URL")
        return found

    async def _origination(self) -> str:
        """Where the trunk takes calls."""
        body = await self._client.get(
            f"{TRUNKING}/v1/Trunks/{self._trunk_sid}/OriginationUrls", {"PageSize": 50}
        )
        rows = body.get("origination_urls")
        places = [
            str(row.get("sip_url")) for row in (rows if isinstance(rows, list) else ()) if row.get("enabled")
        ]
        if not places:
            raise VendorMisconfigured(
                "the trunk has no origination URI: calls to its numbers would not get here"
            )
        return ", ".join(places)

    async def search(self, wanted: Search) -> list[Offer]:
        """AvailablePhoneNumbers."""
        return await inventory.search(self._client, wanted)

    async def find(self, number: str) -> Offer | None:
        """AvailablePhoneNumbers, by its digits."""
        return await inventory.find(self._client, number)

    async def buy(self, purchase: Purchase) -> Order:
        """IncomingPhoneNumbers: sold at once, pointed at our edge and our webhook from the start."""
        return await self._holding.buy(purchase)

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        """The number as the account has it."""
        return await self._holding.find_order(purchase, reference)

    async def release(self, held: Held) -> None:
        """Give it back."""
        await self._holding.release(held)

    async def configure(self, held: Held) -> None:
        """Trunk, webhook, emergency address."""
        await self._holding.configure(held)

    async def send(self, text: Text) -> Sent:
        """Messages."""
        return await texts.send(self._client, self._hook_url, text)

    async def find_text(self, text: Text, reference: str) -> Sent | None:
        """Messages; see ``texts.find`` for what it cannot tell."""
        return await texts.find(self._client, text, reference)

    async def port(self, port: Port) -> PortProgress:
        """Porting API."""
        return await porting.port(self._client, self._hook_url, port)

    async def find_port(self, port: Port, reference: str) -> PortProgress | None:
        """Porting API."""
        return await porting.find(self._client, port, reference)

    async def cancel_port(self, port: Port, reference: str) -> PortProgress:
        """Porting API."""
        return await porting.cancel(self._client, port, reference)

    def read_hook(self, hook: Hook) -> list[Event]:
        """Texts and ports."""
        return hooks.read(self._token, hook)

    async def fetch_media(self, url: str, limit: int) -> tuple[str, bytes]:
        """With the account's credentials."""
        return await media.fetch(self._client, self._token, url, limit)
