"""Numbers bought of Telnyx, what they are to do, and giving them back.

A purchase carries our id as ``customer_reference``; Telnyx has no idempotency keys for orders, so one is sent once
and looked up by that reference when its answer was lost.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import structlog

from ringline.vendors.client import VendorClient
from ringline.vendors.errors import (
    VendorBusy,
    VendorError,
    VendorRefused,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import Address, Held, Order, OrderState, Purchase
from ringline.vendors.telnyx.api import API, NAME, at, data, find_number, needs, part, parts, row, rows, text
from ringline.vendors.telnyx.inventory import Inventory

log = structlog.get_logger(__name__)

UNSETTLED_SECONDS: Final = 600.0
"""How long a number that is neither offered, ordered nor ours may be on its way to us before it counts as gone."""
_STATES: Final[dict[str, OrderState]] = {"pending": "pending", "success": "done", "failure": "failed"}
_DOCUMENTS: Final = "telnyx waits for documents that numbers of this country and kind need"
_FAILED: Final = "telnyx could not deliver the number"


class Orders:
    """Purchases and what becomes of them."""

    def __init__(
        self,
        client: VendorClient,
        inventory: Inventory,
        *,
        connection_id: str,
        messaging_profile_id: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._inventory = inventory
        self._connection_id = connection_id
        self._profile_id = messaging_profile_id
        self._clock = clock
        self._unsettled: dict[UUID, float] = {}

    async def buy(self, purchase: Purchase) -> Order:
        """Order a number that Telnyx offers at this moment. Sent once, whatever happens."""
        connection = needs(self._connection_id, "RINGLINE_TELNYX_CONNECTION_ID")
        offer = await self._inventory.find(purchase.number)
        if offer is None:
            raise VendorRefused(f"{purchase.number} is not available any more")
        order: dict[str, Any] = {
            "phone_numbers": [{"phone_number": purchase.number}],
            "connection_id": connection,
            "customer_reference": str(purchase.id),
        }
        if self._profile_id and "sms" in offer.features:
            order["messaging_profile_id"] = self._profile_id
        answer = await self._client.request("POST", f"{API}/number_orders", json=order)
        return await self._settled(read_order(data(answer), purchase.number), purchase.number)

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        """By Telnyx's id of the order, by our reference, or by the number that we hold.

        Lists at Telnyx may lag behind: a number that nobody can buy and that is not ours (yet) is no proof that
        nothing was bought. ``VendorBusy`` asks for patience then.
        """
        found = await self._order(purchase, reference)
        if found is not None:
            self._unsettled.pop(purchase.id, None)
            return await self._settled(found, purchase.number)
        held = await find_number(self._client, purchase.number)
        if held is not None and text(held.get("customer_reference")) in {"", str(purchase.id)}:
            self._unsettled.pop(purchase.id, None)
            return Order(_held_state(held), reference, text(held.get("id")))
        if held is not None or await self._inventory.find(purchase.number) is not None:
            self._unsettled.pop(purchase.id, None)
            return None
        now = self._clock()
        self._unsettled = {
            key: since for key, since in self._unsettled.items() if now - since < 10 * UNSETTLED_SECONDS
        }
        if now - self._unsettled.setdefault(purchase.id, now) < UNSETTLED_SECONDS:
            raise VendorBusy(f"{NAME} does not know yet who has {purchase.number}", retry_after=30.0)
        self._unsettled.pop(purchase.id, None)
        return None

    async def release(self, held: Held) -> None:
        """Delete a number from the account; what is not there is no error."""
        try:
            reference = await self._reference(held)
            await self._client.request("DELETE", at("phone_numbers", reference), safe=True)
        except VendorUnknown:
            log.info("vendor_number_gone", vendor=NAME, number=held.number)

    async def configure(self, held: Held) -> None:
        """Calls to our connection, texts to our messaging profile, T.38, and the address for emergency calls.

        Every step may be repeated. Calls of a number without ``voice`` come to the edge all the same, which refuses
        them. ``VendorUnknown`` if the account has no such number.
        """
        reference = await self._reference(held)
        url = at("phone_numbers", reference)
        patch = {"connection_id": needs(self._connection_id, "RINGLINE_TELNYX_CONNECTION_ID")}
        now = data(await self._client.request("PATCH", url, json=patch, safe=True))
        await self._client.request(
            "PATCH", f"{url}/voice", json={"media_features": {"t38_fax_gateway_enabled": held.t38}}, safe=True
        )
        if self._profile_id:
            await self._messaging(url, held.messaging)
        if held.emergency is not None:
            await self._emergency(url, await self._address(held.emergency), enabled=True)
        elif now.get("emergency_enabled") is True:
            await self._emergency(url, text(now.get("emergency_address_id")), enabled=False)

    async def _order(self, purchase: Purchase, reference: str) -> Order | None:
        if reference:
            try:
                answer = await self._client.request("GET", at("number_orders", reference))
                return read_order(row(answer), purchase.number)
            except VendorUnknown:
                log.warning(
                    "vendor_order_unknown", vendor=NAME, reference=reference, purchase_id=str(purchase.id)
                )
        query = [("filter[customer_reference]", str(purchase.id)), ("page[size]", "20")]
        answer = await self._client.request("GET", f"{API}/number_orders", query=query)
        ours = [entry for entry in rows(answer) if entry.get("customer_reference") == str(purchase.id)]
        orders = [read_order(entry, purchase.number) for entry in ours]
        return min(orders, key=lambda order: ("done", "pending", "failed").index(order.state), default=None)

    async def _settled(self, order: Order, number: str) -> Order:
        """A done order with Telnyx's id of the number, which is another one than the order has for it.

        Until the account lists the number the order counts as pending. Raises nothing: the purchase is made.
        """
        if order.state != "done":
            return order
        try:
            held = await find_number(self._client, number)
        except VendorError as error:
            log.info("vendor_number_not_seen", vendor=NAME, number=number, why=error.message)
            held = None
        if held is None or _held_state(held) == "pending":
            return Order("pending", order.reference)
        return Order(_held_state(held), order.reference, text(held.get("id")))

    async def _reference(self, held: Held) -> str:
        if held.reference:
            return held.reference
        found = await find_number(self._client, held.number)
        if found is None or not text(found.get("id")):
            raise VendorUnknown(f"{NAME} has no {held.number} in this account")
        return text(found.get("id"))

    async def _messaging(self, url: str, wanted: bool) -> None:
        """A number that cannot text at all has nothing to be set up."""
        url = f"{url}/messaging"
        try:
            features = part(row(await self._client.request("GET", url)), "features")
        except VendorUnknown:
            features = {}
        if features.get("sms") or features.get("mms"):
            patch = {"messaging_profile_id": self._profile_id if wanted else ""}
            await self._client.request("PATCH", url, json=patch, safe=True)

    async def _emergency(self, url: str, address_id: str, *, enabled: bool) -> None:
        await self._client.request(
            "POST",
            f"{url}/actions/enable_emergency",
            json={"emergency_enabled": enabled, "emergency_address_id": address_id},
            safe=True,
        )

    async def _address(self, address: Address) -> str:
        """Telnyx's id of an address: found by what it says, or made, which has it validated."""
        told = _address_body(address)
        canonical = "\n".join(f"{key}={told[key]}" for key in sorted(told)).casefold()
        reference = f"ringline-{hashlib.sha256(canonical.encode()).hexdigest()[:40]}"
        query = [("filter[customer_reference][eq]", reference), ("page[size]", "20")]
        for known in rows(await self._client.request("GET", f"{API}/addresses", query=query)):
            if known.get("customer_reference") == reference and text(known.get("id")):
                return text(known.get("id"))
        body = {**told, "customer_reference": reference, "address_book": False, "validate_address": True}
        made = data(await self._client.request("POST", f"{API}/addresses", json=body, safe=True))
        if not text(made.get("id")):
            raise VendorUncertain(f"{NAME} did not say which address it made")
        return text(made.get("id"))


def read_order(said: dict[str, Any], number: str) -> Order:
    """A ``number_order`` of Telnyx: the state of our number in it, which may fail where the order does not."""
    reference = text(said.get("id"))
    if not reference:
        raise VendorUncertain(f"{NAME} did not say which order it made")
    entry = next((entry for entry in parts(said, "phone_numbers") if entry.get("phone_number") == number), {})
    status = text(entry.get("status")) or text(said.get("status"))
    state = "failed" if said.get("status") == "failure" else _STATES.get(status, "pending")
    reason = ""
    if state == "failed":
        asked = text(entry.get("requirements_status"))
        reason = f"{_FAILED} ({asked})" if asked not in {"", "approved"} else _FAILED
    elif state == "pending" and (
        said.get("requirements_met") is False or entry.get("requirements_met") is False
    ):
        reason = _DOCUMENTS
    return Order(state, reference, reason=reason)


def _held_state(held: dict[str, Any]) -> OrderState:
    return "pending" if text(held.get("status")) in {"purchase-pending", "port-pending"} else "done"


def _address_body(address: Address) -> dict[str, str]:
    """Telnyx wants a business or a first and a last name, and all three fields."""
    first, _, last = address.name.partition(" ")
    body = {
        "business_name": address.name,
        "first_name": first,
        "last_name": last.strip() or first,
        "street_address": address.street,
        "locality": address.city,
        "administrative_area": address.region,
        "postal_code": address.postal_code,
        "country_code": address.country,
    }
    if address.extended:
        body["extended_address"] = address.extended
    return body
