"""What is taken out of SIP messages before they are kept or shown.

Credentials and keys; our own headers; digits that a caller pressed (a PIN by INFO would lie in the database for
days); and, for an anonymous caller, the identity that the network told us and no user may see (RFC 3325 section 7).
What stands in a body is replaced by as many ``x``, so that Content-Length stays right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ringline.sip.identity import parse_party
from ringline.traces.message import header

_FLAGS = re.IGNORECASE | re.MULTILINE
_REST = rb"[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*"

_OURS = re.compile(rb"^X-Ringline-[^:\r\n]*:" + _REST + rb"\r?\n", _FLAGS)
_AUTHORIZATION = re.compile(
    rb"^((?:Proxy-)?(?:Authorization|Authentication-Info)|(?:WWW|Proxy)-Authenticate)([ \t]*:[ \t]*)("
    + _REST
    + rb")",
    _FLAGS,
)
_DIGEST = re.compile(
    rb"\b(response|nonce|nextnonce|cnonce|opaque|rspauth)([ \t]*=[ \t]*)(\"[^\"\r\n]*\"|[^,\s\"]+)",
    re.IGNORECASE,
)
_SCHEME_ONLY = re.compile(rb"^([A-Za-z]+)[ \t]+[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*")
_SECRET_NAMES = re.compile(
    rb"^([^:\s]*(?:token|secret|passw|api-?key)[^:\s]*[ \t]*:[ \t]*)(" + _REST + rb")", _FLAGS
)
_SECRET_WORDS = (b"token", b"secret", b"passw", b"apikey", b"api-key")
# begins with what is looked for quickly
_SIGNATURE = re.compile(rb"sig=([0-9A-Za-z]+)")

_KEYS = re.compile(
    rb"^(a=crypto:[^\r\n]*?inline:|a=ice-pwd:|k=[a-z0-9]+:)([^\r\n|]+)((?:[|][^\r\n]*)?)", _FLAGS
)
_SIGNAL = re.compile(rb"^(Signal[ \t]*=[ \t]*)([0-9A-D*#]+)", _FLAGS)
_DTMF = re.compile(rb"^Content-Type[ \t]*:[ \t]*application/dtmf(?:-relay)?\b", _FLAGS)

_IDENTITIES = ("P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID")
_IDENTITY = re.compile(
    rb"^((?:" + b"|".join(name.encode() for name in _IDENTITIES) + rb")[ \t]*:[ \t]*)" + _REST, _FLAGS
)
_NOBODY = rb"\1<sip:anonymous@anonymous.invalid>"
_LEAST_MARK = 3
_UNAMBIGUOUS = 6


def redact(raw: bytes) -> bytes:
    """The message without credentials, keys, digits and headers of ours; itself where it has none of them."""
    whole = raw.lower()
    # most messages have none of these, and to look for a word costs less than an expression
    if not (
        b"sig=" in whole
        or b"auth" in whole
        or b"x-ringline-" in whole
        or b"crypto:" in whole
        or b"ice-pwd:" in whole
        or b"k=" in whole
        or b"application/dtmf" in whole
        or any(word in whole for word in _SECRET_WORDS)
    ):
        return raw
    head, blank, body = raw.partition(b"\r\n\r\n")
    # each line has its end, the last one too
    head += b"\r\n"
    lower = head.lower()
    if b"x-ringline-" in lower:
        head = _OURS.sub(b"", head)
    if b"auth" in lower:
        head = _AUTHORIZATION.sub(_without_proof, head)
    if any(word in lower for word in _SECRET_WORDS):
        head = _SECRET_NAMES.sub(rb"\1redacted", head)
    if b"sig=" in head:
        head = _SIGNATURE.sub(_signature_crossed_out, head)
    if body:
        if b"crypto:" in body or b"ice-pwd:" in body or b"k=" in body:
            body = _KEYS.sub(_crossed_out, body)
        if b"application/dtmf" in lower and _DTMF.search(head):
            body = _SIGNAL.sub(_crossed_out, body)
            if b"=" not in body:
                body = re.sub(rb"[0-9A-Da-d*#]", b"x", body)
    return head[:-2] + blank + body


def identity_marks(raws: Iterable[bytes]) -> list[bytes]:
    """What tells who an anonymous caller is, from the INVITEs that came in: numbers without their +, names."""
    marks: set[str] = set()
    for raw in raws:
        values = [header(raw, name) for name in _IDENTITIES]
        values += [header(raw, "From", "f"), header(raw, "Contact", "m")]
        for value in values:
            party = parse_party(value)
            if party is not None:
                marks.update((party.user.lstrip("+"), party.display))
    return [
        mark.encode()
        for mark in sorted(marks, key=len, reverse=True)
        if len(mark) >= _LEAST_MARK and "anonymous" not in mark.lower()
    ]


def hide_identity(raw: bytes, marks: Iterable[bytes]) -> bytes:
    """The message without the identity of an anonymous caller."""
    head, blank, body = raw.partition(b"\r\n\r\n")
    head = _IDENTITY.sub(_NOBODY, head)
    hidden = head + blank + body
    for mark in marks:
        pattern = re.escape(mark)
        if len(mark) < _UNAMBIGUOUS:
            pattern = rb"(?<![0-9A-Za-z])" + pattern + rb"(?![0-9A-Za-z])"
        hidden = re.sub(pattern, b"x" * len(mark), hidden)
    return hidden


def _without_proof(match: re.Match[bytes]) -> bytes:
    name, colon, value = match[1], match[2], match[3]
    scheme = _SCHEME_ONLY.match(value)
    if scheme and scheme[1].lower() != b"digest" and name.lower().endswith(b"authorization"):
        value = scheme[1] + b" redacted"
    return name + colon + _DIGEST.sub(rb'\1\2"redacted"', value)


def _signature_crossed_out(match: re.Match[bytes]) -> bytes:
    before = match.string[match.start() - 1 : match.start()]
    return b"sig=" + b"x" * len(match[1]) if before in (b";", b"?", b"&") else match[0]


def _crossed_out(match: re.Match[bytes]) -> bytes:
    rest = match[3] if match.re.groups > 2 else b""
    return match[1] + b"x" * len(match[2]) + rest
