"""The two extensions of the seed pages, ``test11`` and ``test12``."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid5

from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.extensions.digest import ha1
from ringline.extensions.store import extensions
from ringline.settings import Settings

_NAMES = ("test11", "test12")


async def seed(
    connection: AsyncConnection, settings: Settings, customer_id: UUID, domain_label: str = "test"
) -> None:
    """Add the extensions that are missing. One that exists, or was deleted, is left as it is."""
    realm = f"{domain_label}.{settings.sip_domain}"
    password = settings.extension_password.get_secret_value()
    if not password:
        return
    rows = [
        {
            "id": uuid5(customer_id, f"extension:{name}"),
            "customer_id": customer_id,
            "name": name,
            "extension": name,
            "domain_name": realm,
            "username": name,
            "ha1": ha1(name, realm, password),
            "tm_create": datetime.now(UTC),
        }
        for name in _NAMES
    ]
    await connection.execute(postgresql.insert(extensions).on_conflict_do_nothing(), rows)
