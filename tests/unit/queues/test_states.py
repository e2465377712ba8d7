"""The states of a queuecall, as data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from ringline.queues.queuecall import ZERO, Queuecall
from ringline.queues.states import ENDED, TRANSITIONS, EndReason, Status, may_follow
from ringline.sip.address import Address

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def queuecall() -> Queuecall:
    return Queuecall(
        id=uuid4(),
        customer_id=uuid4(),
        queue_id=uuid4(),
        reference_id=uuid4(),
        reference_activeflow_id=uuid4(),
        source=Address(type="tel", target="+15551234567"),
        routing_method="random",
        tag_ids=(uuid4(),),
        timeout_wait=0,
        timeout_service=0,
        tm_create=BEGAN,
    )


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(Status)
    reached, new = set(), {Status.INITIATING}
    while new:
        reached |= new
        new = {following for status in new for following in TRANSITIONS[status]} - reached
    assert reached == set(Status)


@pytest.mark.parametrize("present", Status)
@pytest.mark.parametrize("following", Status)
def test_the_table(present: Status, following: Status) -> None:
    allowed = {
        ("initiating", "waiting"),
        ("waiting", "connecting"),
        ("connecting", "waiting"),
        ("connecting", "service"),
        ("initiating", "abandoned"),
        ("waiting", "abandoned"),
        ("connecting", "abandoned"),
        ("service", "done"),
    }
    assert may_follow(present, following) is ((present.value, following.value) in allowed)


def test_an_end_has_its_durations() -> None:
    record = queuecall()
    assert record.advance(Status.WAITING, after(0))
    assert record.advance(Status.CONNECTING, after(4))
    assert record.advance(Status.SERVICE, after(5.5))
    assert not record.advance(Status.WAITING, after(6))
    assert record.end(EndReason.AGENT_HANGUP, after(65.5))
    assert (record.status, record.duration_waiting, record.duration_service) == (Status.DONE, 5500, 60_000)
    assert (record.tm_service, record.tm_end) == (after(5.5), after(65.5))
    assert not record.end(EndReason.KICKED, after(70))
    assert record.end_reason is EndReason.AGENT_HANGUP


@pytest.mark.parametrize("status", [Status.INITIATING, Status.WAITING, Status.CONNECTING])
def test_who_never_reached_an_agent_abandoned(status: Status) -> None:
    record = queuecall()
    for step in (Status.WAITING, Status.CONNECTING):
        if record.status is not status:
            record.advance(step, after(1))
    record.service_agent_id = uuid4()
    assert record.end(EndReason.CALLER_HANGUP, after(7))
    assert (record.status, record.duration_waiting, record.service_agent_id) == (
        Status.ABANDONED,
        7000,
        ZERO,
    )
    assert record.status in ENDED


def test_a_record_survives_being_noted() -> None:
    record = queuecall()
    record.advance(Status.WAITING, after(1))
    adapter = TypeAdapter(Queuecall)
    again = adapter.validate_python(adapter.dump_python(record, mode="json"))
    assert again.row() == record.row()
