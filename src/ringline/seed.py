"""The first customer of a fresh installation, so that the commands of the documents work as they stand.

Running it again adds what is missing and takes over a changed password or access key from the environment; what
an operator changed or deleted stays as it is.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import structlog
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline import extensions, routing
from ringline.billing import accounts
from ringline.customers.passwords import hash_password, verify_password
from ringline.customers.tables import accesskeys, agents, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix
from ringline.http import utc_now
from ringline.numbers.tables import numbers
from ringline.outbound import store as outbound_store
from ringline.settings import Settings
from ringline.storage import Database

log = structlog.get_logger(__name__)

LABEL = "test"
NUMBERS = ("+15551234567", "+15552222222", "+15559876543")
CREDIT = 10_000_000_000
"""Of the first account, in millionths of a US dollar: its calls are charged, too, and a bench places many."""

_ALL_PERMISSIONS = 65_535
_KEY_NAME = "RINGLINE_ACCESSKEY"
_LOCK = 7_234_002


class Incomplete(Exception):
    """A setting that the seed needs is missing; the text names it."""


async def seed(database: Database, settings: Settings) -> UUID:
    """Make or complete the first customer and return its id. Raises ``Incomplete``."""
    password = settings.admin_password.get_secret_value()
    accesskey = settings.accesskey.get_secret_value()
    for name, value in (("RINGLINE_ADMIN_PASSWORD", password), ("RINGLINE_ACCESSKEY", accesskey)):
        if not value:
            raise Incomplete(f"{name} is empty; `make up` writes it into .env.")
    async with database.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        customer_id = await _customer(connection, settings.admin_username)
        await _agent(connection, customer_id, settings.admin_username, password)
        await _accesskey(connection, customer_id, accesskey)
        await _numbers(connection, customer_id)
        # its calls go to the sandbox carrier, where nothing costs anything: other customers name their countries
        await outbound_store.ensure(
            connection,
            customer_id,
            utc_now(),
            name="Everywhere",
            detail="Made by the first start: the sandbox carrier charges nobody.",
            destination_whitelist=["all"],
        )
        await extensions.seed(connection, settings, customer_id, LABEL)
        await routing.seed(connection, settings)
    log.info("seeded", customer_id=str(customer_id), domain_label=LABEL)
    return customer_id


async def first_customer(connection: AsyncConnection, username: str) -> UUID | None:
    """The customer of the login that this installation was made with, else the one with the first label."""
    of_login = select(agents.c.customer_id).where(
        func.lower(agents.c.username) == username.lower(), agents.c.tm_delete.is_(None)
    )
    of_label = select(customers.c.id).where(customers.c.domain_label == LABEL)
    for found in (of_login, of_label):
        live = select(customers.c.id).where(customers.c.id.in_(found), customers.c.tm_delete.is_(None))
        if (known := (await connection.execute(live)).scalar()) is not None:
            return UUID(str(known))
    return None


async def _customer(connection: AsyncConnection, username: str) -> UUID:
    # its label may have been changed since
    known = await first_customer(connection, username)
    if known is not None:
        return known
    customer_id, account_id, now = uuid4(), uuid4(), utc_now()
    await connection.execute(
        insert(customers).values(
            id=customer_id,
            name="Test customer",
            detail="Made by the first start.",
            domain_label=LABEL,
            billing_account_id=account_id,
            status="active",
            email_verified=True,
            identity_verification_status="verified",
            tm_create=now,
        )
    )
    # a plan that has room for what an operator tries out, and nobody's money
    await accounts.create(
        connection,
        account_id=account_id,
        customer_id=customer_id,
        plan="professional",
        name="Test account",
        credit=CREDIT,
    )
    return customer_id


async def _agent(connection: AsyncConnection, customer_id: UUID, username: str, password: str) -> None:
    known = (
        await connection.execute(
            select(agents).where(
                func.lower(agents.c.username) == username.lower(), agents.c.tm_delete.is_(None)
            )
        )
    ).first()
    if known is None:
        await connection.execute(
            insert(agents).values(
                id=uuid4(),
                customer_id=customer_id,
                username=username,
                password_hash=await hash_password(password),
                name="Administrator",
                permission=_ALL_PERMISSIONS,
                tm_create=utc_now(),
            )
        )
    elif not await verify_password(known.password_hash, password):
        changed: dict[str, Any] = {
            "password_hash": await hash_password(password),
            "password_version": agents.c.password_version + 1,
            "tm_update": utc_now(),
        }
        await connection.execute(update(agents).where(agents.c.id == known.id).values(changed))
        log.warning("admin_password_changed", username=username)


async def _accesskey(connection: AsyncConnection, customer_id: UUID, token: str) -> None:
    digest, now = accesskey_hash(token), utc_now()
    known = await connection.execute(select(accesskeys.c.id).where(accesskeys.c.token_hash == digest))
    if known.first() is not None:
        return
    # The environment has another key now: the one it had before is not to open anything any more.
    await connection.execute(
        update(accesskeys)
        .where(
            accesskeys.c.customer_id == customer_id,
            accesskeys.c.name == _KEY_NAME,
            accesskeys.c.tm_delete.is_(None),
        )
        .values(tm_delete=now, tm_update=now)
    )
    await connection.execute(
        insert(accesskeys).values(
            id=uuid4(),
            customer_id=customer_id,
            name=_KEY_NAME,
            detail="From .env.",
            token_hash=digest,
            token_prefix=accesskey_prefix(token),
            tm_create=now,
        )
    )


async def _numbers(connection: AsyncConnection, customer_id: UUID) -> None:
    known = set(
        (await connection.execute(select(numbers.c.number).where(numbers.c.number.in_(NUMBERS)))).scalars()
    )
    missing = [
        {
            "id": uuid4(),
            "customer_id": customer_id,
            "number": number,
            "type": "normal",
            "status": "active",
            "provider_name": "sandbox",
            "tm_create": utc_now(),
        }
        for number in NUMBERS
        if number not in known
    ]
    if missing:
        await connection.execute(insert(numbers), missing)
