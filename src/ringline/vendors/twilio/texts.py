"""Texts that are sent through Twilio (Messages)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from ringline.vendors.errors import NotSupported, VendorBusy, VendorUncertain, VendorUnknown
from ringline.vendors.models import Sent, Text, TextState
from ringline.vendors.twilio.client import TwilioClient
from ringline.vendors.twilio.codes import DAILY_LIMIT, reason

_STATES: Final[Mapping[str, TextState]] = {
    "accepted": "sending",
    "scheduled": "sending",
    "queued": "sending",
    "sending": "sending",
    "sent": "sent",
    "partially_delivered": "sent",
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "failed",
    "failed": "failed",
    "canceled": "failed",
}
TEXT_ID: Final = "text_id"
"""Parameter of the status callback's URL: Twilio keeps no reference of ours, but calls the URL that it was given."""
_SKEW: Final = timedelta(seconds=90)
_PAGES: Final = 4
_DAILY_SECONDS: Final = 900.0
"""Until the next try of an account that has sent its texts of the day."""
_ON_TRIAL: Final = "Sent from your Twilio trial account - "


async def send(client: TwilioClient, hook_url: str, text: Text) -> Sent:
    """Charged as soon as Twilio takes it: sent once."""
    form = [("To", text.destination), ("From", text.source)]
    if text.text or not text.media:
        form.append(("Body", text.text))
    form += [("MediaUrl", url) for url in text.media]
    form.append(("StatusCallback", callback_url(hook_url, text)))
    try:
        return _sent(await client.post(client.of_account("Messages"), form))
    except VendorBusy as busy:
        if busy.code != DAILY_LIMIT:
            raise
        raise VendorBusy(
            busy.message, retry_after=_DAILY_SECONDS, code=busy.code, status=busy.status
        ) from None


async def find(client: TwilioClient, text: Text, reference: str) -> Sent | None:
    """By Twilio's reference; without one by sender, recipient, words and time, where only one text fits.

    ``NotSupported``: several fit, or we do not know when it was sent, so that an earlier one could be meant.
    """
    if reference:
        try:
            return _sent(await client.get(client.of_account(f"Messages/{reference}")))
        except VendorUnknown:
            return None
    query: dict[str, str | int] = {"To": text.destination, "From": text.source, "PageSize": 50}
    rows = client.rows(client.of_account("Messages"), "messages", query, pages=_PAGES)
    found = [_sent(row) async for row in rows if _same(row, text)]
    if not found:
        return None
    if text.tm_sent is None or len(found) > 1:
        raise NotSupported("twilio cannot tell which of several equal texts this is")
    return found[0]


def callback_url(hook_url: str, text: Text) -> str:
    """Where Twilio reports on this text."""
    joint = "&" if urlsplit(hook_url).query else "?"
    return f"{hook_url}{joint}{urlencode({TEXT_ID: str(text.id)})}"


def state(status: str) -> TextState | None:
    """Twilio's word for a text of ours, translated; ``None`` for words of texts that come in."""
    return _STATES.get(status)


def _sent(row: Mapping[str, Any]) -> Sent:
    sid = row.get("sid")
    said = state(str(row.get("status") or ""))
    if not isinstance(sid, str) or not sid or said is None:
        raise VendorUncertain("twilio answered without a text's reference or state")
    parts = str(row.get("num_segments") or "0")
    return Sent(
        said,
        reference=sid,
        reason=reason(row.get("error_code"), row.get("error_message")) if said == "failed" else "",
        parts=int(parts) if parts.isdecimal() else 0,
    )


def _same(row: Mapping[str, Any], text: Text) -> bool:
    if (
        row.get("direction") == "inbound"
        or row.get("to") != text.destination
        or row.get("from") != text.source
    ):
        return False
    if str(row.get("num_media") or "0") != str(len(text.media)):
        return False
    if str(row.get("body") or "").removeprefix(_ON_TRIAL).strip() != text.text.strip():
        return False
    made = _time(row.get("date_created"))
    return text.tm_sent is None or made is None or made >= _aware(text.tm_sent) - _SKEW


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _time(written: object) -> datetime | None:
    """``Thu, 24 Aug 2023 05:01:45 +0000`` (RFC 2822)."""
    try:
        return _aware(parsedate_to_datetime(str(written)))
    except ValueError:
        return None
