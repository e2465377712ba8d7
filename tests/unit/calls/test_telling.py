"""Each step of a call is announced once, with the record as it stood, also by who takes the call over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from ringline.calls import telling
from ringline.calls.call import ActionFailure, Call
from ringline.calls.models import view
from ringline.calls.states import Direction, Status, local_ending
from ringline.events.catalogue import TYPES
from ringline.sip.address import Address

NOW = datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC)
ACTION = {"id": str(uuid4()), "type": "talk", "next_id": str(UUID(int=0)), "option": {}}


def _call(direction: Direction = Direction.OUTGOING) -> Call:
    incoming = direction is Direction.INCOMING
    return Call(
        id=uuid4(),
        customer_id=uuid4(),
        direction=direction,
        source=Address(type="tel", target="+15551230001", target_name="Zoë"),
        destination=Address(type="tel", target="+15551234567"),
        channel_id="1732226701.1",
        status=Status.RINGING if incoming else Status.DIALING,
        tm_create=NOW,
        tm_ringing=NOW if incoming else None,
        tm_dialing=None if incoming else NOW,
        activeflow_id=uuid4(),
    )


def _data(event: dict[str, Any]) -> dict[str, Any]:
    return dict(orjson.loads(orjson.dumps(event["data"])))


def _walk(call: Call, *steps: Status | int) -> list[dict[str, Any]]:
    """Announce at each step; a number is the cause of the end."""
    events = telling.due(call)
    for count, step in enumerate(steps, 1):
        moment = NOW + timedelta(seconds=count)
        if isinstance(step, Status):
            assert call.advance(step, moment)
        else:
            assert call.end(step, moment)
        events += telling.due(call)
        assert telling.due(call) == []
    return events


RINGING, PROGRESSING, TERMINATING, CANCELING = (
    Status.RINGING,
    Status.PROGRESSING,
    Status.TERMINATING,
    Status.CANCELING,
)
WAYS = [
    (Direction.OUTGOING, (RINGING, PROGRESSING, 16), "created dialing ringing progressing hangup"),
    (Direction.OUTGOING, (PROGRESSING, TERMINATING, 16), "created dialing progressing terminating hangup"),
    (Direction.OUTGOING, (RINGING, CANCELING, 16), "created dialing ringing canceling hangup"),
    (Direction.OUTGOING, (CANCELING, 16), "created dialing canceling hangup"),
    (Direction.OUTGOING, (RINGING, 17), "created dialing ringing hangup"),
    (Direction.OUTGOING, (34,), "created dialing hangup"),
    (Direction.INCOMING, (PROGRESSING, 16), "created ringing progressing hangup"),
    (Direction.INCOMING, (PROGRESSING, TERMINATING, 16), "created ringing progressing terminating hangup"),
    (Direction.INCOMING, (TERMINATING, 21), "created ringing terminating hangup"),
    (Direction.INCOMING, (19,), "created ringing hangup"),
]


@pytest.mark.parametrize(("direction", "steps", "names"), WAYS)
def test_every_step_is_announced_once_with_the_record_as_it_stood(
    direction: Direction, steps: tuple[Status | int, ...], names: str
) -> None:
    call = _call(direction)
    events = _walk(call, *steps)
    types = [event["type"] for event in events]
    assert types == [f"call_{name}" for name in names.split()]
    assert set(types) <= set(TYPES)
    assert len({event["id"] for event in events}) == len(events)
    statuses = [_data(event)["status"] for event in events]
    assert statuses == [statuses[0], *names.split()[1:]]
    assert _data(events[-1]) == view(call).model_dump(mode="json", exclude={"queue_position"})
    for event in events:
        assert event["resource_id"] == call.id
        assert event["activeflow_id"] == call.activeflow_id
        assert (_data(event)["tm_hangup"] is None) == (event["type"] != "call_hangup")


@pytest.mark.parametrize(("direction", "steps", "names"), WAYS)
def test_who_takes_over_announces_the_same_steps_under_the_same_ids(
    direction: Direction, steps: tuple[Status | int, ...], names: str
) -> None:
    for known in range(len(steps) + 1):
        call = _call(direction)
        before = _walk(call, *steps[:known])
        successor = Call.from_row(orjson.loads(orjson.dumps(call.kept())))
        again = telling.due(successor)
        assert [event["id"] for event in again] == [event["id"] for event in before]
        assert [event["type"] for event in again] == [event["type"] for event in before]
        for mine, theirs in zip(again, before, strict=True):
            assert _data(mine) == _data(theirs) | {"tm_update": _data(mine)["tm_update"]}


def test_a_local_end_is_told_as_such_and_a_broken_one_is_not() -> None:
    call = _call()
    _walk(call, RINGING, PROGRESSING)
    assert call.end_broken(NOW, "lost")
    assert [event["type"] for event in telling.due(call)] == ["call_hangup"]
    successor = Call.from_row(call.row())
    assert [event["type"] for event in telling.due(successor)][-2:] == ["call_progressing", "call_hangup"]
    assert local_ending(Direction.OUTGOING, RINGING) is CANCELING


def test_changes_without_a_step_are_announced_where_they_are_to_be_seen() -> None:
    call = _call()
    _walk(call, PROGRESSING)
    assert telling.updated(call) == []
    call.hold = True
    (event,) = telling.updated(call)
    assert event["type"] == "call_updated"
    assert _data(event)["hold"] is True
    assert telling.updated(call) == []
    call.note_failure(ActionFailure(uuid4(), "play", "FETCH_TIMEOUT", "too slow", NOW))
    (event,) = telling.updated(call)
    assert _data(event) == view(call).model_dump(mode="json", exclude={"queue_position"})
    assert not telling.shown_differently(call, _data(event))
    call.chained_call_ids.append(uuid4())
    assert telling.shown_differently(call, _data(event))


def test_the_action_that_the_call_is_at_is_shown_while_it_lasts() -> None:
    call = _call(Direction.INCOMING)
    events = telling.due(call, lambda _: ACTION)
    assert _data(events[-1]) == view(call, ACTION).model_dump(mode="json", exclude={"queue_position"})
    call.end(16, NOW)
    (event,) = telling.due(call, lambda _: ACTION)
    assert _data(event)["action"]["type"] == ""


def test_a_call_that_waits_for_its_turn_is_not_dialled() -> None:
    call = _call()
    call.tm_dialing = None
    assert [event["type"] for event in telling.due(call)] == ["call_created"]
    assert telling.due(call) == []
    call.tm_dialing = NOW + timedelta(seconds=5)
    assert [event["type"] for event in telling.due(call)] == ["call_dialing"]
    assert telling.due(call) == []


def test_a_call_is_deleted_once_it_has_ended() -> None:
    call = _call(Direction.INCOMING)
    telling.due(call)
    call.tm_delete = NOW
    assert telling.due(call) == []
    call.end(16, NOW + timedelta(seconds=1))
    assert [event["type"] for event in telling.due(call)] == ["call_hangup", "call_deleted"]
    assert telling.due(call) == []


def test_a_row_that_nobody_can_read_is_said_and_stops_nobody() -> None:
    assert telling.of_row({"id": uuid4(), "direction": "sideways"}) == []
