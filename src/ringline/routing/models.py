"""Providers and routes, checked on the way in: a row that Kamailio cannot use is only a line in its log."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from ringline.errors import InvalidArgument

Transport = Literal["udp", "tcp"]

#: Owner of the routes that serve every customer (VoIPBIN's "default for all").
DEFAULT_CUSTOMER_ID = UUID("00000000-0000-0000-0000-000000000001")
#: Kamailio's drouting tries no more gateways than this for one call.
MAX_PROVIDERS_PER_CALL = 32
MAX_SOURCES = 256

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*{_LABEL}")
_DIGITS = re.compile(r"[0-9A-Za-z*#+._-]{0,32}")
_TARGET = re.compile(r"all|\+[1-9][0-9]{0,14}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!%*_+`'~-]{1,64}")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f(),]{1,256}")
# Headers that say who calls and where a message goes are the platform's own (VoIPBIN's list, and SIP's).
_RESERVED_HEADERS = frozenset(
    {
        "call-id",
        "contact",
        "content-length",
        "content-type",
        "cseq",
        "from",
        "max-forwards",
        "p-asserted-identity",
        "privacy",
        "record-route",
        "remote-party-id",
        "route",
        "to",
        "via",
    }
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a provider's calls come from: a network, and a UDP or TCP port where one is given (0 is any)."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read ``203.0.113.7``, ``203.0.113.0/24``, ``203.0.113.7:5060`` or ``[2001:db8::7]:5060``."""
        host, port = text.strip(), ""
        if host.startswith("["):
            host, _, rest = host[1:].partition("]")
            if rest and not rest.startswith(":"):
                raise _bad_source(text)
            port = rest[1:]
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
        try:
            network = ipaddress.ip_network(host)
            number = int(port) if port else 0
        except ValueError as error:
            raise _bad_source(text) from error
        if not 0 <= number <= 65535 or network.is_multicast or network.prefixlen == 0:
            raise _bad_source(text)
        return cls(network, number)

    def __str__(self) -> str:
        single = self.network.num_addresses == 1
        host = str(self.network.network_address) if single else str(self.network)
        if not self.port:
            return host
        return f"[{host}]:{self.port}" if self.network.version == 6 else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFields:
    """What an administrator says of a provider. Raises ``InvalidArgument`` when it cannot work.

    ``port`` 0 asks DNS (RFC 3263). ``tech_prefix`` and ``tech_postfix`` surround the number in the request URI.
    ``sources`` are the addresses that may send calls to us; empty means outbound only.
    """

    name: str
    hostname: str
    detail: str = ""
    port: int = 5060
    transport: Transport = "udp"
    tech_prefix: str = ""
    tech_postfix: str = ""
    tech_headers: Mapping[str, str] = field(default_factory=dict)
    codecs: str = ""
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        _length("name", self.name, 1, 255)
        _length("detail", self.detail, 0, 1024)
        _length("codecs", self.codecs, 0, 255)
        if not _is_host(self.hostname):
            raise InvalidArgument(
                f"hostname: {self.hostname[:80]!r} is neither a host name nor an IP address"
                " (the port has a field of its own)"
            )
        if not 0 <= self.port <= 65535:
            raise InvalidArgument(f"port: {self.port} is not a port; 0 to 65535, 0 asks DNS for it")
        if self.transport not in ("udp", "tcp"):
            raise InvalidArgument(f"transport: {self.transport!r} is not supported; udp or tcp")
        for label, value in (("tech_prefix", self.tech_prefix), ("tech_postfix", self.tech_postfix)):
            if not _DIGITS.fullmatch(value):
                raise InvalidArgument(f"{label}: {value[:40]!r} may hold up to 32 of 0-9 A-Z a-z * # + . _ -")
        _check_headers(self.tech_headers)
        if len(self.sources) > MAX_SOURCES:
            raise InvalidArgument(f"addresses: {len(self.sources)} are too many; at most {MAX_SOURCES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(ProviderFields):
    """A provider as stored. ``key`` is the small number Kamailio knows it by."""

    id: UUID
    key: int
    tm_create: datetime
    tm_update: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteFields:
    """Which provider takes calls to where, for whom. Raises ``InvalidArgument`` when it cannot work.

    ``target`` is the beginning of an E.164 number (``+82``) or ``all``; lower ``priority`` is tried first.
    """

    provider_id: UUID
    customer_id: UUID = DEFAULT_CUSTOMER_ID
    name: str = ""
    detail: str = ""
    priority: int = 0
    target: str = "all"

    def __post_init__(self) -> None:
        _length("name", self.name, 0, 255)
        _length("detail", self.detail, 0, 1024)
        if not 0 <= self.priority <= 1_000_000:
            raise InvalidArgument(
                f"priority: {self.priority} is out of range; 0 to 1000000, lower is tried first"
            )
        if not _TARGET.fullmatch(self.target):
            raise InvalidArgument(f"target: {self.target[:40]!r} is neither 'all' nor like '+82'")
        if self.target.startswith("+899"):
            raise InvalidArgument("target: +899 numbers are internal, no provider reaches them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(RouteFields):
    """A route as stored."""

    id: UUID
    tm_create: datetime
    tm_update: datetime | None = None


def _length(label: str, value: str, least: int, most: int) -> None:
    if not least <= len(value) <= most or any(ord(character) < 32 for character in value):
        raise InvalidArgument(f"{label}: {least} to {most} printable characters are allowed")


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # 300.1.2.3 has the form of a name, and is none.
        return _HOST.fullmatch(host) is not None and not host.rpartition(".")[2].isdigit()
    return True


def _check_headers(headers: Mapping[str, str]) -> None:
    if len(headers) > 32:
        raise InvalidArgument(f"tech_headers: {len(headers)} are too many; at most 32")
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise InvalidArgument(
                f"tech_headers: {name[:64]!r} is no header name, or its value is empty, longer than 256"
                " characters or holds a control character, a parenthesis or a comma"
            )
        if name.lower() in _RESERVED_HEADERS or name.lower().startswith("x-ringline-"):
            raise InvalidArgument(f"tech_headers: {name!r} is set by the platform itself")


def _bad_source(text: str) -> InvalidArgument:
    return InvalidArgument(
        f"addresses: {text[:80]!r} is not an address (203.0.113.7), a network (203.0.113.0/24), or an address"
        " with a port (203.0.113.7:5060)"
    )
