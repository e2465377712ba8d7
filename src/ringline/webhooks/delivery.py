"""A webhook on its way: what is sent, and when it may be sent again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from yarl import URL

from ringline.webhooks.exchange import Answer, ExchangeFailed, Request

MAX_ATTEMPTS: Final = 3
DELAYS: Final = (2.0, 10.0)
"""Seconds before the second and the third attempt."""
_IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE"})
"""What may be repeated although the server may have acted on it (RFC 9110 section 9.2.2)."""
_OVERLOADED: Final = frozenset({429, 502, 503, 504})
_OVERHEAD_BYTES: Final = 1024


@dataclass(slots=True, eq=False)
class Delivery:
    """One webhook. ``id`` is in its ``Webhook-Id`` header, the same in every attempt and after a restart.

    ``failed`` is called, with a reason and a sentence, when it has been given up.
    """

    id: UUID
    request: Request
    failed: Callable[[str, str], None]
    attempts: int = field(default=0, init=False)

    @property
    def origin(self) -> str:
        """The server it goes to: what is slow together."""
        url = URL(self.request.url)
        return f"{url.host}:{url.port}"

    @property
    def size(self) -> int:
        """About how many bytes it takes while it waits."""
        return _OVERHEAD_BYTES + len(self.request.url) + len(self.request.body or b"")

    def retry_after(self, outcome: Answer | ExchangeFailed) -> float | None:
        """Seconds until the next attempt; ``None`` where there is none, or nothing needs one.

        What the server cannot have seen is sent again, whatever the method. What it may have acted on is sent again
        only when acting on it twice is the same as once, and only after a time-out or an answer that says "later".
        """
        if self.attempts >= MAX_ATTEMPTS:
            return None
        if isinstance(outcome, Answer):
            again = outcome.status in _OVERLOADED and self.request.method in _IDEMPOTENT
        else:
            again = outcome.reason in {"TIMEOUT", "FAILED"} and (
                outcome.unsent or self.request.method in _IDEMPOTENT
            )
        return DELAYS[self.attempts - 1] if again else None
