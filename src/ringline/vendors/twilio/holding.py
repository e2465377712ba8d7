"""Numbers of the account (IncomingPhoneNumbers): bought, configured, given back."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

from ringline.vendors.errors import VendorBusy, VendorRefused, VendorUncertain, VendorUnknown
from ringline.vendors.models import Address, Held, Order, Purchase
from ringline.vendors.twilio.client import NUMBERS, TwilioClient
from ringline.vendors.twilio.codes import NUMBER_TAKEN, WANTS_ADDRESS, WANTS_BUNDLE, reason
from ringline.vendors.twilio.inventory import facts

_RESOURCE: Final = "IncomingPhoneNumbers"
_LOOKS: Final = 4
_PAUSE_SECONDS: Final = 0.5
_LATER_SECONDS: Final = 30.0
"""Twilio takes an emergency address off a number in the background."""


class Holding:
    """What becomes of numbers. ``trunk_sid``: the trunk that leads to our edge; ``hook_url``: our webhook."""

    def __init__(self, client: TwilioClient, trunk_sid: str, hook_url: str) -> None:
        self._client = client
        self._trunk_sid = trunk_sid
        self._hook_url = hook_url

    async def buy(self, purchase: Purchase) -> Order:
        """Twilio sells at once. It keeps our id as the number's friendly name."""
        form = {"PhoneNumber": purchase.number, "FriendlyName": mark(purchase), **self._pointed(True, True)}
        url = self._client.of_account(_RESOURCE)
        while True:
            try:
                return _order(await self._client.post(url, form))
            except VendorRefused as refusal:
                if refusal.code == NUMBER_TAKEN:
                    # perhaps by ourselves, in a request whose answer was lost
                    mine = await self.find_order(purchase, "")
                    if mine is not None and mine.state != "failed":
                        return mine
                    raise
                papers = await self._papers(purchase.number, refusal.code)
                if not papers or papers.items() <= form.items():
                    raise
                form |= papers

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        """The number as the account has it; ``failed`` where it has it by something else than this purchase."""
        if reference:
            try:
                return _order(await self._client.get(self._client.of_account(f"{_RESOURCE}/{reference}")))
            except VendorUnknown:
                pass
        row = await self._row(purchase.number)
        if row is None:
            return None
        if row.get("friendly_name") == mark(purchase):
            return _order(row)
        return Order(
            "failed", reason=f"{purchase.number} is in the vendor's account already, not by this order"
        )

    async def release(self, held: Held) -> None:
        """Delete it; a number that is gone already is fine."""
        reference = await self._reference(held)
        if not reference:
            return
        url = self._client.of_account(f"{_RESOURCE}/{reference}")
        try:
            await self._client.request("DELETE", url, safe=True)
        except VendorUnknown:
            return
        except VendorRefused:
            row = await self._client.get(url)
            if not row.get("emergency_address_sid"):
                raise
            await self._emergency(row, None)
            await self._client.request("DELETE", url, safe=True)

    async def configure(self, held: Held) -> None:
        """Voice to the trunk, texts to the webhook, and the emergency address.

        T.38 is a matter of the trunk: there is nothing to switch on for a number. Raises ``VendorBusy`` while a
        former emergency address is still being taken off.
        """
        reference = await self._reference(held)
        if not reference:
            raise VendorUnknown(f"twilio: {held.number} is not in the account")
        url = self._client.of_account(f"{_RESOURCE}/{reference}")
        row = await self._client.post(url, self._pointed(held.voice, held.messaging), safe=True)
        await self._emergency(row, held.emergency)

    def _pointed(self, voice: bool, messaging: bool) -> dict[str, str]:
        form = {"SmsUrl": self._hook_url if messaging else "", "SmsMethod": "POST"}
        # Twilio does not repeat a webhook of a text that came in, but tries this one once
        form |= {"SmsFallbackUrl": form["SmsUrl"], "SmsFallbackMethod": "POST"}
        if self._trunk_sid:
            form["TrunkSid"] = self._trunk_sid if voice else ""
        return form

    async def _reference(self, held: Held) -> str:
        if held.reference:
            return held.reference
        row = await self._row(held.number)
        return str(row["sid"]) if row is not None else ""

    async def _row(self, number: str) -> dict[str, Any] | None:
        query: dict[str, str | int] = {"PhoneNumber": number, "PageSize": 20}
        async for row in self._client.rows(
            self._client.of_account(_RESOURCE), "incoming_phone_numbers", query, pages=2
        ):
            # the filter finds parts of numbers, too
            if row.get("phone_number") == number and row.get("sid"):
                return row
        return None

    async def _papers(self, number: str, code: str) -> dict[str, str]:
        """What a country's law wants to see, out of what the operator has deposited with Twilio."""
        country, _, kinds = facts(number)
        if not kinds:
            return {}
        if code in WANTS_ADDRESS:
            url = self._client.of_account("Addresses")
            query: dict[str, str | int] = {"IsoCountry": country, "PageSize": 1}
            async for row in self._client.rows(url, "addresses", query, pages=1):
                return {"AddressSid": str(row.get("sid", ""))}
        elif code in WANTS_BUNDLE:
            url = f"{NUMBERS}/v2/RegulatoryCompliance/Bundles"
            kind = kinds[0].replace("_", "-")
            query = {"Status": "twilio-approved", "IsoCountry": country, "NumberType": kind, "PageSize": 1}
            async for row in self._client.rows(url, "results", query, pages=1):
                return {"BundleSid": str(row.get("sid", ""))}
        return {}

    async def _emergency(self, row: dict[str, Any], wanted: Address | None) -> None:
        """Bring the number's emergency address to what is wanted; one has to be off before another goes on."""
        url = self._client.of_account(f"{_RESOURCE}/{row.get('sid')}")
        has = row.get("emergency_address_sid") or ""
        sid = await self._address(wanted) if wanted is not None else ""
        if has == sid:
            if sid and row.get("emergency_address_status") == "registration-failure":
                raise VendorRefused("twilio could not register this address for emergency calls")
            return
        if has:
            row = await self._client.post(url, {"EmergencyAddressSid": ""}, safe=True)
            for _ in range(_LOOKS):
                if _unregistered(row):
                    break
                await asyncio.sleep(_PAUSE_SECONDS)
                row = await self._client.get(url)
            else:
                raise VendorBusy(
                    "twilio is still taking the former emergency address off", retry_after=_LATER_SECONDS
                )
        if sid:
            await self._client.post(url, {"EmergencyAddressSid": sid}, safe=True)

    async def _address(self, address: Address) -> str:
        """The account's resource for an address: the one that was made for it before, or a new one."""
        name = _address_name(address)
        url = self._client.of_account("Addresses")
        query: dict[str, str | int] = {"FriendlyName": name, "EmergencyEnabled": "true", "PageSize": 1}
        async for row in self._client.rows(url, "addresses", query, pages=1):
            return str(row.get("sid", ""))
        form = {
            "CustomerName": address.name,
            "Street": address.street,
            "City": address.city,
            "Region": address.region,
            "PostalCode": address.postal_code,
            "IsoCountry": address.country,
            "FriendlyName": name,
            "EmergencyEnabled": "true",
        }
        if address.extended:
            form["StreetSecondary"] = address.extended
        made = await self._client.post(url, form, safe=True)
        if not made.get("sid"):
            raise VendorUncertain("twilio made an address without a name")
        return str(made["sid"])


def mark(purchase: Purchase) -> str:
    """The friendly name of a number that was bought by a purchase (at most 64 characters)."""
    return f"ringline {purchase.id}"


def _address_name(address: Address) -> str:
    """Friendly names of emergency addresses have at most 32 characters."""
    parts = (
        address.name, address.street, address.extended, address.city,
        address.region, address.postal_code, address.country,
    )  # fmt: skip
    return "ringline " + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:22]


def _unregistered(row: dict[str, Any]) -> bool:
    return not row.get("emergency_address_sid") and row.get("emergency_address_status") in {
        None,
        "",
        "unregistered",
    }


def _order(row: dict[str, Any]) -> Order:
    sid = row.get("sid")
    if not isinstance(sid, str) or not sid:
        raise VendorUncertain("twilio answered without the number's reference")
    status = str(row.get("status") or "")
    if status == "failed":
        return Order("failed", sid, sid, reason=reason(row.get("error_code"), row.get("error_message")))
    return Order("pending" if "pending" in status else "done", sid, sid)
