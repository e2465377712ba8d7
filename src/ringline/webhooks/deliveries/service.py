"""What customers may see of deliveries, and sending them again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.clock import Clock
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound
from ringline.events.models import ZERO, new_id
from ringline.http import page_statement
from ringline.http.times import parse
from ringline.storage import Database
from ringline.webhooks.deliveries.models import DeliveryQuery, Recovery, RecoveryAnswer, TestAnswer
from ringline.webhooks.deliveries.posting import Poster
from ringline.webhooks.deliveries.schedule import LIFETIME
from ringline.webhooks.deliveries.sink import CHANNEL
from ringline.webhooks.deliveries.tables import webhook_deliveries
from ringline.webhooks.endpoints.service import WebhookService
from ringline.webhooks.signing import Secrets

RECOVERED_AT_ONCE = 5000
RECOVERIES = 20
"""With one request, one after the other; asking again takes up the rest."""


class DeliveryNotFound(NotFound):
    """404: no such delivery."""

    default_reason = "WEBHOOK_DELIVERY_NOT_FOUND"


class DeliveryService:
    """Deliveries of a customer."""

    def __init__(
        self, database: Database, clock: Clock, webhooks: WebhookService, secrets: Secrets, poster: Poster
    ) -> None:
        self._database = database
        self._clock = clock
        self._webhooks = webhooks
        self._secrets = secrets
        self._poster = poster

    async def page(self, customer_id: UUID, query: DeliveryQuery) -> list[sa.Row[Any]]:
        columns = webhook_deliveries.c
        statement = sa.select(webhook_deliveries).where(columns.customer_id == customer_id)
        for name in ("webhook_id", "type", "status", "resource_id"):
            if value := getattr(query, name):
                statement = statement.where(columns[name] == value)
        if query.since is not None:
            statement = statement.where(columns.tm_create >= query.since)
        if query.until is not None:
            statement = statement.where(columns.tm_create < query.until)
        async with self._database.connect() as connection:
            return list(
                (await connection.execute(page_statement(statement, webhook_deliveries, query))).all()
            )

    async def get(self, customer_id: UUID, delivery_id: UUID) -> sa.Row[Any]:
        """Raises ``DeliveryNotFound``."""
        async with self._database.connect() as connection:
            return await _one(connection, customer_id, delivery_id)

    async def redeliver(self, customer_id: UUID, delivery_id: UUID) -> sa.Row[Any]:
        """Send it once more, now, whatever became of it. Raises ``DeliveryNotFound``, ``FailedPrecondition``."""
        columns = webhook_deliveries.c
        async with self._database.begin() as connection:
            row = await _one(connection, customer_id, delivery_id)
            await self._usable(connection, customer_id, row.webhook_id)
            if not (
                await connection.execute(_KNOWN, {"id": row.event_id, "customer_id": customer_id})
            ).first():
                raise FailedPrecondition(
                    "The event is no longer stored; it cannot be sent again.", reason="EVENT_NOT_STORED"
                )
            now = self._clock.now()
            mine = (columns.id == delivery_id, columns.customer_id == customer_id)
            # one attempt is what was asked for; what is on its way has its attempts all the same
            statement = (
                sa.update(webhook_deliveries)
                .where(*mine, columns.status != "pending")
                .values(status="pending", reason="", tries=0, tm_next=None, tm_expire=now, tm_update=now)
            )
            waiting = sa.update(webhook_deliveries).where(*mine, columns.status == "pending")
            await connection.execute(waiting.values(tm_next=None))
            await connection.execute(statement)
            await _again(connection, row.webhook_id)
            return await _one(connection, customer_id, delivery_id)

    async def recover(self, customer_id: UUID, webhook_id: UUID, wanted: Recovery) -> RecoveryAnswer:
        """Send again what has failed since then, in order. Raises ``WebhookNotFound``, ``FailedPrecondition``."""
        try:
            since = parse(wanted.since)
        except ValueError:
            message = "must be a time such as 2021-02-06T08:54:38Z"
            raise InvalidArgument(
                f"`since` {message}", details=[{"field": "since", "message": message}]
            ) from None
        await self._webhooks.get(customer_id, webhook_id)
        now, count = self._clock.now(), 0
        given = {
            "webhook_id": webhook_id,
            "customer_id": customer_id,
            "since": since,
            "now": now,
            "expire": now + LIFETIME,
        }
        for _ in range(RECOVERIES):
            async with self._database.begin() as connection:
                await self._usable(connection, customer_id, webhook_id)
                some = (await connection.execute(_RECOVER, {**given, "most": RECOVERED_AT_ONCE})).rowcount
                await _again(connection, webhook_id)
            count += some
            if some < RECOVERED_AT_ONCE:
                break
        return RecoveryAnswer(webhook_id=webhook_id, count=count)

    async def test(self, customer_id: UUID, webhook_id: UUID) -> TestAnswer:
        """Send an event made for it, now and once. Raises ``WebhookNotFound``, ``FailedPrecondition``."""
        row = await self._webhooks.get(customer_id, webhook_id)
        if not row.uri:
            raise FailedPrecondition(
                "There is no address: set `webhook_uri` with PUT /v1.0/customer.", reason="WEBHOOK_NO_URI"
            )
        now, event_id = self._clock.now(), new_id()
        shown = self._webhooks.shown(row)
        body = orjson.dumps(
            {
                "id": str(event_id),
                "type": "webhook_test",
                "timestamp": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "customer_id": str(customer_id),
                "resource": "webhook",
                "resource_id": str(webhook_id),
                "activeflow_id": str(ZERO),
                "sequence": 0,
                "data": shown.model_dump(mode="json"),
            }
        )
        signing = [self._secrets.raw(row.salt)]
        if row.former_salt is not None and row.tm_former_expire > now:
            signing.append(self._secrets.raw(row.former_salt))
        attempt = await self._poster.post(row.method, row.uri, str(event_id), body, signing, now)
        return TestAnswer.model_validate(
            {
                "webhook_id": webhook_id,
                "event_id": event_id,
                "delivered": attempt.arrived,
                "attempt": {**attempt.shown(), "tm": now},
            }
        )

    async def _usable(self, connection: AsyncConnection, customer_id: UUID, webhook_id: UUID) -> None:
        if not (await connection.execute(_USABLE, {"id": webhook_id, "customer_id": customer_id})).scalar():
            raise FailedPrecondition(
                "The webhook is disabled, deleted or has no address; nothing can be sent there.",
                reason="WEBHOOK_DISABLED",
            )


_OWN = (sa.bindparam("id", type_=sa.Uuid), sa.bindparam("customer_id", type_=sa.Uuid))
_KNOWN = sa.text("SELECT 1 FROM events WHERE id = :id AND customer_id = :customer_id").bindparams(*_OWN)
_USABLE = sa.text(
    "SELECT enabled AND tm_delete IS NULL AND uri <> '' FROM webhooks WHERE id = :id AND customer_id = :customer_id"
).bindparams(*_OWN)
_RECOVER = sa.text(
    """
    UPDATE webhook_deliveries SET status = 'pending', reason = '', tries = 0, tm_next = NULL, tm_expire = :expire,
        tm_update = :now
    WHERE id IN (
        SELECT delivery.id FROM webhook_deliveries AS delivery JOIN events ON events.id = delivery.event_id
        WHERE delivery.webhook_id = :webhook_id AND delivery.customer_id = :customer_id
            AND delivery.status = 'failed' AND delivery.tm_create >= :since
        ORDER BY delivery.tm_create LIMIT :most
    )
    """
).bindparams(sa.bindparam("webhook_id", type_=sa.Uuid), _OWN[1])


async def _one(connection: AsyncConnection, customer_id: UUID, delivery_id: UUID) -> sa.Row[Any]:
    columns = webhook_deliveries.c
    statement = sa.select(webhook_deliveries).where(
        columns.id == delivery_id, columns.customer_id == customer_id
    )
    row: sa.Row[Any] | None = (await connection.execute(statement)).first()
    if row is None:
        raise DeliveryNotFound("There is no such delivery; GET /v1.0/webhook_deliveries lists yours.")
    return row


async def _again(connection: AsyncConnection, webhook_id: UUID) -> None:
    """Whoever delivers there looks from the beginning."""
    await connection.execute(
        sa.text("SELECT pg_notify(:channel, :what)"), {"channel": CHANNEL, "what": f"again {webhook_id}"}
    )
