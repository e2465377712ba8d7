"""``conference_join`` and ``confbridge_join``: the way in, the stay, the way out, and all of it after a restart."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from ringline.calls.call import Call
from ringline.calls.leg import Leg
from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.calls.states import Direction
from ringline.clock import VirtualClock
from ringline.errors import NotFound
from ringline.flows.actions import Services, ready
from ringline.flows.actions.services import Seat
from ringline.flows.activeflow import Activeflow
from ringline.flows.calling import NotedCalls
from ringline.flows.check import canonical
from ringline.flows.runner import Runner

from .test_runner import ADAPTER, Media, Observed, Ran, talk
from .test_runner import run as run_alone

CONFERENCE = "7a1c1a52-3b07-4a0f-9c0c-6f3f9c9a7b51"


class Rooms:
    """One conference: its way in and out, and who was admitted and sat in it."""

    def __init__(self, *, before: list[Any] | None = None, after: list[Any] | None = None) -> None:
        self.before, self.after = made(*(before or [])), made(*(after or []))
        self.over = False
        self.entered: list[tuple[UUID, bool, bool]] = []
        self.stayed: list[UUID] = []

    async def enter(
        self,
        call: Call,
        conference_id: UUID,
        conferencecall_id: UUID,
        *,
        activeflow_id: UUID,
        fresh: bool,
        resumed: bool,
    ) -> Seat:
        if str(conference_id) != CONFERENCE:
            raise NotFound(
                f"conference_id: there is no conference {conference_id}", reason="CONFERENCE_NOT_FOUND"
            )
        self.entered.append((conferencecall_id, fresh, resumed))
        return Seat(
            over=self.over,
            before=self.before if fresh else [],
            variables={"voipbin.conference.name": "weekly"},
        )

    async def stay(self, leg: Leg, conference_id: UUID, conferencecall_id: UUID) -> list[dict[str, Any]]:
        self.stayed.append(conferencecall_id)
        await leg.join_bridge(f"conference-{conference_id}")
        return self.after


def made(*actions: dict[str, Any]) -> list[dict[str, Any]]:
    return canonical(ADAPTER.validate_python(list(actions), strict=False))


def join(conference_id: str = CONFERENCE, **more: Any) -> dict[str, Any]:
    return {"type": "conference_join", "option": {"conference_id": conference_id}, **more}


def bridge(confbridge_id: str = CONFERENCE) -> dict[str, Any]:
    return {"type": "confbridge_join", "option": {"confbridge_id": confbridge_id}}


async def run(
    rooms: Rooms,
    *actions: dict[str, Any],
    script: Script | None = None,
    direction: Direction = Direction.OUTGOING,
    resumed: bool = False,
    flow: Activeflow | None = None,
) -> Ran:
    clock = VirtualClock()
    call = simulated_call(clock, direction=direction)
    leg = SimulatedLeg(call, clock, script or Script(stays_for=5))
    flow = flow or Activeflow(uuid4(), call.customer_id, uuid4(), made(*actions), clock.now())
    flow.snapshot.variables["room"] = CONFERENCE
    observed, media = Observed(), Media()
    services = Services(calls=NotedCalls(), conferences=rooms)
    await Runner(flow, leg, media, clock, observed, services, resumed=resumed).run()
    return Ran(leg, flow, observed, media)


def said(ran: Ran) -> list[str]:
    return [
        detail.removeprefix("/speech/") if what == "play" else what
        for _, what, detail in ran.trace
        if what in ("play", "join", "leave", "answer", "hangup")
    ]


async def test_the_flow_goes_on_after_the_conference() -> None:
    rooms = Rooms()
    ran = await run(rooms, join("${room}"), talk("bye"), direction=Direction.INCOMING)
    assert said(ran) == ["answer", "join", "leave", "bye", "hangup"]
    assert ran.flow.reason == "complete"
    assert [stay for stay, _, _ in rooms.entered] == rooms.stayed
    assert rooms.entered[0][1:] == (True, False)
    assert ran.flow.snapshot.variables["voipbin.conference.name"] == "weekly"


async def test_the_way_in_and_the_way_out() -> None:
    rooms = Rooms(before=[talk("welcome"), talk("pin")], after=[talk("left ${voipbin.conference.name}")])
    ran = await run(rooms, talk("hello"), join(), talk("bye"))
    assert said(ran) == ["hello", "welcome", "pin", "join", "leave", "left weekly", "bye", "hangup"]
    (first, fresh, _), (second, again, _) = rooms.entered
    assert (first == second, fresh, again) == (True, True, False)
    assert rooms.stayed == [first]
    assert ran.failures == []


async def test_a_way_in_that_leads_elsewhere() -> None:
    target = str(uuid4())
    elsewhere = {"type": "goto", "option": {"target_id": target, "loop_count": 1}}
    rooms = Rooms()
    # its list is checked where it is stored; a jump out of it is the pre-flow's own affair
    rooms.before = [{"id": str(uuid4()), "next_id": str(UUID(int=0)), **elsewhere}]
    ran = await run(rooms, join(), talk("never"), {"id": target, **talk("elsewhere")})
    assert said(ran) == ["elsewhere", "hangup"]
    assert rooms.stayed == []


async def test_a_stay_that_is_over_already() -> None:
    rooms = Rooms(after=[talk("left")])
    rooms.over = True
    ran = await run(rooms, join(), bridge(), talk("bye"))
    assert said(ran) == ["bye", "hangup"], "nobody who was not in it goes its way out"
    assert rooms.stayed == []


async def test_a_bridge_has_no_way_in_and_out() -> None:
    rooms = Rooms(before=[talk("welcome")], after=[talk("left")])
    ran = await run(rooms, bridge(), talk("bye"))
    assert said(ran) == ["join", "leave", "bye", "hangup"]


async def test_an_unknown_conference() -> None:
    other = str(uuid4())
    ran = await run(Rooms(), join(other), talk("never"))
    assert said(ran) == ["hangup"]
    assert ran.flow.reason == "CONFERENCE_NOT_FOUND"
    assert ran.failures == [("conference_join", "CONFERENCE_NOT_FOUND")]
    ran = await run(Rooms(), bridge(other), talk("said"))
    assert said(ran) == ["said", "hangup"], "a bridge that is not there does not end the flow"
    assert ran.failures == [("confbridge_join", "CONFERENCE_NOT_FOUND")]
    ran = await run(Rooms(), join("${nothing}"), talk("never"))
    assert said(ran) == ["hangup"]


@pytest.mark.parametrize("with_way_in", [False, True])
async def test_after_a_restart_the_stay_is_the_same(with_way_in: bool) -> None:
    rooms = Rooms(before=[talk("welcome")] if with_way_in else [])
    flow = Activeflow(uuid4(), uuid4(), uuid4(), made(join(), talk("bye")), VirtualClock().now())

    class Killed(BaseException):
        pass

    async def die(leg: Leg, conference_id: UUID, conferencecall_id: UUID) -> list[dict[str, Any]]:
        raise Killed

    rooms.stay, stay = die, rooms.stay  # type: ignore[method-assign]
    with pytest.raises(Killed):
        await run(rooms, flow=flow)
    rooms.stay = stay  # type: ignore[method-assign]
    ran = await run(rooms, flow=flow, resumed=True)
    assert said(ran) == ["join", "leave", "bye", "hangup"], "and nothing is said twice"
    assert len({stay_id for stay_id, _, _ in rooms.entered}) == 1
    assert rooms.entered[-1][2] is True


async def test_hanging_up_in_the_conference() -> None:
    rooms = Rooms(after=[talk("never")])
    ran = await run(rooms, join(), talk("never"), script=Script(stays_for=5, hangs_up_at=2))
    assert said(ran) == ["join", "hangup"]
    assert ran.flow.reason == "hangup"


async def test_without_conferences_the_trace_says_what_would_be() -> None:
    ran = await run_alone(join(), bridge(), talk("bye"), script=Script(stays_for=3))
    assert [(at, what, detail) for at, what, detail in ran.trace if what in ("join", "leave")] == [
        (0, "join", f"conference-{CONFERENCE}"),
        (3, "leave", f"conference-{CONFERENCE}"),
        (3, "join", f"conference-{CONFERENCE}"),
        (6, "leave", f"conference-{CONFERENCE}"),
    ]


@pytest.mark.parametrize("text", ["", "seven", "00000000-0000-0000-0000-000000000000", "x" * 600])
def test_what_is_no_id_is_refused(text: str) -> None:
    for action in (join(text), bridge(text)):
        with pytest.raises(ValidationError):
            ADAPTER.validate_python([action], strict=False)
        with pytest.raises(ValidationError):
            ready(action)
