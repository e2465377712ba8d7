"""A controller that takes over: every state that a call can be in, and what Asterisk has of it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import orjson
import pytest

from ringline import ari
from ringline.calls import recovery as module
from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.connection import NOTE, Connections
from ringline.calls.leg import Connected, LegGone, Playing
from ringline.calls.line import Start
from ringline.calls.live_state import Kept
from ringline.calls.recovery import Found, Recovery, arguments
from ringline.calls.states import Direction, Status
from ringline.calls.waiting import UNSEEN as UNSEEN_PLACING
from ringline.media import Prompt

from .desk import Desk
from .fakes import Hooks, not_found

LONG = Prompt("/prompts/long", 10_000)


class LiveFake:
    """What Redis held, and what is kept in it."""

    def __init__(self) -> None:
        self.kept = Kept()
        self.parts: dict[str, Any] = {}
        self.fault: Exception | None = None
        self.started = False

    async def load(self) -> Kept:
        if self.fault is not None:
            raise self.fault
        return self.kept

    def resume_parts(self, kept: Kept) -> None:
        pass

    def start(self) -> None:
        self.started = True

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None:
        self.parts[f"{part}/{key}"] = value


class Flows:
    def __init__(self) -> None:
        self.revived: Any = None
        self.went_on = False

    def revive(self, kept: Any, rows: Any) -> list[UUID]:
        self.revived = kept, rows
        return []

    def go_on(self, live: Any) -> int:
        self.went_on = True
        return 0


class FlowRows:
    async def unfinished(self, connection: Any) -> list[Any]:
        return []


class Database:
    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        yield None


class After(Desk):
    """The controller after the one that died, with an Asterisk that has ``channels``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
        super().__init__(**limits)
        self.live = LiveFake()
        cast("Any", self.journal).live = self.live
        self.lost: list[UUID] = []
        cast("Any", self.journal).disown = self.lost.extend
        self.rows: list[Any] = []
        self.final: set[UUID] = set()
        self.channels: dict[str, dict[str, Any]] = {}
        self.in_app: list[str] = []
        self.flows = Flows()

        async def unfinished(_: Any) -> list[Any]:
            return self.rows

        async def final_among(_: Any, ids: Any) -> set[UUID]:
            return self.final

        monkeypatch.setattr(module.store, "unfinished", unfinished)
        monkeypatch.setattr(module.store, "final_among", final_among)
        monkeypatch.setattr(module, "CLAIM_SECONDS", 0.05)
        self.client.on_state = lambda handler: SimpleNamespace(close=lambda: None)  # type: ignore[attr-defined]
        self.recovery = Recovery(
            self.client,  # type: ignore[arg-type]
            Database(),  # type: ignore[arg-type]
            self.journal,  # type: ignore[arg-type]
            self.board,
            self.flows,
            FlowRows(),  # type: ignore[arg-type]
            application="ringline",
        )

    def knows(self, desk: Desk, call: Call) -> None:
        """What the controller before kept of a call, through JSON."""
        line = desk.board.line(call.id)
        assert line is not None
        self.live.kept.calls[call.id] = orjson.loads(orjson.dumps(line.kept(), default=str))

    def has(self, call: Call, state: str) -> None:
        self.channels[call.channel_id] = {"id": call.channel_id, "state": state}

    async def take_over(self) -> None:
        answers = self.client.answers
        answers["GET channels"] = list(self.channels.values())
        answers["GET bridges"] = []
        answers["GET asterisk/info"] = {"status": {"startup_time": "then"}}
        answers["GET applications/ringline"] = {"channel_ids": self.in_app}
        await self.recovery.load()
        self.recovery.start()
        async with asyncio.timeout(30):
            await self.recovery.done.wait()

    def call_of(self, call: Call) -> Call:
        line = self.board.line(call.id)
        if line is not None:
            return line.call
        ended = [*self.hooks.ended, self.board.past(call.id)]
        return next(one for one in ended if one is not None and one.id == call.id)


@pytest.fixture
async def before() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    desk.board.close()


@pytest.fixture
async def after(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[After]:
    desk = After(monkeypatch)
    yield desk
    await desk.recovery.close()
    desk.board.close()


def dialling(desk: Desk) -> Call:
    call = desk.dial()
    desk.client.emit("StasisStart", channel={"id": call.channel_id, "state": "Down"}, args=["outbound"])
    return call


def ringing(desk: Desk) -> Call:
    call = dialling(desk)
    desk.dial_event(call, "RINGING")
    return call


def canceling(desk: Desk) -> Call:
    call = ringing(desk)
    desk.board.hang_up(call)
    return call


def terminating(desk: Desk) -> Call:
    call = desk.answered()
    desk.board.hang_up(call)
    return call


def withdrawn(desk: Desk) -> Call:
    call = ringing(desk)
    desk.board.answered_elsewhere(call)
    return call


def timed_out(desk: Desk) -> Call:
    call = ringing(desk)
    line = desk.board.line(call.id)
    assert line is not None
    desk.board._dial_expired(line)
    return call


def arrived(desk: Desk) -> Call:
    call = desk.call(Direction.INCOMING)
    call.channel_id = "17.1"
    desk.arrivals.answer = call
    desk.client.emit("StasisStart", channel={"id": "17.1", "state": "Ring"}, args=["inbound", "+1"])
    return call


def talking(desk: Desk) -> Call:
    call = arrived(desk)
    desk.client.emit("ChannelStateChange", channel={"id": "17.1", "state": "Up"})
    return call


def unplaced(desk: Desk) -> Call:
    desk.client.answers["POST"] = "pending"
    return desk.dial()


@pytest.mark.parametrize(
    ("make", "state", "status", "begun", "dropped"),
    [
        (dialling, "Down", "dialing", False, False),
        (dialling, "Ringing", "ringing", False, False),
        (dialling, "Up", "progressing", True, False),
        (ringing, "Ringing", "ringing", False, False),
        (ringing, "Up", "progressing", True, False),
        (Desk.answered, "Up", "progressing", True, False),
        (canceling, "Ringing", "canceling", False, True),
        (canceling, "Up", "canceling", False, True),
        (terminating, "Up", "terminating", False, True),
        (withdrawn, "Ringing", "ringing", False, True),
        (timed_out, "Ringing", "ringing", False, True),
        (arrived, "Ring", "ringing", True, False),
        (arrived, "Up", "progressing", True, False),
        (talking, "Up", "progressing", True, False),
        (unplaced, "Down", "dialing", False, False),
    ],
)
async def test_a_call_whose_channel_lives_goes_on(
    before: Desk, after: After, make: Any, state: str, status: str, begun: bool, dropped: bool
) -> None:
    call = make(before)
    after.knows(before, call)
    after.has(call, state)
    await after.take_over()
    mine = after.call_of(call)
    assert (mine.status.value, mine.tm_create) == (status, call.tm_create)
    assert ([one.id for one in after.hooks.ready] == [call.id]) is begun
    assert (after.client.requests("DELETE") == [f"channels/{call.channel_id}"]) is dropped
    assert after.flows.went_on
    assert after.live.started


@pytest.mark.parametrize(
    ("make", "by", "reason", "said"),
    [
        (dialling, "remote", "noanswer", module.UNSEEN),
        (ringing, "remote", "noanswer", module.UNSEEN),
        (Desk.answered, "remote", "normal", module.UNSEEN),
        (canceling, "local", "cancel", ""),
        (terminating, "local", "normal", ""),
        (withdrawn, "remote", "normal", ""),
        (timed_out, "remote", "dialout", ""),
        (arrived, "remote", "normal", module.UNSEEN),
        (talking, "remote", "normal", module.UNSEEN),
        (unplaced, "local", "failed", UNSEEN_PLACING),
    ],
)
async def test_a_call_whose_channel_is_gone_gets_its_final_record(
    before: Desk, after: After, make: Any, by: str, reason: str, said: str
) -> None:
    call = make(before)
    after.knows(before, call)
    await after.take_over()
    mine = after.call_of(call)
    assert (mine.status.value, mine.hangup_by.value, mine.hangup_reason.value) == ("hangup", by, reason)
    assert mine.hangup_detail == said
    assert after.hooks.ready == []
    assert [one.id for one in after.hooks.ended] == [call.id]
    assert len(after.board) == 0


class Claimed:
    """Calls that waited for their turn (``calls.pacing``), and were claimed by the controller before."""

    def __init__(self, *calls: Call) -> None:
        self.calls = calls
        self.asked: list[tuple[set[str], bool]] = []

    async def load(self, connection: Any, kept: Any) -> dict[UUID, Call]:
        return {call.id: call for call in self.calls}

    def settle(self, channels: Any, *, sure: bool) -> list[Call]:
        self.asked.append((set(channels), sure))
        return [call for call in self.calls if call.channel_id in channels]


@pytest.mark.parametrize(
    ("state", "status"), [("Down", "dialing"), ("Ringing", "ringing"), ("Up", "progressing")]
)
async def test_a_call_that_was_claimed_and_has_a_channel_goes_on(
    before: Desk, after: After, state: str, status: str
) -> None:
    call, other = before.call(), before.call()
    now = datetime.now(UTC)
    # it waited for hours, and was dialled a moment ago
    call.tm_create, call.tm_dialing = now - timedelta(hours=5), now
    after.live.kept.parts["recovery"] = {"server": {"started": "then"}}
    after.recovery.waiting = claimed = Claimed(call, other)
    after.has(call, state)
    await after.take_over()
    assert claimed.asked == [({call.channel_id}, True)]
    line = after.board.line(call.id)
    assert line is not None
    assert (line.call.status.value, line.started, line.dialled) == (status, state == "Up", True)
    assert line.until > now.timestamp() + 60
    assert after.board.line(other.id) is None
    assert after.client.requests("POST") == []


@pytest.mark.parametrize("started", ["", "another time"])
async def test_of_another_asterisk_or_without_redis_nothing_is_sure(
    before: Desk, after: After, started: str
) -> None:
    if started:
        after.live.kept.parts["recovery"] = {"server": {"started": started}}
    after.recovery.waiting = claimed = Claimed(before.call())
    await after.take_over()
    assert claimed.asked == [(set(), False)]


async def test_with_another_asterisk_calls_were_lost(before: Desk, after: After) -> None:
    call = before.answered()
    after.knows(before, call)
    after.live.kept.parts["recovery"] = {"server": {"started": "long before"}}
    await after.take_over()
    mine = after.call_of(call)
    assert (mine.hangup_by, mine.hangup_reason, mine.hangup_detail) == ("local", "failed", module.MEDIA_LOST)
    assert after.live.parts["recovery/server"] == {"started": "then"}


async def test_keys_and_deadlines_come_along(before: Desk, after: After) -> None:
    call = before.answered()
    before.client.emit("ChannelDtmfReceived", channel={"id": call.channel_id}, digit="4")
    before.client.emit("ChannelDtmfReceived", channel={"id": call.channel_id}, digit="2")
    after.knows(before, call)
    after.has(call, "Up")
    await after.take_over()
    line, old = after.board.line(call.id), before.board.line(call.id)
    assert line is not None
    assert old is not None
    assert line.until == old.until
    assert await line.leg.receive_digits(seconds=1, length=2, end_keys="") == "42"
    assert not line.leg.kept()["digits"]


async def test_deadlines_that_passed_meanwhile_are_kept(before: Desk, after: After) -> None:
    rings, talks = ringing(before), before.answered()
    for call in (rings, talks):
        after.knows(before, call)
        after.has(call, "Up" if call is talks else "Ringing")
    after.live.kept.calls[rings.id]["dial_until"] = 1.0
    after.live.kept.calls[talks.id]["until"] = 1.0
    await after.take_over()
    await asyncio.sleep(0.05)
    for call, cause in ((rings, 19), (talks, 16)):
        after.destroyed(call, cause)
    assert after.call_of(rings).hangup_reason == "dialout"
    assert after.call_of(talks).hangup_reason == "timeout"


async def test_no_flow_goes_on_before_everything_is_there(before: Desk, after: After) -> None:
    call = before.answered()
    after.knows(before, call)
    after.has(call, "Up")
    order: list[str] = []

    class Part:
        async def restore(self, found: Found) -> None:
            order.append(f"part {sorted(found.channels)} {found.kept('conferences')}")
            await asyncio.sleep(0.01)
            assert after.hooks.ready == []

    class Broken:
        async def restore(self, found: Found) -> None:
            raise RuntimeError("a part that cannot be put together keeps no call from going on")

    after.live.kept.parts["conferences"] = {"1": {"name": "x"}}
    after.recovery.parts += [Broken(), Part()]
    await after.take_over()
    assert order == [f"part {[call.channel_id]} {{'1': {{'name': 'x'}}}}"]
    assert [one.id for one in after.hooks.ready] == [call.id]


async def test_what_happens_while_it_is_put_together_counts(before: Desk, after: After) -> None:
    call = ringing(before)
    after.knows(before, call)
    after.client.answers["GET channels"] = "pending"
    await after.recovery.load()
    assert after.board.live(call.id) is not None
    with pytest.raises(RuntimeError, match="recovering: 1"):
        await after.recovery.status()
    after.dial_event(call, "ANSWER")
    mine = after.call_of(call)
    assert (mine.status, after.hooks.ready) == (Status.PROGRESSING, [])
    assert after.board.hang_up(mine)
    after.board.release()
    assert after.hooks.ready == [], "it is on its way out"


async def test_without_redis_the_rows_of_postgresql_are_what_is_known(before: Desk, after: After) -> None:
    call = before.answered()
    call.activeflow_id = uuid4()
    leg = ringing(before)
    after.live.fault = ConnectionRefusedError("no Redis")
    after.rows = [SimpleNamespace(id=one.id, _mapping=one.row()) for one in (call, leg)]
    for one, state in ((call, "Up"), (leg, "Ringing")):
        after.has(one, state)
    await after.take_over()
    assert [one.id for one in after.hooks.ready] == [call.id]
    line = after.board.line(leg.id)
    assert line is not None
    assert line.dial_until == pytest.approx(leg.tm_create.timestamp() + 60)
    await asyncio.sleep(0.1)
    assert after.call_of(leg).status is Status.CANCELING, "nobody knows what the leg was for"
    assert after.call_of(leg).hangup_detail == module.UNCLAIMED


async def test_records_that_nobody_can_read_stop_nothing(before: Desk, after: After) -> None:
    good, bad, worse = before.answered(), before.answered(), uuid4()
    after.knows(before, good)
    after.knows(before, bad)
    del after.live.kept.calls[bad.id]["call"]["status"]
    after.live.kept.calls[worse] = {"call": "nonsense", "leg": {}}
    bad.activeflow_id = uuid4()
    after.rows = [
        SimpleNamespace(id=bad.id, _mapping=bad.row()),
        SimpleNamespace(id=worse, _mapping={"id": worse}),
    ]
    for call in (good, bad):
        after.has(call, "Up")
    await after.take_over()
    assert {one.id for one in after.hooks.ready} == {good.id, bad.id}
    assert after.lost == [worse]


async def test_a_final_row_is_newer_than_what_redis_held(before: Desk, after: After) -> None:
    call = before.answered()
    after.knows(before, call)
    after.final = {call.id}
    await after.take_over()
    assert len(after.board) == 0
    assert after.hooks.ended == []


async def test_a_caller_whose_arrival_nobody_heard_of_is_let_in(after: After) -> None:
    plan = {"app_name": "Stasis", "app_data": "ringline,inbound,+15551234567,provider,,%3Csip%3Aa%40b%3E,,"}
    after.channels = {
        "17.2": {"id": "17.2", "state": "Ring", "dialplan": plan},
        "snoop": {"id": "snoop", "state": "Up", "dialplan": {"app_name": "Stasis", "app_data": "ringline,x"}},
    }
    after.in_app = ["17.2", "snoop", "gone"]
    after.arrivals.answer = call = after.call(Direction.INCOMING)
    await after.take_over()
    assert after.arrivals.args == ["+15551234567", "provider", "", "%3Csip%3Aa%40b%3E", "", ""]
    assert after.hooks.ready == [call]
    after.client.emit("StasisStart", channel=after.channels["17.2"], args=["inbound"])
    assert after.hooks.ready == [call]


def test_arguments_are_read_of_our_own_callers_only() -> None:
    def of(name: str, data: str) -> list[str] | None:
        return arguments({"dialplan": {"app_name": name, "app_data": data}}, "ringline")

    assert of("Stasis", "ringline,inbound,+1,,x") == ["+1", "", "x"]
    assert of("Stasis", "other,inbound,+1") is None
    assert of("Wait", "0.25") is None
    assert arguments({}, "ringline") is None


class TestPlaying:
    """A prompt that another controller began."""

    @pytest.fixture
    async def leg(self, before: Desk) -> AsyncIterator[Any]:
        call = before.answered()
        before.client.sent.clear()
        yield before.leg(call)

    async def test_it_still_plays(self, before: Desk, leg: Any) -> None:
        playing = Playing(uuid4(), 3.0)
        before.client.answers["GET"] = {"state": "playing"}
        task = asyncio.create_task(leg.play([LONG], playing=playing))
        await asyncio.sleep(0.01)
        assert not task.done()
        leg.playback_finished(str(playing.id), "done")
        assert await task is True
        assert before.client.requests("POST") == []

    async def test_it_ended_meanwhile(self, before: Desk, leg: Any) -> None:
        before.client.answers["GET"] = not_found()
        assert await leg.play([LONG], playing=Playing(uuid4(), 10.0)) is True
        assert before.client.requests("POST") == []

    async def test_it_never_began_and_what_is_left_is_played(self, before: Desk, leg: Any) -> None:
        before.client.answers["GET"] = not_found()
        task = asyncio.create_task(leg.play([LONG, LONG], playing=Playing(uuid4(), 13.0)))
        await asyncio.sleep(0.01)
        ((_, uri, _, body),) = [sent for sent in before.client.sent if sent[0] == "POST"]
        assert body == {"media": [LONG.media], "offsetms": 2500}
        leg.playback_finished(uri.rsplit("/", 1)[1], "done")
        assert await task is True

    async def test_a_key_had_cut_it_short(self, before: Desk, leg: Any) -> None:
        before.client.answers["GET"] = not_found()
        leg.digit_received("1")
        assert await leg.play([LONG], stop_on_digit=True, playing=Playing(uuid4(), 3.0)) is False
        assert before.client.requests("POST") == []

    async def test_it_begins_under_the_id_that_was_chosen(self, before: Desk, leg: Any) -> None:
        playing = Playing(uuid4())
        task = asyncio.create_task(leg.play([LONG], playing=playing))
        await asyncio.sleep(0.01)
        assert before.client.requests("POST")[0].endswith(f"/play/{playing.id}")
        leg.ended()
        with pytest.raises(LegGone):
            await task

    async def test_what_plays_behind_is_ended_by_the_next_prompt(self, before: Desk, leg: Any) -> None:
        leg.play_behind([LONG])
        behind = leg.kept()["behind"]
        other = Desk()
        heir = other.leg(other.answered())
        heir.restore({"behind": behind})
        other.client.sent.clear()
        task = asyncio.create_task(heir.play([LONG]))
        await asyncio.sleep(0.01)
        assert other.client.sent[0][:2] == ("DELETE", f"playbacks/{behind}")
        heir.ended()
        with pytest.raises(LegGone):
            await task
        other.board.close()


class Noted:
    """The notes of an action that is run again."""

    def __init__(self, **notes: Any) -> None:
        self.resumed = bool(notes)
        self.kept: dict[str, Any] = notes

    def get(self, name: str, default: Any = None) -> Any:
        return self.kept.get(name, default)

    def keep(self, **notes: Any) -> None:
        self.kept |= orjson.loads(orjson.dumps(notes))


class TestConnections:
    """A caller who was being connected, or was, when the controller died."""

    @pytest.fixture
    async def scene(self, before: Desk, after: After) -> AsyncIterator[Scene]:
        scene = Scene(before, after)
        yield scene
        if scene.task is not None and not scene.task.done():
            scene.task.cancel()
            await asyncio.gather(scene.task, return_exceptions=True)

    async def test_both_ring_on_and_the_answer_connects(self, scene: Scene) -> None:
        await scene.resume()
        assert not scene.asked("bridges/")
        scene.after.dial_event(scene.legs[0], "ANSWER")
        assert scene.joined() == [scene.legs[0].channel_id]
        assert scene.after.client.requests("DELETE")[-1] == f"channels/{scene.legs[1].channel_id}"

    async def test_an_answer_in_the_gap_connects(self, scene: Scene) -> None:
        scene.after.has(scene.legs[1], "Up")
        await scene.resume()
        assert scene.joined() == [scene.legs[1].channel_id]

    async def test_all_refused_in_the_gap(self, scene: Scene) -> None:
        for leg in scene.legs:
            del scene.after.channels[leg.channel_id]
        await scene.resume()
        result = await scene.result()
        assert (result.answered, result.reason) == (False, "noanswer")

    async def test_a_conversation_goes_on(self, scene: Scene) -> None:
        winner = scene.answer()
        await scene.resume(inside=[scene.caller.channel_id, winner.channel_id])
        assert not scene.joined()
        assert scene.bridges.joined_bridges() == {scene.bridge}
        scene.after.destroyed(winner, 16)
        result = await scene.result()
        assert (result.answered, result.reason) == (True, "normal")
        assert f"bridges/{scene.bridge}" in scene.after.client.requests("DELETE")

    async def test_a_conversation_that_was_not_bridged_yet(self, scene: Scene) -> None:
        winner = scene.answer()
        await scene.resume(inside=None)
        assert scene.joined() == [winner.channel_id]

    async def test_the_other_side_hung_up_in_the_gap(self, scene: Scene) -> None:
        winner = scene.answer()
        del scene.after.channels[winner.channel_id]
        await scene.resume(inside=[scene.caller.channel_id])
        result = await scene.result()
        assert (result.answered, result.reason) == (True, "normal")

    async def test_the_caller_hung_up_in_the_gap(self, scene: Scene) -> None:
        del scene.after.channels[scene.caller.channel_id]
        await scene.after.take_over()
        assert {scene.after.call_of(leg).status for leg in scene.legs} == {Status.CANCELING}
        for leg in scene.legs:
            scene.after.destroyed(leg, 16)
        assert len(scene.after.board) == 0

    async def test_it_was_over_and_the_flow_had_not_gone_on(self, scene: Scene) -> None:
        scene.notes.kept[NOTE] = {"bridge": scene.bridge, "over": [True, "normal", 16]}
        await scene.resume()
        assert await scene.result() == Connected(True, "normal", 16)  # type: ignore[arg-type]
        assert not scene.asked("bridges/")


class Scene:
    """Before: a caller whose connection rings two. After: the same, as another controller finds it."""

    def __init__(self, before: Desk, after: After) -> None:
        self.before, self.after = before, after
        self.caller = before.answered()
        self.notes = Noted()
        self.bridges = Bridges()
        made = Connections(
            before.client,  # type: ignore[arg-type]
            before.board,
            cast("Any", before.journal),
            cast("Any", None),
            Bridges(),
        )
        self.connection = made.open(before.leg(self.caller), notes=cast("Any", self.notes))
        self.legs = []
        for _ in range(2):
            leg = before.call()
            self.caller.chained_call_ids.append(leg.id)
            before.board.dial(leg, "PJSIP/x", {}, hooks=self.connection, start=Start.ON_ANSWER)
            before.dial_event(leg, "RINGING")
            self.legs.append(leg)
            self.connection._legs[leg] = None
        self.connection._first = self.legs[0]
        self.connection._note()
        self.bridge = self.connection.bridge_id
        self.task: asyncio.Task[Connected] | None = None
        after.has(self.caller, "Up")
        for leg in self.legs:
            after.has(leg, "Ringing")
        self.know()

    def know(self) -> None:
        for call in (self.caller, *self.legs):
            if self.before.board.line(call.id) is not None:
                self.after.knows(self.before, call)
        self.notes.resumed = True

    def answer(self) -> Call:
        """The first was answered before the controller died; the other is withdrawn and gone."""
        winner, other = self.legs
        self.before.dial_event(winner, "ANSWER")
        self.before.destroyed(other, 26)
        del self.after.live.kept.calls[other.id]
        del self.after.channels[other.channel_id]
        self.after.has(winner, "Up")
        self.know()
        return winner

    async def resume(self, inside: list[str] | None = None) -> None:
        missing = ari.NotFound("no bridge", status=404)
        self.after.client.answers[f"GET bridges/{self.bridge}"] = (
            missing if inside is None else {"channels": inside}
        )
        await self.after.take_over()
        made = Connections(
            self.after.client,  # type: ignore[arg-type]
            self.after.board,
            cast("Any", self.after.journal),
            cast("Any", None),
            self.bridges,
        )
        caller = self.after.board.line(self.caller.id)
        assert caller is not None
        connection = made.open(caller.leg, notes=cast("Any", self.notes))
        assert connection.under_way
        self.task = asyncio.create_task(connection.resume())
        await asyncio.sleep(0.01)

    async def result(self) -> Connected:
        assert self.task is not None
        async with asyncio.timeout(30):
            return await self.task

    def asked(self, uri: str) -> list[str]:
        return [sent[1] for sent in self.after.client.sent if sent[0] != "GET" and sent[1].startswith(uri)]

    def joined(self) -> list[str]:
        """The channels that were put into the bridge with the caller's."""
        sent = [query for _, uri, query, _ in self.after.client.sent if uri.endswith("/addChannel")]
        return [str(query["channel"]).split(",")[1] for query in sent if query]


async def test_hooks_are_everybodys_again(before: Desk) -> None:
    line = before.board.line(before.answered().id)
    assert line is not None
    assert isinstance(line.hooks, Hooks)
    assert line.kept()["own"] is False
