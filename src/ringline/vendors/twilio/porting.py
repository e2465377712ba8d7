"""Numbers that come from other carriers: Twilio's Porting API (public beta; numbers of the United States only).

Twilio writes the letter of authorisation itself and mails it to the authorised person to be signed; what it wants
from us is that person's address and the old carrier's latest bill.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import structlog

from ringline.vendors.errors import (
    VendorError,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import Letter, Port, PortProgress, PortState
from ringline.vendors.twilio.client import NUMBERS, UPLOAD, TwilioClient, made
from ringline.vendors.twilio.codes import reason

log = structlog.get_logger(__name__)

_PORT_IN: Final = f"{NUMBERS}/v1/Porting/PortIn"
_STATES: Final[dict[str, PortState]] = {
    "pending": "submitted",
    "inreview": "submitted",
    "submitted": "submitted",
    "waitingforsignature": "submitted",
    "inprogress": "in-process",
    "completed": "ported",
    "actionrequired": "exception",
    "rejected": "exception",
    "expired": "cancelled",
    "canceled": "cancelled",
    "cancelled": "cancelled",
}
_OF_NUMBERS: Final[dict[str, PortState]] = {
    "waitingforsignature": "submitted",
    "submitted": "in-process",
    "pending": "in-process",
    "completed": "in-process",
    "canceled": "in-process",
    "rejected": "exception",
}
_MOST_NUMBERS: Final = 1000
_MOST_BILL: Final = 10 * 1024**2
_BILLS: Final = frozenset({"application/pdf", "image/png", "image/jpeg"})
_AT_ONCE: Final = 8
_PAGES: Final = 10


async def port(client: TwilioClient, hook_url: str, wanted: Port) -> PortProgress:
    """Ask whether the numbers can be ported, deposit the bill, order.

    Until the order is sent nothing is bound: what goes wrong before is never uncertain.
    """
    bill = _bill(wanted)
    try:
        await _portable(client, wanted)
        await _report_to(client, hook_url)
        document = await _deposit(client, wanted, bill)
    except VendorUncertain as error:
        raise VendorUnavailable(error.message, code=error.code) from error
    answer = await client.request("POST", _PORT_IN, json=_order(client, wanted, document))
    return await _progress(client, made(answer))


async def find(client: TwilioClient, wanted: Port, reference: str) -> PortProgress | None:
    """By Twilio's reference; without one, the order for just these numbers that is not over."""
    if reference:
        try:
            return await _progress(client, await client.get(f"{_PORT_IN}/{reference}"))
        except VendorUnknown:
            return None
    query: dict[str, str | int] = {"Size": 100}
    for _ in range(_PAGES):
        body = await client.get(f"{_PORT_IN}/PortInRequests", query)
        for row in body.get("port_in_requests") or ():
            if row.get("phone_numbers_requested") not in {None, len(wanted.numbers)}:
                continue
            if state(str(row.get("port_in_request_status"))) == "cancelled":
                continue
            found = await client.get(f"{_PORT_IN}/{row['port_in_request_sid']}")
            if {entry.get("phone_number") for entry in _numbers(found)} == set(wanted.numbers):
                return await _progress(client, found)
        token = (body.get("meta") or {}).get("next_token")
        if not token:
            break
        query["Token"] = str(token)
    return None


async def cancel(client: TwilioClient, wanted: Port, reference: str) -> PortProgress:
    """Call it off; ``VendorRefused`` when Twilio says that it is too late."""
    if not reference:
        known = await find(client, wanted, "")
        if known is None:
            return PortProgress("cancelled")
        reference = known.reference
    with contextlib.suppress(VendorUnknown):
        await client.request("DELETE", f"{_PORT_IN}/{reference}", safe=True)
    return await find(client, wanted, reference) or PortProgress("cancelled", reference=reference)


def state(status: str, *, of_number: bool = False) -> PortState | None:
    """``Waiting for Signature``, ``waiting-for-signature`` and ``PortInWaitingForSignature`` are the same word."""
    word = re.sub(r"[^a-z]", "", status.lower())
    word = word.removeprefix("portinphonenumber").removeprefix("portin")
    return (_OF_NUMBERS if of_number else _STATES).get(word)


def moment(written: object) -> datetime | None:
    """A point in time as Twilio's newer parts write it (ISO 8601)."""
    if not isinstance(written, str) or not written:
        return None
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)


def _bill(wanted: Port) -> Letter:
    if not wanted.numbers or len(wanted.numbers) > _MOST_NUMBERS:
        raise VendorRefused(f"twilio ports 1 to {_MOST_NUMBERS} numbers at once")
    if not all(number.startswith("+1") for number in wanted.numbers):
        raise VendorRefused("twilio ports numbers of the United States only; for others write to its support")
    if not wanted.email:
        raise VendorRefused(
            "twilio needs the e-mail address of the authorised person (email): its letter goes there"
        )
    if wanted.bill is None:
        raise VendorRefused("twilio needs the old carrier's latest bill (bill), not older than 30 days")
    if wanted.bill.content_type not in _BILLS or not 0 < len(wanted.bill.content) <= _MOST_BILL:
        raise VendorRefused("twilio takes a bill (bill) as PDF, PNG or JPEG of at most 10 MB")
    return wanted.bill


async def _portable(client: TwilioClient, wanted: Port) -> None:
    async def ask(number: str) -> str:
        url = f"{NUMBERS}/v1/Porting/Portability/PhoneNumber/{quote(number, safe='+')}"
        said = await client.get(url, {"TargetAccountSid": client.account_sid})
        if said.get("portable") is not True:
            why = reason(said.get("not_portable_reason_code"), said.get("not_portable_reason"))
            return f"{number} cannot be ported to twilio ({why})"
        if said.get("pin_and_account_number_required") and not (wanted.pin and wanted.account):
            return f"{number}: the old carrier wants its PIN (pin) and the account (account)"
        return ""

    complaints = [said for said in await _gathered(wanted.numbers, ask) if said]
    if complaints:
        raise VendorRefused("; ".join(complaints[:5]))


async def _gathered(numbers: Sequence[str], ask: Callable[[str], Awaitable[str]]) -> list[str]:
    """What is said of each number, in order; a few are asked about at once."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(number: str) -> str:
        async with places:
            return await ask(number)

    found: list[str] = []
    for said in await asyncio.gather(*map(one, numbers), return_exceptions=True):
        if isinstance(said, BaseException):
            raise said
        found.append(said)
    return found


async def _report_to(client: TwilioClient, hook_url: str) -> None:
    """Have the account's ports reported to us. Without it we ask; a port does not fail for that."""
    url = f"{NUMBERS}/v1/Porting/Configuration/Webhook"
    try:
        await client.request(
            "POST", url, json={"port_in_target_url": hook_url, "notifications_of": []}, safe=True
        )
    except VendorError as error:
        log.warning("twilio_port_hooks_not_set", why=error.message)


async def _deposit(client: TwilioClient, wanted: Port, bill: Letter) -> str:
    data = aiohttp.FormData()
    data.add_field("friendly_name", f"ringline port {wanted.id}")
    data.add_field("document_type", "utility_bill")
    data.add_field("File", bill.content, filename=bill.name or "bill", content_type=bill.content_type)
    answer = await client.request("POST", f"{UPLOAD}/v1/Documents", data=data)
    body = answer.body if isinstance(answer.body, dict) else {}
    # an empty type is how Twilio says that nothing arrived
    if not body.get("sid") or not body.get("mime_type"):
        raise VendorUnavailable("twilio did not take the bill")
    return str(body["sid"])


def _order(client: TwilioClient, wanted: Port, document: str) -> dict[str, Any]:
    owner = wanted.owner
    address = {
        "street": owner.street,
        "city": owner.city,
        "state": owner.region,
        "zip": owner.postal_code,
        "country": owner.country,
    }
    if owner.extended:
        address["street_2"] = owner.extended
    person = wanted.authorised_person or owner.name
    carrier = {
        "customer_type": "Individual" if person.casefold() == owner.name.casefold() else "Business",
        "customer_name": owner.name,
        "account_number": wanted.account,
        "authorized_representative": person,
        "authorized_representative_email": wanted.email,
        "address": address,
    }
    pin = {"pin": wanted.pin} if wanted.pin else {}
    body: dict[str, Any] = {
        "account_sid": client.account_sid,
        "documents": [document],
        "phone_numbers": [{"phone_number": number, **pin} for number in wanted.numbers],
        "losing_carrier_information": carrier,
    }
    if wanted.wanted is not None:
        body["target_port_in_date"] = wanted.wanted.isoformat()
    return body


async def _progress(client: TwilioClient, body: dict[str, Any]) -> PortProgress:
    sid = body.get("port_in_request_sid")
    said = state(str(body.get("port_in_request_status") or ""))
    if not isinstance(sid, str) or not sid or said is None:
        raise VendorUncertain("twilio answered without a port's reference or state")
    numbers = _numbers(body)
    dates = [date for date in (moment(entry.get("port_date")) for entry in numbers) if date is not None]
    if said == "in-process" and dates and len(dates) == len(numbers):
        said = "foc-confirmed"
    done = [str(entry["phone_number"]) for entry in numbers if _number_state(entry) == "completed"]
    if said == "ported" and not done:
        said = "cancelled"
    references = dict(zip(done, await _gathered(done, partial(_reference, client)), strict=True))
    return PortProgress(said, sid, _why(body, numbers), max(dates, default=None), references)


async def _reference(client: TwilioClient, number: str) -> str:
    url = client.of_account("IncomingPhoneNumbers")
    async for row in client.rows(
        url, "incoming_phone_numbers", {"PhoneNumber": number, "PageSize": 20}, pages=1
    ):
        if row.get("phone_number") == number:
            return str(row.get("sid") or "")
    return ""


def _why(body: dict[str, Any], numbers: list[dict[str, Any]]) -> str:
    if body.get("order_cancellation_reason"):
        return str(body["order_cancellation_reason"])
    said = []
    for entry in numbers:
        why = entry.get("rejection_reason") or entry.get("not_portability_reason")
        if why and _number_state(entry) != "completed":
            said.append(f"{entry.get('phone_number')}: {why}")
    if said:
        return "; ".join(said[:5])
    status = state(str(body.get("port_in_request_status")))
    if status == "submitted" and body.get("signature_request_url"):
        return "the letter of authorisation waits for the authorised person's signature (e-mail)"
    return (
        "twilio wants something mended and does not say what; its support knows"
        if status == "exception"
        else ""
    )


def _number_state(entry: dict[str, Any]) -> str:
    return re.sub(r"[^a-z]", "", str(entry.get("port_in_phone_number_status") or "").lower())


def _numbers(body: dict[str, Any]) -> list[dict[str, Any]]:
    numbers = body.get("phone_numbers")
    return [entry for entry in numbers if isinstance(entry, dict)] if isinstance(numbers, list) else []
