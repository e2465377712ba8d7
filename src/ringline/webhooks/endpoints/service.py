"""What customers may do with their endpoints."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog

from ringline.billing import tiers
from ringline.clock import Clock
from ringline.errors import FailedPrecondition, InvalidArgument, NotFound
from ringline.http import page_statement
from ringline.storage import Database
from ringline.storage.rows import change, live, one
from ringline.webhooks.endpoints.models import (
    SecretRotation,
    WebhookAnswer,
    WebhookChange,
    WebhookCreate,
    WebhookQuery,
    WebhookSecretAnswer,
)
from ringline.webhooks.endpoints.tables import webhooks
from ringline.webhooks.signing import Secrets

log = structlog.get_logger(__name__)

CheckUrl = Callable[[str], None]
"""Raises ``InvalidArgument`` for where nothing may be sent."""


class WebhookNotFound(NotFound):
    """404: no such endpoint."""

    default_reason = "WEBHOOK_NOT_FOUND"


class WebhookLimitReached(tiers.LimitReached):
    """429: the customer's plan allows no more endpoints. Waiting does not help."""

    default_reason = "WEBHOOK_LIMIT_REACHED"


_TIER: Final = tiers.Tier(
    "webhooks",
    webhooks,
    "Delete one (DELETE /v1.0/webhooks/{id})",
    error=WebhookLimitReached,
    more=(webhooks.c.type == "endpoint",),
)


class WebhookService:
    """Endpoints of customers."""

    def __init__(self, database: Database, clock: Clock, secrets: Secrets, check_url: CheckUrl) -> None:
        self._database = database
        self._clock = clock
        self._secrets = secrets
        self._check_url = check_url

    async def page(self, customer_id: UUID, query: WebhookQuery) -> list[sa.Row[Any]]:
        statement = live(webhooks, customer_id).where(webhooks.c.uri != "")
        if query.type:
            statement = statement.where(webhooks.c.type == query.type)
        async with self._database.connect() as connection:
            return list((await connection.execute(page_statement(statement, webhooks, query))).all())

    async def get(self, customer_id: UUID, webhook_id: UUID) -> sa.Row[Any]:
        """Raises ``WebhookNotFound``."""
        async with self._database.connect() as connection:
            return _found(await one(connection, webhooks, customer_id, webhook_id))

    async def create(self, customer_id: UUID, wanted: WebhookCreate) -> sa.Row[Any]:
        """Raises ``InvalidArgument`` and ``WebhookLimitReached``."""
        self._check_uri(wanted.uri)
        now = self._clock.now()
        values = {
            **wanted.model_dump(),
            "patterns": patterns(wanted.events),
            **_switched(wanted.enabled, now),
        }
        async with self._database.begin() as connection:
            await tiers.check(connection, customer_id, _TIER)
            statement = (
                sa.insert(webhooks)
                .values(id=uuid4(), customer_id=customer_id, salt=uuid4(), tm_create=now, **values)
                .returning(webhooks)
            )
            row: sa.Row[Any] = (await connection.execute(statement)).one()
        log.info("webhook_created", customer_id=str(customer_id), webhook_id=str(row.id))
        return row

    async def update(self, customer_id: UUID, webhook_id: UUID, wanted: WebhookChange) -> sa.Row[Any]:
        """Change what ``wanted`` names. Raises ``WebhookNotFound``, ``InvalidArgument``, ``FailedPrecondition``."""
        values = wanted.model_dump(include=wanted.model_fields_set)
        if "uri" in values:
            self._check_uri(wanted.uri)
        if "events" in values:
            values["patterns"] = patterns(wanted.events)
        now = self._clock.now()
        async with self._database.begin() as connection:
            row = _found(await one(connection, webhooks, customer_id, webhook_id))
            if row.type != "endpoint" and (foreign := values.keys() & {"uri", "method"}):
                _elsewhere(row.type, sorted(foreign))
            if row.type == "activeflow" and (foreign := values.keys() & {"events", "resources"}):
                _elsewhere(row.type, sorted(foreign))
            if (values.get("uri", row.uri), values.get("method", row.method)) != (row.uri, row.method):
                # the days of failure were those of another server
                values["tm_failing"] = None
            # said again it changes nothing, so that what disabled it stays to be seen
            if "enabled" in values and wanted.enabled != row.enabled:
                values |= _switched(wanted.enabled, now)
            changed = await change(
                connection, webhooks, customer_id, webhook_id, {**values, "tm_update": now}
            )
        return _found(changed)

    async def delete(self, customer_id: UUID, webhook_id: UUID) -> sa.Row[Any]:
        """Raises ``WebhookNotFound``, and ``FailedPrecondition`` for the customer's own."""
        now = self._clock.now()
        async with self._database.begin() as connection:
            row = _found(await one(connection, webhooks, customer_id, webhook_id))
            if row.type == "customer":
                _elsewhere(row.type, ["uri"])
            values = {"tm_update": now, "tm_delete": now}
            gone = _found(await change(connection, webhooks, customer_id, webhook_id, values))
        log.info("webhook_deleted", customer_id=str(customer_id), webhook_id=str(webhook_id))
        return gone

    async def rotate(self, customer_id: UUID, webhook_id: UUID, wanted: SecretRotation) -> sa.Row[Any]:
        """A new secret; the old one signs as well for ``wanted.overlap`` seconds. Raises ``WebhookNotFound``."""
        now = self._clock.now()
        former = now + timedelta(seconds=wanted.overlap) if wanted.overlap else None
        values: dict[Any, Any] = {
            "former_salt": webhooks.c.salt if former else None,
            "tm_former_expire": former,
            "salt": uuid4(),
            "tm_update": now,
        }
        async with self._database.begin() as connection:
            row = _found(await change(connection, webhooks, customer_id, webhook_id, values))
        log.info("webhook_secret_rotated", customer_id=str(customer_id), webhook_id=str(webhook_id))
        return row

    def shown(self, row: sa.Row[Any]) -> WebhookAnswer:
        """What is shown of an endpoint."""
        return WebhookAnswer.model_validate(self._fields(row))

    def with_secret(self, row: sa.Row[Any]) -> WebhookSecretAnswer:
        """The same with its secret: for whoever just made it."""
        return WebhookSecretAnswer.model_validate(
            {**self._fields(row), "secret": self._secrets.text(row.salt)}
        )

    def _fields(self, row: sa.Row[Any]) -> dict[str, Any]:
        expire = row.tm_former_expire
        lasting = expire is not None and expire > self._clock.now()
        return {
            **row._mapping,
            "secret_prefix": self._secrets.prefix(row.salt),
            "tm_former_secret_expire": expire if lasting else None,
        }

    def _check_uri(self, uri: str) -> None:
        try:
            self._check_url(uri)
        except InvalidArgument as error:
            raise InvalidArgument(
                f"`uri`: {error.message}", details=[{"field": "uri", "message": error.message}]
            ) from None


def patterns(events: list[str]) -> list[str]:
    """Names with ``*`` as patterns of SQL's LIKE."""
    return [name.replace("_", r"\_").replace("*", "%") for name in events]


def _switched(enabled: bool, now: datetime) -> dict[str, Any]:
    return {
        "enabled": enabled,
        "disabled_reason": "" if enabled else "request",
        "tm_disabled": None if enabled else now,
        "tm_failing": None,
    }


def _elsewhere(kind: str, fields: list[str]) -> None:
    names = ", ".join(f"`{name}`" for name in fields)
    where = (
        "of the customer's own webhook are changed by PUT /v1.0/customer (`webhook_uri`, `webhook_method`)"
        if kind == "customer"
        else "of an activeflow's webhook come with the request that made it"
    )
    raise FailedPrecondition(f"{names} {where}.", reason="WEBHOOK_NOT_CHANGEABLE")


def _found(row: sa.Row[Any] | None) -> sa.Row[Any]:
    if row is None:
        raise WebhookNotFound("There is no such webhook; GET /v1.0/webhooks lists yours.")
    return row
