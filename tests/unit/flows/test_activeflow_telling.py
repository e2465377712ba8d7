"""What is announced of a flow in execution: made, begun, ended, deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from ringline.flows import telling
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.activeflows_http import ActiveflowView
from ringline.flows.shown import shown

NOW = datetime(2026, 11, 22, 9, 0, 0, 123456, tzinfo=UTC)
ACTION = {"id": str(uuid4()), "next_id": str(uuid4()), "type": "talk", "option": {"text": "hello"}}


def _flow() -> Activeflow:
    return Activeflow(id=uuid4(), customer_id=uuid4(), flow_id=uuid4(), actions=[ACTION], tm_create=NOW)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    return dict(orjson.loads(orjson.dumps(event["data"])))


def _get(flow: Activeflow) -> dict[str, Any]:
    return ActiveflowView.model_validate(shown(flow)).model_dump(mode="json")


def test_each_step_is_announced_once_as_get_shows_it() -> None:
    flow = _flow()
    (event,) = telling.due(flow)
    assert (event["type"], _data(event)) == ("activeflow_created", _get(flow))
    assert telling.due(flow) == []
    flow.status, flow.tm_update, flow.snapshot.current = ActiveflowStatus.RUNNING, NOW, ACTION
    (event,) = telling.due(flow)
    assert (event["type"], _data(event)) == ("activeflow_updated", _get(flow))
    flow.snapshot.history.append([ACTION["id"], "talk", NOW.timestamp(), 1.5, "ok", "", ""])
    assert telling.due(flow) == []
    flow.status, flow.reason = ActiveflowStatus.ENDED, "complete"
    (event,) = telling.due(flow)
    assert (event["type"], _data(event)) == ("activeflow_updated", _get(flow))
    flow.tm_delete = NOW
    (event,) = telling.due(flow)
    assert event["type"] == "activeflow_deleted"
    assert telling.due(flow) == []


def test_who_takes_over_announces_the_same_under_the_same_ids() -> None:
    flow = _flow()
    events = telling.due(flow)
    flow.status, flow.tm_update, flow.snapshot.current = ActiveflowStatus.RUNNING, NOW, ACTION
    events += telling.due(flow)
    flow.status = ActiveflowStatus.ENDED
    events += telling.due(flow)
    flow.told = 0
    again = telling.due(flow)
    assert [event["id"] for event in again] == [event["id"] for event in events]
    assert [_data(event)["status"] for event in again] == ["", "running", "ended"]


def test_a_flow_that_never_began_is_not_said_to_have_begun() -> None:
    flow = _flow()
    flow.status, flow.reason, flow.tm_update = ActiveflowStatus.ENDED, "hangup", NOW
    assert [_data(event)["status"] for event in telling.due(flow)] == ["", "ended"]
