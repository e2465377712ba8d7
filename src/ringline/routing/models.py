"""Providers and routes, checked on the way in: a row that Kamailio cannot use is only a line in its log."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

import phonenumbers

from ringline.errors import InvalidArgument
from ringline.sip import codecs

Transport = Literal["udp", "tcp", "tls"]
TRANSPORTS: tuple[Transport, ...] = get_args(Transport)

#: Owner of the routes that serve every customer (VoIPBIN's "default for all").
DEFAULT_CUSTOMER_ID = UUID("00000000-0000-0000-0000-000000000001")
#: Kamailio's drouting tries no more gateways than this for one call.
MAX_PROVIDERS_PER_CALL = 32
MAX_SOURCES = 256

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*{_LABEL}")
_DIGITS = re.compile(r"[0-9A-Za-z*#+._-]{0,32}")
_TARGET = re.compile(r"all|\+[1-9][0-9]{0,14}")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
# They stand in a quoted string of a header (RFC 3261 section 22.4), in a URI, and before and after colons in HA1.
_USERNAME = re.compile(r"[A-Za-z0-9+*#._@!~$&=-]{0,64}")
_REALM = re.compile(r"[A-Za-z0-9 ._:@/+-]{0,128}")
_PASSWORD = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{0,128}")
_CONTACT = re.compile(r"[A-Za-z0-9+*#._-]{0,64}")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!%*_+`'~-]{1,64}")
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f(),]{1,256}")
# Headers that say who calls and where a message goes are the platform's own (VoIPBIN's list, and SIP's).
_RESERVED_HEADERS = frozenset(
    {
        "allow",
        "authorization",
        "call-id",
        "contact",
        "content-encoding",
        "content-length",
        "content-type",
        "cseq",
        "expires",
        "from",
        "max-forwards",
        "mime-version",
        "min-se",
        "p-asserted-identity",
        "path",
        "privacy",
        "proxy-authorization",
        "proxy-require",
        "rack",
        "record-route",
        "refer-to",
        "remote-party-id",
        "replaces",
        "require",
        "route",
        "session-expires",
        "supported",
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
    ``sources`` are the addresses that may send calls to us; empty means outbound only. ``codecs`` are those it is
    offered (``PCMU,PCMA``), empty means all. ``username`` answers its digest challenges (RFC 3261 section 22):
    with ``ha1``, or with ``password`` where its ``realm`` is not known beforehand. With ``registration`` we register
    there, for ``registration_expires`` seconds, with ``registration_contact`` as the Contact's user (empty: the id).
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
    username: str = ""
    realm: str = ""
    password: str = field(default="", repr=False)
    ha1: str = field(default="", repr=False)
    registration: bool = False
    registration_contact: str = ""
    registration_expires: int = 3600
    health_check: bool = True

    def __post_init__(self) -> None:
        _length("name", self.name, 1, 255)
        _length("detail", self.detail, 0, 1024)
        _check_codecs(self.codecs)
        if not _is_host(self.hostname):
            raise InvalidArgument(
                f"hostname: {self.hostname[:80]!r} is neither a host name nor an IP address"
                " (the port has a field of its own)"
            )
        if not 0 <= self.port <= 65535:
            raise InvalidArgument(f"port: {self.port} is not a port; 0 to 65535, 0 asks DNS for it")
        if self.transport not in TRANSPORTS:
            raise InvalidArgument(f"transport: {self.transport!r} is not supported; udp, tcp or tls")
        for label, value in (("tech_prefix", self.tech_prefix), ("tech_postfix", self.tech_postfix)):
            if not _DIGITS.fullmatch(value):
                raise InvalidArgument(f"{label}: {value[:40]!r} may hold up to 32 of 0-9 A-Z a-z * # + . _ -")
        _check_headers(self.tech_headers)
        if len(self.sources) > MAX_SOURCES:
            raise InvalidArgument(f"addresses: {len(self.sources)} are too many; at most {MAX_SOURCES}")
        self._check_credentials()

    def _check_credentials(self) -> None:
        if not _USERNAME.fullmatch(self.username):
            raise InvalidArgument("username: up to 64 of 0-9 A-Z a-z + * # . _ @ ! ~ $ & = - are allowed")
        if not _REALM.fullmatch(self.realm):
            raise InvalidArgument("realm: up to 128 of 0-9 A-Z a-z . _ : @ / + - and spaces are allowed")
        if not _PASSWORD.fullmatch(self.password):
            raise InvalidArgument(
                "password: up to 128 printable ASCII characters without spaces, quotes and backslashes are allowed"
            )
        if bool(self.username) != bool(self.password or self.ha1):
            label = "password" if self.username else "username"
            raise InvalidArgument(f"{label}: username and password belong together; one of them is missing")
        if self.registration and not self.username:
            raise InvalidArgument("username: registering needs username and password")
        if not _CONTACT.fullmatch(self.registration_contact):
            raise InvalidArgument("registration_contact: up to 64 of 0-9 A-Z a-z + * # . _ - are allowed")
        if not 60 <= self.registration_expires <= 86_400:
            raise InvalidArgument(
                f"registration_expires: {self.registration_expires} is out of range; 60 to 86400 seconds"
            )

    def sealed(self) -> ProviderFields:
        """The same without the password where its realm is known: HA1 (RFC 2617) is enough then."""
        if not self.password or not self.realm:
            return self
        return replace(self, ha1=ha1(self.username, self.realm, self.password), password="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider(ProviderFields):
    """A provider as stored. ``key`` is the small number Kamailio knows it by."""

    id: UUID
    key: int
    tm_create: datetime
    tm_update: datetime | None = None
    tm_delete: datetime | None = None


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
            raise InvalidArgument(f"target: {self.target[:40]!r} is neither 'all' nor like '+82' or 'de'")
        if self.target.startswith("+899"):
            raise InvalidArgument("target: +899 numbers are internal, no provider reaches them")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(RouteFields):
    """A route as stored."""

    id: UUID
    tm_create: datetime
    tm_update: datetime | None = None
    tm_delete: datetime | None = None


def ha1(username: str, realm: str, password: str) -> str:
    """H(A1) of digest authentication with MD5 (RFC 2617 section 3.2.2.2), which is what SIP carriers ask for."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


def target_of(text: str) -> str:
    """A route's target as it is stored: a country (``de``, ISO 3166) becomes its calling code (``+49``)."""
    if not _COUNTRY.fullmatch(text):
        return text
    code = phonenumbers.country_code_for_region(text.upper())
    if code == 0:
        raise InvalidArgument(f"target: {text!r} is no country of ISO 3166; 'de', '+49' or 'all'")
    return f"+{code}"


def _check_codecs(text: str) -> None:
    if wrong := codecs.problem(text):
        raise InvalidArgument(f"codecs: {wrong}")


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
        # One letter is a name in its compact form (RFC 3261 section 7.3.3).
        if len(name) == 1 or name.lower() in _RESERVED_HEADERS or name.lower().startswith("x-ringline-"):
            raise InvalidArgument(f"tech_headers: {name!r} is set by the platform itself")


def _bad_source(text: str) -> InvalidArgument:
    return InvalidArgument(
        f"addresses: {text[:80]!r} is not an address (203.0.113.7), a network (203.0.113.0/24), or an address"
        " with a port (203.0.113.7:5060)"
    )
