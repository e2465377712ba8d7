"""Tokens that are sent by mail: whoever has one has the mailbox. Each is good once, for a while."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.customers.tables import account_tokens
from ringline.errors import InvalidArgument
from ringline.http import utc_now
from ringline.storage import tenancy

Purpose = Literal["verify", "reset"]

RESET_LIFE: Final = timedelta(hours=1)
VERIFY_LIFE: Final = timedelta(hours=72)
"""Also how long a sign-up waits for its verification."""
_MOST: Final = 5
"""Tokens of one agent that are good at the same time; the oldest goes for one more."""

MailedToken = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{64}$", description="The token of the mail: 64 hexadecimal digits, good once."),
]


def token_hash(token: str) -> bytes:
    """What is stored of a token. It is random, so a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode()).digest()


async def issue(
    connection: AsyncConnection, purpose: Purpose, customer_id: UUID, agent_id: UUID, life: timedelta
) -> str:
    """A new token for an agent."""
    token, now, rows = secrets.token_hex(32), utc_now(), account_tokens.c
    its = (rows.customer_id == customer_id, rows.agent_id == agent_id, rows.purpose == purpose)
    kept = sa.select(rows.token_hash).where(*its).order_by(rows.tm_create.desc()).limit(_MOST - 1)
    await connection.execute(sa.delete(account_tokens).where(*its, rows.token_hash.not_in(kept)))
    await connection.execute(
        sa.insert(account_tokens).values(
            token_hash=token_hash(token),
            purpose=purpose,
            customer_id=customer_id,
            agent_id=agent_id,
            tm_create=now,
            tm_expire=now + life,
        )
    )
    return token


async def known(connection: AsyncConnection, purpose: Purpose, token: str) -> None:
    """Raises ``InvalidArgument`` (``INVALID_TOKEN``) for a token that ``take`` would refuse."""
    rows = account_tokens.c
    found = sa.select(rows.token_hash).where(
        rows.token_hash == token_hash(token), rows.purpose == purpose, rows.tm_expire > sa.func.now()
    )
    if (await connection.execute(found)).first() is None:
        raise invalid()


async def take(connection: AsyncConnection, purpose: Purpose, token: str) -> Row[Any]:
    """Use a token up: its row, which is gone with the transaction. Raises ``InvalidArgument``."""
    rows = account_tokens.c
    statement = (
        sa.delete(account_tokens)
        .where(rows.token_hash == token_hash(token), rows.purpose == purpose, rows.tm_expire > sa.func.now())
        .returning(account_tokens)
    )
    row: Row[Any] | None = (await connection.execute(statement)).first()
    if row is None:
        raise invalid()
    return row


async def drop(connection: AsyncConnection, agent_id: UUID, purpose: Purpose) -> None:
    """Forget an agent's tokens."""
    rows = account_tokens.c
    # the agent was found to be the customer's
    with tenancy.across():
        await connection.execute(
            sa.delete(account_tokens).where(rows.agent_id == agent_id, rows.purpose == purpose)
        )


async def sweep(connection: AsyncConnection) -> None:
    """Forget what has expired."""
    await connection.execute(sa.delete(account_tokens).where(account_tokens.c.tm_expire <= sa.func.now()))


def invalid() -> InvalidArgument:
    message = "is unknown, was used already or has expired; ask for a new mail"
    return InvalidArgument(
        f"`token`: {message}.", reason="INVALID_TOKEN", details=[{"field": "token", "message": message}]
    )
