"""Changing a customer's realm: the name that stands behind the @ of its extensions."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, exists, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.customers.tables import customers
from ringline.errors import AlreadyExists
from ringline.extensions import contacts
from ringline.extensions.directory import ExtensionDirectory
from ringline.extensions.edge import Edge
from ringline.extensions.realm import customer_realm
from ringline.extensions.store import extensions
from ringline.http import utc_now
from ringline.storage import tenancy
from ringline.storage.rows import live

log = structlog.get_logger(__name__)

_LOCK = 7_234_003


class Realms:
    """Moves all extensions of a customer to another label.

    Nobody knows their passwords, so the realm with which their digests were made stays that of their digests
    (``customers.digest_realm``), and is nobody else's from then on: else two accounts could have one digest.
    """

    def __init__(self, edge: Edge, directory: ExtensionDirectory, *, sip_domain: str) -> None:
        self._edge = edge
        self._directory = directory
        self._sip_domain = sip_domain

    async def move(
        self, connection: AsyncConnection, customer: Row[Any], label: str
    ) -> tuple[dict[str, Any], list[str]]:
        """Move what is in the realm. Returns what is to be set in the customer's row, which the caller holds for
        update, and the addresses of record that are gone. Raises ``AlreadyExists``.
        """
        old = customer_realm(customer.domain_label, self._sip_domain)
        new = customer_realm(label, self._sip_domain)
        await self.take(connection, customer.id, label)
        inhabited = (await connection.execute(select(exists(live(extensions, customer.id))))).scalar()
        digest_realm = (customer.digest_realm or old) if inhabited else ""
        await connection.execute(
            update(extensions)
            .where(extensions.c.customer_id == customer.id, extensions.c.tm_delete.is_(None))
            .values(domain_name=new, tm_update=utc_now())
        )
        gone = await contacts.forget(connection, old)
        # back where they were made, digests are the realm's own again
        return {"domain_label": label, "digest_realm": "" if digest_realm == new else digest_realm}, gone

    async def take(self, connection: AsyncConnection, customer_id: UUID, label: str) -> None:
        """The label is nobody else's, and stays free until the commit. Raises ``AlreadyExists``."""
        # one at a time: whether a realm was somebody's cannot be seen while he is leaving it
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await _require_free(connection, customer_id, label, customer_realm(label, self._sip_domain))

    async def moved(self, customer_id: UUID, label: str, gone: list[str]) -> None:
        """Tell everybody, after the commit."""
        await self._directory.reload()
        await self._edge.tell(reload=True, gone=gone)
        log.info(
            "realm_changed", customer_id=str(customer_id), domain_label=label, registrations_ended=len(gone)
        )


async def _require_free(connection: AsyncConnection, customer_id: UUID, label: str, realm: str) -> None:
    taken = select(
        exists().where(
            customers.c.id != customer_id,
            or_(customers.c.domain_label == label, customers.c.digest_realm == realm),
            customers.c.tm_delete.is_(None),
        )
    )
    # it is to be nobody's, whoever that is
    with tenancy.across():
        found = (await connection.execute(taken)).scalar()
    if found:
        message = f"{label!r} is taken; choose another one"
        raise AlreadyExists(
            f"`domain_label`: {message}.", details=[{"field": "domain_label", "message": message}]
        )
