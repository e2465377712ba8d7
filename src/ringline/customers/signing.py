"""What tokens of logins are signed with: keys that change by themselves, known to all processes within a second.

A key is HMAC-SHA256 of a random salt with ``RINGLINE_JWT_SECRET``; only the salt is in the database. So whoever reads
the database can sign nothing, and whoever knows the secret alone cannot either. A new secret makes all tokens void.

A new key signs ``AHEAD_SECONDS`` after it was made, when every process knows it, and for ``jwt_rotation_days``; what
it signed is accepted until the last of it has ended.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog
from sqlalchemy import delete, func, insert, select, text, update

from ringline.customers.token_tables import signing_keys
from ringline.errors import Unavailable
from ringline.http import utc_now
from ringline.storage import Database, Mirror

log = structlog.get_logger(__name__)

LIFETIME = 7 * 24 * 3600
"""Seconds that a token is valid."""
AHEAD_SECONDS = 5.0
SHORTEST_SECRET = 32
_SALT_BYTES = 32
# any number will do as long as every version of this program uses the same
_LOCK = 7_234_003


@dataclass(frozen=True, slots=True)
class SigningKey:
    """``secret`` signs from ``signs`` on, and its signatures are accepted until ``expires``: seconds since 1970."""

    id: UUID
    secret: bytes
    signs: float
    expires: float | None


class Keys(Protocol):
    """Where keys are looked up, in memory."""

    def by_id(self, key_id: UUID) -> SigningKey | None: ...

    def signing(self) -> SigningKey:
        """The one to sign with now. Raises ``Unavailable`` where there is none."""


def checked_secret(secret: str) -> bytes:
    """The secret that all keys hang on. Raises ``ValueError`` for one that could be guessed."""
    raw = secret.encode()
    if len(raw) < SHORTEST_SECRET:
        raise ValueError(f"RINGLINE_JWT_SECRET must be at least {SHORTEST_SECRET} bytes long")
    return raw


def derived(secret: bytes, key_id: UUID, salt: bytes) -> bytes:
    """The key that a salt stands for."""
    return hmac.digest(secret, b"ringline signing key" + key_id.bytes + salt, "sha256")


class OneKey:
    """A key of the secret alone, for where there is no database."""

    def __init__(self, secret: str) -> None:
        raw = checked_secret(secret)
        key_id = UUID(bytes=hashlib.sha256(b"key id " + raw).digest()[:16])
        self._key = SigningKey(key_id, derived(raw, key_id, b""), 0.0, None)

    def by_id(self, key_id: UUID) -> SigningKey | None:
        return self._key if key_id == self._key.id else None

    def signing(self) -> SigningKey:
        return self._key


class SigningKeyDirectory(Mirror[SigningKey]):
    """All keys whose signatures may still be accepted."""

    def __init__(self, database: Database, secret: str) -> None:
        raw = checked_secret(secret)

        def build(row: Any) -> SigningKey:
            expires = None if row.tm_expire is None else row.tm_expire.timestamp()
            return SigningKey(row.id, derived(raw, row.id, bytes(row.salt)), row.tm_sign.timestamp(), expires)

        super().__init__(database, signing_keys, build)
        self._at = database

    async def start(self) -> None:
        """Follow the keys; the first process of an installation makes the first one."""
        await super().start()
        if not self._rows:
            await rotate(self._at, only_after=timedelta(0))
            await self.reload()

    def signing(self) -> SigningKey:
        now = time.time()
        known = [key for key in self._rows.values() if key.expires is None or key.expires > now]
        begun = [key for key in known if key.signs <= now]
        if begun:
            return max(begun, key=lambda key: key.signs)
        if known:
            return min(known, key=lambda key: key.signs)
        raise Unavailable("No token can be made now: there is no key to sign with. Try again shortly.")


async def rotate(
    database: Database, *, only_after: timedelta | None = None, revoke: bool = False
) -> UUID | None:
    """Make a new key; its id. Every process hears of it at once, and signs with it some seconds later.

    ``only_after``: none is made, and ``None`` returned, while the newest is not that old. ``revoke``: the others are
    deleted, so that every token there is is void, and the new one signs at once.
    """
    now = utc_now()
    async with database.begin() as connection:
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        live = signing_keys.c.tm_delete.is_(None)
        newest: datetime | None = await connection.scalar(
            select(func.max(signing_keys.c.tm_create)).where(live)
        )
        if only_after is not None and newest is not None and newest > now - only_after:
            return None
        at_once = revoke or newest is None
        signs = now if at_once else now + timedelta(seconds=AHEAD_SECONDS)
        if revoke:
            await connection.execute(
                update(signing_keys).where(live).values(tm_delete=now, tm_update=now, tm_expire=now)
            )
        else:
            await connection.execute(
                update(signing_keys)
                .where(live, signing_keys.c.tm_expire.is_(None))
                .values(tm_expire=signs + timedelta(seconds=LIFETIME), tm_update=now)
            )
        key_id = uuid4()
        await connection.execute(
            insert(signing_keys).values(
                id=key_id, salt=secrets.token_bytes(_SALT_BYTES), tm_sign=signs, tm_create=now
            )
        )
    log.info("signing_key_made", key_id=str(key_id), all_revoked=revoke)
    return key_id


async def sweep(database: Database) -> None:
    """Delete keys of which nothing is accepted any more."""
    async with database.begin() as connection:
        await connection.execute(delete(signing_keys).where(signing_keys.c.tm_expire < utc_now()))
