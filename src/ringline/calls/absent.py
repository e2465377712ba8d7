"""No leg at all: what a flow runs on that has no call."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from ringline.calls.call import Call
from ringline.calls.leg import LegError
from ringline.calls.states import Direction, HangupReason, Status
from ringline.sip.address import Address


class AbsentLeg:
    """Stands where a ``calls.leg.Leg`` would. The record of its call is of one that has ended and is never stored.

    Actions that need a call are skipped by the runner; whatever else is asked of it fails with ``NO_CALL``.
    """

    def __init__(self, customer_id: UUID, now: datetime) -> None:
        self.call = Call(
            id=uuid4(),
            customer_id=customer_id,
            direction=Direction.OUTGOING,
            source=Address(type="tel"),
            destination=Address(type="tel"),
            channel_id="",
            status=Status.HANGUP,
            tm_create=now,
        )

    def hang_up(self, reason: HangupReason = HangupReason.NORMAL, cause: int = 0) -> None:
        """There is nothing to hang up."""

    def note(self, what: str, detail: str = "") -> None:
        """There is no trace to note it on."""

    def __getattr__(self, name: str) -> Any:
        raise LegError("NO_CALL", f"there is no call that could {name.replace('_', ' ')}")
