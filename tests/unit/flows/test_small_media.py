"""``mute``, ``echo``, ``hangup`` with a reference, ``hangup_relay``: without a telephone."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter, ValidationError

from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.calls.states import Direction, HangupReason
from ringline.clock import VirtualClock
from ringline.flows.actions import AnyAction, Services
from ringline.flows.activeflow import Activeflow
from ringline.flows.calling import NotedCalls
from ringline.flows.check import canonical
from ringline.flows.runner import Runner

from .test_runner import ADAPTER, Media, Observed, run

ONE: TypeAdapter[Any] = TypeAdapter(AnyAction)


class Endings:
    """One call is known, and how it ended."""

    def __init__(self, call_id: UUID, ended: tuple[HangupReason, int]) -> None:
        self.call_id = call_id
        self.ended = ended
        self.customers: list[UUID] = []

    async def ending(self, customer_id: UUID, call_id: UUID) -> tuple[HangupReason, int] | None:
        self.customers.append(customer_id)
        return self.ended if call_id == self.call_id else None


async def hang_up_as(reference: UUID, endings: Endings, kind: str = "hangup") -> SimulatedLeg:
    clock = VirtualClock()
    call = simulated_call(clock, direction=Direction.INCOMING)
    leg = SimulatedLeg(call, clock, Script())
    action = {"type": kind, "option": {"reference_id": str(reference)}}
    actions = canonical(ADAPTER.validate_python([action], strict=False))
    flow = Activeflow(uuid4(), call.customer_id, uuid4(), actions, clock.now())
    services = Services(calls=NotedCalls(), endings=endings)
    await Runner(flow, leg, Media(), clock, Observed(), services).run()
    assert endings.customers == [call.customer_id], "calls of others are never looked at"
    return leg


async def test_mute_sets_exactly_what_it_names() -> None:
    ran = await run(
        {"type": "mute"},
        {"type": "mute", "option": {"direction": "in"}},
        {"type": "mute", "option": {"direction": "none"}},
    )
    muted = [(what, detail) for _, what, detail in ran.trace if what == "mute"]
    assert muted == [("mute", "both"), ("mute", "in"), ("mute", "none")]
    assert ran.leg.call.mute_direction == ""


@pytest.mark.parametrize("kind", ["echo", "stream_echo"])
async def test_echo_takes_its_time(kind: str) -> None:
    ran = await run({"type": kind, "option": {"duration": 2500}})
    assert [(at, what) for at, what, _ in ran.trace] == [(0.0, "echo"), (2.5, "hangup")]
    ran = await run({"type": kind})
    assert ran.trace[-1][0] == 180.0
    ran = await run({"type": kind}, script=Script(hangs_up_at=3.0))
    assert ran.flow.reason == "hangup"


@pytest.mark.parametrize("kind", ["hangup", "hangup_relay"])
async def test_a_call_ends_as_another_one_did(kind: str) -> None:
    known = uuid4()
    leg = await hang_up_as(known, Endings(known, (HangupReason.BUSY, 17)), kind)
    assert (leg.trace[-1].detail, leg.call.hangup_cause) == ("busy", 17)
    leg = await hang_up_as(known, Endings(known, (HangupReason.NOANSWER, 0)), kind)
    assert (leg.trace[-1].detail, leg.call.hangup_cause) == ("noanswer", 19)
    leg = await hang_up_as(uuid4(), Endings(known, (HangupReason.BUSY, 17)), kind)
    assert (leg.trace[-1].detail, leg.call.hangup_cause) == ("normal", 16)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "mute", "option": {"direction": "left"}},
        {"type": "echo", "option": {"duration": 0}},
        {"type": "echo", "option": {"duration": 3_600_001}},
        {"type": "hangup_relay"},
        {"type": "hangup", "option": {"reference_id": "nobody"}},
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ONE.validate_python(wrong, strict=False)
