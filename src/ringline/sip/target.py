"""A SIP address that a customer wants called, read strictly: a subset of RFC 3261 section 19.1.

What is read here is written into a request line, so nothing passes that could be anything but a user, a host, a port
and a transport: no headers, no password, no ``maddr`` or ``lr`` that would send the request elsewhere.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Transport = Literal["udp", "tcp"]

MAX_USER = 128
MIN_PORT = 1024
"""Below are mail, web and the like: SIP text has no business there."""
_USER = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()&=+$]|%[0-9A-Fa-f]{2})+", re.ASCII)
_ESCAPED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_SHAPE = "`user@host`, `user@host:port` or `sip:user@host;transport=tcp`"


@dataclass(frozen=True, slots=True)
class SipTarget:
    """``user`` as it was written (escaped), ``host`` a name in lower case or an IPv4 address, ``port`` 0 where none
    was given (RFC 3263 then says which).
    """

    user: str
    host: str
    port: int = 0
    transport: Transport = "udp"

    @property
    def address(self) -> str:
        """``user@host`` with the port where there is one."""
        return f"{self.user}@{self.host}:{self.port}" if self.port else f"{self.user}@{self.host}"

    @property
    def literal(self) -> ipaddress.IPv4Address | None:
        """The host, where it is written as an address."""
        try:
            return ipaddress.IPv4Address(self.host)
        except ValueError:
            return None


def parse(text: str) -> SipTarget:
    """Read a destination. Raises ``ValueError`` with a sentence that says what is wrong and what would be right."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() == "sips":
        raise ValueError("`sips:` needs TLS towards the host, which is not there yet; use `sip:`")
    if colon and scheme.lower() == "sip":
        text = rest
    elif colon and scheme.lower() == "tel":
        raise ValueError("a telephone number is an address of type `tel`, written as +15551234567")
    text, *parameters = text.split(";")
    if "?" in text or any("?" in parameter for parameter in parameters):
        raise ValueError("headers (`?...`) are not allowed in it")
    user, at, place = text.partition("@")
    if not at:
        raise ValueError(f"must be {_SHAPE}")
    if ":" in user:
        raise ValueError("a password in it is not allowed")
    if len(user) > MAX_USER or not _USER.fullmatch(user) or _ESCAPED_CONTROL.search(user):
        raise ValueError(f"the part before `@` must be letters, digits and -_.!~*'()&=+$, {MAX_USER} at most")
    host, port = _host_and_port(place)
    return SipTarget(user, host, port, _transport(parameters))


def _host_and_port(place: str) -> tuple[str, int]:
    if place.startswith("["):
        raise ValueError("IPv6 addresses cannot be called yet; use a host name or an IPv4 address")
    host, colon, digits = place.partition(":")
    port = int(digits) if _PORT.fullmatch(digits) else 0
    if colon and not MIN_PORT <= port <= 65535:
        raise ValueError(f"the port must be a number from {MIN_PORT} to 65535")
    host = host.lower()
    labels = host.split(".")
    if len(host) > 253 or len(labels) < 2 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("the host must be a full name such as sip.example.com, or an IPv4 address")
    # a name never ends in digits (RFC 3696 section 2); "127.1" and "0x7f.1" are addresses to some resolvers
    if labels[-1][0].isdigit():
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError("the host must be a full name, or an IPv4 address of four numbers") from None
    return host, port


def _transport(parameters: list[str]) -> Transport:
    found: Transport = "udp"
    seen = set()
    for parameter in parameters:
        name, _, value = (part.lower() for part in parameter.partition("="))
        if name in seen:
            raise ValueError(f"the parameter {name[:20]!r} is there twice")
        seen.add(name)
        if name == "user" and value in ("phone", "ip"):
            continue
        if name != "transport":
            raise ValueError(f"the parameter {name[:20]!r} is not allowed; `transport` is")
        if value == "udp":
            found = "udp"
        elif value == "tcp":
            found = "tcp"
        else:
            raise ValueError("the transport must be `udp` or `tcp` (TLS is not there yet)")
    return found
