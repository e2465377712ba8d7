"""The one form in which events are told: by webhooks, on the WebSocket, and in ``GET /v1.0/events``."""

from __future__ import annotations

from typing import Any

import orjson

from ringline.events.models import Published


def envelope(published: Published) -> dict[str, Any]:
    """The event as it is told. ``type`` and ``data`` are VoIPBIN's; ``type``, ``timestamp`` and ``data`` are those of
    Standard Webhooks.
    """
    event = published.event
    return {
        "id": str(event.id),
        "type": event.type,
        "timestamp": event.tm_create.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "customer_id": str(event.customer_id),
        "resource": event.resource,
        "resource_id": str(event.resource_id),
        "activeflow_id": str(event.activeflow_id),
        "sequence": published.sequence,
        "data": event.data,
    }


def encode(published: Published) -> bytes:
    """The envelope as JSON: the same bytes each time, so that a signature of them stays valid."""
    return orjson.dumps(envelope(published))
