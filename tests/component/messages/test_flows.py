"""Flows of texts for real: the example of ``docs/messages.md``, and a process that is killed in the middle of one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete

from ringline.calls.journal import Journal
from ringline.calls.live_state import LiveState
from ringline.clock import SystemClock
from ringline.flows import check, store
from ringline.flows.actions import Media, Services
from ringline.flows.activeflow import Activeflow
from ringline.flows.calling import NotedCalls
from ringline.flows.definitions import FlowDefinitions
from ringline.flows.service import FlowService
from ringline.messages import store as message_store
from ringline.messages.writing import STOPPED
from ringline.storage import Database, Live
from ringline.vendors.events import TextArrived

from .conftest import World

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "sms-auto-responder.json"
HANDSET, AGENT = "+491701234567", "+12025550143"


class Running:
    """A world whose flows really run."""

    def __init__(self, database: Database, world: World) -> None:
        self.database = database
        self.world = world
        live = LiveState(Live("redis://127.0.0.1:9/0"))
        self.journal = Journal(database, live, store)
        self.definitions = FlowDefinitions(database)
        self.service = FlowService(self.definitions, self.journal, cast("Media", None), SystemClock())
        world.flows = cast("Any", self.service)
        cast("Any", self.service).among = store.stored_among
        self.room = world.another()
        self.service.services = Services(calls=NotedCalls(), texts=self.room.texts)

    async def flow(self, customer_id: UUID, actions: list[dict[str, Any]]) -> UUID:
        found = check.examine(actions)
        assert not found.faults and not found.warnings
        row = {
            "id": uuid4(),
            "customer_id": customer_id,
            "actions": check.canonical(found.actions),
            "tm_create": self.world.clock.now(),
        }
        async with self.database.begin() as connection:
            return UUID(str((await store.insert_flow(connection, row)).id))

    async def heard(self, number: str, text: str, source: str = HANDSET) -> None:
        name = uuid4().hex
        await self.room.reports.arrived("fake", TextArrived(name, name, source, number, text))

    async def settled(self) -> None:
        """Start what is pending and wait until it has run and is stored."""
        async with asyncio.timeout(60):
            while True:
                await self.room.starting.turn()
                waiting = [row for row in await self.pending() if row.flow_state == "pending"]
                if not waiting and not list(self.service.live()) and self.journal.marked() == ([], []):
                    break
                await asyncio.sleep(0.05)
        await self.world.turn()

    async def pending(self) -> list[Any]:
        async with self.database.connect() as connection:
            return await message_store.pending_flows(connection, 100)

    def taken(self) -> list[tuple[str, str]]:
        sent = [(text.destination, text.text) for text in self.world.carrier.attempts]
        self.world.carrier.attempts.clear()
        return sent


@pytest.fixture
async def running(database: Database, worlds: Callable[..., World]) -> AsyncIterator[Running]:
    made = Running(database, worlds())
    await made.world.read()
    await made.journal.start()
    yield made
    await made.service.close()
    await made.journal.close()


async def test_the_example_answers_keywords_and_forwards_the_rest(running: Running) -> None:
    customer = await running.world.customer()
    actions = json.loads(EXAMPLE.read_text())["actions"]
    number = await running.world.number(customer, message_flow_id=await running.flow(customer, actions))
    for text, answer in {
        "HOURS": (HANDSET, "We're open Mon-Fri 9-5"),
        " hours?\u200b": (HANDSET, "We're open Mon-Fri 9-5"),
        "Help": (HANDSET, actions[2]["option"]["text"]),
        "Is there parking? ${voipbin.call.id}": (
            AGENT,
            f"From {HANDSET}: Is there parking? ${{voipbin.call.id}}",
        ),
        # confirmed once and by us, and the flow goes its way in silence
        "stop.": (HANDSET, STOPPED),
    }.items():
        await running.heard(number, text)
        await running.settled()
        assert running.taken() == [answer], text
    await running.heard(number, "hours")
    await running.settled()
    assert running.taken() == [], "who said STOP was answered"
    failed = [
        row for row in await running.world.all(customer, direction="outbound") if row.status == "failed"
    ]
    [target] = (await running.world.one(customer, failed[-1].id)).targets
    assert (target.reason, target.destination.target) == ("opted_out", HANDSET)
    # sent from the number that was texted, by the flow that is told
    [first] = [row for row in await running.world.all(customer) if row.text == " hours?\u200b"]
    sent = [row for row in await running.world.all(customer) if row.activeflow_id == first.activeflow_id]
    assert {row.source_number for row in sent} == {HANDSET, number}


async def test_a_text_that_is_as_long_as_may_be_is_forwarded_cut(running: Running) -> None:
    customer = await running.world.customer()
    actions = json.loads(EXAMPLE.read_text())["actions"]
    number = await running.world.number(customer, message_flow_id=await running.flow(customer, actions))
    await running.heard(number, "x" * 1600)
    await running.settled()
    [(agent, text)] = running.taken()
    assert (agent, len(text)) == (AGENT, 1600)
    assert text.startswith(f"From {HANDSET}: xxx") and text.endswith("x...")


async def test_a_flow_that_began_and_was_not_stored_sends_nothing_twice(running: Running) -> None:
    """Killed so early that neither Redis nor PostgreSQL knows of the flow: it runs again under the same id."""
    customer = await running.world.customer()
    flow_id = await running.flow(
        customer,
        [
            {
                "type": "message_send",
                "option": {
                    "destinations": [{"type": "tel", "target": "${voipbin.message.source.target}"}],
                    "text": "answer to ${voipbin.message.text}",
                },
            }
        ],
    )
    number = await running.world.number(customer, message_flow_id=flow_id)
    await running.heard(number, "one")
    await running.room.starting.turn()
    while list(running.service.live()):
        await asyncio.sleep(0.01)
    await running.journal.close()
    async with running.database.begin() as connection:
        await connection.execute(delete(store.activeflows).where(store.activeflows.c.customer_id == customer))
    again = Running(running.database, running.world)
    await again.journal.start()
    await again.settled()
    assert again.taken() == [(HANDSET, "answer to one")]
    async with running.database.connect() as connection:
        rows = (await connection.execute(store.list_activeflows(customer, {}))).all()
    [flow] = rows
    assert (flow.reference_type, flow.status, flow.reason) == ("message", "ended", "complete")
    await again.service.close()
    await again.journal.close()


async def test_a_flow_that_was_cut_off_goes_on_and_sends_the_rest_only(running: Running) -> None:
    customer = await running.world.customer()

    def send(text: str) -> dict[str, Any]:
        return {
            "type": "message_send",
            "option": {
                "destinations": [{"type": "tel", "target": "${voipbin.message.source.target}"}],
                "text": text,
            },
        }

    flow_id = await running.flow(customer, [send("first"), send("second"), send("third")])
    number = await running.world.number(customer, message_flow_id=flow_id)
    await running.heard(number, "go")
    # killed as the second is stored: its action had begun
    store_text = running.room.service.store
    reached = asyncio.Event()

    async def stuck(draft: Any) -> None:
        await store_text(draft)
        if draft.text == "second":
            reached.set()
            await asyncio.Event().wait()

    running.room.service.store = stuck  # type: ignore[method-assign]
    await running.room.starting.turn()
    await asyncio.wait_for(reached.wait(), 10)
    [live] = list(running.service.live())
    kept, lists = live.kept()
    again = Running(running.database, running.world)
    await again.journal.start()
    again.service._detached.await_recovery(Activeflow.from_kept(kept, lists))
    again.service.go_on(lambda _: None)
    await again.settled()
    for _ in range(3):  # to one handset they leave one after another, in the order of the flow
        await again.world.turn()
    assert [text for _, text in again.taken()] == ["first", "second", "third"]
    await again.service.close()
    await again.journal.close()


async def test_two_numbers_that_echo_each_other_stop(running: Running) -> None:
    one, other = await running.world.customer(), await running.world.customer()
    echo = [
        {
            "type": "message_send",
            "option": {
                "destinations": [{"type": "tel", "target": "${voipbin.message.source.target}"}],
                "text": "echo ${voipbin.message.text}",
            },
        }
    ]
    ours = await running.world.number(one, virtual=True, message_flow_id=await running.flow(one, echo))
    theirs = await running.world.number(other, virtual=True, message_flow_id=await running.flow(other, echo))
    await running.world.text(one, ours, theirs, text="hi")
    await running.settled()
    texts = [row.text for row in await running.world.all(one)] + [
        row.text for row in await running.world.all(other)
    ]
    assert max(map(len, texts)) == len("echo " * 10 + "hi")
    async with running.database.connect() as connection:
        flows = [
            row
            for customer in (one, other)
            for row in (await connection.execute(store.list_activeflows(customer, {}))).all()
        ]
    assert [flow.reason for flow in flows].count("MESSAGE_LOOP") == 1
