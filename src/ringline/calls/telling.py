"""What is announced of calls: each step of their way once, with the record as it stood then.

The id of a step's event follows from the call and the step. So whoever takes over announces every step that the
record shows, and those that had been stored are not stored again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
import structlog

from ringline.calls.call import Call
from ringline.calls.states import Direction, HangupBy, HangupReason, Status
from ringline.events.models import derived, mask, new_id
from ringline.events.waiting import EventRow

log = structlog.get_logger(__name__)

RESOURCE = "call"
UPDATED = "call_updated"
_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_OMIT_MICROSECONDS
_CREATED, _DELETED = "created", "deleted"
_BITS = {name: 1 << place for place, name in enumerate((_CREATED, *Status, _DELETED))}
_MASKS = {name: mask(f"call {name}") for name in _BITS}
_STATUS_BITS = {status: _BITS[status] for status in Status}
_NO_ACTION = b'{"id":"00000000-0000-0000-0000-000000000001","type":""}'
ActionOf = Callable[[UUID], dict[str, Any] | None]


def nothing(_call_id: UUID) -> None:
    """For calls without flows (``ActionOf``)."""


def due(call: Call, action_of: ActionOf = nothing) -> list[EventRow]:
    """The events of steps that were not announced yet; from then on they are taken as announced."""
    if call.told & _STATUS_BITS[call.status] and (
        call.tm_delete is None or not call.ended or _told_all(call)
    ):
        return []
    body = _body(call)
    call.shown = hash(body)
    data = orjson.Fragment(_with_action(body, call, action_of))
    further = call.told and not call.told & _STATUS_BITS[call.status] and call.tm_delete is None
    if further and call.status is not Status.DIALING:
        # the usual case: one step on
        call.told |= _STATUS_BITS[call.status]
        return [_event(call, call.status, call.tm_update or call.tm_create, data)]
    events = []
    for name, moment in _steps(call):
        if not call.told & _BITS[name]:
            call.told |= _BITS[name]
            events.append(
                _event(call, name, moment, data if _is_now(call, name) else _as_of(call, name, moment))
            )
    return events


def of_row(row: Mapping[str, Any]) -> list[EventRow]:
    """The events of all steps that a row shows; none of one that cannot be read."""
    try:
        return due(Call.from_row(row))
    except (ValueError, KeyError, TypeError) as error:
        log.error("call_not_announced", call_id=str(row.get("id")), error=repr(error))
        return []


def updated(call: Call, action_of: ActionOf = nothing) -> list[EventRow]:
    """The event of a call that changed without a step, where that is to be seen."""
    body = _body(call)
    if hash(body) == call.shown:
        return []
    call.shown = hash(body)
    return [
        {
            **_event(call, Status.HANGUP, call.tm_update or call.tm_create, b""),
            "id": new_id(),
            "type": UPDATED,
            "data": orjson.Fragment(_with_action(body, call, action_of)),
        }
    ]


def shown_differently(call: Call, last: dict[str, Any]) -> bool:
    """Whether the record differs from what was announced of it (``data``) last. What its flow does does not count."""
    return bool(
        orjson.loads(_body(call)) != {name: value for name, value in last.items() if name != "action"}
    )


def _told_all(call: Call) -> bool:
    return bool(call.told & _BITS[_DELETED])


def _steps(call: Call) -> Iterator[tuple[str, datetime]]:
    """What the record shows of the call's way, in order. A call is deleted once it has ended."""
    yield _CREATED, call.tm_create
    if call.direction is Direction.OUTGOING and call.tm_dialing is not None:
        yield Status.DIALING, call.tm_dialing
    if call.tm_ringing is not None:
        yield Status.RINGING, call.tm_ringing
    if call.tm_progressing is not None:
        yield Status.PROGRESSING, call.tm_progressing
    ending = _ending(call)
    if ending is not None:
        yield ending, call.tm_hangup or call.tm_update or call.tm_create
    if call.ended:
        yield Status.HANGUP, call.tm_hangup or call.tm_create
        if call.tm_delete is not None:
            yield _DELETED, call.tm_delete


def _ending(call: Call) -> Status | None:
    if call.status in (Status.TERMINATING, Status.CANCELING):
        return call.status
    if call.hangup_by is HangupBy.LOCAL and call.hangup_reason is not HangupReason.FAILED:
        return Status.CANCELING if call.hangup_reason is HangupReason.CANCEL else Status.TERMINATING
    return None


def _first(call: Call) -> Status:
    return Status.DIALING if call.direction is Direction.OUTGOING else Status.RINGING


def _is_now(call: Call, name: str) -> bool:
    """Whether the record still stands as it did at that step."""
    return name in {call.status, _DELETED} or (name == _CREATED and call.status is _first(call))


def _as_of(call: Call, name: str, moment: datetime) -> orjson.Fragment:
    """The record as it must have stood at an earlier step."""
    shown = _shown(call)
    status = _first(call) if name == _CREATED else Status(name)
    shown |= {"status": status, "tm_update": None if name == _CREATED else moment, "tm_delete": None}
    for field in ("tm_dialing", "tm_ringing", "tm_progressing", "tm_hangup"):
        if shown[field] is not None and shown[field] > moment:
            shown[field] = None
    if status is not Status.HANGUP:
        shown |= {"hangup_by": "", "hangup_reason": "", "hangup_cause": 0, "hangup_sip_code": 0}
        shown |= {"hangup_detail": "", "tm_hangup": None}
    return orjson.Fragment(orjson.dumps(shown, str, _OPTIONS)[:-1] + b',"action":' + _NO_ACTION + b"}")


def _event(call: Call, name: str, moment: datetime, data: Any) -> EventRow:
    return {
        "id": derived(call.id, _MASKS[name]),
        "customer_id": call.customer_id,
        "type": f"call_{name}",
        "resource": RESOURCE,
        "resource_id": call.id,
        "activeflow_id": call.activeflow_id,
        "data": data,
        "tm_create": moment,
    }


def _with_action(body: bytes, call: Call, action_of: ActionOf) -> bytes:
    action = None if call.ended else action_of(call.id)
    text = _NO_ACTION if action is None else orjson.dumps({"id": action["id"], "type": action["type"]})
    return body[:-1] + b',"action":' + text + b"}"


def _body(call: Call) -> bytes:
    # str: ids that come from the database are asyncpg's, which orjson does not take for UUIDs
    return orjson.dumps(_shown(call), str, _OPTIONS)


def _shown(call: Call) -> dict[str, Any]:
    """What ``calls.models.view`` shows, without validating it: this is on the path of every call."""
    shown = call.row()
    del shown["channel_id"], shown["sip_call_id"]
    if call.failures:
        shown["failures"] = [{**failure.as_json(), "tm": failure.tm} for failure in call.failures]
    return shown
