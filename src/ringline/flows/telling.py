"""What is announced of flows in execution: made, begun, ended, deleted; each once (as ``calls.telling``)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from ringline.calls.call import ZERO
from ringline.calls.journal import FlowRecord
from ringline.events.models import derived, mask
from ringline.events.waiting import EventRow
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.shown import Shown, of_row, shown

RESOURCE = "activeflow"
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
_CREATED, _DELETED = "created", "deleted"
_RUNNING, _ENDED = ActiveflowStatus.RUNNING.value, ActiveflowStatus.ENDED.value
_BITS = {_CREATED: 1, _RUNNING: 2, _ENDED: 4, _DELETED: 8}
_MASKS = {name: mask(f"activeflow {name}") for name in _BITS}
_TYPES = {name: f"activeflow_{name if name in (_CREATED, _DELETED) else 'updated'}" for name in _BITS}
_UNSEEN = ("actions", "snapshot", "variables")
_BEFORE = {_CREATED: ActiveflowStatus.NONE, _RUNNING: ActiveflowStatus.RUNNING}


def due(flow: FlowRecord) -> list[EventRow]:
    """The events of steps that were not announced yet; from then on they are taken as announced."""
    if not isinstance(flow, Activeflow):
        return []
    if flow.told and flow.told & _BITS.get(flow.status.value, 1) and flow.tm_delete is None:
        return []
    steps = [(name, moment) for name, moment in _steps(flow) if not flow.told & _BITS[name]]
    if not steps:
        return []
    record = shown(flow)
    events = []
    for name, moment in steps:
        flow.told |= _BITS[name]
        events.append(event(record, name, moment, as_of=_BEFORE.get(name)))
    return events


def ended(row: Any) -> list[EventRow]:
    """The event of one that was ended in its row (of ``store.SHOWN``)."""
    return [event(of_row(row), _ENDED, row.tm_update)]


def event(record: Shown, name: str, moment: datetime, *, as_of: ActiveflowStatus | None = None) -> EventRow:
    """One event; ``as_of``: the record as it must have stood at that status, which may be an earlier one."""
    data = dict(record)
    for field in _UNSEEN:
        data.pop(field, None)
    if as_of is not None and as_of.value != record["status"]:
        data |= {"status": as_of.value, "reason": "", "message": "", "tm_delete": None}
        data |= {"tm_update": moment if as_of is ActiveflowStatus.RUNNING else None}
        data |= {"current_action": None, "forward_action_id": ZERO, "executed_actions": []}
    activeflow_id: UUID = record["id"]
    return {
        "id": derived(activeflow_id, _MASKS[name]),
        "customer_id": record["customer_id"],
        "type": _TYPES[name],
        "resource": RESOURCE,
        "resource_id": activeflow_id,
        "activeflow_id": activeflow_id,
        "data": orjson.Fragment(orjson.dumps(data, option=_OPTIONS, default=str)),
        "tm_create": moment,
    }


def _steps(flow: Activeflow) -> Iterator[tuple[str, datetime]]:
    """What the record shows of its way, in order. One is deleted once it has ended."""
    yield _CREATED, flow.tm_create
    began = flow.snapshot.current is not None or bool(flow.snapshot.history)
    if flow.status is ActiveflowStatus.RUNNING or (flow.ended and began):
        yield _RUNNING, flow.tm_update or flow.tm_create
    if flow.ended:
        yield _ENDED, flow.tm_update or flow.tm_create
        if flow.tm_delete is not None:
            yield _DELETED, flow.tm_delete
