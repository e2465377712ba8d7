"""Queues on real calls: what callers hear, who is rung, how every way it can end ends, and that nothing is left."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from tests.stack.audio import RATE, chirp, encode, find, read_wav
from tests.stack.conftest import Api, AsteriskView
from tests.stack.containers import Containers
from tests.stack.files import Files
from tests.stack.product import HANGUP, Json, Product, eventually, number, play, sleep

pytestmark = pytest.mark.timeout(240)
WAITING = chirp(600, 1500)
AFTER = chirp(2600, 1800)


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


class Desk:
    """Queues and agents with a tag of their own, so that no other test's agents are rung."""

    def __init__(self, product: Product, files: Files, tag: Json) -> None:
        self.product = product
        self.api: Api = product.api
        self.files = files
        self.tag = tag
        self.made: list[str] = []
        self.hold = play(files.add("waiting.wav", encode(WAITING, "wav")))
        self.after = play(files.add("after.wav", encode(AFTER, "wav")))

    async def queue(self, **fields: Any) -> Json:
        body = {"tag_ids": [self.tag["id"]], "wait_actions": [self.hold], **fields}
        queue: Json = await self.api.post("/v1.0/queues", body)
        self.made.append(f"/v1.0/queues/{queue['id']}")
        return queue

    async def agent(self, *numbers: str, status: str = "available", **fields: Any) -> Json:
        body = {
            "username": f"{uuid4().hex}@example.com",
            "password": "not a secret",
            "tag_ids": [self.tag["id"]],
            "addresses": [{"type": "tel", "target": one} for one in numbers],
            **fields,
        }
        agent: Json = await self.api.post("/v1.0/agents", body)
        self.made.append(f"/v1.0/agents/{agent['id']}")
        if status != "offline":
            await self.set_status(agent, status)
        return agent

    async def set_status(self, agent: Json, status: str) -> None:
        path = f"/v1.0/agents/{agent['id']}/status"
        assert (await self.api.call("PUT", path, {"status": status}))[0] == 200

    async def status(self, agent: Json) -> str:
        return str((await self.api.get(f"/v1.0/agents/{agent['id']}"))["status"])

    async def join(self, queue: Json, caller: str, *, then: bool = True, **fields: Any) -> Json:
        """A call that waits in the queue; afterwards it hears ``AFTER``."""
        actions = [join(queue), *([self.after] if then else []), HANGUP]
        call = await self.product.place(caller, *actions, **fields)
        await self.reached(call, "waiting", "connecting", "service")
        return call

    async def queuecall(self, call: Json) -> Json:
        page = await self.api.get("/v1.0/queuecalls", reference_id=call["id"])
        assert page["result"], "the call is in no queue"
        found: Json = page["result"][0]
        return found

    async def reached(self, call: Json, *statuses: str, within: float = 40.0) -> Json:
        async def look() -> Json | None:
            found = await self.queuecall(call)
            return found if found["status"] in statuses else None

        found: Json = await eventually(look, f"a queuecall in {statuses}", within=within)
        return found

    async def legs(self, call: Json) -> list[Json]:
        ids = (await self.product.show(call))["chained_call_ids"]
        return [await self.api.get(f"/v1.0/calls/{one}") for one in ids]

    async def clear(self) -> None:
        for path in [*reversed(self.made), f"/v1.0/tags/{self.tag['id']}"]:
            status, answer = await self.api.call("DELETE", path)
            assert status in (200, 404), answer


def join(queue: Json) -> Json:
    return {"type": "queue_join", "option": {"queue_id": queue["id"]}}


@pytest.fixture
async def desk(product: Product, files: Files) -> AsyncIterator[Desk]:
    desk = Desk(product, files, await product.api.post("/v1.0/tags", {"name": "stack test"}))
    yield desk
    await desk.clear()


async def test_the_wait_flow_is_heard_and_then_the_agent(desk: Desk, product: Product) -> None:
    caller, phone = number("1234"), number("0017")
    queue = await desk.queue()
    agent = await desk.agent(phone, status="offline")
    call = await desk.join(queue, caller)
    await asyncio.sleep(3.5)
    shown = await desk.api.get(f"/v1.0/queues/{queue['id']}")
    record = await desk.queuecall(call)
    assert shown["wait_queuecall_ids"] == [record["id"]]
    assert (record["status"], record["source"]["target"]) == ("waiting", caller)
    await desk.set_status(agent, "available")
    record = await desk.reached(call, "service")
    assert record["service_agent_id"] == agent["id"]
    assert await desk.status(agent) == "busy"
    shown = await desk.api.get(f"/v1.0/queues/{queue['id']}")
    assert (shown["wait_queuecall_ids"], shown["service_queuecall_ids"]) == ([], [record["id"]])
    await asyncio.sleep(4)
    (leg,) = await desk.legs(call)
    assert (leg["id"], leg["master_call_id"]) == (record["service_call_id"], call["id"])
    await product.hang_up(leg)
    assert (await product.ended(call))["failures"] == []
    record = await desk.queuecall(call)
    assert (record["status"], record["end_reason"]) == ("done", "agent_hangup")
    assert 3000 < record["duration_waiting"] < 30_000
    assert 3500 < record["duration_service"] < 30_000
    await eventually(lambda: _is(desk, agent, "available"), "the agent is free again")
    line = await product.line(caller)
    assert line["dtmf"] == "7", "the agent is heard by the caller"
    heard = read_wav(product.recording(line))
    waited = find(heard, WAITING)
    after = find(heard, AFTER)
    assert (waited.peak > 0.9, after.peak > 0.9) == (True, True)
    # it was played over and over: without its best copy there is another one
    without = heard.copy()
    without[int(waited.start * RATE) : int(waited.end * RATE)] = 0
    assert find(without, WAITING).peak > 0.5

    async def counted() -> bool:
        shown = await desk.api.get(f"/v1.0/queues/{queue['id']}")
        counts = [shown[f"total_{what}_count"] for what in ("incoming", "serviced", "abandoned")]
        assert counts == [1, 1, 0], counts
        return True

    await eventually(counted, "the queue has counted it")


async def test_audio_crosses_both_ways_and_the_wait_flow_is_silent(desk: Desk, product: Product) -> None:
    echo, machine = number("0008"), number("0009")
    queue = await desk.queue()
    await desk.agent(machine)
    call = await desk.join(queue, echo)
    await desk.reached(call, "service")
    await asyncio.sleep(4)
    await product.hang_up(call)
    await product.ended(call)
    heard_by_echo = read_wav(product.recording(await product.line(echo)))
    heard_by_machine = read_wav(product.recording(await product.line(machine)))
    last = heard_by_echo[-int(3.5 * RATE) :]
    energy = np.convolve(last**2, np.ones(RATE), mode="valid")
    begin = int(np.argmax(energy))
    assert energy[begin] / RATE > 1e-4
    assert find(heard_by_machine, last[begin : begin + RATE]).peak > 0.8
    assert find(last, WAITING).peak < 0.5, "the wait flow ended with the answer"
    record = await desk.queuecall(call)
    assert (record["status"], record["end_reason"]) == ("done", "caller_hangup")


async def test_two_callers_and_one_agent(desk: Desk, product: Product) -> None:
    phone = number("1234")
    queue = await desk.queue()
    agent = await desk.agent(phone, status="offline")
    first = await desk.join(queue, number("1234"), then=False)
    second = await desk.join(queue, number("1234"), then=False)
    await desk.set_status(agent, "available")
    await desk.reached(first, "service")
    assert (await desk.queuecall(second))["status"] == "waiting"
    await asyncio.sleep(2)
    assert (await desk.queuecall(second))["status"] == "waiting", "an agent who talks is not rung"
    assert await desk.legs(second) == []
    (leg,) = await desk.legs(first)
    await product.hang_up(leg)
    await product.ended(first)
    record = await desk.reached(second, "service")
    assert record["service_agent_id"] == agent["id"]
    await product.hang_up(second)
    await product.ended(second)
    # the carrier writes a line when the call is over on its side too
    lines = await eventually(
        lambda: product.lines(phone) if len(product.lines(phone)) >= 2 else [], "both calls to the agent"
    )
    assert [line["tm_answer"] is not None for line in lines] == [True, True]


async def test_one_agent_in_two_queues_is_rung_once(desk: Desk, product: Product) -> None:
    agent = await desk.agent(number("0002"), status="offline")
    calls = [await desk.join(await desk.queue(), number("1234"), then=False) for _ in range(2)]
    await desk.set_status(agent, "available")
    await desk.reached(calls[0], "connecting")
    await asyncio.sleep(1)
    assert [(await desk.queuecall(call))["status"] for call in calls] == ["connecting", "waiting"]
    assert await desk.status(agent) == "ringing"
    for call in calls:
        await product.hang_up(call)
        await product.ended(call)
    await eventually(lambda: _is(desk, agent, "available"), "the agent is free again")


async def _is(desk: Desk, agent: Json, status: str) -> bool:
    return await desk.status(agent) == status


async def test_an_agent_who_is_busy_and_then_the_next(desk: Desk, product: Product) -> None:
    engaged, free = number("0001"), number("1234")
    queue = await desk.queue(routing_method="round_robin")
    call = await desk.join(queue, number("1234"), then=False)
    await desk.agent(engaged)
    await eventually(lambda: product.lines(engaged), "the first agent was rung")
    await desk.reached(call, "waiting")
    agent = await desk.agent(free)
    record = await desk.reached(call, "service")
    assert record["service_agent_id"] == agent["id"]
    await product.hang_up(call)
    await product.ended(call)
    assert len(product.lines(engaged)) == 1, "who does not answer is left alone for a while"


async def test_linear_rings_one_telephone_after_another(desk: Desk, product: Product) -> None:
    declines, answers = number("0003"), number("1234")
    queue = await desk.queue()
    await desk.agent(declines, answers, ring_method="linear")
    call = await desk.join(queue, number("1234"), then=False)
    await desk.reached(call, "service")
    first, second = await desk.legs(call)
    assert (first["destination"]["target"], first["status"]) == (declines, "hangup")
    assert (second["destination"]["target"], second["status"]) == (answers, "progressing")
    assert second["tm_create"] >= first["tm_hangup"]
    await product.hang_up(call)
    await product.ended(call)


async def test_ringall_withdraws_the_others(desk: Desk, product: Product) -> None:
    rings, answers = number("0002"), number("1234")
    queue = await desk.queue()
    await desk.agent(rings, answers, ring_method="ringall")
    call = await desk.join(queue, number("1234"), then=False)
    await desk.reached(call, "service")
    legs = {leg["destination"]["target"]: leg for leg in await desk.legs(call)}
    loser = await product.ended(legs[rings])
    assert (loser["hangup_reason"], loser["hangup_cause"]) == ("normal", 26)
    await product.hang_up(call)
    await product.ended(call)


async def test_the_waiting_times_out_and_the_flow_goes_on(desk: Desk, product: Product) -> None:
    caller = number("1234")
    call = await desk.join(await desk.queue(wait_timeout=3000), caller)
    assert (await product.ended(call))["failures"] == []
    record = await desk.queuecall(call)
    assert (record["status"], record["end_reason"]) == ("abandoned", "wait_timeout")
    assert 2900 < record["duration_waiting"] < 10_000
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9


async def test_the_conversation_times_out_and_the_flow_goes_on(desk: Desk, product: Product) -> None:
    caller, phone = number("1234"), number("1234")
    queue = await desk.queue(service_timeout=2000)
    agent = await desk.agent(phone)
    call = await desk.join(queue, caller)
    assert (await product.ended(call))["failures"] == []
    record = await desk.queuecall(call)
    assert (record["status"], record["end_reason"]) == ("done", "service_timeout")
    assert 1900 < record["duration_service"] < 9000
    (leg,) = await desk.legs(call)
    leg = await product.ended(leg)
    assert (leg["hangup_by"], leg["hangup_reason"]) == ("local", "normal")
    await eventually(lambda: _is(desk, agent, "available"), "the agent is free again")
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9


@pytest.mark.parametrize("by", ["id", "reference_id"])
async def test_a_kick_takes_the_caller_out(desk: Desk, product: Product, by: str) -> None:
    caller = number("1234")
    call = await desk.join(await desk.queue(), caller)
    record = await desk.queuecall(call)
    path = record["id"] if by == "id" else f"reference_id/{call['id']}"
    kicked = await desk.api.post(f"/v1.0/queuecalls/{path}/kick")
    assert (kicked["status"], kicked["end_reason"]) == ("abandoned", "kicked")
    assert (await product.ended(call))["failures"] == []
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9
    again = await desk.api.post(f"/v1.0/queuecalls/{path}/kick")
    assert again["tm_end"] == kicked["tm_end"]


async def test_a_kick_out_of_a_conversation(desk: Desk, product: Product) -> None:
    queue, _ = await desk.queue(), await desk.agent(number("1234"))
    call = await desk.join(queue, number("1234"))
    record = await desk.reached(call, "service")
    kicked = await desk.api.post(f"/v1.0/queuecalls/{record['id']}/kick")
    assert (kicked["status"], kicked["end_reason"]) == ("done", "kicked")
    await product.ended(call)
    (leg,) = await desk.legs(call)
    await product.ended(leg)


@pytest.mark.parametrize("state", ["waiting", "connecting"])
async def test_a_caller_who_hangs_up_abandons(desk: Desk, product: Product, state: str) -> None:
    queue = await desk.queue()
    agent = await desk.agent(number("0002"), status="offline" if state == "waiting" else "available")
    call = await desk.join(queue, number("1234"))
    await desk.reached(call, state)
    if state == "connecting":
        await eventually(lambda: desk.legs(call), "the agent is rung")
    await product.hang_up(call)
    await product.ended(call)
    record = await desk.reached(call, "abandoned", "done")
    assert (record["status"], record["end_reason"]) == ("abandoned", "caller_hangup")
    for leg in await desk.legs(call):
        assert (await product.ended(leg))["hangup_reason"] == "cancel"
    expected = "offline" if state == "waiting" else "available"
    await eventually(lambda: _is(desk, agent, expected), "the agent is free again")


async def test_the_wait_flow_lets_its_caller_out(desk: Desk, product: Product) -> None:
    caller = number("0014")
    menu = {
        "type": "branch",
        "option": {
            "default_target_id": "00000000-0000-0000-0000-000000000001",
            "target_ids": {"4": "00000000-0000-0000-0000-000000000002"},
        },
    }
    receive = {"type": "digits_receive", "option": {"duration": 8000, "length": 1}}
    flow_id = await product.store_flow(receive, menu)
    call = await desk.join(await desk.queue(wait_flow_id=flow_id, wait_actions=[]), caller)
    assert (await product.ended(call))["failures"] == []
    record = await desk.queuecall(call)
    assert (record["status"], record["end_reason"]) == ("abandoned", "left")
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9


async def test_a_deleted_queue_lets_its_callers_out(desk: Desk, product: Product) -> None:
    queue = await desk.queue()
    call = await desk.join(queue, number("1234"))
    status, _ = await desk.api.call("DELETE", f"/v1.0/queues/{queue['id']}")
    assert status == 200
    await product.ended(call)
    assert (await desk.reached(call, "abandoned", "done"))["end_reason"] == "queue_deleted"


async def test_an_unknown_queue_ends_the_flow(product: Product) -> None:
    call = await product.place(number("1234"), join({"id": str(uuid4())}), sleep(60))
    record = await product.ended(call)
    assert [failure["reason"] for failure in record["failures"]] == ["QUEUE_NOT_FOUND"]


async def crash(containers: Containers) -> None:
    """Kill the controller and wait until its successor serves."""
    started, _ = await containers.life("controller")
    await containers.signal("controller", "KILL")

    async def again() -> bool:
        return (await containers.life("controller"))[0] != started

    await eventually(again, "the controller was started again", within=90)
    await containers.healthy("controller", within=90)


async def test_a_crash_while_callers_wait(desk: Desk, product: Product, containers: Containers) -> None:
    caller = number("1234")
    queue = await desk.queue()
    agent = await desk.agent(number("1234"), status="offline")
    first, second = await desk.join(queue, caller), await desk.join(queue, number("1234"))
    before = await desk.queuecall(first)
    await crash(containers)

    async def back() -> bool:
        shown = await desk.api.get(f"/v1.0/queues/{queue['id']}")
        return len(shown["wait_queuecall_ids"]) == 2

    await eventually(back, "both wait again", within=60)
    after = await desk.queuecall(first)
    assert (after["id"], after["status"], after["tm_create"]) == (
        before["id"],
        "waiting",
        before["tm_create"],
    )
    await asyncio.sleep(3)
    await desk.set_status(agent, "available")
    record = await desk.reached(first, "service")
    assert record["service_agent_id"] == agent["id"]
    assert (await desk.queuecall(second))["status"] == "waiting", "they kept their places"
    for call in (first, second):
        await product.hang_up(call)
        await product.ended(call)
    heard = read_wav(product.recording(await product.line(caller)))
    assert find(heard, WAITING).peak > 0.9


async def test_a_crash_while_an_agent_rings(desk: Desk, product: Product, containers: Containers) -> None:
    queue, agent = await desk.queue(), await desk.agent(number("0002"))
    call = await desk.join(queue, number("1234"))
    await desk.reached(call, "connecting")
    (leg,) = await eventually(lambda: desk.legs(call), "the agent is rung")
    await product.reached(leg, "ringing")
    await crash(containers)
    await eventually(lambda: _is(desk, agent, "ringing"), "the agent still rings", within=60)
    assert [one["id"] for one in await desk.legs(call)] == [leg["id"]], "it is not rung anew"
    await product.hang_up(call)
    await product.ended(call)
    assert (await product.ended(leg))["hangup_reason"] == "cancel"
    assert (await desk.queuecall(call))["end_reason"] == "caller_hangup"
    await eventually(lambda: _is(desk, agent, "available"), "the agent is free again")


async def test_a_crash_during_a_conversation(desk: Desk, product: Product, containers: Containers) -> None:
    caller, phone = number("0012"), number("1234")
    queue = await desk.queue(service_timeout=40_000)
    agent = await desk.agent(phone)
    call = await desk.join(queue, caller)
    before = await desk.reached(call, "service")
    began = time.monotonic()
    # so far from the answer that a deadline which begins anew is told from one that goes on
    await asyncio.sleep(6)
    died = time.monotonic() - began
    await crash(containers)
    await eventually(lambda: _is(desk, agent, "busy"), "the agent is busy", within=60)
    after = await desk.queuecall(call)
    assert (after["id"], after["status"], after["tm_service"]) == (
        before["id"],
        "service",
        before["tm_service"],
    )
    (leg,) = await desk.legs(call)
    assert leg["status"] == "progressing"
    record = await desk.reached(call, "done", within=90)
    assert record["end_reason"] == "service_timeout"
    limit = 40_000 + died * 1000
    assert 39_000 < record["duration_service"] < limit, "the deadline counts from the answer"
    await product.ended(call)
    assert find(read_wav(product.recording(await product.line(caller))), AFTER).peak > 0.9
    await eventually(lambda: _is(desk, agent, "available"), "the agent is free again")


async def test_a_caller_who_hangs_up_in_the_gap(desk: Desk, product: Product, containers: Containers) -> None:
    queue = await desk.queue()
    agent = await desk.agent(number("1234"))
    # the carrier hangs up a second after its answer, which a slow machine sees too late
    call = await product.place(number("0007"), join(queue), HANGUP)
    await desk.reached(call, "waiting", "connecting", "service", "abandoned", "done")
    await crash(containers)
    await product.ended(call)

    async def over() -> bool:
        return (await desk.queuecall(call))["status"] in ("done", "abandoned")

    await eventually(over, "the queuecall has its end", within=60)
    await eventually(lambda: _is(desk, agent, "available"), "the agent is free", within=60)
