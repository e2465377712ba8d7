"""Asterisk's REST Interface (ARI) for asyncio: requests and events over WebSockets.

Usable without the rest of Ringline: nothing here imports anything else of it. See ``README.md`` beside this
file.
"""

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
    Unanswered,
    Unauthorized,
    Unsupported,
)
from .events import Subscription
from .state import RINGLINE_EVENTS, State
from .stats import Observer, Stats

__all__ = [
    "RINGLINE_EVENTS",
    "AriError",
    "BadRequest",
    "Client",
    "Conflict",
    "ConnectionLost",
    "Forbidden",
    "Gone",
    "NotAllowed",
    "NotFound",
    "Observer",
    "Overloaded",
    "RequestTimeout",
    "ServerError",
    "State",
    "Stats",
    "Subscription",
    "Unanswered",
    "Unauthorized",
    "Unsupported",
    "quote",
]
