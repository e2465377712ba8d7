"""Groupcalls of a controller that died: its successor goes on with each as if nothing had happened."""

from __future__ import annotations

from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest

from ringline.calls.call import ZERO, Call
from ringline.calls.recovery import Found
from ringline.flows.activeflow import Activeflow
from ringline.groupcalls import restoring
from ringline.groupcalls.groupcall import Status
from ringline.groupcalls.restoring import Restoring
from ringline.groupcalls.ring import Ring
from ringline.http import utc_now

from .table import Table, tel

BUSY, ELSEWHERE = 17, 26


class Successor:
    """A second controller that finds what the first one kept."""

    def __init__(self, first: Table, monkeypatch: pytest.MonkeyPatch, *, flow: bool = True) -> None:
        self.first = first
        self.table = Table()
        self.table.customer = first.customer
        self.table.agents.update(first.agents)
        self.rings = self.table.rings
        self.flow = flow
        self.board = self.table.board
        monkeypatch.setattr(restoring.store, "unfinished", self.unfinished)
        monkeypatch.setattr(restoring.flow_store, "of_references", self.of_references)
        self.calls: dict[UUID, Call] = {}

    @asynccontextmanager
    async def connect(self) -> Any:
        yield None

    async def unfinished(self, _: Any) -> list[Any]:
        return []

    async def of_references(self, _: Any, call_ids: list[UUID]) -> list[Any]:
        if not self.flow:
            return []
        activeflow = Activeflow(
            id=uuid4(),
            customer_id=self.table.customer.id,
            flow_id=ZERO,
            actions=[{"id": str(uuid4()), "type": "hangup", "option": {}}],
            tm_create=utc_now(),
            reference_id=call_ids[0],
        )
        activeflow.snapshot.variables["name"] = "value"
        return [SimpleNamespace(_asdict=lambda: {**activeflow.row(), "tm_delete": None}, **activeflow.row())]

    async def take_over(self, *, ended: tuple[Call, ...] = (), answered: tuple[Call, ...] = ()) -> None:
        """Everything of the first controller comes back; calls ``ended`` or were ``answered`` in the gap."""
        self.board.hold()
        for line in self.first.board.lines():
            restored = self.board.restore(orjson.loads(orjson.dumps(line.kept(), default=str)))
            self.calls[restored.call.id] = restored.call
            if line.call in ended:
                self.board.gone(restored, BUSY, "in the gap")
            elif line.call in answered:
                self.board.found_up(restored)
        part = Restoring(
            self,  # type: ignore[arg-type]
            self.rings,
            self.board,
            self.table.ordering,
            self.table.flows,
        )
        await part.restore(Found(parts={"groupcalls": self.first.kept.found()}))
        self.board.release()

    def ring(self, ring: Ring) -> Ring:
        found = self.rings.live(ring.groupcall.id)
        assert found is not None
        return found

    def call(self, call: Call) -> Call:
        return self.calls[call.id]


async def test_who_rings_goes_on_ringing_and_the_first_to_answer_wins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Table()
    ring = first.ring(tel(1), tel(2), tel(3))
    one, two, three = first.legs()
    second = Successor(first, monkeypatch)
    await second.take_over(ended=(one,))
    table = second.table
    table.answer(second.call(three))
    assert table.flows.ready == [second.call(three)]
    assert second.ring(ring).groupcall.answer_call_id == three.id
    assert table.dropped(second.call(two)) == [ELSEWHERE]
    table.destroyed(second.call(two), ELSEWHERE)
    table.destroyed(second.call(three), 16)
    assert len(second.rings) == 0
    assert table.kept.parts == {} or not table.kept.parts


async def test_an_answer_in_the_gap_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    ring = first.ring(tel(1), tel(2))
    one, two = first.legs()
    second = Successor(first, monkeypatch)
    await second.take_over(answered=(two,))
    assert second.table.flows.ready == [second.call(two)]
    assert second.table.dropped(second.call(one)) == [ELSEWHERE]
    assert second.ring(ring).groupcall.answer_call_id == two.id


async def test_two_answers_in_the_gap_have_one_winner(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    first.ring(tel(1), tel(2))
    legs = first.legs()
    second = Successor(first, monkeypatch)
    await second.take_over(answered=tuple(legs))
    assert len(second.table.flows.ready) == 1
    (won,) = second.table.flows.ready
    (lost,) = (second.call(leg) for leg in legs if leg.id != won.id)
    assert ELSEWHERE in second.table.dropped(lost)


async def test_who_talks_goes_on_talking(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    ring = first.ring(tel(1), tel(2))
    won, lost = first.legs()
    first.answer(won)
    second = Successor(first, monkeypatch)
    await second.take_over()
    assert second.table.flows.ready == [second.call(won)], "its flow goes on"
    assert second.ring(ring).groupcall.answer_call_id == won.id
    second.table.destroyed(second.call(lost), ELSEWHERE)
    second.table.destroyed(second.call(won), 16)
    assert len(second.rings) == 0


async def test_the_next_in_turn_rings_when_the_one_before_ended_in_the_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = Table()
    ring = first.ring(tel(1), tel(2), tel(3), method="linear")
    (one,) = first.legs()
    second = Successor(first, monkeypatch)
    await second.take_over(ended=(one,))
    (two,) = second.table.legs()
    assert two.destination == tel(2)
    assert second.ring(ring).groupcall.call_ids == [one.id, two.id]
    made = second.table.flows.attached[two.id]
    assert made.snapshot.variables == {"name": "value"}, "a copy of the flow that was given"
    second.table.destroyed(two, BUSY)
    (three,) = second.table.legs()
    second.table.answer(three)
    assert second.table.flows.ready == [three]


async def test_a_groupcall_within_comes_back_with_its_master(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    ring = first.ring(first.agent(tel(1), tel(2), ring_method="linear"), tel(3))
    legs = {call.destination: call for call in first.legs()}
    second = Successor(first, monkeypatch)
    await second.take_over(ended=(legs[tel(1)],))
    now = {call.destination: call for call in second.table.legs()}
    assert set(now) == {tel(2), tel(3)}
    second.table.answer(now[tel(2)])
    back = second.ring(ring).groupcall
    assert back.answer_groupcall_id == back.groupcall_ids[0]
    assert second.table.dropped(now[tel(3)]) == [ELSEWHERE]


async def test_one_that_was_being_hung_up_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    ring = first.ring(tel(1), tel(2), method="linear")
    (one,) = first.legs()
    ring.hang_up()
    second = Successor(first, monkeypatch)
    await second.take_over(ended=(one,))
    assert second.table.legs() == []
    assert len(second.rings) == 0
    assert second.table.behind.touched[-1][1] == Status.HANGUP.value


async def test_everybody_ended_in_the_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    ring = first.ring(tel(1), tel(2))
    second = Successor(first, monkeypatch)
    await second.take_over(ended=tuple(first.legs()))
    assert second.table.behind.touched[-1] == (ring.groupcall.id, Status.HANGUP.value)
    assert len(second.rings) == 0


async def test_what_cannot_be_read_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    first.ring(tel(1))
    first.kept.parts["broken"] = b'{"id": "broken"}'
    second = Successor(first, monkeypatch)
    await second.take_over()
    assert len(second.rings) == 1


async def test_one_of_a_connection_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Table()
    master = first.answered()
    ring = first.ring(tel(1), tel(2), master=master)
    legs = [call for call in first.legs() if call is not master]
    second = Successor(first, monkeypatch, flow=False)
    await second.take_over(answered=(legs[1],))
    told: list[Call] = []
    hooks: Any = SimpleNamespace(
        call_ready=lambda call, _: told.append(call),
        call_ended=lambda _: None,
        call_early=lambda _: None,
        call_ringing=lambda _: None,
        group_over=lambda _: None,
    )
    taken = second.rings.take(ring.groupcall.id, hooks)
    assert taken is second.ring(ring)
    assert told == [second.call(legs[1])], "the answer that came meanwhile"
    assert second.rings.take(ring.groupcall.id, hooks) is None, "once"
