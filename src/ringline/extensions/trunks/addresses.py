"""Which addresses a trunk may send from."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.media.address_guard import AddressForbidden, AddressGuard, Network
from ringline.routing.store import provider_addresses, providers


class TrunkAddresses:
    """Public addresses, and those that the operator allows; none that is ours or a provider's.

    Who is known by an address is everybody behind it, so an address that is somebody else's already is nobody's.
    ``own``: addresses of this installation, as far as they are IPv4. One that listens on loopback alone is a trial:
    its neighbours on loopback may be trunks.
    """

    def __init__(self, allowed: Iterable[Network], own: Iterable[str]) -> None:
        self._own = frozenset(address for address in map(_ipv4, own) if address is not None)
        self._trial = all(address.is_loopback for address in self._own)
        self._guard = AddressGuard(allowed)

    async def problem(self, connection: AsyncConnection, text: str) -> str | None:
        """What forbids an IPv4 address, ``None`` where nothing does."""
        address = IPv4Address(text)
        if address.is_loopback and self._trial:
            return None
        if address in self._own or address.is_loopback:
            return f"{text} is an address of this installation"
        try:
            self._guard.check(address)
        except AddressForbidden as error:
            return f"{error}; only public addresses are believed, and those in RINGLINE_SIP_ALLOWED_NETWORKS"
        if await _is_provider(connection, text):
            return f"{text} is the address of a provider, whose calls are not yours"
        return None


async def _is_provider(connection: AsyncConnection, text: str) -> bool:
    found = (
        sa.select(sa.literal(1))
        .select_from(provider_addresses.join(providers, providers.c.id == provider_addresses.c.provider_id))
        .where(
            providers.c.tm_delete.is_(None),
            sa.cast(provider_addresses.c.network, sa.dialects.postgresql.INET).op(">>=")(
                sa.cast(text, sa.dialects.postgresql.INET)
            ),
        )
    )
    return (await connection.execute(found.limit(1))).first() is not None


def _ipv4(text: str) -> IPv4Address | None:
    host = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return address if isinstance(address, IPv4Address) else None
