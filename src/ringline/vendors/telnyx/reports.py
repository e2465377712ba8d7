"""Telnyx's webhooks: Ed25519 over ``timestamp|body``, five minutes either way, and what is in them.

Deliveries of one event have one id; Telnyx repeats one until it is answered 2xx, each time under a new timestamp.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import orjson

from ringline.vendors.errors import HookRefused, VendorError
from ringline.vendors.events import Event, Hook, Media, OrderChanged, PortChanged, TextArrived, TextChanged
from ringline.vendors.telnyx.api import our_id, part, parts, text
from ringline.vendors.telnyx.orders import read_order
from ringline.vendors.telnyx.ports import read_port
from ringline.vendors.telnyx.texts import hooked_id, read_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE: Final = "telnyx-signature-ed25519"
TIMESTAMP: Final = "telnyx-timestamp"
WINDOW_SECONDS: Final = 300
_CHANNELS: Final = frozenset({"", "SMS", "MMS"})


class Reports:
    """Verifies with the account's public key (base64, 32 bytes) and translates."""

    def __init__(self, public_key: str, *, now: Callable[[], float] = time.time) -> None:
        self._public_key = public_key
        self._now = now
        self._key: Ed25519PublicKey | None = None

    def read(self, hook: Hook) -> list[Event]:
        """The events of a webhook. Raises ``HookRefused``; of what we have no use for there are none."""
        self._verify(hook)
        try:
            body = orjson.loads(hook.body)
        except orjson.JSONDecodeError:
            return []
        event = part(body if isinstance(body, dict) else {}, "data")
        event_id = text(event.get("id")) or hashlib.sha256(hook.body).hexdigest()
        reader = _READERS.get(text(event.get("event_type")))
        try:
            return reader(event_id, part(event, "payload")) if reader else []
        except VendorError:
            # signed, and without the ids that it is documented to have
            return []

    async def prepare(self) -> None:
        """Load what verifying takes (some 60 ms, once) outside the loop, before requests that webhooks follow."""
        if self._key is None and self._public_key:
            with contextlib.suppress(HookRefused):
                await asyncio.to_thread(self.key)

    def key(self) -> Ed25519PublicKey:
        """The public key. ``HookRefused`` if none is set, or nonsense."""
        if self._key is None:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - large

            try:
                self._key = Ed25519PublicKey.from_public_bytes(
                    base64.b64decode(self._public_key, validate=True)
                )
            except ValueError:
                raise HookRefused("RINGLINE_TELNYX_PUBLIC_KEY is not the base64 of an Ed25519 key") from None
        return self._key

    def _verify(self, hook: Hook) -> None:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - large, and webhooks are seldom

        stamp, signature = hook.headers.get(TIMESTAMP, ""), hook.headers.get(SIGNATURE, "")
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
            raise HookRefused(f"{TIMESTAMP} is missing or no number of seconds")
        if abs(self._now() - int(stamp)) > WINDOW_SECONDS:
            raise HookRefused(f"{TIMESTAMP} is more than {WINDOW_SECONDS} s off")
        try:
            self.key().verify(base64.b64decode(signature, validate=True), stamp.encode() + b"|" + hook.body)
        except (InvalidSignature, binascii.Error, ValueError):
            raise HookRefused(f"{SIGNATURE} is missing or wrong") from None


def _order(event_id: str, payload: dict[str, Any]) -> list[Event]:
    """One event for each number. The number's own id is not in it; ``find_order`` tells."""
    purchase_id = our_id(payload.get("customer_reference"))
    numbers = [
        number for entry in parts(payload, "phone_numbers") if (number := text(entry.get("phone_number")))
    ]
    return [
        OrderChanged(_nth(event_id, index), purchase_id, number, read_order(payload, number))
        for index, number in enumerate(numbers)
    ]


def _arrived(event_id: str, payload: dict[str, Any]) -> list[Event]:
    if text(payload.get("type")) not in _CHANNELS:
        return []
    source = text(part(payload, "from").get("phone_number"))
    media = tuple(
        Media(url, text(entry.get("content_type")))
        for entry in parts(payload, "media")
        if (url := text(entry.get("url")))
    )
    to = [number for entry in parts(payload, "to") if (number := text(entry.get("phone_number")))]
    reference = text(payload.get("id"))
    if not source or not reference:
        return []
    return [
        TextArrived(_nth(event_id, index), reference, source, number, text(payload.get("text")), media)
        for index, number in enumerate(dict.fromkeys(to))
    ]


def _changed(event_id: str, payload: dict[str, Any]) -> list[Event]:
    text_id = hooked_id(text(payload.get("webhook_url")))
    return [
        TextChanged(_nth(event_id, index), text_id, number, read_text(payload, number))
        for index, entry in enumerate(parts(payload, "to"))
        if (number := text(entry.get("phone_number")))
    ]


def _ported(event_id: str, payload: dict[str, Any]) -> list[Event]:
    progress = read_port(payload)
    port_id = our_id(payload.get("customer_reference"))
    return [PortChanged(event_id, port_id, progress)] if progress.reference else []


def _nth(event_id: str, index: int) -> str:
    return f"{event_id}#{index}" if index else event_id


_READERS: Final[Mapping[str, Callable[[str, dict[str, Any]], list[Event]]]] = {
    "number_order.complete": _order,
    "message.received": _arrived,
    "message.sent": _changed,
    "message.finalized": _changed,
    "message.read": _changed,
    "porting_order.status_changed": _ported,
}
