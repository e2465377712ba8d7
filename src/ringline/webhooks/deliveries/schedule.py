"""When a delivery is tried again."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

PAUSES: Final = (2, 10, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800)
"""Seconds after the first, second ... attempt that failed; after more attempts as long as after the last."""
JITTER: Final = 0.2
"""Each pause is so much shorter or longer by chance, so that what failed together does not come back together."""
LIFETIME: Final = timedelta(days=1)
"""How long a delivery is tried; what fails after that has failed."""
LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds; what an endpoint asks for beyond that is not granted."""


def pause(tries: int, retry_after: float | None = None) -> float:
    """Seconds until the next attempt, after ``tries`` that failed (1 or more).

    ``retry_after`` is what the endpoint asked for; a longer pause is granted up to ``LONGEST_RETRY_AFTER``.
    """
    usual = PAUSES[min(max(tries, 1), len(PAUSES)) - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return max(usual, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for (RFC 9110 section 10.2.3); ``None`` where it says nothing."""
    if not header or len(header) > 64:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - now).total_seconds(), 0.0)
