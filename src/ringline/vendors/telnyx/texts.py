"""Texts over Telnyx.

It keeps no reference of ours with a text. Our id goes along in two ways: as ``Idempotency-Key``, by which Telnyx
knows a repetition of a request that succeeded for 24 hours, and in the query of ``webhook_url``, which comes back in
every signed report about the text.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from ringline.vendors.client import VendorClient
from ringline.vendors.errors import NotSupported, VendorRefused, VendorUncertain, VendorUnknown
from ringline.vendors.models import Sent, Text, TextState
from ringline.vendors.telnyx.api import API, NAME, at, data, our_id, parts, row, text

_STATES: Final[dict[str, TextState]] = {
    "queued": "sending",
    "sending": "sending",
    "sent": "sent",
    "delivered": "delivered",
    "read": "delivered",
    # the carrier gives no reports: nobody will ever know more
    "delivery_unconfirmed": "sent",
    "sending_failed": "failed",
    "delivery_failed": "failed",
    "expired": "failed",
}


class Texts:
    """Texts to handsets."""

    def __init__(self, client: VendorClient, *, hook_url: str) -> None:
        self._client = client
        self._hook_url = hook_url

    async def send(self, message: Text) -> Sent:
        """Send a text; a lost answer is asked for again under the same key, a failure of Telnyx's (5xx) is not."""
        body: dict[str, Any] = {"from": message.source, "to": message.destination}
        if message.text:
            body["text"] = message.text
        if message.media:
            body["media_urls"] = list(message.media)
        body["type"] = "MMS" if message.media else "SMS"
        if self._hook_url:
            body["webhook_url"] = hook_url(self._hook_url, message.id)
        try:
            answer = await self._client.request("POST", f"{API}/messages", json=body, key=str(message.id))
        except VendorRefused as error:
            if error.status == 409:
                # the first request under this key is still at work
                raise VendorUncertain(error.message, code=error.code, status=error.status) from None
            raise
        return read_text(data(answer), message.destination)

    async def find_text(self, message: Text, reference: str) -> Sent | None:
        """By Telnyx's id, for ten days. Without it there is nothing to ask by, and reports tell: ``NotSupported``.

        Never ``None``: an id that Telnyx gave is of a text that it had, also when it does not know it any more.
        """
        if not reference:
            raise NotSupported(f"{NAME} tells of a text by its own id only")
        try:
            answer = await self._client.request("GET", at("messages", reference))
        except VendorUnknown:
            raise NotSupported(f"{NAME} does not tell of this text any more") from None
        return read_text(row(answer), message.destination)


def hook_url(base: str, text_id: UUID) -> str:
    """Where reports about a text go, with our id of it."""
    return f"{base}?{urlencode({'text': str(text_id)})}"


def hooked_id(url: str) -> UUID | None:
    """Our id of a text out of the address that a report about it names."""
    try:
        return our_id(parse_qs(urlsplit(url).query).get("text", [""])[0])
    except ValueError:
        return None


def read_text(said: dict[str, Any], destination: str) -> Sent:
    """A ``message`` of Telnyx: the state for one destination."""
    reference = text(said.get("id"))
    if not reference:
        raise VendorUncertain(f"{NAME} did not say which text it took")
    targets = parts(said, "to")
    target = next(
        (entry for entry in targets if entry.get("phone_number") == destination),
        targets[0] if targets else {},
    )
    state = _STATES.get(text(target.get("status")), "sending")
    pieces = said.get("parts")
    return Sent(
        state,
        reference,
        reason=_reason(said) if state == "failed" else "",
        parts=pieces if isinstance(pieces, int) and not isinstance(pieces, bool) and pieces > 0 else 0,
    )


def _reason(said: dict[str, Any]) -> str:
    """The first error in Telnyx's code and words."""
    first = next(iter(parts(said, "errors")), {})
    code = first.get("code")
    words = text(first.get("detail")) or text(first.get("title"))
    reason = " ".join(str(word) for word in (code, words) if isinstance(word, str | int) and word)
    return reason[:300] or "not delivered"
