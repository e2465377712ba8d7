"""Where a request comes from, seen through the operator's own proxies."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web

Network = IPv4Network | IPv6Network
_HEADER = "X-Forwarded-For"
_MOST_HOPS = 16


def remote_of(request: web.BaseRequest, trusted: Sequence[Network]) -> str:
    """The client's address: the connection's, or where that is a ``trusted`` proxy's what it says of its client.

    Of ``X-Forwarded-For`` the last address counts that is no trusted proxy's: anybody can write what stands before.
    """
    remote = request.remote or ""
    if not trusted or not _trusts(trusted, remote):
        return remote
    hops = [hop.strip() for line in request.headers.getall(_HEADER, ()) for hop in line.split(",")]
    for hop in reversed(hops[-_MOST_HOPS:]):
        try:
            address = str(ip_address(hop))
        except ValueError:
            break
        remote = address
        if not _trusts(trusted, address):
            break
    return remote


def network_of(remote: str) -> str:
    """What one party has at its disposal: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in remote:
        return remote
    try:
        address = ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped) if mapped is not None else f"{int(address) >> 64:x}::/64"


def _trusts(trusted: Sequence[Network], remote: str) -> bool:
    try:
        address = ip_address(remote)
    except ValueError:
        return False
    return any(address in network for network in trusted)
