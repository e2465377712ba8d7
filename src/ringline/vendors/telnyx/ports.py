"""Numbers brought to Telnyx from other carriers.

Telnyx divides the numbers of one port into several porting orders where they differ in country or kind; all of them
carry our id as ``customer_reference``, and a port's reference here is their ids with commas between them. An order
begins as a draft, which Telnyx forgets or we delete as long as it was not confirmed.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, Final

import structlog

from ringline.vendors.client import VendorClient
from ringline.vendors.errors import (
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import Letter, Port, PortProgress, PortState
from ringline.vendors.telnyx.api import API, NAME, at, data, find_number, part, parts, row, rows, text

log = structlog.get_logger(__name__)

_STATES: Final[dict[str, PortState]] = {
    "draft": "draft",
    "submitted": "submitted",
    "in-process": "in-process",
    "exception": "exception",
    "foc-date-confirmed": "foc-confirmed",
    "ported": "ported",
    "cancelled": "cancelled",
    # asked for and not yet granted: it may still be ported
    "cancel-pending": "in-process",
}
_FIRST: Final[tuple[PortState, ...]] = (
    "exception",
    "draft",
    "submitted",
    "in-process",
    "foc-confirmed",
    "ported",
)
"""Of several orders the one that is furthest behind says how far the port is."""
_CANCELLING: Final = "telnyx asks the old carrier whether the port can still be called off"


class Ports:
    """Porting orders."""

    def __init__(
        self, client: VendorClient, *, connection_id: str, messaging_profile_id: str, hook_url: str
    ) -> None:
        self._client = client
        self._connection_id = connection_id
        self._profile_id = messaging_profile_id
        self._hook_url = hook_url

    async def port(self, port: Port) -> PortProgress:
        """Draft, fill in and submit. May be called again: it goes on with the drafts that there are.

        What Telnyx refuses leaves no draft behind; where it has taken a part of the numbers already that is an
        ``exception`` and no error.
        """
        orders = await self._orders(port) or await self._create(port)
        try:
            for order in orders:
                if _value(order) == "draft":
                    await self._submit(port, text(order.get("id")))
            return await self._progress(await self._now(orders))
        except (VendorRefused, VendorMisconfigured) as error:
            left = await self._discard(orders)
            if not left:
                raise
            return replace(await self._progress(left), state="exception", reason=error.message)
        except (VendorUnavailable, VendorBusy, VendorUnknown) as error:
            # for this request alone it is certain that nothing was done; for the port it is not
            raise VendorUncertain(error.message, code=error.code, status=error.status) from None

    async def find_port(self, port: Port, reference: str) -> PortProgress | None:
        """By Telnyx's ids of its orders, or by ours. ``draft``: ``port`` has to be called again."""
        found = []
        for each in filter(None, reference.split(",")):
            order = await self._get(each)
            if order is not None:
                found.append(order)
        found = found or await self._orders(port)
        return await self._progress(found) if found else None

    async def cancel_port(self, port: Port, reference: str) -> PortProgress:
        """Delete drafts, ask for the cancellation of what was submitted. ``VendorRefused`` when it is too late."""
        orders = [found for each in filter(None, reference.split(",")) if (found := await self._get(each))]
        orders = orders or await self._orders(port)
        if not orders:
            raise VendorUnknown(f"{NAME} knows nothing of this port")
        after = []
        for order in orders:
            identity = text(order.get("id"))
            if _value(order) == "draft":
                await self._delete(identity)
                after.append({**order, "status": {"value": "cancelled"}})
            elif _value(order) in {"cancelled", "cancel-pending"}:
                after.append(order)
            else:
                after.append(await self._cancel(identity))
        return await self._progress(after)

    async def _create(self, port: Port) -> list[dict[str, Any]]:
        body = {"phone_numbers": list(port.numbers), "customer_reference": str(port.id)}
        answer = await self._client.request("POST", f"{API}/porting_orders", json=body)
        made = parts(answer.body if isinstance(answer.body, dict) else {}, "data")
        if not made or not all(text(order.get("id")) for order in made):
            raise VendorUncertain(f"{NAME} did not say which porting orders it made")
        return made

    async def _submit(self, port: Port, identity: str) -> None:
        url = at("porting_orders", identity)
        documents = {}
        if port.letter is not None:
            documents["loa"] = await self._upload(port, port.letter)
        if port.bill is not None:
            documents["invoice"] = await self._upload(port, port.bill)
        patch = self._details(port, documents)
        if port.wanted is not None and (when := await self._window(url, port.wanted)):
            patch["activation_settings"] = {"foc_datetime_requested": when}
        await self._client.request("PATCH", url, json=patch, safe=True)
        await self._client.request("POST", f"{url}/actions/confirm")

    def _details(self, port: Port, documents: dict[str, str]) -> dict[str, Any]:
        owner = port.owner
        admin = {
            "entity_name": owner.name,
            "auth_person_name": port.authorised_person,
            "account_number": port.account,
            "billing_phone_number": port.numbers[0],
        }
        if port.pin:
            admin["pin_passcode"] = port.pin
        location = {
            "street_address": owner.street,
            "locality": owner.city,
            "administrative_area": owner.region,
            "postal_code": owner.postal_code,
            "country_code": owner.country,
        }
        if owner.extended:
            location["extended_address"] = owner.extended
        configuration = {"connection_id": self._connection_id, "messaging_profile_id": self._profile_id}
        patch: dict[str, Any] = {
            "end_user": {"admin": admin, "location": location},
            "misc": {"type": "full"},
            "phone_number_configuration": {key: value for key, value in configuration.items() if value},
        }
        if documents:
            patch["documents"] = documents
        if self._profile_id:
            patch["messaging"] = {"enable_messaging": True}
        if self._hook_url:
            patch["webhook_url"] = self._hook_url
        return patch

    async def _upload(self, port: Port, letter: Letter) -> str:
        """One that is not linked to an order within half an hour is deleted by Telnyx: repeating does no harm."""
        body = {
            "file": base64.b64encode(letter.content).decode(),
            "filename": letter.name,
            "customer_reference": str(port.id),
        }
        made = data(await self._client.request("POST", f"{API}/documents", json=body, safe=True))
        if not text(made.get("id")):
            raise VendorUncertain(f"{NAME} did not say which document it took")
        return text(made.get("id"))

    async def _window(self, url: str, wanted: date) -> str:
        """The first time at which Telnyx may port, from the wanted day on; ``""`` where it names none."""
        try:
            windows = rows(await self._client.request("GET", f"{url}/allowed_foc_windows"))
        except (VendorRefused, VendorUnknown):
            return ""
        starts = sorted(start for window in windows if (start := _moment(window.get("started_at"))))
        fitting = next((start for start in starts if start.date() >= wanted), None)
        return fitting.isoformat().replace("+00:00", "Z") if fitting else ""

    async def _orders(self, port: Port) -> list[dict[str, Any]]:
        query = [
            ("filter[customer_reference]", str(port.id)),
            ("include_phone_numbers", "true"),
            ("page[size]", "50"),
        ]
        found = rows(await self._client.request("GET", f"{API}/porting_orders", query=query))
        return [order for order in found if order.get("customer_reference") == str(port.id)]

    async def _get(self, identity: str) -> dict[str, Any] | None:
        try:
            query = [("include_phone_numbers", "true")]
            return row(await self._client.request("GET", at("porting_orders", identity), query=query))
        except VendorUnknown:
            return None

    async def _delete(self, identity: str) -> None:
        try:
            await self._client.request("DELETE", at("porting_orders", identity), safe=True)
        except VendorUnknown:
            log.info("vendor_draft_gone", vendor=NAME, reference=identity)

    async def _cancel(self, identity: str) -> dict[str, Any]:
        refusal: VendorRefused | None = None
        try:
            await self._client.request("POST", at("porting_orders", identity, "actions", "cancel"), safe=True)
        except VendorRefused as error:
            refusal = error
        now = await self._get(identity)
        if now is None:
            raise VendorUnknown(f"{NAME} knows nothing of this port")
        # an answer that was lost makes the second request refused
        if refusal is not None and _value(now) not in {"cancelled", "cancel-pending"}:
            raise refusal
        return now

    async def _now(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [await self._get(text(order.get("id"))) or order for order in orders]

    async def _discard(self, orders: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Delete the drafts of a port that was refused (the next try would find them); what is left are no drafts."""
        left = []
        for order in orders:
            try:
                now = await self._get(text(order.get("id")))
                if now is not None and _value(now) == "draft":
                    await self._delete(text(order.get("id")))
                elif now is not None:
                    left.append(now)
            except VendorError as error:
                log.warning("vendor_draft_left", vendor=NAME, reference=order.get("id"), why=error.message)
        return left

    async def _progress(self, orders: list[dict[str, Any]]) -> PortProgress:
        progress = [read_port(order) for order in orders]
        going = [each for each in progress if each.state != "cancelled"]
        furthest_behind = min(going, key=lambda each: _FIRST.index(each.state), default=progress[0])
        numbers: dict[str, str] = {}
        for order in orders:
            if _value(order) == "ported":
                for entry in parts(order, "phone_numbers"):
                    if number := text(entry.get("phone_number")):
                        held = await find_number(self._client, number)
                        # one that the account does not list yet is ported all the same
                        numbers[number] = text(held.get("id")) if held is not None else ""
        return PortProgress(
            furthest_behind.state,
            ",".join(text(order.get("id")) for order in orders),
            reason="; ".join(dict.fromkeys(each.reason for each in progress if each.reason)),
            tm_foc=max((each.tm_foc for each in going if each.tm_foc), default=None),
            number_references=numbers,
        )


def read_port(order: dict[str, Any]) -> PortProgress:
    """One ``porting_order`` of Telnyx, from an answer or a webhook."""
    value = _value(order)
    state = _STATES.get(value, "in-process")
    reason = ""
    if state == "exception":
        details = parts(part(order, "status"), "details")
        words = [text(entry.get("description")) or text(entry.get("code")) for entry in details]
        reason = (
            "; ".join(word for word in words if word)[:1000]
            or "the old carrier refused the port as it was asked for"
        )
    elif value == "cancel-pending":
        reason = _CANCELLING
    settings = part(order, "activation_settings")
    foc = _moment(settings.get("foc_datetime_actual")) if state in {"foc-confirmed", "ported"} else None
    return PortProgress(state, text(order.get("id")), reason=reason, tm_foc=foc)


def _value(order: dict[str, Any]) -> str:
    return text(part(order, "status").get("value"))


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
