"""What all operations of Telnyx's API v2 share: addresses, the form of answers and of errors.

Answers are ``{"data": ...}``, errors ``{"errors": [{"code", "title", "detail", "source": {"pointer"}}]}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from ringline.vendors.client import Answer, Complaint, VendorClient
from ringline.vendors.errors import VendorMisconfigured, VendorUnavailable, VendorUncertain, VendorUnknown

NAME: Final = "telnyx"
API: Final = "https://api.telnyx.com/v2"
_STRANGE: Final = f"{NAME} answered something else than it documents"

# About the account and not about what was asked (developers.telnyx.com, "API error codes"): a key that is wrong or
# may not do it, a feature that is off, a messaging profile that is switched off, has no numbers or spent its limit.
# 20xxx is all about the account: deleted or revoked keys, not verified, not enough money.
_OURS: Final = frozenset({"10009", "10010", "10038", "40312", "40313", "40333"})

_GONE: Final = frozenset({"deleted", "purchase-failed", "port-failed", "ported-out"})
_OUR_FIELDS: Final = frozenset({"connection_id", "messaging_profile_id"})
"""Fields of a request that the operator's settings fill."""


def at(kind: str, identity: str, *more: str) -> str:
    """The address of one resource. Ids come from settings, the database and answers: none leads elsewhere."""
    if not identity.strip("."):
        raise VendorUnknown(f"{NAME} has no {identity!r}")
    return "/".join([API, kind, quote(identity, safe=""), *more])


def complaint(body: Any) -> Complaint:
    """The first error of an answer; the field it names stands behind the words."""
    errors = _entry(body, "errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    code = _entry(first, "code")
    code = str(code) if isinstance(code, str | int) else ""
    words = text(_entry(first, "detail")) or text(_entry(first, "title"))
    source = _entry(first, "source")
    field = text(_entry(source, "pointer")) or text(_entry(source, "parameter"))
    field = field.strip("/").rsplit("/", 1)[-1] if words else ""
    funds = "insufficient funds" in f"{text(_entry(first, 'title'))} {words}".casefold()
    ours = funds or code in _OURS or field in _OUR_FIELDS or (len(code) == 5 and code.startswith("20"))
    return Complaint(code, f"{words} ({field})" if field and not field.isdigit() else words, ours=ours)


def data(answer: Answer) -> dict[str, Any]:
    """The object that was answered to a request that did something. ``VendorUncertain`` if there is none."""
    found = _entry(answer.body, "data")
    if not isinstance(found, dict):
        raise VendorUncertain(_STRANGE)
    return found


def rows(answer: Answer) -> list[dict[str, Any]]:
    """The objects that were answered to a question. ``VendorUnavailable`` if it is no list: nothing was done."""
    found = _entry(answer.body, "data")
    if not isinstance(found, list):
        raise VendorUnavailable(_STRANGE)
    return [row for row in found if isinstance(row, dict)]


def row(answer: Answer) -> dict[str, Any]:
    """The object that was answered to a question. ``VendorUnavailable`` if there is none."""
    found = _entry(answer.body, "data")
    if not isinstance(found, dict):
        raise VendorUnavailable(_STRANGE)
    return found


def text(value: object) -> str:
    """A text as it is, anything else as ``""``; a vendor's answer is somebody else's word."""
    return value if isinstance(value, str) else ""


def part(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object within an object, empty where there is none."""
    found = row.get(name)
    return found if isinstance(found, dict) else {}


def parts(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list within an object."""
    found = row.get(name)
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def our_id(value: object) -> UUID | None:
    """An id of ours that was given along as a reference, if it is one."""
    try:
        return UUID(text(value))
    except ValueError:
        return None


async def find_number(client: VendorClient, number: str) -> dict[str, Any] | None:
    """What the account holds under this very number, ``None`` if it does not."""
    answer = await client.request(
        "GET", f"{API}/phone_numbers", query=[("filter[phone_number]", number), ("page[size]", "20")]
    )
    held = [
        row for row in rows(answer) if row.get("phone_number") == number and row.get("status") not in _GONE
    ]
    # one that is on its way in or out comes after one that works
    held.sort(key=lambda row: row.get("status") != "active")
    return held[0] if held else None


def needs(value: str, setting: str) -> str:
    """A setting without which something cannot be asked for."""
    if not value:
        raise VendorMisconfigured(f"{NAME} is not set up for this here", code=setting)
    return value


def _entry(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
