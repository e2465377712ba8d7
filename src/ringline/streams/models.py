"""What a stream is to carry, and where to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

Direction = Literal["none", "in", "out", "both"]
"""``in`` is what the other side of the call says, ``out`` is what it hears."""
Format = Literal["ulaw", "alaw", "slin", "slin16", "g722"]


@dataclass(frozen=True, slots=True)
class StreamWanted:
    """``id`` is the same however often the action is run. ``host`` is a ``ws://`` or ``wss://`` URL for a WebSocket,
    ``address:port`` for RTP. ``headers`` go with the WebSocket's request."""

    id: UUID
    action_id: UUID
    kind: Literal["websocket", "rtp"]
    host: str
    format: Format = "ulaw"
    listen: Direction = "both"
    speak: Direction = "out"
    headers: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "id": str(self.id),
            "action_id": str(self.action_id),
            "kind": self.kind,
            "host": self.host,
            "format": self.format,
            "listen": self.listen,
            "speak": self.speak,
            "headers": self.headers,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> StreamWanted:
        return cls(**{**data, "id": UUID(data["id"]), "action_id": UUID(data["action_id"])})


class StreamFailed(Exception):
    """The stream did not come about, or ended. ``reason`` is a code such as ``EXTERNAL_MEDIA_FORBIDDEN``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
