"""A new customer with what belongs to it: an admin, a billing account, an outbound configuration, an access key."""

from __future__ import annotations

import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.customers.label import RESERVED
from ringline.customers.tables import accesskeys, agents, customers
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.http import Permission, utc_now

Furnish = Callable[[AsyncConnection, UUID, UUID, datetime], Awaitable[None]]
"""``(connection, customer_id, billing_account_id, now)``: makes the account, of the free plan, and whatever else
other rooms keep for each customer."""

KEY_NAME: Final = "First key"
NO_PASSWORD: Final = "*"  # noqa: S105 - it is none
"""In the place of a hash that no password has."""
_LABEL_LETTERS: Final = string.ascii_lowercase + string.digits
_LABEL_LENGTH: Final = 9


@dataclass(frozen=True, slots=True)
class Made:
    """What was made. ``token`` is the access key itself, known only now."""

    customer: Row[Any]
    agent: Row[Any]
    accesskey: Row[Any]
    token: str


def unverified(customer_id: UUID) -> str:
    """The name of an agent whose e-mail address nobody has proven yet: nobody logs in with it."""
    return f"unverified-{customer_id.hex}"


async def make(
    connection: AsyncConnection,
    furnish: Furnish,
    values: Mapping[str, Any],
    *,
    username: str = "",
    customer_id: UUID | None = None,
) -> Made:
    """A customer of ``values`` and its admin, in the caller's transaction.

    Without a ``username`` the admin has none that anybody could log in with, until the address is verified. It has
    no password yet in either case.
    """
    now, customer_id, account_id = utc_now(), customer_id or uuid4(), uuid4()
    given = {"domain_label": await _free_label(connection), **values}
    row = (
        await connection.execute(
            sa.insert(customers)
            .values(**given, id=customer_id, billing_account_id=account_id, tm_create=now)
            .returning(customers)
        )
    ).one()
    await furnish(connection, customer_id, account_id, now)
    agent = (
        await connection.execute(
            sa.insert(agents)
            .values(
                id=uuid4(),
                customer_id=customer_id,
                username=username or unverified(customer_id),
                password_hash=NO_PASSWORD,
                name=str(values.get("name", ""))[:255],
                status="offline",
                permission=int(Permission.CUSTOMER_ADMIN),
                tm_create=now,
            )
            .returning(agents)
        )
    ).one()
    token = new_accesskey()
    key = (
        await connection.execute(
            sa.insert(accesskeys)
            .values(
                id=uuid4(),
                customer_id=customer_id,
                agent_id=agent.id,
                name=KEY_NAME,
                detail="Made with the customer.",
                token_hash=accesskey_hash(token),
                token_prefix=accesskey_prefix(token),
                tm_create=now,
            )
            .returning(accesskeys)
        )
    ).one()
    return Made(row, agent, key, token)


async def _free_label(connection: AsyncConnection) -> str:
    while True:
        label = secrets.choice(string.ascii_lowercase) + "".join(
            secrets.choice(_LABEL_LETTERS) for _ in range(_LABEL_LENGTH)
        )
        taken = sa.select(customers.c.id).where(customers.c.domain_label == label)
        if label not in RESERVED and (await connection.execute(taken)).first() is None:
            return label


def name_taken(error: Exception) -> bool:
    """Whether an ``IntegrityError`` says that another agent has the name."""
    return "uq_agents_username" in str(getattr(error, "orig", error))
