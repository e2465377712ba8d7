"""A switchboard with everything around it faked."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from ringline.calls.call import Call
from ringline.calls.states import Direction, Status
from ringline.calls.switchboard import Switchboard
from ringline.clock import SystemClock
from ringline.sip.address import Address
from ringline.sip.cause import Cause

from .fakes import FakeClient, FakeJournal, Hooks


class Arrivals:
    def __init__(self) -> None:
        self.answer: Call | Cause = Cause.UNALLOCATED
        self.args: list[str] = []

    def admit(self, channel: dict[str, Any], args: list[str]) -> Call | Cause:
        self.args = args
        if isinstance(self.answer, Call):
            self.answer.channel_id = channel["id"]
        return self.answer


class Desk:
    """A switchboard with everything around it faked."""

    def __init__(self, *, dial_timeout: float = 60.0, max_duration: float = 3600.0) -> None:
        self.client = FakeClient()
        self.journal = FakeJournal()
        self.hooks = Hooks()
        self.arrivals = Arrivals()
        self.board = Switchboard(
            self.client,  # type: ignore[arg-type]
            self.journal,  # type: ignore[arg-type]
            SystemClock(),
            application="ringline",
            dial_timeout=dial_timeout,
            max_duration=max_duration,
        )
        self.board.hooks = self.hooks
        self.board.arrivals = self.arrivals
        self.board.start()

    def call(self, direction: Direction = Direction.OUTGOING) -> Call:
        call_id = uuid4()
        status = Status.DIALING if direction is Direction.OUTGOING else Status.RINGING
        address = Address(type="tel", target="+15559876543")
        return Call(
            call_id, uuid4(), direction, address, address, f"call-{call_id}", status, SystemClock().now()
        )

    def dial(self) -> Call:
        call = self.call()
        self.board.dial(call, "PJSIP/kamailio/sip:+15559876543@x", {})
        return call

    def leg(self, call: Call) -> Any:
        return next(line.leg for line in self.board.lines() if line.call is call)

    def stasis_start(self, call: Call) -> None:
        self.client.emit("StasisStart", channel=channel(call), args=["outbound"])

    def dial_event(self, call: Call, state: str) -> None:
        self.client.emit("Dial", peer=channel(call), dialstatus=state)

    def destroyed(self, call: Call, cause: int, **more: Any) -> None:
        self.client.emit("ChannelDestroyed", channel=channel(call), cause=cause, **more)

    def answered(self) -> Call:
        call = self.dial()
        self.dial_event(call, "RINGING")
        self.dial_event(call, "ANSWER")
        self.stasis_start(call)
        return call


def channel(call: Call) -> dict[str, Any]:
    return {"id": call.channel_id, "state": "Up", "protocol_id": "sip-1"}
