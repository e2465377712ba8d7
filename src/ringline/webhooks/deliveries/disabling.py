"""Disabling an endpoint at which nothing arrives, and telling its customer."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import sqlalchemy as sa
import structlog

from ringline.clock import Clock
from ringline.events import Event, emit
from ringline.media.address_guard import loggable
from ringline.storage import Database
from ringline.webhooks.endpoints.service import WebhookService
from ringline.webhooks.endpoints.tables import webhooks

log = structlog.get_logger(__name__)

Post = Callable[[str, str, str], None]
"""Sends a mail in the background: to whom, subject, text."""

_WHY = {
    "gone": "it answered 410 (gone)",
    "failing": "for days nothing that was sent there has arrived",
}
_TEXT = (
    "Your webhook to {} was disabled: {}.\n\nNothing more is sent there. When it works again, enable it with"
    " PUT /v1.0/webhooks/{{id}}, and have what has failed meanwhile sent again with"
    " POST /v1.0/webhooks/{{id}}/recover.\n"
)
_ADDRESS = sa.text("SELECT email FROM customers WHERE id = :id").bindparams(sa.bindparam("id", type_=sa.Uuid))


class Disabling:
    """Disables endpoints (``dispatch.Disable``)."""

    def __init__(self, database: Database, clock: Clock, service: WebhookService) -> None:
        self._database = database
        self._clock = clock
        self._service = service
        self.post: Post | None = None

    async def __call__(self, webhook_id: UUID, reason: str) -> None:
        """Disable it, and announce ``webhook_disabled`` to the customer's other endpoints."""
        now = self._clock.now()
        columns = webhooks.c
        statement = (
            sa.update(webhooks)
            .where(columns.id == webhook_id, columns.enabled, columns.tm_delete.is_(None))
            .values(enabled=False, disabled_reason=reason, tm_disabled=now, tm_update=now)
            .returning(webhooks)
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(statement)).first()
            if row is not None:
                event = Event(
                    type="webhook_disabled",
                    customer_id=row.customer_id,
                    resource="webhook",
                    resource_id=row.id,
                    data=self._service.shown(row).model_dump(mode="json"),
                    tm_create=now,
                )
                await emit(connection, [event])
        if row is None:
            return
        log.warning(
            "webhook_disabled", customer_id=str(row.customer_id), webhook_id=str(row.id), reason=reason
        )
        await self._mail(row.customer_id, row.uri, reason)

    async def _mail(self, customer_id: UUID, uri: str, reason: str) -> None:
        async with self._database.connect() as connection:
            address = (await connection.execute(_ADDRESS, {"id": customer_id})).scalar()
        if self.post is None or not address:
            return
        try:
            self.post(address, "A webhook was disabled", _TEXT.format(loggable(uri), _WHY[reason]))
        except ValueError as error:
            log.warning("webhook_mail_refused", customer_id=str(customer_id), error=str(error))
