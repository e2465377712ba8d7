"""Digits go out in portions that are short enough for a hang-up to be noticed, and long enough to keep time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from ringline import ari
from ringline.calls.ari_leg import PORTION_MS, QUIET_MS, AriLeg
from ringline.calls.call import Call
from ringline.calls.leg import LegError, LegGone
from ringline.calls.states import Direction, Status
from ringline.sip.address import Address

from .fakes import FakeClient, not_found

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.on_sleep: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()


class Nobody:
    def hang_up(self, call: Call, cause: int) -> bool:
        raise AssertionError("digits do not hang up")


def leg() -> tuple[AriLeg, FakeClient, Clock]:
    someone = Address(type="tel", target="+15551234567")
    call = Call(uuid4(), uuid4(), Direction.OUTGOING, someone, someone, "call-1", Status.PROGRESSING, NOW)
    client, clock = FakeClient(), Clock()
    return AriLeg(call, client, Nobody(), clock), client, clock  # type: ignore[arg-type]  # fakes


def queries(client: FakeClient) -> list[dict[str, Any]]:
    return [query for method, uri, query, _ in client.sent if uri == "channels/call-1/dtmf" and query]


@pytest.mark.parametrize(
    ("digits", "duration", "interval", "portions", "between"),
    [
        ("12#", 100, 100, ["12#"], 100),
        ("1234567890", 100, 100, ["12345", "67890"], 100),
        ("1234", 250, 100, ["12", "34"], 100),
        ("123", 500, 500, ["1", "2", "3"], 500 - QUIET_MS),
        ("12", 1000, 5000, ["1", "2"], 5000 - QUIET_MS),
        ("12", 1000, 50, ["1", "2"], 1),
        ("123", 200, 0, ["123"], QUIET_MS),
    ],
)
async def test_portions_hold_all_digits_once_in_order(
    digits: str, duration: int, interval: int, portions: list[str], between: int
) -> None:
    under_test, client, clock = leg()
    await under_test.send_digits(digits, duration_ms=duration, interval_ms=interval)
    sent = queries(client)
    assert [query["dtmf"] for query in sent] == portions
    assert {(query["duration"], query["between"]) for query in sent} == {(duration, between)}
    for query, seconds in zip(sent, clock.slept, strict=True):
        assert seconds * 1000 == QUIET_MS + len(query["dtmf"]) * (duration + between)
        assert len(query["dtmf"]) == 1 or len(query["dtmf"]) * (duration + between) <= PORTION_MS


async def test_nothing_more_is_sent_when_the_channel_is_gone() -> None:
    under_test, client, clock = leg()

    # the call ends while the first portion is out
    clock.on_sleep = under_test.ended
    with pytest.raises(LegGone):
        await under_test.send_digits("1" * 20, duration_ms=100, interval_ms=100)
    assert len(queries(client)) == 1


async def test_a_refusal_is_the_actions_failure_and_a_missing_channel_the_end() -> None:
    under_test, client, _ = leg()
    client.answers["POST channels/call-1/dtmf"] = not_found()
    with pytest.raises(LegGone):
        await under_test.send_digits("1", duration_ms=100, interval_ms=100)
    client.answers["POST channels/call-1/dtmf"] = ari.ServerError("no", status=500, method="POST", uri="x")
    with pytest.raises(LegError):
        await under_test.send_digits("1", duration_ms=100, interval_ms=100)
