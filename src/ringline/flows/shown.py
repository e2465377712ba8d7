"""What the API shows of flows in execution, from memory and from their rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row

from ringline.calls.call import ZERO
from ringline.flows.activeflow import Activeflow, ActiveflowStatus

Shown = dict[str, Any]
"""What the API shows of an activeflow, by field."""


def shown(activeflow: Activeflow) -> Shown:
    """What is shown of one in memory."""
    ended = activeflow.status is ActiveflowStatus.ENDED
    snapshot = activeflow.snapshot
    return _shown(
        activeflow.row(),
        None if ended else snapshot.current,
        list(snapshot.history),
    )


def of_row(row: Row[Any]) -> Shown:
    """What is shown of one of ``store.SHOWN``."""
    fields: dict[str, Any] = {str(name): value for name, value in row._mapping.items()}
    current, history = fields.pop("current"), fields.pop("history")
    return _shown(fields, None if row.status == "ended" else current, history or [])


def _shown(fields: dict[str, Any], current: dict[str, Any] | None, history: list[list[Any]]) -> Shown:
    return {
        **fields,
        "current_action": current,
        "forward_action_id": (current or {}).get("next_id") or ZERO,
        "executed_actions": [_executed(*entry) for entry in history],
    }


def _executed(
    action_id: str, kind: str, began: float, seconds: float, result: str, reason: str, message: str
) -> dict[str, Any]:
    return {
        "id": action_id,
        "type": kind,
        "tm_execute": datetime.fromtimestamp(began, UTC),
        "duration": round(seconds * 1000),
        "result": result,
        "reason": reason,
        "message": message,
    }
