"""Which phones are registered: Kamailio's ``location`` table, read and cut down."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.extensions.models import RegistrationAnswer
from ringline.extensions.store import locations

Transport = Literal["udp", "tcp", "tls", "ws", "wss"]

# of a SIP URI: what follows the @, or the scheme; and parameters of nathelper's alias=address~port~protocol
_HOST = re.compile(r"sips?:(?:[^@>]*@)?(\[[0-9a-fA-F:.]+\]|[^:;?>]+)(?::([0-9]+))?")
_ALIAS = re.compile(r";alias=([^~;>]+)~([0-9]+)~([0-9]+)")
_TRANSPORT = re.compile(r";transport=([a-zA-Z]+)", re.IGNORECASE)
_PROTOCOLS: dict[str, Transport] = {"1": "udp", "2": "tcp", "3": "tls", "4": "ws", "5": "ws", "6": "wss"}
_NO_Q = -1.0


def aor(extension: str, domain_name: str) -> str:
    """The address of record under which Kamailio keeps contacts."""
    return f"{extension}@{domain_name}"


def _present() -> sa.ColumnElement[bool]:
    # rows that have expired may stay for a while, after a restart for longer; times are UTC without saying so
    return locations.c.expires > sa.func.timezone("UTC", sa.func.now())


async def select(connection: AsyncConnection, domain_name: str, extension: str) -> list[sa.Row[Any]]:
    """The contacts of an extension, the oldest first."""
    statement = (
        sa.select(locations)
        .where(locations.c.username == extension, locations.c.domain == domain_name, _present())
        .order_by(locations.c.id)
    )
    return list((await connection.execute(statement)).all())


async def count(
    connection: AsyncConnection, accounts: Collection[tuple[str, str]]
) -> dict[tuple[str, str], int]:
    """``(domain_name, extension)`` to the number of contacts; accounts without any are missing."""
    if not accounts:
        return {}
    names = {extension for _, extension in accounts}
    domains = {domain for domain, _ in accounts}
    statement = (
        sa.select(locations.c.domain, locations.c.username, sa.func.count())
        .where(locations.c.username.in_(names), locations.c.domain.in_(domains), _present())
        .group_by(locations.c.domain, locations.c.username)
    )
    return {(row[0], row[1]): row[2] for row in await connection.execute(statement)}


async def forget(connection: AsyncConnection, domain_name: str, extension: str | None = None) -> list[str]:
    """Delete the contacts of an extension, or of a whole realm, and return their addresses of record.

    Kamailio has them in memory still and is to be told (``Edge.tell``).
    """
    statement = sa.delete(locations).where(locations.c.domain == domain_name).returning(locations.c.username)
    if extension is not None:
        statement = statement.where(locations.c.username == extension)
    names = (await connection.execute(statement)).scalars()
    return [aor(name, domain_name) for name in dict.fromkeys(names)]


def registration_id(extension_id: UUID, row: sa.Row[Any]) -> UUID:
    """The id of a contact, stable while the phone renews it."""
    return uuid5(extension_id, row.ruid)


def shown(customer_id: UUID, extension_id: UUID, row: sa.Row[Any]) -> RegistrationAnswer:
    """A contact as the API shows it."""
    transport, source = seen(row.contact, row.received or "", row.socket or "")
    return RegistrationAnswer(
        id=registration_id(extension_id, row),
        customer_id=customer_id,
        extension_id=extension_id,
        contact=_ALIAS.sub("", row.contact),
        transport=transport,
        source_address=source,
        user_agent="" if row.user_agent == "n/a" else row.user_agent,
        q=None if row.q == _NO_Q else round(row.q, 3),
        path=row.path or "",
        tm_expire=_utc(row.expires),
        tm_update=_utc(row.last_modified),
    )


def seen(contact: str, received: str, socket: str) -> tuple[Transport, str]:
    """Transport and source address of a contact.

    ``received`` is where the REGISTER came from, where the phone is behind NAT; else the contact says it. ``socket``
    is Kamailio's own, whose transport it came over.
    """
    alias = _ALIAS.search(contact)
    if received:
        source = _address(received)
    elif alias:
        source = f"{alias[1]}:{alias[2]}"
    else:
        source = _address(contact)
    return _transport(received or contact, alias, socket), source


def _transport(uri: str, alias: re.Match[str] | None, socket: str) -> Transport:
    named = _TRANSPORT.search(uri)
    own = socket.partition(":")[0].lower()
    for name in (named[1].lower() if named else "", own):
        # a socket for WebSocket is one for TCP or TLS that speaks HTTP first
        if name in ("ws", "wss", "tls", "tcp"):
            return "wss" if name == "ws" and own in ("tls", "wss") else name  # type: ignore[return-value]  # one of four
    return _PROTOCOLS.get(alias[3], "udp") if alias else "udp"


def _address(uri: str) -> str:
    found = _HOST.match(uri)
    return f"{found[1]}:{found[2] or 5060}" if found else ""


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC)


def find(rows: Sequence[sa.Row[Any]], extension_id: UUID, wanted: UUID) -> sa.Row[Any] | None:
    """The contact of this id."""
    return next((row for row in rows if registration_id(extension_id, row) == wanted), None)
