"""Actions that run over and over while a flow waits: what is heard, how they are left, and how they go on."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import UUID

import orjson
import pytest

from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.clock import VirtualClock
from ringline.flows import engine
from ringline.flows.actions import Context, Services
from ringline.flows.activeflow import Activeflow
from ringline.flows.calling import NotedCalls
from ringline.flows.check import canonical
from ringline.flows.runner import Runner
from ringline.flows.snapshot import RawAction, Snapshot

from .test_runner import ADAPTER, Media, Observed

FINISH = "00000000-0000-0000-0000-000000000002"
QUEUE = "a1b2c3d4-0000-4000-8000-000000000001"
JOIN = {"type": "queue_join", "option": {"queue_id": QUEUE}}


def talk(text: str, **fields: Any) -> dict[str, Any]:
    return {"type": "talk", "option": {"text": text, "language": "en-US"}, **fields}


def raw(*actions: dict[str, Any]) -> list[RawAction]:
    return canonical(ADAPTER.validate_json(orjson.dumps(actions)))


class Queues:
    """A queue in which the caller hears ``actions``; after ``seconds`` an agent is there."""

    def __init__(self, clock: VirtualClock, actions: list[RawAction], seconds: float) -> None:
        self.actions = actions
        self.result: engine.Result | Literal["waiting"] | None = "waiting"
        self._clock = clock
        self._seconds = seconds

    async def join(self, context: Context, queue_id: UUID) -> engine.Result | None:
        assert queue_id == UUID(QUEUE)
        assert context.meanwhile is not None
        listening = asyncio.ensure_future(context.meanwhile(self.actions))
        while not listening.done() and self._clock.monotonic() < self._seconds:
            await asyncio.sleep(0)
        if listening.done():
            self.result = listening.result()
            return self.result
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return None


class Caller:
    def __init__(self, *actions: dict[str, Any], script: Script | None = None, seconds: float = 5.0) -> None:
        self.clock = VirtualClock()
        self.call = simulated_call(self.clock)
        self.leg = SimulatedLeg(self.call, self.clock, script)
        self.media = Media()
        self.observed = Observed()
        self.queues = Queues(self.clock, raw(*actions), seconds)
        self.flow = Activeflow(
            id=UUID(QUEUE),
            customer_id=self.call.customer_id,
            flow_id=UUID(int=0),
            actions=raw(JOIN, talk("after")),
            tm_create=self.clock.now(),
            snapshot=Snapshot(variables={"name": "Ada"}),
        )

    async def run(self, *, resumed: bool = False) -> list[str]:
        """What was heard."""
        services = Services(calls=NotedCalls(), queues=self.queues)
        await Runner(
            self.flow, self.leg, self.media, self.clock, self.observed, services, resumed=resumed
        ).run()
        return [heard.detail.removeprefix("/speech/") for heard in self.leg.trace if heard.what == "play"]


async def test_rounds_until_the_waiting_is_over() -> None:
    caller = Caller(talk("0123456789"), talk("please hold"), seconds=5)
    heard = await caller.run()
    assert heard[:5] == ["0123456789", "please hold", "0123456789", "please hold", "0123456789"]
    assert heard[-1] == "after"


async def test_variables_are_those_of_the_flow_that_waits() -> None:
    change = {"type": "variable_set", "option": {"key": "name", "value": "Grace"}}
    caller = Caller(talk("hello ${name}"), change)
    heard = await caller.run()
    assert heard[:2] == ["hello Ada", "hello Grace"]
    assert caller.flow.snapshot.variables["name"] == "Grace"
    kinds = [done[1] for done in caller.flow.snapshot.history]
    assert kinds[:3] == ["talk", "variable_set", "talk"]
    assert kinds[-2:] == ["queue_join", "talk"]


async def test_a_list_that_waits_for_nothing_does_not_spin() -> None:
    caller = Caller({"type": "variable_set", "option": {"key": "x", "value": "y"}}, seconds=10)
    await caller.run()
    rounds = sum(done[1] == "variable_set" for done in caller.flow.snapshot.history)
    assert 9 <= rounds <= 11


async def test_an_empty_list_has_nothing_to_be_heard() -> None:
    caller = Caller()
    assert await caller.run() == ["after"]
    assert caller.queues.result is None


@pytest.mark.parametrize(("action", "heard"), [("stop", []), ("goto", ["after"])])
async def test_ways_out(action: str, heard: list[str]) -> None:
    option = {} if action == "stop" else {"option": {"target_id": FINISH, "loop_count": 1}}
    caller = Caller(talk("hold"), {"type": action, **option})
    assert await caller.run() == ["hold", *heard]


async def test_a_jump_into_the_flow_around() -> None:
    caller = Caller(talk("hold"))
    target = caller.flow.actions[1]["id"]
    caller.queues.actions += [
        *raw({"type": "goto", "option": {"target_id": target, "loop_count": 1}}),
    ]
    assert await caller.run() == ["hold", "after"]
    assert caller.queues.result == engine.Jump(target)


async def test_a_fault_ends_the_rounds_and_is_noted() -> None:
    nowhere = "a1b2c3d4-0000-4000-8000-00000000dead"
    caller = Caller(talk("hold", next_id=nowhere))
    assert await caller.run() == ["hold", "after"]
    assert [failure.reason for failure in caller.call.failures] == ["TARGET_NOT_FOUND"]


async def test_a_queue_in_a_queue() -> None:
    caller = Caller(JOIN, seconds=3)
    assert await caller.run() == ["after"]
    assert [failure.reason for failure in caller.call.failures] == ["QUEUE_IN_QUEUE"]


async def test_a_caller_who_hangs_up() -> None:
    caller = Caller(talk("hold the line"), script=Script(hangs_up_at=2.0), seconds=100)
    await caller.run()
    assert caller.call.ended
    assert caller.flow.reason == "hangup"


async def test_after_a_restart_the_copy_goes_on_where_it_was() -> None:
    caller = Caller(talk("0123456789"), talk("second"), seconds=1.2)
    runs: list[dict[str, Any]] = []
    keep = caller.observed.flow_changed

    def kept(activeflow: Activeflow) -> None:
        keep(activeflow)
        runs.append(activeflow.snapshot.as_json())

    caller.observed.flow_changed = kept  # type: ignore[method-assign]
    await caller.run()
    snapshot = next(
        one for one in runs if one["progress"].get("meanwhile", {}).get("snapshot", {}).get("executed") == 2
    )
    again = Caller(talk("changed since"), seconds=3)
    again.flow.actions = caller.flow.actions
    again.flow.snapshot = Snapshot.from_json(snapshot)
    heard = await again.run(resumed=True)
    assert heard[:2] == ["second", "0123456789"]
    assert "changed since" not in heard
