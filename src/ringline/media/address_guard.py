"""Which addresses a customer's URL may lead to: public ones, and those the operator allowed.

Usable alone; whoever connects on a customer's behalf asks here with the address it really connects to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from yarl import URL

from ringline.errors import InvalidArgument

MAX_URL_CHARACTERS = 2048
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Beyond what Python's ipaddress calls not global (IANA special-purpose registries, RFC 6890 and later).
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # "this network", RFC 791
        "100.64.0.0/10",  # carrier-grade NAT, RFC 6598
        "192.0.0.0/24",  # protocol assignments, RFC 6890
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "198.18.0.0/15",  # benchmarks, RFC 2544
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
        "64:ff9b:1::/48",  # NAT64 for local use, RFC 8215
        "100::/64",  # discard, RFC 6666
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation, RFC 9637
        "5f00::/16",  # segment routing, RFC 9602
        "fc00::/7",  # unique local
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local, RFC 3879
        "ff00::/8",  # multicast
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressForbidden(Exception):
    """The address or URL may not be contacted; the message says which and why."""


class AddressGuard:
    """Decides by address. ``allowed`` networks are the operator's exceptions and come first."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def check(self, address: str | Address) -> None:
        """Raises `AddressForbidden` unless ``address`` is public or allowed. IPv6 that carries IPv4 counts
        as both.
        """
        parsed = _literal(address) if isinstance(address, str) else address
        if parsed is None:
            raise AddressForbidden(f"{str(address)[:60]!r} is not an IP address")
        for candidate in (parsed, *_embedded(parsed)):
            if not self._permits(candidate):
                raise AddressForbidden(f"{parsed} is not a public address")

    def check_url(self, url: str) -> URL:
        """``url`` parsed, when it is absolute http or https without credentials and its host, if written as
        an address, may be contacted. Names are judged when they are resolved. Raises `AddressForbidden`."""
        parsed = _parse(url)
        literal = _literal(parsed.host or "")
        if literal is not None:
            self.check(literal)
        return parsed

    def _permits(self, address: Address) -> bool:
        if any(address in network for network in self._allowed):
            return True
        if any(address in network for network in _REFUSED):
            return False
        return address.is_global and not address.is_multicast


def check_url(url: str, allowed: Iterable[Network] = ()) -> None:
    """`AddressGuard.check_url` for the fields of a request: raises `InvalidArgument`."""
    try:
        AddressGuard(allowed).check_url(url)
    except AddressForbidden as error:
        raise InvalidArgument(f"URL {loggable(url)!r}: {error}") from None


def loggable(url: str) -> str:
    """``url`` for a log or a message: without its query and fragment, which often hold a signature, and without
    credentials; at most 200 characters.
    """
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"^([^/]*//)[^/]*@", r"\1", bare)[:200]


def _embedded(address: Address) -> list[Address]:
    if isinstance(address, IPv4Address):
        return []
    found: list[Address] = []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address in _NAT64:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return found


def _parse(url: str) -> URL:
    if len(url) > MAX_URL_CHARACTERS:
        raise AddressForbidden(f"longer than {MAX_URL_CHARACTERS} characters")
    if _UNPRINTABLE.search(url):
        raise AddressForbidden("holds spaces or control characters")
    try:
        parsed = URL(url)
        host, port = parsed.host, parsed.port
    except ValueError:
        raise AddressForbidden("not a URL") from None
    if parsed.scheme not in {"http", "https"}:
        raise AddressForbidden("only http and https can be fetched")
    if not host or not port:
        raise AddressForbidden("has no host or port")
    if parsed.user is not None or parsed.password is not None:
        raise AddressForbidden("credentials in a URL are not allowed")
    return parsed


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
