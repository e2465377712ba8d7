"""A live call on its line: the leg, the timers, who is told, and what is known of its end before it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

from ringline.calls.ari_leg import AriLeg
from ringline.calls.call import Call
from ringline.sip.cause import Cause


class CallHooks(Protocol):
    """Who is told about calls (``flows.service``). Called synchronously: it must not block."""

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        """The call's flow may run: an outgoing call was answered, an incoming one arrived."""

    def call_ended(self, call: Call) -> None:
        """The call has its final record."""


class LegHooks(CallHooks, Protocol):
    """Who is told about one call in place of everybody else (``calls.connection``)."""

    def call_ringing(self, call: Call) -> None:
        """The other side rings."""

    def call_early(self, call: Call) -> None:
        """The other side is heard before it has answered (SIP 183); for calls that start ``WITH_MEDIA``."""


class Start(StrEnum):
    """When an outgoing call's flow begins, and whether what comes before is heard.

    ``ON_ANSWER``, or already ``ON_RINGING``. ``WITH_MEDIA``: on answer, and its hooks hear when it is heard before.
    """

    ON_ANSWER = "answer"
    WITH_MEDIA = "media"
    ON_RINGING = "ringing"


class Unclaimed:
    """Stands where the hooks of a line will be whose owner lived in a former controller, until somebody claims it."""

    def call_ready(self, call: Call, leg: AriLeg) -> None:
        """Whoever claims the line sees by the call's status that it was answered."""

    def call_ringing(self, call: Call) -> None:
        """Likewise."""

    def call_early(self, call: Call) -> None:
        """Likewise not told; what is heard early stays unheard."""

    def call_ended(self, call: Call) -> None:
        """The final record is in ``Switchboard.past``."""


class Line:
    """A live call with its leg, its timers and what is known of its end before it has ended."""

    __slots__ = (
        "began",
        "call",
        "dial_timer",
        "dial_until",
        "dialled",
        "dials",
        "duration_timer",
        "early",
        "end_check",
        "entered",
        "hooks",
        "leg",
        "own",
        "placed",
        "remote_cause",
        "ringing",
        "start",
        "started",
        "until",
    )

    def __init__(self, call: Call, leg: AriLeg, began: float, hooks: CallHooks) -> None:
        """``own``: its hooks are not everybody's. ``until``, ``dial_until``: its deadlines, seconds since 1970."""
        self.call = call
        self.leg = leg
        self.began = began
        self.hooks = hooks
        self.start = Start.ON_ANSWER
        self.early: Callable[[Call], None] | None = None
        self.ringing: Callable[[Call], None] | None = None
        self.own = False
        self.until = 0.0
        self.dial_until = 0.0
        self.started = False
        self.placed = False
        self.entered = False
        self.dialled = False
        self.dials = 0
        self.remote_cause = int(Cause.NORMAL_CLEARING)
        self.dial_timer: asyncio.TimerHandle | None = None
        self.duration_timer: asyncio.TimerHandle | None = None
        self.end_check: asyncio.TimerHandle | None = None

    @property
    def overdue(self) -> bool:
        """Whether the call is to end and its channel is still there."""
        return self.call.ending or self.call.end_cause is not None

    def belongs_to(self, hooks: LegHooks) -> None:
        """These, and nobody else, hear of it from now on."""
        self.hooks, self.early, self.ringing = hooks, hooks.call_early, hooks.call_ringing

    def kept(self) -> dict[str, Any]:
        """What another controller needs to go on with the call, as JSON. Deadlines are seconds since 1970."""
        return {
            "call": self.call.kept(),
            "leg": self.leg.kept(),
            "start": self.start.value,
            "own": self.own,
            "started": self.started,
            "placed": self.placed,
            "dialled": self.dialled,
            "until": self.until,
            "dial_until": self.dial_until,
        }

    def stop_timers(self) -> None:
        for timer in (self.dial_timer, self.duration_timer, self.end_check):
            if timer is not None:
                timer.cancel()
