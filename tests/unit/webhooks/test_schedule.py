"""When a delivery is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ringline.webhooks.deliveries.schedule import JITTER, LIFETIME, PAUSES, pause, retry_after

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@pytest.mark.parametrize("tries", range(1, 15))
def test_pauses_grow_and_differ(tries: int) -> None:
    usual = PAUSES[min(tries, len(PAUSES)) - 1]
    drawn = [pause(tries) for _ in range(200)]
    assert usual * (1 - JITTER) <= min(drawn) < max(drawn) <= usual * (1 + JITTER)


def test_attempts_last_a_day() -> None:
    assert list(PAUSES) == sorted(PAUSES)
    until_last = sum(PAUSES) * (1 + JITTER)
    assert timedelta(hours=12) < timedelta(seconds=until_last) <= LIFETIME


def test_what_an_endpoint_asks_for_is_granted_within_bounds() -> None:
    assert pause(1, 60.0) == 60.0
    assert pause(1, 1e9) == 3600.0
    assert pause(9, 1.0) >= PAUSES[8] * (1 - JITTER), "never sooner than usual"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("Wed, 04 Mar 2026 05:07:07 GMT", 60.0),
        ("Wed, 04 Mar 2026 05:05:07 GMT", 0.0),
        ("999999999999999999", 999999999.0),
        ("-5", None),
        ("soon", None),
        ("١٢", None),
        ("", None),
        (None, None),
        ("1" * 100, None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOW) == seconds
