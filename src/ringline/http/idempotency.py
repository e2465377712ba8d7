"""``Idempotency-Key``: a request that is sent again is answered again, not done again.

The key belongs to the customer for a day. Only successes are kept: after a failure the same key may try again
at once, with another body, too; whatever the request left half done is its handler's to undo. A process that
dies in the middle of a request, or cannot store its answer, leaves the key held for a minute. After that a
repetition of the same request is carried out although the first one may have done its work. The two share a seed
(`Claim.seed`) from which a handler derives the ids of what it makes: what is there already is found by them
instead of made again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID, uuid5

from sqlalchemy import case, delete, select, update
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
_MAX_UNRELEASED = 10_000


class KeyReused(AlreadyExists):
    """409: the `Idempotency-Key` was used for another request."""

    default_reason = "IDEMPOTENCY_KEY_REUSED"


class KeyInUse(FailedPrecondition):
    """409: the first request with this `Idempotency-Key` is still being worked on."""

    default_reason = "IDEMPOTENCY_KEY_IN_USE"
    retryable = True


@dataclass(frozen=True, slots=True)
class Claim:
    """The key is this request's now. ``seed`` is that of an earlier, equal request with the key whose outcome
    nobody knows, else a new one.
    """

    seed: UUID


@dataclass(frozen=True, slots=True)
class Answered:
    """The same request was answered before, with ``response``."""

    response: bytes


class IdempotencyStore(Protocol):
    """Where keys and the answers to their requests are kept."""

    async def claim(self, customer_id: UUID, key: str, request_hash: bytes) -> Claim | Answered:
        """Take the key for this request, or return the stored answer of the same request.

        Raises ``AlreadyExists`` when the key was used for another request and ``FailedPrecondition`` while
        the first one is still being worked on.
        """

    async def finish(self, customer_id: UUID, key: str, response: bytes) -> None:
        """Keep the answer."""

    async def release(self, customer_id: UUID, key: str) -> None:
        """Give the key back: the request failed."""


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
        # Keys that could not be given back because the database was away; in order.
        self._unreleased: dict[tuple[UUID, str], None] = {}

    async def claim(self, customer_id: UUID, key: str, request_hash: bytes) -> Claim | Answered:
        if (customer_id, key) in self._unreleased:
            await self.release(customer_id, key)
        now = utc_now()
        held = {"request_hash": request_hash, "tm_lease": now + LEASE, "tm_expire": now + LIFETIME}
        statement = (
            insert(keys)
            .values(customer_id=customer_id, key=key, tm_create=now, **held)
            .on_conflict_do_update(
                index_elements=[keys.c.customer_id, keys.c.key],
                # The seed is made of tm_create: it stays with the request and is new on another day.
                set_={
                    **held,
                    "response": None,
                    "tm_create": case((keys.c.tm_expire >= now, keys.c.tm_create), else_=now),
                },
                # A finished key is over after its day; an unfinished one once its holder must be dead, and
                # then only for the same request.
                where=(keys.c.tm_expire < now)
                | (
                    keys.c.response.is_(None)
                    & (keys.c.tm_lease < now)
                    & (keys.c.request_hash == request_hash)
                ),
            )
            .returning(keys.c.tm_create)
        )
        async with self._database.begin() as connection:
            taken = (await connection.execute(statement)).first()
            if taken is not None:
                return Claim(_seed(customer_id, key, taken.tm_create))
            known = (
                await connection.execute(
                    select(keys.c.request_hash, keys.c.response).where(
                        keys.c.customer_id == customer_id, keys.c.key == key
                    )
                )
            ).first()
        if known is not None and known.request_hash != request_hash:
            raise KeyReused(
                f"The {HEADER} `{key}` was used for another request; use a new key for a new request."
            )
        if known is None or known.response is None:
            raise KeyInUse(
                f"The first request with the {HEADER} `{key}` is still in progress; ask again in a moment."
            )
        return Answered(bytes(known.response))

    async def finish(self, customer_id: UUID, key: str, response: bytes) -> None:
        async with self._database.begin() as connection:
            await connection.execute(
                update(keys)
                .where(keys.c.customer_id == customer_id, keys.c.key == key)
                .values(response=response)
            )

    async def release(self, customer_id: UUID, key: str) -> None:
        self._unreleased.pop((customer_id, key), None)
        try:
            async with self._database.begin() as connection:
                await connection.execute(
                    delete(keys).where(
                        keys.c.customer_id == customer_id, keys.c.key == key, keys.c.response.is_(None)
                    )
                )
        except BaseException:
            self._unreleased[customer_id, key] = None
            if len(self._unreleased) > _MAX_UNRELEASED:
                del self._unreleased[next(iter(self._unreleased))]
            raise

    async def sweep(self) -> int:
        """Delete keys whose day is over; returns how many there were."""
        async with self._database.begin() as connection:
            result = await connection.execute(delete(keys).where(keys.c.tm_expire < utc_now()))
            return result.rowcount


def _seed(customer_id: UUID, key: str, taken: datetime) -> UUID:
    return uuid5(customer_id, f"{taken.timestamp():.6f} {key}")
