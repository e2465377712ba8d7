"""SIP URIs, ``name-addr`` headers and Via values (RFC 3261 sections 19.1, 20.10 and 20.42)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote


class Malformed(ValueError):
    """The text does not follow SIP's grammar; the message says which part."""


_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:;?\[\]\s]+)(?::([0-9]{1,5}))?")


def split_outside(text: str, separator: str) -> list[str]:
    """Split at a separator that stands neither in a quoted string nor between angle brackets."""
    parts: list[str] = []
    start = depth = 0
    quoted = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted:
            escaped = char == "\\"
            quoted = char != '"'
        elif char == '"':
            quoted = True
        elif char == "<":
            depth += 1
        elif char == ">":
            depth = max(0, depth - 1)
        elif char == separator and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return [part.strip() for part in parts]


def parameters(parts: list[str]) -> dict[str, str]:
    """``name=value`` items as a mapping with lower-case names; a flag without a value maps to ``""``."""
    result: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition("=")
        if name.strip():
            result[name.strip().lower()] = value.strip().strip('"')
    return result


def host_port(text: str) -> tuple[str, int | None]:
    """``host[:port]`` apart; the port is ``None`` where the text has none."""
    match = _HOST_PORT.fullmatch(text.strip())
    if match is None:
        raise Malformed(f"not a host with an optional port: {text[:80]!r}")
    port = int(match[2]) if match[2] else None
    if port is not None and not 0 < port < 65536:
        raise Malformed(f"port out of range: {text[:80]!r}")
    return match[1], port


@dataclass(frozen=True, slots=True)
class Uri:
    """``sip:user@host:port;parameters``. ``user`` is unescaped and carries no user parameters."""

    scheme: str
    user: str
    host: str
    port: int | None
    params: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Uri:
        """Read a SIP URI; a ``tel`` URI comes back with its number as user and no host."""
        scheme, colon, rest = text.strip().partition(":")
        scheme = scheme.lower()
        if not colon or not scheme.isalnum():
            raise Malformed(f"not a URI: {text[:80]!r}")
        if scheme == "tel":
            number, *params = rest.split(";")
            return cls(scheme, unquote(number), "", None, parameters(params))
        if scheme not in ("sip", "sips"):
            raise Malformed(f"unsupported URI scheme: {scheme[:20]!r}")
        rest = rest.partition("?")[0]
        user, at, where = rest.rpartition("@")
        location, *params = where.split(";")
        host, port = host_port(location)
        if at and not user:
            raise Malformed(f"URI with an empty user: {text[:80]!r}")
        # ``user:password`` and ``user;phone-context=...``: only what was dialled counts.
        plain = unquote(user.partition(":")[0].partition(";")[0], errors="replace")
        return cls(scheme, plain, host, port, parameters(params))


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A From, To, Contact or Route value: display name (unquoted), URI as written, header parameters."""

    display: str
    uri: str
    params: dict[str, str]

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Read one value. Without angle brackets, everything behind ``;`` belongs to the header."""
        text = text.strip()
        opening = _opening_bracket(text)
        if opening < 0:
            uri, *params = text.split(";")
            return cls("", uri.strip(), parameters(params))
        closing = text.find(">", opening)
        if closing < 0:
            raise Malformed(f"'<' without '>': {text[:80]!r}")
        display = text[:opening].strip()
        if len(display) >= 2 and display[0] == '"' and display[-1] == '"':
            display = re.sub(r"\\(.)", r"\1", display[1:-1], flags=re.DOTALL)
        rest = split_outside(text[closing + 1 :].lstrip().lstrip(";"), ";")
        return cls(display, text[opening + 1 : closing].strip(), parameters(rest))

    @property
    def tag(self) -> str:
        """The dialog tag, ``""`` where there is none yet."""
        return self.params.get("tag", "")


def _opening_bracket(text: str) -> int:
    """Index of the ``<`` that opens the URI, not one inside the quoted display name; -1 where there is none."""
    quoted = escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "<" and not quoted:
            return index
    return -1


@dataclass(frozen=True, slots=True)
class Via:
    """Where the response to a request goes (RFC 3261 section 18.2.2, RFC 3581)."""

    host: str
    port: int
    branch: str
    rport: bool

    @classmethod
    def parse(cls, text: str) -> Via:
        """Read the topmost Via value."""
        first, *params = split_outside(text, ";")
        protocol, _, sent_by = first.partition(" ")
        if protocol.strip().upper() != "SIP/2.0/UDP":
            raise Malformed(f"not a UDP Via: {text[:80]!r}")
        host, port = host_port(sent_by)
        values = parameters(params)
        return cls(host, port or 5060, values.get("branch", ""), "rport" in values)
