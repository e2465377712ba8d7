"""From events to deliveries, in the transaction that publishes the events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ringline.events import Published
from ringline.webhooks.deliveries.schedule import LIFETIME

CHANNEL: Final = "ringline_webhooks"
"""Notified with the id of each endpoint that something waits for, at the commit."""

_RANGE = "event.published BETWEEN :first AND :last"

_FIELDS = "event.id, event.customer_id, event.type, event.resource, event.resource_id, event.published"
# A flow in execution may have a webhook of its own: an endpoint that is there as soon as it is needed.
_DELIVER = sa.text(
    f"""
    WITH own AS (
        INSERT INTO webhooks AS known (id, customer_id, type, uri, method, tm_create)
        SELECT DISTINCT ON (flow.customer_id, flow.webhook_uri, flow.webhook_method)
            gen_random_uuid(), flow.customer_id, 'activeflow', flow.webhook_uri, flow.webhook_method, now()
        FROM events AS event
        JOIN activeflows AS flow ON flow.id = event.activeflow_id AND flow.customer_id = event.customer_id
        JOIN customers AS customer ON customer.id = flow.customer_id AND customer.tm_delete IS NULL
        WHERE flow.webhook_uri <> '' AND {_RANGE}
        ON CONFLICT (customer_id, uri, method) WHERE type = 'activeflow' AND tm_delete IS NULL
        DO UPDATE SET tm_update = known.tm_update
        RETURNING id, customer_id, uri, method, enabled
    ), matched AS (
        SELECT webhook.id AS webhook_id, {_FIELDS}
        FROM events AS event
        JOIN webhooks AS webhook ON webhook.customer_id = event.customer_id AND webhook.type <> 'activeflow'
            AND webhook.enabled AND webhook.tm_delete IS NULL AND webhook.uri <> ''
            AND (webhook.patterns = '{{}}' OR event.type LIKE ANY (webhook.patterns))
            AND (webhook.resources = '{{}}' OR event.resource = ANY (webhook.resources))
        WHERE {_RANGE}
        UNION ALL
        SELECT webhook.id, {_FIELDS}
        FROM events AS event
        JOIN activeflows AS flow ON flow.id = event.activeflow_id AND flow.customer_id = event.customer_id
            AND flow.webhook_uri <> ''
        JOIN own AS webhook ON webhook.customer_id = flow.customer_id AND webhook.uri = flow.webhook_uri
            AND webhook.method = flow.webhook_method AND webhook.enabled
        WHERE {_RANGE}
    ), stored AS (
        INSERT INTO webhook_deliveries (id, webhook_id, customer_id, event_id, published, type, resource,
            resource_id, tm_expire, tm_create)
        SELECT uuidv7(), webhook_id, customer_id, id, published, type, resource, resource_id,
            now() + CAST(:lifetime AS interval), now()
        FROM matched ORDER BY published
        RETURNING webhook_id
    )
    SELECT pg_notify('{CHANNEL}', webhook_id::text) FROM (SELECT DISTINCT webhook_id FROM stored) AS told
    """  # noqa: S608 - names of our own
)

_TYPES = (sa.bindparam("first", type_=sa.BigInteger), sa.bindparam("last", type_=sa.BigInteger))
_DELIVER = _DELIVER.bindparams(*_TYPES, sa.bindparam("lifetime", type_=sa.Interval))


async def deliver(connection: AsyncConnection, first: int, last: int) -> None:
    """A delivery for each event that was published with these numbers, and each endpoint that wants it.

    Workers hear of them at the commit.
    """
    await connection.execute(_DELIVER, {"first": first, "last": last, "lifetime": LIFETIME})


async def sink(connection: AsyncConnection, events: Sequence[Published]) -> None:
    """The same for whoever has the events at hand (``events.publisher.Sink``)."""
    await deliver(connection, events[0].published, events[-1].published)
