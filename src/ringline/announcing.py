"""Events put together: their publication, the webhooks and the WebSocket that tell of them.

A part of ``ringline.app``, which makes one, starts it with the rest and closes it with the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from ringline.billing.models import BillingAccountAnswer
from ringline.clock import Clock
from ringline.conferences.models import ConferenceView
from ringline.customers.agents.models import AgentAnswer
from ringline.customers.models import CustomerAnswer
from ringline.customers.tags.models import TagAnswer
from ringline.events.http import event_routes
from ringline.events.publisher import Publisher
from ringline.events.rendering import Rendering, View
from ringline.events.sockets import Sockets, socket_routes
from ringline.events.store import events
from ringline.events.sweep import Sweep
from ringline.extensions.models import ExtensionAnswer
from ringline.extensions.trunks.models import TrunkAnswer
from ringline.flows.http import FlowView
from ringline.housekeeping import Chore
from ringline.http import Route
from ringline.messages.models import MessageAnswer
from ringline.numbers.models import NumberAnswer
from ringline.queues.models import QueueAnswer
from ringline.settings import Settings
from ringline.storage import Database
from ringline.webhooks.deliveries.store import under_way
from ringline.webhooks.room import Webhooks

VIEWS: Mapping[str, View] = {
    "agent": lambda row: AgentAnswer.model_validate({**row, "ring_method": row["ring_method"] or "ringall"}),
    "billing_account": BillingAccountAnswer.model_validate,
    "conference": ConferenceView.model_validate,
    "customer": CustomerAnswer.model_validate,
    "extension": ExtensionAnswer.model_validate,
    "flow": FlowView.model_validate,
    "message": MessageAnswer.model_validate,
    "number": NumberAnswer.model_validate,
    "queue": QueueAnswer.model_validate,
    "tag": TagAnswer.model_validate,
    "trunk": TrunkAnswer.model_validate,
}
"""How the API shows the resources that triggers announce."""


class Announcing:
    """Everything that tells others what happened."""

    def __init__(self, settings: Settings, database: Database, clock: Clock) -> None:
        self._settings = settings
        self._database = database
        self._clock = clock
        self.webhooks = Webhooks(settings, database, clock)
        self.publisher = Publisher(database)
        self.publisher.rendering = Rendering(VIEWS)
        self.publisher.steps.append(self.webhooks.deliver)
        self.sweep = Sweep(database, clock, settings.event_keep_days)
        self.sweep.needed.append(under_way(events.c.id))
        self.sockets = Sockets(database, per_customer=settings.event_sockets_per_customer)

    def routes(self) -> list[Route]:
        """The operations of these rooms."""
        return [
            *event_routes(self._database, self._settings.event_keep_days),
            *self.webhooks.routes(),
            *socket_routes(self.sockets, self._settings.api_url),
        ]

    def chores(self) -> list[Chore]:
        """What they do now and then."""
        return [
            Chore("events", 5.0, self.publisher.read_gauges),
            Chore("events-sweep", 600.0, self.sweep.run),
            Chore("webhooks", 5.0, self.webhooks.worker.read_gauges),
            Chore("webhooks-sweep", 600.0, self.webhooks.sweep),
        ]

    async def start(self) -> None:
        """Begin to publish and to deliver."""
        await self.publisher.start()
        if self._settings.role in {"all", "worker"}:
            await self.webhooks.worker.start()

    async def close(self) -> None:
        """Stop everything. Idempotent."""
        await self.sockets.close()
        await self.publisher.close()
        await self.webhooks.close()
