"""Writing the trail: who acts is told to the transactions, which write what they change (``storage.acting``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import orjson
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.audit.models import ZERO, Actor, Happening
from ringline.audit.store import audit_events
from ringline.http import Request, Route, utc_now
from ringline.storage import Database
from ringline.storage.acting import Acting, current, under

log = structlog.get_logger(__name__)

SYSTEM: Final = Actor("system")
_SWEEP_AT_ONCE: Final = 10_000
_LONGEST_NAME: Final = 255
_IDS: Final = ("customer_id", "agent_id", "accesskey_id")


class Trail:
    """The trail of administrative changes (``http.Auditor``).

    ``keep_days``: how long what is written from now on stays. The database refuses to delete it before.
    """

    def __init__(self, database: Database, *, keep_days: float) -> None:
        self._database = database
        self._keep = timedelta(days=keep_days)

    @asynccontextmanager
    async def acting(self, route: Route, request: Request[Any, Any]) -> AsyncIterator[None]:
        """Whatever the handler of ``route`` changes is the deed of who asked.

        What it did without any transaction is written down at the end, before the answer.
        """
        principal = request.principal
        actor = Actor(
            "agent" if principal.accesskey_id is None else "accesskey",
            principal.customer_id,
            principal.agent_id,
            principal.accesskey_id,
            principal.username,
            request.remote,
            request.request_id,
            f"{route.method} {route.path}",
        )
        acting = self._acting(actor)
        with under(acting):
            yield
        if not acting.used:
            named = list(request.path.values())
            last = route.path.rsplit("/", 1)[-1]
            action = f"{route.method.lower()} {route.domain if last.startswith('{') else last}"
            happening = Happening(principal.customer_id, action, route.domain, named[-1] if named else ZERO)
            async with self._database.connect() as connection:
                await self.write(connection, actor, happening)

    @contextmanager
    def system(self, operation: str) -> Iterator[None]:
        """What happens in here we do by ourselves."""
        with under(self._acting(Actor("system", operation=operation))):
            yield

    @contextmanager
    def by(self, actor: Actor) -> Iterator[None]:
        """What happens in here is ``actor``'s deed."""
        with under(self._acting(actor)):
            yield

    async def record(self, actor: Actor, happening: Happening) -> None:
        """Write down what changes no table. Raises ``DatabaseUnavailable``."""
        async with self._database.connect() as connection:
            await self.write(connection, actor, happening)

    async def write(self, connection: AsyncConnection, actor: Actor, happening: Happening) -> None:
        """The same in a transaction of the caller's."""
        await _write(connection, actor, happening, self._keep)

    async def forget(self, connection: AsyncConnection, customer_id: UUID) -> None:
        """Take out what the rows of a deleted customer say of people."""
        rows = audit_events.c
        await connection.execute(
            sa.update(audit_events)
            .where(
                rows.customer_id == customer_id,
                sa.or_(rows.changes != sa.text("'{}'::jsonb"), rows.remote != "", rows.username != ""),
            )
            .values(changes={}, remote="", username="")
        )

    async def sweep(self) -> None:
        """Delete what has been kept for long enough."""
        expired = (
            sa.select(audit_events.c.id)
            .where(audit_events.c.tm_expire <= sa.func.now())
            .limit(_SWEEP_AT_ONCE)
        )
        async with self._database.begin() as connection:
            done = await connection.execute(sa.delete(audit_events).where(audit_events.c.id.in_(expired)))
        if done.rowcount:
            log.info("audit_events_swept", rows=done.rowcount)

    def _acting(self, actor: Actor) -> Acting:
        said = {**asdict(actor), "keep": self._keep.total_seconds()}
        # ids that come from the database are of its driver's class
        return Acting(orjson.dumps(said, default=str).decode())


async def note(connection: AsyncConnection, happening: Happening) -> None:
    """Write down what no trigger does, in the caller's transaction and the name of whoever acts here, if anybody."""
    named = current()
    if named is None:
        return
    said = orjson.loads(named.actor)
    keep = timedelta(seconds=said.pop("keep"))
    ids = {name: None if said[name] is None else UUID(said[name]) for name in _IDS}
    await _write(connection, Actor(**said | ids), happening, keep)


async def _write(connection: AsyncConnection, actor: Actor, happening: Happening, keep: timedelta) -> None:
    now = utc_now()
    who = asdict(actor)
    values = {
        **{name: who[name] for name in ("agent_id", "accesskey_id", "remote", "request_id", "operation")},
        "username": actor.username[:_LONGEST_NAME],
        "actor_type": actor.type,
        "actor_customer_id": actor.customer_id,
        "id": uuid4(),
        "customer_id": happening.customer_id,
        "action": happening.action,
        "resource": happening.resource,
        "resource_id": happening.resource_id,
        "changes": dict(happening.changes),
        "tm_create": now,
        "tm_expire": now + keep,
    }
    await connection.execute(sa.insert(audit_events).values(values))
