"""Twilio's signature of its webhooks: https://www.twilio.com/docs/usage/webhooks/webhooks-security.

HMAC-SHA1 with the account's auth token over the URL that Twilio was given, followed by the names and values of a
form's fields in order; a JSON body counts through its SHA-256, which is a parameter of the URL. There is no time in
it: what was recorded can be sent again, and is known by its event id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import parse_qs, parse_qsl, urlsplit

from ringline.vendors.errors import HookRefused
from ringline.vendors.events import Hook

BODY_HASH: Final = "bodySHA256"
_PORTS: Final = {"https": 443, "http": 80}
_MOST_FIELDS: Final = 500
Fields = dict[str, list[str]]


def fields(hook: Hook) -> Fields:
    """The fields of a form as they were sent, each with its values in order."""
    try:
        pairs = parse_qsl(
            hook.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError as error:
        raise HookRefused("the body is no form") from error
    found: Fields = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def is_form(hook: Hook) -> bool:
    """Whether the body is a form; JSON otherwise."""
    media_type = hook.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/x-www-form-urlencoded" or not hook.body


def verify(token: str, hook: Hook) -> None:
    """Raise ``HookRefused`` unless Twilio signed this."""
    given = hook.headers.get("x-twilio-signature", "")
    if not given:
        raise HookRefused("no X-Twilio-Signature")
    if _algorithm(hook.headers.get("x-twilio-webhooks-signature-settings", "")) != "HMAC_SHA1":
        raise HookRefused("signed with a shared key of Twilio's, not with the account's auth token")
    signed: Fields = {}
    if is_form(hook):
        signed = fields(hook)
    else:
        query = parse_qs(urlsplit(hook.url).query)
        wanted = query.get(BODY_HASH, [""])[0]
        if not _equal(hashlib.sha256(hook.body).hexdigest(), wanted.lower()):
            raise HookRefused(f"the body is not the one of {BODY_HASH}")
    # each is computed, so that the time tells nothing about which one fitted
    if not any([_equal(signature(token, url, signed), given) for url in _variants(hook.url)]):  # noqa: C419
        raise HookRefused("X-Twilio-Signature is wrong")


def signature(token: str, url: str, form: Mapping[str, Iterable[str]]) -> str:
    """What Twilio would sign this with. A value that a field has twice counts once."""
    text = url + "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    return base64.b64encode(hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()).decode()


def _variants(url: str) -> list[str]:
    """The URL without a port and with one: Twilio's own parts disagree about it."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise HookRefused("the URL has no valid port") from error
    bare = parts.netloc.removesuffix(f":{port}") if port else parts.netloc
    with_port = parts.netloc if port else f"{parts.netloc}:{_PORTS.get(parts.scheme, 80)}"
    # by hand: taken apart and put together again a URL may look otherwise
    scheme, _, rest = url.partition("//")
    return [f"{scheme}//{netloc}{rest.removeprefix(parts.netloc)}" for netloc in (bare, with_port)]


def _algorithm(settings: str) -> str:
    for part in settings.split(","):
        name, _, value = part.partition("=")
        if name.strip() == "algorithm" and value.strip():
            return value.strip().upper()
    return "HMAC_SHA1"


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "surrogatepass"))
