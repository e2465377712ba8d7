"""Points in time as the API writes and reads them.

Two styles stand side by side because the documents this API follows use both: numbers answer
``2022-03-20 19:37:53.135685`` with a far-away date for what has not happened, everything else answers
``2021-02-04T04:44:20Z`` with ``null``.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

Style = Literal["iso", "number"]

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST: Final = 64


def iso(moment: datetime) -> str:
    """``2021-02-04T04:44:20Z``: whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_exact(moment: datetime) -> str:
    """``2021-02-04T04:44:20.123456Z``: for page tokens, which must not lose rows."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def number_style(moment: datetime) -> str:
    """``2021-02-04 04:44:20.123456``, UTC."""
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f")


def parse(text: str) -> datetime:
    """Read either style, with or without a fraction or an offset; without one it is UTC.

    Raises ``ValueError``.
    """
    moment = datetime.fromisoformat(text.strip())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _read(value: object) -> datetime | None:
    # pydantic takes numbers for seconds since 1970, as text too; of a validator a strict model takes no text at all
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    try:
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise ValueError
        return parse(value)
    except (ValueError, OverflowError):
        raise ValueError("must be a time in ISO 8601, such as 2026-01-31T12:00:00Z") from None


Moment = Annotated[
    datetime | None,
    BeforeValidator(_read),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "const": ""},
                {"type": "null"},
            ],
            "examples": ["2026-01-31T12:00:00Z"],
        }
    ),
]
"""A time that is asked for: ISO 8601, UTC where it does not say; nothing where it is empty."""

Timestamp = Annotated[
    datetime | None,
    PlainSerializer(
        lambda moment: None if moment is None else iso(moment), return_type=str | None, when_used="json"
    ),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
            "description": "UTC, whole seconds; `null` when it has not happened.",
            "examples": ["2021-02-04T04:44:20Z"],
        }
    ),
]

NumberTimestamp = Annotated[
    datetime | None,
    PlainSerializer(
        lambda moment: number_style(NEVER if moment is None else moment), return_type=str, when_used="json"
    ),
    WithJsonSchema(
        {
            "type": "string",
            "description": "UTC, `YYYY-MM-DD HH:MM:SS.ffffff`; `9999-01-01 00:00:00.000000` when it has not "
            "happened.",
            "examples": ["2022-03-20 19:37:53.135685"],
        }
    ),
]


class _Ticks:
    """The present, strictly increasing within this process."""

    def __init__(self) -> None:
        self._last = datetime.min.replace(tzinfo=UTC)
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            now = datetime.now(UTC)
            self._last = now if now > self._last else self._last + _MICROSECOND
            return self._last


utc_now = _Ticks()
"""The present in UTC. No two calls in a process return the same microsecond, so that rows made together still
have an order."""
