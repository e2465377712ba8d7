"""Asterisk's REST Interface (ARI) for asyncio: requests and events over WebSockets.

Usable without the rest of Ringline: nothing here imports anything else of it. See ``README.md`` beside this
file.
"""

from .applications import Application
from .bridges import Bridge
from .channels import Channel
from .client import Client
from .codec import quote
from .errors import (
    AriError,
    BadRequest,
    Conflict,
    ConnectionLost,
    Forbidden,
    Gone,
    NotAllowed,
    NotFound,
    Overloaded,
    RequestTimeout,
    ServerError,
    ShuttingDown,
    Unanswered,
    Unauthorized,
)
from .events import Subscription
from .playbacks import Playback
from .recordings import LiveRecording, StoredRecording
from .state import RINGLINE_EVENTS, State
from .stats import Observer, Stats

__all__ = [
    "RINGLINE_EVENTS",
    "Application",
    "AriError",
    "BadRequest",
    "Bridge",
    "Channel",
    "Client",
    "Conflict",
    "ConnectionLost",
    "Forbidden",
    "Gone",
    "LiveRecording",
    "NotAllowed",
    "NotFound",
    "Observer",
    "Overloaded",
    "Playback",
    "RequestTimeout",
    "ServerError",
    "ShuttingDown",
    "State",
    "Stats",
    "StoredRecording",
    "Subscription",
    "Unanswered",
    "Unauthorized",
    "quote",
]
