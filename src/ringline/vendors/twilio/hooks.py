"""Twilio's webhooks, translated: texts that come in, what became of ours, ports that go on."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson

from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Event, Hook, Media, PortChanged, TextArrived, TextChanged
from ringline.vendors.models import PortProgress, Sent
from ringline.vendors.twilio import porting, signing, texts
from ringline.vendors.twilio.codes import reason

_MOST_MEDIA: Final = 10
_SENDER: Final = re.compile(r"\+?[0-9]{3,15}|[A-Za-z0-9 &+_-]{1,11}")
"""A telephone number, a short code or a name; not ``whatsapp:...`` and other channels."""


def read(token: str, hook: Hook) -> list[Event]:
    """Verify and translate."""
    signing.verify(token, hook)
    if signing.is_form(hook):
        form = {name: values[0] for name, values in signing.fields(hook).items()}
        return _text(form, hook.url)
    try:
        body = orjson.loads(hook.body)
    except orjson.JSONDecodeError as error:
        raise HookRefused("the body is no JSON") from error
    return _port(body) if isinstance(body, dict) else []


def _text(form: dict[str, str], url: str) -> list[Event]:
    sid = form.get("MessageSid") or form.get("SmsSid") or ""
    source, destination = form.get("From", ""), form.get("To", "")
    if not sid or _SENDER.fullmatch(source) is None or _SENDER.fullmatch(destination) is None:
        return []
    status = form.get("MessageStatus", "") or form.get("SmsStatus", "")
    said = texts.state(status)
    if said is not None:
        why = reason(form.get("ErrorCode"), form.get("ErrorMessage")) if said == "failed" else ""
        sent = Sent(said, reference=sid, reason=why)
        return [TextChanged(f"{sid}:{status}", _text_id(url), destination, sent)]
    if status not in {"received", "receiving"}:
        return []
    return [TextArrived(f"{sid}:received", sid, source, destination, form.get("Body", ""), _media(form))]


def _media(form: dict[str, str]) -> tuple[Media, ...]:
    count = form.get("NumMedia", "0")
    many = min(int(count), _MOST_MEDIA) if count.isdecimal() else 0
    found = (
        (form.get(f"MediaUrl{index}", ""), form.get(f"MediaContentType{index}", "")) for index in range(many)
    )
    return tuple(Media(url, kind) for url, kind in found if url)


def _text_id(url: str) -> UUID | None:
    try:
        return UUID(parse_qs(urlsplit(url).query)[texts.TEXT_ID][0])
    except (KeyError, ValueError):
        return None


def _port(body: dict[str, Any]) -> list[Event]:
    """A hint: it may tell of one number of several. ``find_port`` has the truth."""
    sid, status = body.get("port_in_request_sid"), body.get("status")
    if not isinstance(sid, str) or not sid or not isinstance(status, str):
        return []
    number = str(body.get("port_in_phone_number_sid") or body.get("phone_number") or "")
    said = porting.state(status, of_number=bool(number))
    if said is None:
        return []
    why = (
        body.get("rejection_reason")
        or body.get("order_cancellation_reason")
        or body.get("not_portable_reason")
    )
    progress = PortProgress(said, reference=sid, reason=str(why or ""), tm_foc=_time(body.get("port_date")))
    marks = (sid, number, status, str(body.get("last_date_updated") or ""))
    return [PortChanged(":".join(marks), None, progress)]


def _time(written: object) -> datetime | None:
    return porting.moment(written)
