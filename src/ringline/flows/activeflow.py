"""A flow in execution: its copy of the actions, where it stands, and what it may know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ringline.calls.call import ZERO, Call
from ringline.flows.snapshot import RawAction, Snapshot
from ringline.flows.variables import Lookup


class ActiveflowStatus(StrEnum):
    """``""`` until it starts."""

    NONE = ""
    RUNNING = "running"
    ENDED = "ended"


@dataclass(slots=True, eq=False)
class Activeflow:
    """The flow was copied when this was made; later edits do not touch it.

    ``reason`` is why it ended, a code; ``message`` the same as a sentence, where there is more to say.
    ``webhook_uri`` is told what happens to it and its calls, besides the customer's endpoints.
    ``generation`` counts from a call that nobody's flow placed; ``placed`` counts the calls that this flow placed.
    """

    id: UUID
    customer_id: UUID
    flow_id: UUID
    actions: list[RawAction]
    tm_create: datetime
    snapshot: Snapshot = field(default_factory=Snapshot)
    status: ActiveflowStatus = ActiveflowStatus.NONE
    reason: str = ""
    message: str = ""
    reference_type: str = "call"
    reference_id: UUID = ZERO
    reference_activeflow_id: UUID = ZERO
    on_complete_flow_id: UUID = ZERO
    webhook_uri: str = ""
    webhook_method: str = ""
    tm_update: datetime | None = None
    tm_delete: datetime | None = None
    stored: bool = False
    generation: int = 0
    placed: int = 0
    told: int = 0
    """Which steps were announced (``flows.telling``)."""

    def row(self) -> dict[str, Any]:
        """The columns of the activeflow, as ``flows.store`` writes them."""
        return {
            "id": self.id,
            "customer_id": self.customer_id,
            "flow_id": self.flow_id,
            "status": self.status.value,
            "reason": self.reason,
            "reference_type": self.reference_type,
            "message": self.message,
            "reference_id": self.reference_id,
            "reference_activeflow_id": self.reference_activeflow_id,
            "on_complete_flow_id": self.on_complete_flow_id,
            "actions": self.actions,
            "snapshot": self.snapshot.as_json(),
            "webhook_uri": self.webhook_uri,
            "webhook_method": self.webhook_method,
            "tm_create": self.tm_create,
            "tm_update": self.tm_update,
            "tm_delete": self.tm_delete,
        }

    @property
    def ended(self) -> bool:
        return self.status is ActiveflowStatus.ENDED

    def kept(self) -> tuple[dict[str, Any], list[list[RawAction]]]:
        """The row as another controller needs it, its lists of actions apart: they are long and do not change.

        In it a list is its place among those lists.
        """
        snapshot, lists = self.snapshot.kept(self.actions)
        row = {**self.row(), "snapshot": snapshot, "generation": self.generation, "placed": self.placed}
        del row["actions"]
        return row, lists

    @classmethod
    def from_kept(cls, row: Mapping[str, Any], lists: list[list[RawAction]]) -> Activeflow:
        """The activeflow of ``kept``. Raises ``ValueError``, ``KeyError`` or ``TypeError`` for what is none."""
        return cls._of(row, lists[0], Snapshot.from_kept(row["snapshot"], lists))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Activeflow:
        """The activeflow of a row. Raises as ``from_kept``."""
        return cls._of(row, row["actions"], Snapshot.from_json(row["snapshot"]))

    @classmethod
    def _of(cls, row: Mapping[str, Any], actions: list[RawAction], snapshot: Snapshot) -> Activeflow:
        fields: dict[str, Any] = {name: UUID(str(row[name])) for name in _UUIDS}
        fields |= {name: row[name] for name in ("reason", "message", "reference_type")}
        fields |= {name: _moment(row[name]) for name in ("tm_create", "tm_update", "tm_delete")}
        return cls(
            **fields,
            status=ActiveflowStatus(row["status"]),
            actions=actions,
            snapshot=snapshot,
            generation=row.get("generation", 0),
            placed=row.get("placed", 0),
            webhook_uri=row.get("webhook_uri", ""),
            webhook_method=row.get("webhook_method", ""),
        )

    def lookup(self, call: Call | None) -> Lookup:
        """A function from a variable's name to its text, system names included; ``""`` for what is missing."""

        def resolve(name: str) -> str:
            known = self.snapshot.variables.get(name)
            if known is not None:
                return known
            return self._system(name, call)

        return resolve

    def _system(self, name: str, call: Call | None) -> str:
        match name.split("."):
            case ["voipbin", "activeflow", what]:
                return {
                    "id": str(self.id),
                    "flow_id": str(self.flow_id),
                    "reference_type": self.reference_type,
                    "reference_id": str(self.reference_id),
                    "reference_activeflow_id": str(self.reference_activeflow_id),
                    "complete_count": "0",
                }.get(what, "")
            case ["voipbin", "call", "id"] if call is not None:
                return str(call.id)
            case ["voipbin", "call", "direction"] if call is not None:
                return call.direction.value
            case ["voipbin", "call", "master_call_id"] if call is not None:
                return str(call.master_call_id)
            case ["voipbin", "call", "source", what] if call is not None:
                return call.source.as_json().get(what, "")
            case ["voipbin", "call", "destination", what] if call is not None:
                return call.destination.as_json().get(what, "")
        return ""


_UUIDS = (
    "id",
    "customer_id",
    "flow_id",
    "reference_id",
    "reference_activeflow_id",
    "on_complete_flow_id",
)


def _moment(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value
