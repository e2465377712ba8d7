"""Telnyx as a vendor: what it can do, put together."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import ClassVar

from ringline.vendors.base import Vendor
from ringline.vendors.client import TOTAL_SECONDS, VendorClient
from ringline.vendors.errors import HookRefused, VendorMisconfigured, VendorUnknown
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
from ringline.vendors.telnyx.api import API, NAME, at, complaint, row, text
from ringline.vendors.telnyx.inventory import Inventory
from ringline.vendors.telnyx.orders import Orders
from ringline.vendors.telnyx.ports import Ports
from ringline.vendors.telnyx.reports import Reports
from ringline.vendors.telnyx.texts import Texts


class Telnyx(Vendor):
    """Telnyx's API v2.

    ``connection_id`` is the SIP connection that points at our edge, ``messaging_profile_id`` the profile whose
    webhooks come to ``hook_url``. Without a profile numbers are for calls only.
    """

    name: ClassVar[str] = NAME
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)

    def __init__(
        self,
        *,
        api_key: str,
        public_key: str = "",
        connection_id: str = "",
        messaging_profile_id: str = "",
        hook_url: str = "",
        base_url: str = "",
        total_seconds: float = TOTAL_SECONDS,
        now: Callable[[], float] = time,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        client = VendorClient(
            NAME, base_url=base_url, headers=headers, complaint=complaint, total_seconds=total_seconds
        )
        self._client = client
        self._connection_id = connection_id
        self._profile_id = messaging_profile_id
        self._hook_url = hook_url
        self._vendors_own = not base_url
        self._inventory = Inventory(client)
        self._orders = Orders(
            client,
            self._inventory,
            connection_id=connection_id,
            messaging_profile_id=messaging_profile_id,
            clock=clock,
        )
        self._texts = Texts(client, hook_url=hook_url)
        self._ports = Ports(
            client, connection_id=connection_id, messaging_profile_id=messaging_profile_id, hook_url=hook_url
        )
        self._reports = Reports(public_key, now=now)

    async def close(self) -> None:
        """Close the sessions."""
        await self._client.close()

    async def check(self) -> str:
        """The balance, the connection, the profile and the key for webhooks; what is wrong names the setting."""
        balance = row(await self._client.request("GET", f"{API}/balance"))
        wrong = await self._wrong()
        if wrong:
            raise VendorMisconfigured("; ".join(wrong))
        return f"balance {text(balance.get('balance'))} {text(balance.get('currency'))}".strip()

    async def _wrong(self) -> list[str]:
        wrong = []
        if not self._connection_id:
            wrong.append("RINGLINE_TELNYX_CONNECTION_ID is not set: numbers cannot be bought")
        elif (connection := await self._get("connections", self._connection_id)) is None:
            wrong.append("RINGLINE_TELNYX_CONNECTION_ID names no SIP connection of this account")
        elif connection.get("active") is False:
            wrong.append("the SIP connection of RINGLINE_TELNYX_CONNECTION_ID is switched off at Telnyx")
        if self._profile_id:
            profile = await self._get("messaging_profiles", self._profile_id)
            if profile is None:
                wrong.append(
                    "RINGLINE_TELNYX_MESSAGING_PROFILE_ID names no messaging profile of this account"
                )
            elif profile.get("enabled") is False:
                wrong.append(
                    "the messaging profile of RINGLINE_TELNYX_MESSAGING_PROFILE_ID is switched off at Telnyx"
                )
            elif text(profile.get("webhook_api_version")) not in {"", "2"}:
                wrong.append("the messaging profile's webhook API version at Telnyx is not 2")
            elif text(profile.get("webhook_url")) != self._hook_url:
                wrong.append(f"the messaging profile's webhook URL at Telnyx is not {self._hook_url}")
        if self._vendors_own and not reachable(self._hook_url):
            wrong.append(f"telnyx cannot reach {self._hook_url}: set RINGLINE_PUBLIC_URL")
        try:
            self._reports.key()
        except HookRefused as error:
            wrong.append(str(error))
        return wrong

    async def _get(self, kind: str, identity: str) -> dict[str, object] | None:
        try:
            return row(await self._client.request("GET", at(kind, identity)))
        except VendorUnknown:
            return None

    async def search(self, wanted: Search) -> list[Offer]:
        """See ``Inventory.search``."""
        return await self._inventory.search(wanted)

    async def find(self, number: str) -> Offer | None:
        """See ``Inventory.find``."""
        return await self._inventory.find(number)

    async def buy(self, purchase: Purchase) -> Order:
        """See ``Orders.buy``."""
        await self._reports.prepare()
        return await self._orders.buy(purchase)

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        """See ``Orders.find_order``."""
        return await self._orders.find_order(purchase, reference)

    async def release(self, held: Held) -> None:
        """See ``Orders.release``."""
        await self._orders.release(held)

    async def configure(self, held: Held) -> None:
        """See ``Orders.configure``."""
        await self._orders.configure(held)

    async def send(self, text: Text) -> Sent:
        """See ``Texts.send``."""
        await self._reports.prepare()
        return await self._texts.send(text)

    async def find_text(self, text: Text, reference: str) -> Sent | None:
        """See ``Texts.find_text``."""
        return await self._texts.find_text(text, reference)

    async def port(self, port: Port) -> PortProgress:
        """See ``Ports.port``."""
        await self._reports.prepare()
        return await self._ports.port(port)

    async def find_port(self, port: Port, reference: str) -> PortProgress | None:
        """See ``Ports.find_port``."""
        return await self._ports.find_port(port, reference)

    async def cancel_port(self, port: Port, reference: str) -> PortProgress:
        """See ``Ports.cancel_port``."""
        return await self._ports.cancel_port(port, reference)

    def read_hook(self, hook: Hook) -> list[Event]:
        """See ``Reports.read``."""
        return self._reports.read(hook)
