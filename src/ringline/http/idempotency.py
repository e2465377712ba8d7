"""``Idempotency-Key``: a request that is sent again is answered again, not done again.

The key belongs to the customer for a day. Only successes are kept: a request that failed did nothing, so the
same key may try again. A process that dies in the middle of a request leaves its key held for a minute; after
that a repetition is carried out.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert

from ringline.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from ringline.http.tables import idempotency_keys as keys
from ringline.http.times import utc_now
from ringline.storage import Database

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
LIFETIME = timedelta(hours=24)
LEASE = timedelta(seconds=60)
_LONGEST = 255


class IdempotencyStore(Protocol):
    """Where keys and the answers to their requests are kept."""

    async def claim(self, customer_id: UUID, key: str, request_hash: bytes) -> bytes | None:
        """Take the key for this request, or return the stored answer of the same request.

        Raises ``AlreadyExists`` when the key was used for another request and ``FailedPrecondition`` while
        the first one is still being worked on.
        """

    async def finish(self, customer_id: UUID, key: str, response: bytes) -> None:
        """Keep the answer."""

    async def release(self, customer_id: UUID, key: str) -> None:
        """Forget the key: nothing was done."""


def checked_key(text: str) -> str:
    """The header's value, if it can be a key. Raises ``InvalidArgument``."""
    if not 1 <= len(text) <= _LONGEST or not all(" " <= character <= "~" for character in text):
        raise InvalidArgument(
            f"The header `{HEADER}` must be 1 to {_LONGEST} printable ASCII characters.",
            details=[{"field": HEADER, "message": f"must be 1 to {_LONGEST} printable ASCII characters"}],
        )
    return text


def request_hash(method: str, path: str, body: bytes) -> bytes:
    """What makes two requests the same one."""
    return hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()


class DatabaseIdempotency:
    """The store in PostgreSQL, so that a key holds across processes and restarts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, customer_id: UUID, key: str, request_hash: bytes) -> bytes | None:
        now = utc_now()
        held = {"request_hash": request_hash, "tm_lease": now + LEASE, "tm_create": now}
        statement = (
            insert(keys)
            .values(customer_id=customer_id, key=key, tm_expire=now + LIFETIME, **held)
            .on_conflict_do_update(
                index_elements=[keys.c.customer_id, keys.c.key],
                set_={**held, "response": None, "tm_expire": now + LIFETIME},
                # A finished key is over after its day; an unfinished one once its holder must be dead, and
                # then only for the same request.
                where=(keys.c.tm_expire < now)
                | (
                    keys.c.response.is_(None)
                    & (keys.c.tm_lease < now)
                    & (keys.c.request_hash == request_hash)
                ),
            )
            .returning(keys.c.key)
        )
        async with self._database.begin() as connection:
            if (await connection.execute(statement)).first() is not None:
                return None
            known = (
                await connection.execute(
                    select(keys.c.request_hash, keys.c.response).where(
                        keys.c.customer_id == customer_id, keys.c.key == key
                    )
                )
            ).first()
        if known is not None and known.request_hash != request_hash:
            raise AlreadyExists(
                f"The {HEADER} `{key}` was used for another request; use a new key for a new request.",
                reason="IDEMPOTENCY_KEY_REUSED",
            )
        if known is None or known.response is None:
            raise FailedPrecondition(
                f"The first request with the {HEADER} `{key}` is still in progress; ask again in a moment.",
                reason="IDEMPOTENCY_KEY_IN_USE",
            )
        return bytes(known.response)

    async def finish(self, customer_id: UUID, key: str, response: bytes) -> None:
        async with self._database.begin() as connection:
            await connection.execute(
                update(keys)
                .where(keys.c.customer_id == customer_id, keys.c.key == key)
                .values(response=response)
            )

    async def release(self, customer_id: UUID, key: str) -> None:
        async with self._database.begin() as connection:
            await connection.execute(
                delete(keys).where(
                    keys.c.customer_id == customer_id, keys.c.key == key, keys.c.response.is_(None)
                )
            )

    async def sweep(self) -> int:
        """Delete keys whose day is over; returns how many there were."""
        async with self._database.begin() as connection:
            result = await connection.execute(delete(keys).where(keys.c.tm_expire < utc_now()))
            return result.rowcount
