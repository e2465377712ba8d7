"""Tokens that were taken back before their time, known to all processes within a second."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert

from ringline.customers.token_tables import revoked_tokens
from ringline.errors import InvalidArgument
from ringline.http import Principal, utc_now
from ringline.storage import Database, Mirror

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Revoked:
    """A token that is refused although it has not ended."""

    id: UUID


class RevokedTokens(Mirror[Revoked]):
    """All of them, by the token's id (``jti``)."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, revoked_tokens, _revoked, columns=("id",))
        self._at = database

    async def revoke(self, principal: Principal) -> None:
        """Take the token of this request back. Raises ``InvalidArgument`` for an access key."""
        if principal.token_id is None or principal.agent_id is None:
            raise InvalidArgument(
                "Only a login can be logged out; an access key is taken back with DELETE /v1.0/accesskeys/{id}."
            )
        async with self._at.begin() as connection:
            await connection.execute(
                insert(revoked_tokens)
                .values(
                    id=principal.token_id,
                    customer_id=principal.customer_id,
                    agent_id=principal.agent_id,
                    tm_expire=datetime.fromtimestamp(principal.token_expires, UTC),
                    tm_create=utc_now(),
                )
                .on_conflict_do_nothing()
            )
        await self.refresh(principal.token_id)
        log.info("logout", agent_id=str(principal.agent_id), customer_id=str(principal.customer_id))


async def sweep(database: Database) -> None:
    """Forget those that have ended by themselves."""
    async with database.begin() as connection:
        await connection.execute(delete(revoked_tokens).where(revoked_tokens.c.tm_expire < utc_now()))


def _revoked(row: Any) -> Revoked:
    return Revoked(row.id)
