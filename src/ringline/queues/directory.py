"""Queues in memory, so that joining one reads no database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ringline.queues.store import queues
from ringline.storage import Database, Mirror

ROUTING_METHODS = ("random", "longest_idle", "round_robin")


@dataclass(frozen=True, slots=True)
class Queue:
    """What routing needs to know of a queue. Timeouts are in milliseconds, 0 without end."""

    id: UUID
    customer_id: UUID
    name: str
    detail: str
    routing_method: str
    tag_ids: tuple[UUID, ...]
    wait_flow_id: UUID
    wait_actions: list[dict[str, Any]]
    wait_timeout: int
    service_timeout: int


class QueueDirectory(Mirror[Queue]):
    """All queues that were not deleted."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, queues, _queue)

    def asking(self, customer_id: UUID, tag_id: UUID) -> list[UUID]:
        """The customer's queues that ask for a tag."""
        return [
            queue.id for queue in self.all() if queue.customer_id == customer_id and tag_id in queue.tag_ids
        ]


def _queue(row: Any) -> Queue:
    return Queue(
        id=row.id,
        customer_id=row.customer_id,
        name=row.name,
        detail=row.detail,
        routing_method=row.routing_method or "random",
        tag_ids=tuple(UUID(tag_id) for tag_id in row.tag_ids),
        wait_flow_id=row.wait_flow_id,
        wait_actions=row.wait_actions,
        wait_timeout=row.wait_timeout,
        service_timeout=row.service_timeout,
    )
