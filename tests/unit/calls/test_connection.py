"""Connections under every race: nothing is bridged twice, nothing is left."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline import ari
from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.connection import MAX_CHAINED, Connections
from ringline.calls.leg import Connected, LegError, LegGone, Wanted
from ringline.calls.ordering import Ordering
from ringline.calls.reconcile import Reconciler
from ringline.calls.states import Direction, HangupReason, Status
from ringline.clock import SystemClock
from ringline.errors import InvalidArgument
from ringline.sip.address import Address

from .desk import Desk, channel
from .fakes import Hooks

OWN, DEFAULT = "+15551234567", "+15552222222"
BUSY, DECLINED = 17, 21


class Customers:
    def __init__(self) -> None:
        self.default: UUID | None = None

    def by_id(self, customer_id: UUID) -> Any:
        return SimpleNamespace(
            id=customer_id, status="active", default_outgoing_source_number_id=self.default
        )


class Numbers:
    """One customer owns everything that is listed."""

    def __init__(self) -> None:
        self.customer_id: UUID | None = None
        self.default_id = uuid4()

    def owned(self, customer_id: UUID, number: str) -> Any:
        return self._number(number) if number in (OWN, DEFAULT) else None

    def by_id(self, row_id: UUID) -> Any:
        return self._number(DEFAULT) if row_id == self.default_id else None

    def _number(self, number: str) -> Any:
        return SimpleNamespace(number=number, type="normal", status="active", customer_id=self.customer_id)


class FlowOfCaller(Hooks):
    """Cancels the caller's flow when the caller is gone, as the flow service does."""

    task: asyncio.Task[Connected] | None = None

    def call_ended(self, call: Call) -> None:
        super().call_ended(call)
        if self.task is not None:
            self.task.cancel()


class Room(Desk):
    """A desk with a caller who is connected with others."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks = self.flow = FlowOfCaller()
        self.board.hooks = self.flow
        self.customers, self.numbers = Customers(), Numbers()
        self.ordering = Ordering(
            self.board,
            self.customers,  # type: ignore[arg-type]
            self.numbers,  # type: ignore[arg-type]
            sip_domain="x",
        )
        self.bridges = Bridges()
        self.connections = Connections(
            self.client,  # type: ignore[arg-type]
            self.board,
            self.journal,  # type: ignore[arg-type]
            self.ordering,
            self.bridges,
        )
        self.board.connector = self.connections
        self.caller = self.answered()
        self.numbers.customer_id = self.caller.customer_id

    def ring_in(self, *, anonymous: bool = False) -> None:
        """The caller is somebody who rang in and was not answered."""
        self.destroyed(self.caller, 16)
        call = self.call(Direction.INCOMING)
        call.anonymous = anonymous
        self.arrivals.answer = call
        self.client.emit("StasisStart", channel={"id": "in-1"}, args=["inbound"])
        self.caller = call
        self.numbers.customer_id = call.customer_id

    async def connect(self, *to: str, early_media: bool = False) -> list[Call]:
        """Begin to connect; the legs that ring, in the order of the destinations."""
        destinations = [Address(type="tel", target=target) for target in to]
        wanted = Wanted(Address(type="tel", target=OWN), destinations, "auto", early_media)
        self.flow.task = asyncio.create_task(self.leg(self.caller).connect(wanted))
        await asyncio.sleep(0)
        return self.others()

    def others(self) -> list[Call]:
        return [line.call for line in self.board.lines() if line.call is not self.caller]

    async def result(self) -> Connected:
        assert self.flow.task is not None
        async with asyncio.timeout(30):
            return await self.flow.task

    def hang_up_caller(self) -> None:
        self.client.emit("ChannelHangupRequest", channel=channel(self.caller), cause=16)
        if self.caller.direction is Direction.INCOMING:
            self.client.emit("StasisEnd", channel=channel(self.caller))
        self.destroyed(self.caller, 16)

    def asked(self, method: str, part: str) -> list[tuple[str, Any]]:
        return [(uri, query) for sent, uri, query, _ in self.client.sent if sent == method and part in uri]

    def joined(self) -> list[str]:
        """The channels that were put into a bridge."""
        return [query["channel"] for _, query in self.asked("POST", "/addChannel")]

    def dropped(self, call: Call) -> list[int]:
        """The causes with which a leg was ended by us."""
        return [query["reason_code"] for _, query in self.asked("DELETE", f"channels/{call.channel_id}")]

    def finish(self, *calls: Call) -> None:
        """Asterisk reports the ends that we asked for."""
        for call in calls:
            causes = self.dropped(call)
            assert causes, f"nobody ended {call}"
            self.destroyed(call, causes[0])

    def nothing_left(self) -> None:
        made = {uri.split("?")[0] for uri, _ in self.asked("POST", "bridges/") if "Channel" not in uri}
        destroyed = [uri for uri, _ in self.asked("DELETE", "bridges/")]
        assert sorted(made) == sorted(destroyed), "each bridge is destroyed, once"
        assert len(made) <= 1
        assert not any(self.bridges.known_bridge(uri.removeprefix("bridges/")) for uri in made)
        for call in self.others():
            assert self.dropped(call), f"{call} still rings or talks"
        assert self.flow.task is not None
        assert self.flow.task.done()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    made.board.close()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_conversation_from_ringing_to_its_end(room: Room) -> None:
    (leg,) = await room.connect("+15550000001")
    assert (leg.master_call_id, room.caller.chained_call_ids) == (room.caller.id, [leg.id])
    room.dial_event(leg, "RINGING")
    room.client.sent.clear()
    room.dial_event(leg, "ANSWER")
    bridge = room.asked("POST", "bridges/connect-")[0][0]
    assert [(method, uri) for method, uri, _, _ in room.client.sent] == [
        ("DELETE", room.client.sent[0][1]),
        ("POST", bridge),
        ("POST", f"{bridge}/addChannel"),
    ], "silence, then the bridge, at once and in this order"
    assert room.client.sent[0][1].endswith("/ring")
    assert room.joined() == [f"{room.caller.channel_id},{leg.channel_id}"]
    await settled()
    assert room.bridges.joined_bridges() == {bridge.removeprefix("bridges/")}
    room.leg(room.caller).digit_received("5")
    room.destroyed(leg, 16)
    assert await room.result() == Connected(True, HangupReason.NORMAL, 16)
    assert not room.leg(room.caller).digits, "what was pressed in the conversation belongs to it"
    assert room.client.sent[-2:] == [
        ("POST", f"{bridge}/removeChannel", {"channel": room.caller.channel_id}, None),
        ("DELETE", bridge, None, None),
    ]
    assert room.caller.status is Status.PROGRESSING
    room.nothing_left()


async def test_the_first_to_answer_wins_and_the_others_are_told_so(room: Room) -> None:
    first, winner, last = await room.connect("+15550000001", "+15550000002", "+15550000003")
    room.dial_event(first, "RINGING")
    room.stasis_start(winner)
    assert (room.dropped(first), room.dropped(winner), room.dropped(last)) == ([26], [], [26])
    room.finish(first, last)
    for loser in (first, last):
        assert (loser.hangup_reason, loser.hangup_cause) == ("normal", 26)
    room.destroyed(winner, 16)
    assert (await room.result()).answered
    room.nothing_left()


async def test_two_answers_at_once(room: Room) -> None:
    first, second = await room.connect("+15550000001", "+15550000002")
    room.dial_event(second, "ANSWER")
    room.dial_event(first, "ANSWER")
    assert room.joined() == [f"{room.caller.channel_id},{second.channel_id}"]
    assert room.dropped(first) == [26]
    room.finish(first)
    assert (first.hangup_cause, first.hangup_reason) == (26, "normal")
    room.destroyed(second, 16)
    await room.result()
    room.nothing_left()


async def test_an_answer_that_crosses_the_withdrawal(room: Room) -> None:
    late, winner = await room.connect("+15550000001", "+15550000002")
    room.stasis_start(winner)
    room.dial_event(late, "ANSWER")
    room.stasis_start(late)
    assert room.joined() == [f"{room.caller.channel_id},{winner.channel_id}"]
    room.destroyed(winner, 16)
    await room.result()
    room.finish(late)
    assert late.hangup_reason == "normal"
    room.nothing_left()


async def test_an_answer_after_the_caller_began_to_go(room: Room) -> None:
    (leg,) = await room.connect("+15550000001")
    room.board.hang_up(room.caller)
    room.stasis_start(leg)
    assert room.joined() == []
    assert room.dropped(leg) == [26]
    room.hang_up_caller()
    with pytest.raises(asyncio.CancelledError):
        await room.result()
    room.nothing_left()


@pytest.mark.parametrize("step", ["placed", "ringing", "up", "joining", "joined"])
@pytest.mark.parametrize("early_media", [False, True])
async def test_the_caller_hangs_up(room: Room, step: str, early_media: bool) -> None:
    room.client.answers["POST"] = "pending" if step == "joining" else None
    first, second = await room.connect("+15550000001", "+15550000002", early_media=early_media)
    if step != "placed":
        room.dial_event(first, "RINGING")
    if step in ("up", "joining", "joined"):
        room.dial_event(first, "ANSWER")
    if step in ("joining", "joined"):
        room.stasis_start(first)
    if step == "joined":
        await settled()
    room.hang_up_caller()
    with pytest.raises(asyncio.CancelledError):
        await room.result()
    room.nothing_left()
    room.finish(first, second)
    assert first.hangup_reason == ("cancel" if step in ("placed", "ringing") else "normal")
    assert len(room.board) == 0


async def test_nobody_answers(room: Room) -> None:
    busy, declined = await room.connect("+15550000001", "+15550000002")
    room.destroyed(declined, DECLINED, tech_cause=603)
    room.destroyed(busy, BUSY, tech_cause=486)
    assert await room.result() == Connected(False, HangupReason.BUSY, BUSY)
    room.nothing_left()


async def test_a_leg_that_asterisk_refuses(room: Room) -> None:
    room.client.answers["POST"] = ari.ServerError("Allocation failed", status=500, method="POST", uri="x")
    await room.connect("+15550000001")
    ended = await room.result()
    assert (ended.answered, ended.reason) == (False, HangupReason.FAILED)
    room.nothing_left()


@pytest.mark.parametrize(
    "error",
    [
        ari.Conflict("Channel not in Stasis application", status=409, method="POST", uri="x"),
        ari.ConnectionLost("lost", status=0, method="POST", uri="x"),
    ],
)
async def test_a_bridge_that_fails_ends_the_leg_and_not_the_caller(room: Room, error: ari.AriError) -> None:
    (leg,) = await room.connect("+15550000001")
    room.client.answers["POST"] = error
    room.stasis_start(leg)
    with pytest.raises(LegError) as raised:
        await room.result()
    assert raised.value.reason == "BRIDGE_FAILED"
    assert room.caller.status is Status.PROGRESSING
    room.nothing_left()


async def test_a_bridge_that_fails_because_the_called_one_went(room: Room) -> None:
    (leg,) = await room.connect("+15550000001")
    room.client.answers["POST"] = ari.NotFound("Channel not found", status=404, method="POST", uri="x")
    room.stasis_start(leg)
    await settled()
    room.destroyed(leg, 16)
    assert (await room.result()).answered
    room.nothing_left()


async def test_a_bridge_that_fails_because_the_caller_went(room: Room) -> None:
    (leg,) = await room.connect("+15550000001")
    room.client.answers["POST"] = ari.NotFound("Channel not found", status=404, method="POST", uri="x")
    room.stasis_start(leg)
    room.client.emit("ChannelHangupRequest", channel=channel(room.caller), cause=16)
    with pytest.raises(LegGone):
        await room.result()
    room.nothing_left()


async def test_nothing_is_begun_without_asterisk(room: Room) -> None:
    room.client.connected = False
    await room.connect("+15550000001")
    with pytest.raises(LegError):
        await room.result()
    assert room.others() == []


async def test_a_loop_of_connections_ends(room: Room) -> None:
    room.caller.chained_call_ids = [uuid4() for _ in range(MAX_CHAINED)]
    await room.connect("+15550000001")
    with pytest.raises(LegError) as raised:
        await room.result()
    assert raised.value.reason == "TOO_MANY_CALLS"


async def test_a_caller_who_was_not_answered_rings_and_is_answered_with_the_other(room: Room) -> None:
    room.ring_in()
    (leg,) = await room.connect("+15550000001")
    assert room.asked("POST", "channels/in-1/ring")
    room.stasis_start(leg)
    wanted = ["channels/in-1/ring", "channels/in-1/answer", "/addChannel"]
    sent = [uri for _, uri, _, _ in room.client.sent]
    places = [max(place for place, uri in enumerate(sent) if uri.endswith(one)) for one in wanted]
    assert places == sorted(places)
    room.hang_up_caller()
    with pytest.raises(asyncio.CancelledError):
        await room.result()
    room.nothing_left()


class TestEarlyMedia:
    async def begin(self, room: Room, *to: str) -> list[Call]:
        legs = await room.connect(*to, early_media=True)
        for leg in legs:
            room.client.emit(
                "StasisStart", channel={"id": leg.channel_id, "state": "Down"}, args=["outbound"]
            )
            assert len(room.asked("POST", f"channels/{leg.channel_id}/dial")) == 1
            assert leg.status is Status.DIALING
        return legs

    async def test_the_first_that_is_heard_is_in_the_bridge_before_its_answer(self, room: Room) -> None:
        room.ring_in()
        first, second = await self.begin(room, "+15550000001", "+15550000002")
        room.dial_event(second, "PROGRESS")
        room.dial_event(first, "PROGRESS")
        assert room.asked("POST", "channels/in-1/progress")
        assert room.joined() == [f"in-1,{second.channel_id}"]
        assert not room.asked("POST", "/answer")
        await settled()
        room.dial_event(second, "ANSWER")
        assert room.asked("POST", "channels/in-1/answer")
        assert len(room.joined()) == 1
        assert room.dropped(first) == [26]
        room.destroyed(second, 16)
        assert (await room.result()).answered
        room.nothing_left()

    async def test_another_one_answers(self, room: Room) -> None:
        first, second = await self.begin(room, "+15550000001", "+15550000002")
        room.dial_event(first, "PROGRESS")
        await settled()
        room.client.emit("ChannelStateChange", channel=channel(second))
        assert room.joined()[-1] == f"{room.caller.channel_id},{second.channel_id}"
        assert room.dropped(first) == [26]
        room.destroyed(second, 16)
        await room.result()
        room.nothing_left()

    async def test_the_one_that_was_heard_refuses_after_all(self, room: Room) -> None:
        first, second = await self.begin(room, "+15550000001", "+15550000002")
        room.dial_event(first, "PROGRESS")
        await settled()
        rung = len(room.asked("POST", "/ring"))
        room.destroyed(first, BUSY)
        assert len(room.asked("POST", "/ring")) == rung + 1, "it rings again for the caller"
        room.dial_event(second, "ANSWER")
        assert room.joined()[-1] == f"{room.caller.channel_id},{second.channel_id}"
        room.destroyed(second, 16)
        await room.result()
        room.nothing_left()

    async def test_an_early_bridge_that_fails_is_tried_again_at_the_answer(self, room: Room) -> None:
        (leg,) = await self.begin(room, "+15550000001")
        room.client.answers["POST"] = ari.Conflict("no", status=409, method="POST", uri="x")
        room.dial_event(leg, "PROGRESS")
        room.dial_event(leg, "ANSWER")
        room.client.answers["POST"] = None
        await settled()
        assert len(room.joined()) == 2
        assert room.bridges.joined_bridges()
        room.destroyed(leg, 16)
        assert (await room.result()).answered
        room.nothing_left()


@pytest.mark.parametrize("seed", range(150))
async def test_any_order_of_events_leaves_nothing(room: Room, seed: int) -> None:
    """Legs ring, are heard, answer and go in any order; requests fail or hang; the caller may leave at any time."""
    dice = random.Random(seed)
    room.client.answers["POST"] = dice.choice(
        [None, None, "pending", ari.Conflict("no", status=409, method="POST", uri="x")]
    )
    if dice.random() < 0.3:
        room.ring_in()
    early_media = dice.random() < 0.5
    legs = await room.connect("+15550000001", "+15550000002", "+15550000003", early_media=early_media)
    assert room.flow.task is not None
    for _ in range(dice.randrange(3, 25)):
        call = dice.choice(legs)
        if room.flow.task.done():
            break
        match dice.randrange(8):
            case 0 | 1:
                room.dial_event(call, dice.choice(["RINGING", "PROGRESS", "ANSWER"]))
            case 2 | 3:
                room.stasis_start(call)
            case 4:
                room.destroyed(call, dice.choice([0, 16, BUSY, 26]))
            case 5 | 6:
                await asyncio.sleep(0)
            case 7:
                if dice.random() < 0.2:
                    room.hang_up_caller()
    if dice.random() < 0.5:
        room.hang_up_caller()
    else:
        for call in room.others():
            room.destroyed(call, 16)
    await asyncio.wait([room.flow.task], timeout=2)
    room.nothing_left()
    assert early_media or len(room.joined()) <= 1, "one winner"
    for call in room.others():
        room.finish(call)
    assert room.others() == []


class TestReconciling:
    def reconciler(self, room: Room, *bridges: str) -> Reconciler:
        room.client.answers["GET channels"] = []
        room.client.answers["GET applications/ringline"] = {"channel_ids": []}
        room.client.answers["GET bridges"] = [{"id": bridge_id} for bridge_id in bridges]
        return Reconciler(
            room.client,  # type: ignore[arg-type]
            room.board,
            room.bridges,
            SystemClock(),
            application="ringline",
        )

    async def test_bridges_of_ours_that_nobody_has_are_destroyed_in_the_second_pass(self, room: Room) -> None:
        reconciler = self.reconciler(room, "connect-old", "somebody-elses")
        await reconciler.reconcile()
        assert not room.asked("DELETE", "bridges/")
        await reconciler.reconcile()
        assert [uri for uri, _ in room.asked("DELETE", "bridges/")] == ["bridges/connect-old"]

    async def test_a_bridge_that_is_gone_ends_the_conversation(self, room: Room) -> None:
        (leg,) = await room.connect("+15550000001")
        room.stasis_start(leg)
        await settled()
        reconciler = self.reconciler(room)
        await reconciler.reconcile()
        await settled()
        assert room.flow.task is not None
        assert not room.flow.task.done()
        await reconciler.reconcile()
        with pytest.raises(LegError) as raised:
            await room.result()
        assert raised.value.reason == "BRIDGE_LOST"
        room.nothing_left()

    async def test_a_bridge_in_use_is_left_alone(self, room: Room) -> None:
        (leg,) = await room.connect("+15550000001")
        room.stasis_start(leg)
        await settled()
        (bridge_id,) = room.bridges.joined_bridges()
        reconciler = self.reconciler(room, bridge_id)
        for _ in range(3):
            await reconciler.reconcile()
        assert not room.asked("DELETE", "bridges/")
        room.destroyed(leg, 16)
        await room.result()


class TestWhoIsShown:
    def order(
        self, room: Room, source: str, anonymous: Any = "auto", to: str = "+15550000001"
    ) -> tuple[str, bool]:
        (order,) = room.ordering.orders_from(
            room.caller, Address(type="tel", target=source), [Address(type="tel", target=to)], anonymous
        )
        return order.caller.number, order.caller.hidden

    async def test_the_given_number_else_the_default_else_none(self, room: Room) -> None:
        assert self.order(room, OWN) == (OWN, False)
        assert self.order(room, OWN, "yes") == (OWN, True)
        for foreign in ("+15559990000", "", "nonsense"):
            assert self.order(room, foreign) == ("", True), "without a number of its own it is anonymous"
            assert self.order(room, foreign, "no") == ("", True)
        room.customers.default = room.numbers.default_id
        assert self.order(room, "+15559990000") == (DEFAULT, False)

    async def test_auto_does_as_the_incoming_call_did(self, room: Room) -> None:
        room.ring_in(anonymous=True)
        assert self.order(room, OWN) == (OWN, True)
        assert self.order(room, OWN, "no") == (OWN, False)
        assert self.order(room, OWN, to="+899123456789") == (OWN, True)
        room.caller.anonymous = False
        assert self.order(room, OWN) == (OWN, False)

    async def test_destinations_that_are_no_numbers_are_left_out(self, room: Room) -> None:
        source = Address(type="tel", target=OWN)
        bad, good = Address(type="tel", target=""), Address(type="tel", target="+15550000001")
        orders = room.ordering.orders_from(room.caller, source, [bad, good], "auto")
        assert [order.destination for order in orders] == [good]
        with pytest.raises(InvalidArgument, match=r"destinations\[0\]"):
            room.ordering.orders_from(room.caller, source, [bad], "auto")
