"""The sandbox as a vendor: the carrier process sells numbers and carries texts to simulated handsets.

Its API is described in ``docs/sandbox-carrier.md``; its webhooks are signed as Standard Webhooks says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar, Final, cast, get_args
from urllib.parse import quote
from uuid import UUID

import orjson

from ringline.vendors.base import Vendor
from ringline.vendors.client import Complaint, VendorClient
from ringline.vendors.errors import HookRefused, VendorRefused, VendorUncertain, VendorUnknown
from ringline.vendors.events import (
    Event,
    Hook,
    Media,
    OrderChanged,
    PortChanged,
    TextArrived,
    TextChanged,
)
from ringline.vendors.models import (
    Capability,
    Feature,
    Held,
    Kind,
    Offer,
    Order,
    OrderState,
    Port,
    PortProgress,
    PortState,
    Purchase,
    Search,
    Sent,
    Text,
    TextState,
)

_ORDER_STATES: Final = frozenset(get_args(OrderState))
_TEXT_STATES: Final = frozenset(get_args(TextState))
_PORT_STATES: Final = frozenset(get_args(PortState))


class SandboxVendor(Vendor):
    """``url`` is that of the carrier's control port, ``hook_secret`` what it signs its webhooks with."""

    name: ClassVar[str] = "sandbox"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.SEARCH,
            Capability.BUY,
            Capability.RELEASE,
            Capability.CONFIGURE_VOICE,
            Capability.CONFIGURE_MESSAGING,
            Capability.SEND_MESSAGE,
            Capability.RECEIVE_MESSAGE,
            Capability.PORT,
            Capability.EMERGENCY_ADDRESS,
        }
    )

    def __init__(self, url: str, hook_secret: str) -> None:
        self._url = url.rstrip("/")
        self._hook_secret = hook_secret
        self._client = VendorClient(self.name, complaint=_complaint)

    async def close(self) -> None:
        await self._client.close()

    async def check(self) -> str:
        account = await self._get("/v1/account")
        return (
            f"{account['numbers_total']} numbers, {account['numbers_held']} of them held, "
            f"{account['orders_pending']} orders pending, {account['hooks_waiting']} webhooks not taken yet"
        )

    async def search(self, wanted: Search) -> list[Offer]:
        query: dict[str, str | int] = {"country": wanted.country, "limit": min(wanted.limit, 1000)}
        given = {"kind": wanted.kind or "", "region": wanted.region, "contains": wanted.contains}
        query |= {name: value for name, value in given.items() if value}
        if wanted.features:
            query["features"] = ",".join(wanted.features)
        answer = await self._get("/v1/available", query)
        return [_offer(row) for row in answer["numbers"]]

    async def find(self, number: str) -> Offer | None:
        try:
            return _offer(await self._get(f"/v1/available/{quote(number)}"))
        except VendorUnknown:
            return None

    async def buy(self, purchase: Purchase) -> Order:
        body = {"client_reference": str(purchase.id), "number": purchase.number}
        return _order(await self._ask("POST", "/v1/orders", body, safe=False))

    async def find_order(self, purchase: Purchase, reference: str) -> Order | None:
        if reference:
            try:
                return _order(await self._get(f"/v1/orders/{quote(reference, safe='')}"))
            except VendorUnknown:
                return None
        found = await self._get("/v1/orders", {"client_reference": str(purchase.id)})
        return _order(found["orders"][0]) if found["orders"] else None

    async def release(self, held: Held) -> None:
        reference = held.reference or await self._reference(held.number)
        if not reference:
            return
        try:
            await self._ask("DELETE", f"/v1/numbers/{quote(reference, safe='')}", safe=True)
        except VendorUnknown:
            return

    async def configure(self, held: Held) -> None:
        reference = held.reference or await self._reference(held.number)
        if not reference:
            raise VendorUnknown(f"{self.name}: {held.number} is not held here")
        body = {
            "voice": held.voice,
            "messaging": held.messaging,
            "t38": held.t38,
            "emergency": None if held.emergency is None else asdict(held.emergency),
        }
        await self._ask("PATCH", f"/v1/numbers/{quote(reference, safe='')}", body, safe=True)

    async def send(self, text: Text) -> Sent:
        body = {
            "client_reference": str(text.id),
            "from": text.source,
            "to": text.destination,
            "text": text.text,
            "media": list(text.media),
        }
        return _sent(await self._ask("POST", "/v1/texts", body, safe=False))

    async def find_text(self, text: Text, reference: str) -> Sent | None:
        if reference:
            try:
                return _sent(await self._get(f"/v1/texts/{quote(reference, safe='')}"))
            except VendorUnknown:
                return None
        found = await self._get("/v1/texts", {"client_reference": str(text.id)})
        return _sent(found["texts"][0]) if found["texts"] else None

    async def port(self, port: Port) -> PortProgress:
        if port.letter is None:
            raise VendorRefused("sandbox: the letter of authorisation is missing")
        body = {
            "client_reference": str(port.id),
            "numbers": list(port.numbers),
            "carrier": port.carrier,
            "account": port.account,
            "pin": port.pin,
            "owner": asdict(port.owner),
            "authorised_person": port.authorised_person,
            "wanted": None if port.wanted is None else port.wanted.isoformat(),
            "letter": {
                "name": port.letter.name,
                "content_type": port.letter.content_type,
                "size": len(port.letter.content),
                "sha256": hashlib.sha256(port.letter.content).hexdigest(),
            },
        }
        return _progress(await self._ask("POST", "/v1/ports", body, safe=False))

    async def find_port(self, port: Port, reference: str) -> PortProgress | None:
        if reference:
            try:
                return _progress(await self._get(f"/v1/ports/{quote(reference, safe='')}"))
            except VendorUnknown:
                return None
        found = await self._get("/v1/ports", {"client_reference": str(port.id)})
        return _progress(found["ports"][0]) if found["ports"] else None

    async def cancel_port(self, port: Port, reference: str) -> PortProgress:
        path = f"/v1/ports/{quote(reference, safe='')}/cancel"
        return _progress(await self._ask("POST", path, {}, safe=True))

    def read_hook(self, hook: Hook) -> list[Event]:
        from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415 - at the first webhook

        if not self._hook_secret:
            raise HookRefused("RINGLINE_SANDBOX_HOOK_SECRET is not set")
        try:
            Webhook(self._hook_secret).verify(hook.body, dict(hook.headers), json_parse=False)
        except WebhookVerificationError as error:
            raise HookRefused(str(error)) from error
        except ValueError as error:  # a signature that is no base64, a body that is no UTF-8
            raise HookRefused("the signature cannot be read") from error
        try:
            event = _event(hook.headers["webhook-id"], orjson.loads(hook.body))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise HookRefused("it is signed and says nothing that can be read") from error
        return [] if event is None else [event]

    async def _reference(self, number: str) -> str:
        found = await self._get("/v1/numbers", {"number": number})
        return str(found["numbers"][0]["id"]) if found["numbers"] else ""

    async def _get(self, path: str, query: Mapping[str, str | int] | None = None) -> dict[str, Any]:
        answer = await self._client.request("GET", self._url + path, query=query)
        return _object(answer.body)

    async def _ask(self, method: str, path: str, body: Any = None, *, safe: bool) -> dict[str, Any]:
        answer = await self._client.request(method, self._url + path, json=body, safe=safe)
        return _object(answer.body)


def _event(event_id: str, message: Any) -> Event | None:
    data = message["data"]
    match message["type"]:
        case "order.updated":
            return OrderChanged(event_id, _uuid(data["client_reference"]), data["number"], _order(data))
        case "port.updated":
            return PortChanged(event_id, _uuid(data["client_reference"]), _progress(data))
        case "text.updated":
            return TextChanged(event_id, _uuid(data["client_reference"]), data["to"], _sent(data))
        case "text.received":
            media = tuple(Media(one["url"], one["content_type"]) for one in data["media"])
            return TextArrived(event_id, data["id"], data["from"], data["to"], data["text"], media)
    return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _offer(row: dict[str, Any]) -> Offer:
    return Offer(
        number=row["number"],
        country=row["country"],
        kind=cast("Kind", row["kind"]),
        region=row["region"],
        city=row["city"],
        postal_code=row["postal_code"],
        features=tuple(cast("list[Feature]", row["features"])),
    )


def _order(row: dict[str, Any]) -> Order:
    if row["status"] not in _ORDER_STATES:
        raise VendorUncertain(f"sandbox: an order is {row['status']}")
    return Order(row["status"], row["id"], row["number_id"], row["reason"])


def _progress(row: dict[str, Any]) -> PortProgress:
    if row["status"] not in _PORT_STATES:
        raise VendorUncertain(f"sandbox: a port is {row['status']}")
    foc = None if row["tm_foc"] is None else datetime.fromisoformat(row["tm_foc"])
    return PortProgress(row["status"], row["id"], row["reason"], foc, dict(row["number_ids"]))


def _sent(row: dict[str, Any]) -> Sent:
    if row["status"] not in _TEXT_STATES:
        raise VendorUncertain(f"sandbox: a text is {row['status']}")
    return Sent(row["status"], row["id"], row["reason"], row["parts"])


def _object(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise VendorRefused("sandbox: the answer is no object")
    return body


def _complaint(body: Any) -> Complaint:
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return Complaint("", "")
    return Complaint(str(error.get("code", "")), str(error.get("message", "")))
