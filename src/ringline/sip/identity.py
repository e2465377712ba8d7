"""Who is calling, read from the headers of a SIP request (RFC 3261 section 20.10, RFC 3323, RFC 3325)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

_NAME_ADDR = re.compile(r'^\s*(?:"((?:[^"\\]|\\.)*)"|([^<"]*?))\s*<([^<>]+)>')
_URI = re.compile(r"^(sips?|tel):(?:([^@?]*)@)?([^;?]*)", re.IGNORECASE)
_HIDING = frozenset({"id", "user", "header", "critical"})
_MAX_HEADER = 2048
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"[0-9A-Za-z+*#._()-]{1,64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Party:
    """One ``name-addr``: ``display`` without quotes, ``user`` decoded, ``host`` without port parameters."""

    display: str
    user: str
    host: str
    uri: str


@dataclass(frozen=True, slots=True)
class CallerIdentity:
    """The caller as we believe it; ``number`` is real even when ``anonymous`` says that it must not be shown."""

    number: str
    display: str
    anonymous: bool


def parse_party(header: str) -> Party | None:
    """Parse a From, To or P-Asserted-Identity value; ``None`` where it is no address.

    Only the first address of a list is read. Never raises: the text comes from the network.
    """
    header = header[:_MAX_HEADER].strip()
    if not header:
        return None
    display = ""
    uri = header
    if match := _NAME_ADDR.match(header):
        display = re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else (match[2] or "").strip()
        uri = match[3].strip()
    found = _URI.match(uri)
    if found is None:
        return None
    scheme, user, host = found[1].lower(), found[2], found[3]
    if scheme == "tel":
        number = uri[len("tel:") :].partition(";")[0]
        return Party(display=_clean(display), user=_clean(unquote(number)), host="", uri=_clean(uri))
    # a number's own parameters (RFC 3966: ";npdi", ";phone-context=...") and a password are no part of it
    user = (user or "").partition(";")[0].partition(":")[0]
    return Party(
        display=_clean(display), user=_clean(unquote(user)), host=_clean(host.strip()), uri=_clean(uri)
    )


def _clean(text: str) -> str:
    """What no database and no log takes is left out, after the last decoding."""
    return _CONTROL.sub("", text)


def wants_privacy(privacy: str) -> bool:
    """Whether a Privacy header (RFC 3323) hides the caller: ``id``, ``user``, ``header`` or ``critical``."""
    values = {value.strip().lower() for value in privacy[:_MAX_HEADER].replace(",", ";").split(";")}
    return bool(values & _HIDING)


def caller(from_header: str, asserted: str, privacy: str) -> CallerIdentity:
    """The caller's identity from a trusted source: P-Asserted-Identity first, then From."""
    party = parse_party(asserted) or parse_party(from_header)
    sender = parse_party(from_header)
    hidden = wants_privacy(privacy) or (sender is not None and sender.user.lower() == "anonymous")
    if party is None or party.user.lower() == "anonymous":
        return CallerIdentity(number="", display="", anonymous=True)
    number = party.user if _NUMBER.fullmatch(party.user) else ""
    return CallerIdentity(number=number, display=party.display, anonymous=hidden)
