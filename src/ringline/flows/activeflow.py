"""A flow in execution: its copy of the actions, where it stands, and what it may know."""

from __future__ import annotations

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
    tm_update: datetime | None = None
    tm_delete: datetime | None = None
    stored: bool = False
    generation: int = 0
    placed: int = 0

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
            "tm_create": self.tm_create,
            "tm_update": self.tm_update,
            "tm_delete": self.tm_delete,
        }

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
