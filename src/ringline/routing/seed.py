"""What a fresh installation routes: everything through the sandbox carrier, so that a first call needs no account."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.routing import store
from ringline.routing.models import ProviderFields, RouteFields, Source
from ringline.routing.role import login_statement
from ringline.settings import Settings

log = structlog.get_logger(__name__)

SANDBOX_PROVIDER_ID = UUID("5a4db0c5-0000-4000-8000-000000000001")
SANDBOX_ROUTE_ID = UUID("5a4db0c5-0000-4000-8000-000000000002")


async def seed(connection: AsyncConnection, settings: Settings) -> None:
    """Bring Kamailio's database role, the sandbox provider and the default route into being, once.

    A provider or route that an administrator deleted stays deleted. The sandbox's own address follows ``.env``.
    """
    if password := settings.kamailio_db_password.get_secret_value():
        await connection.exec_driver_sql(login_statement(password))
    now = datetime.now(UTC)
    fields = ProviderFields(
        name="sandbox",
        detail="The simulated PSTN of this installation",
        hostname=settings.carrier_sip_host,
        port=settings.carrier_sip_port,
        sources=await _sources(settings.carrier_sip_host, settings.carrier_sip_port),
    )
    if not await _exists(connection, store.providers, SANDBOX_PROVIDER_ID):
        await store.insert_provider(connection, SANDBOX_PROVIDER_ID, fields, now)
        log.info(
            "provider_seeded",
            provider_id=str(SANDBOX_PROVIDER_ID),
            hostname=fields.hostname,
            port=fields.port,
        )
    else:
        await _follow(connection, fields, now)
    if not await _exists(connection, store.routes, SANDBOX_ROUTE_ID):
        route = RouteFields(
            provider_id=SANDBOX_PROVIDER_ID,
            name="sandbox",
            detail="Everything to the sandbox carrier",
            priority=1000,
        )
        await store.insert_route(connection, SANDBOX_ROUTE_ID, route, now)


async def _follow(connection: AsyncConnection, fields: ProviderFields, now: datetime) -> None:
    found = await store.select_providers(connection, SANDBOX_PROVIDER_ID)
    if found and (found[0].hostname, found[0].port) != (fields.hostname, fields.port):
        await store.update_provider(connection, SANDBOX_PROVIDER_ID, fields, now)
        log.info(
            "provider_moved", provider_id=str(SANDBOX_PROVIDER_ID), hostname=fields.hostname, port=fields.port
        )


async def _exists(connection: AsyncConnection, table: sa.Table, row_id: UUID) -> bool:
    found = await connection.execute(sa.select(sa.literal(1)).where(table.c.id == row_id))
    return found.first() is not None


async def _sources(host: str, port: int) -> tuple[Source, ...]:
    """Kamailio knows callers by address: a name is resolved now."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(5.0):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, TimeoutError) as error:
        log.warning("provider_address_unknown", hostname=host, error=str(error))
        return ()
    addresses = sorted({str(entry[4][0]) for entry in found})
    return tuple(Source.parse(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}") for ip in addresses)
