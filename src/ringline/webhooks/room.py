"""Webhooks put together: endpoints, their deliveries, and the worker that sends them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from ringline.clock import Clock
from ringline.http import Route
from ringline.media.address_guard import AddressGuard, check_url
from ringline.settings import Settings
from ringline.storage import Database
from ringline.webhooks.deliveries import store
from ringline.webhooks.deliveries.disabling import Disabling
from ringline.webhooks.deliveries.http import delivery_routes
from ringline.webhooks.deliveries.posting import Poster
from ringline.webhooks.deliveries.service import DeliveryService
from ringline.webhooks.deliveries.sink import deliver
from ringline.webhooks.deliveries.worker import Worker
from ringline.webhooks.endpoints.http import webhook_routes
from ringline.webhooks.endpoints.service import WebhookService
from ringline.webhooks.signing import Secrets

_SWEPT_AT_ONCE = 5000


class Webhooks:
    """Everything about webhooks. ``deliver`` is called where events are published (``events.publisher``)."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._kept = timedelta(days=settings.webhook_keep_days)
        key = settings.webhook_secret.get_secret_value() or settings.jwt_secret.get_secret_value()
        secrets = Secrets(key)
        allowed = settings.fetch_allowed_networks
        self.poster = Poster(AddressGuard(allowed))
        self.deliver = deliver
        check: Callable[[str], None] = partial(check_url, allowed=allowed)
        self.endpoints = WebhookService(database, clock, secrets, check)
        self.deliveries = DeliveryService(database, clock, self.endpoints, secrets, self.poster)
        self.disabling = Disabling(database, clock, self.endpoints)
        self.worker = Worker(
            database,
            clock,
            self.poster,
            secrets,
            self.disabling,
            failing_days=settings.webhook_failing_days,
        )

    def routes(self) -> list[Route]:
        """Operations on endpoints and deliveries."""
        return [*webhook_routes(self.endpoints), *delivery_routes(self.deliveries)]

    async def sweep(self) -> None:
        """Delete what ended days ago."""
        before = self._clock.now() - self._kept
        count = _SWEPT_AT_ONCE
        while count == _SWEPT_AT_ONCE:
            async with self._database.connect() as connection:
                count = await store.sweep(connection, before, _SWEPT_AT_ONCE)
        count = _SWEPT_AT_ONCE
        while count == _SWEPT_AT_ONCE:
            async with self._database.begin() as connection:
                count = await store.sweep_own(connection, before, _SWEPT_AT_ONCE)

    async def close(self) -> None:
        """Stop, and close all connections. Idempotent."""
        await self.worker.close()
        await self.poster.close()
