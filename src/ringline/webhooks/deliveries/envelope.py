"""The body of a webhook: the event as ``events.envelope`` has it, the same bytes at each attempt."""

from __future__ import annotations

from typing import Any

import orjson


def body(row: Any) -> bytes:
    """``row`` has the fields of ``store.behind``; its ``data`` is JSON already and stays as it is."""
    head = {
        "id": str(row.event_id),
        "type": row.type,
        "timestamp": row.tm_create.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "customer_id": str(row.customer_id),
        "resource": row.resource,
        "resource_id": str(row.resource_id),
        "activeflow_id": str(row.activeflow_id),
        "sequence": row.sequence,
    }
    return b'%b,"data":%b}' % (orjson.dumps(head)[:-1], row.data.encode())
