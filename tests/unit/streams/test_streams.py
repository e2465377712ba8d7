"""Streams against an Asterisk that does what the test says: order, ends of every kind, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline import ari
from ringline.calls.bridges import Bridges
from ringline.calls.call import Call
from ringline.calls.leg import LegError, LegGone
from ringline.calls.notes import FailureNotes
from ringline.calls.simulated import simulated_call
from ringline.clock import VirtualClock
from ringline.streams import service
from ringline.streams.models import StreamFailed, StreamWanted
from ringline.streams.relay import Hear
from ringline.streams.service import Streams
from ringline.streams.stream import Parts, Stream
from tests.unit.calls.fakes import FakeClient, not_found


class Relays:
    """``refuse``: what the server's refusal raises. ``hear`` is kept by stream."""

    def __init__(self) -> None:
        self.refuse: StreamFailed | None = None
        self.gate: asyncio.Event | None = None
        self.opened: list[tuple[str, str]] = []
        self.attached: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.hear: dict[str, Hear] = {}

    async def open(self, stream_id: str, url: str, headers: dict[str, str], call_id: str, hear: Hear) -> None:
        self.opened.append((stream_id, url))
        self.hear[stream_id] = hear
        if self.gate is not None:
            await self.gate.wait()
        if self.refuse is not None:
            raise self.refuse

    def attach(self, stream_id: str, url: str) -> None:
        self.attached.append((stream_id, url))

    def end(self, stream_id: str) -> None:
        self.ended.append(stream_id)


class Finder:
    async def find(self, host: str) -> str:
        if host.startswith("10."):
            raise StreamFailed("EXTERNAL_MEDIA_FORBIDDEN", f"{host}: not a public address")
        return host


class Switchboard:
    def __init__(self) -> None:
        self.auxiliary: dict[str, Callable[[dict[str, Any]], None]] = {}
        self.calls: dict[UUID, Call] = {}

    def live(self, call_id: UUID) -> Call | None:
        return self.calls.get(call_id)


class Kept:
    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}

    def keep(self, part: str, key: str, value: dict[str, Any]) -> None:
        assert part == "streams"
        self.records[key] = value

    def drop(self, part: str, key: str) -> None:
        self.records.pop(key, None)


class Floors:
    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.bridged: set[str] = set()

    def keep_floor(self, call: Call, name: str) -> None:
        self.kept.add(name)

    def drop_floor(self, call: Call, name: str) -> None:
        self.kept.discard(name)

    def entered_bridge(self, channel_id: str) -> None:
        self.bridged.add(channel_id)


class House:
    """Everything that streams touch, and what would be left of them."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.client = FakeClient()
        self.client.answers["POST channels/externalMedia"] = {
            "channelvars": {"MEDIA_WEBSOCKET_CONNECTION_ID": "connection"}
        }
        self.board, self.bridges, self.relays = Switchboard(), Bridges(), Relays()
        self.kept, self.floors = Kept(), Floors()
        self.call = simulated_call(self.clock)
        self.touched: list[Call] = []
        self.streams = self.made()

    def made(self) -> Streams:
        parts = Parts(
            self.client,  # type: ignore[arg-type]
            self.board,
            self.bridges,
            self.relays,
            Finder(),
            "ringline",
            "http://asterisk/media",
        )
        notes = FailureNotes(self.clock, self.touched.append)
        return Streams(parts, self.floors, notes, self.kept)

    def event(self, kind: str, channel: str) -> None:
        hear = self.board.auxiliary.get(channel)
        if hear is not None:
            hear({"type": kind, "channel": {"id": channel}})

    async def opening(self, wanted: StreamWanted) -> asyncio.Task[None]:
        """A start that has come as far as it can by itself."""
        task = asyncio.create_task(self.streams.start(self.call, wanted))
        await self.settle()
        return task

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    def arrive(self) -> None:
        for channel in list(self.board.auxiliary):
            self.event("StasisStart", channel)

    async def started(self, wanted: StreamWanted | None = None) -> Stream:
        wanted = wanted or websocket()
        task = await self.opening(wanted)
        self.arrive()
        await task
        return self.streams.of(self.call.id)[-1]

    def left(self) -> list[object]:
        """What is still held anywhere."""
        deleted = {uri for method, uri, _, _ in self.client.sent if method == "DELETE"}
        made = set()
        for method, uri, query, _ in self.client.sent:
            if method == "POST" and "/snoop/" in uri:
                made.add(f"channels/{uri.rpartition('/')[2]}")
            elif method == "POST" and uri == "channels/externalMedia":
                made.add(f"channels/{query['channelId']}")  # type: ignore[index]
            elif method == "POST" and uri.startswith("bridges/") and uri.count("/") == 1:
                made.add(uri)
        return [
            *(made - deleted),
            *self.board.auxiliary,
            *self.bridges._lost,
            *self.floors.kept,
            *self.kept.records,
            *self.streams._customers,
            *self.streams._opening,
            *self.streams._tapping,
            *self.streams._channels,
            *({one for one, _ in self.relays.opened} - {*self.relays.ended}),
            *([self.streams] if len(self.streams) else []),
        ]


@pytest.fixture
def house() -> House:
    return House()


def websocket(**more: Any) -> StreamWanted:
    return StreamWanted(uuid4(), uuid4(), "websocket", "wss://a.example/", **more)


def rtp(host: str = "192.0.2.1:4000", **more: Any) -> StreamWanted:
    return StreamWanted(uuid4(), uuid4(), "rtp", host, **more)


async def test_the_server_is_there_before_anything_is_asked_of_asterisk(house: House) -> None:
    house.relays.gate = asyncio.Event()
    wanted = websocket(listen="in", speak="both", format="slin16")
    task = await house.opening(wanted)
    assert house.client.sent == []
    house.relays.gate.set()
    await house.settle()
    (stream,) = house.streams.of(house.call.id)
    tap, bridge, media = house.client.sent
    assert tap == (
        "POST",
        f"channels/simulated/snoop/{stream.tap}",
        {"app": "ringline", "spy": "in", "whisper": "both"},
        None,
    )
    assert bridge[:2] == ("POST", f"bridges/{stream.bridge}")
    assert media[2] == {
        "channelId": stream.media,
        "app": "ringline",
        "format": "slin16",
        "external_host": "INCOMING",
        "transport": "websocket",
        "encapsulation": "none",
        "connection_type": "server",
    }
    assert house.relays.attached == [(str(wanted.id), "http://asterisk/media/connection")]
    assert not task.done()
    house.arrive()
    await task
    assert house.client.sent[-1][1:3] == (
        f"bridges/{stream.bridge}/addChannel",
        {"channel": f"{stream.tap},{stream.media}"},
    )
    assert house.bridges.joined_bridges() == {stream.bridge}
    assert house.streams.stop(house.call) == 1
    assert house.left() == []


async def test_rtp_goes_to_the_address_that_was_checked(house: House) -> None:
    stream = await house.started(rtp())
    media = next(query for _, uri, query, _ in house.client.sent if uri == "channels/externalMedia")
    assert media is not None
    assert (media["external_host"], media["transport"], media["encapsulation"]) == (
        "192.0.2.1:4000",
        "udp",
        "rtp",
    )
    house.event("StasisEnd", stream.media)
    assert [failure.reason for failure in house.call.failures] == ["EXTERNAL_MEDIA_LOST"]
    assert house.left() == []


@pytest.mark.parametrize("wanted", [websocket(), rtp("10.0.0.1:4000")])
async def test_a_server_that_cannot_be_had_leaves_nothing(house: House, wanted: StreamWanted) -> None:
    house.relays.refuse = StreamFailed("EXTERNAL_MEDIA_FORBIDDEN", "not a public address")
    with pytest.raises(LegError, match="not a public address") as raised:
        await house.streams.start(house.call, wanted)
    assert raised.value.reason == "EXTERNAL_MEDIA_FORBIDDEN"
    assert house.client.sent == []
    assert house.left() == []


@pytest.mark.parametrize(
    ("request_", "error", "expected"),
    [
        ("snoop", not_found(), LegGone),
        ("externalMedia", ari.AriError("no module", status=500, method="POST", uri="x"), LegError),
        ("addChannel", ari.AriError("gone", status=422, method="POST", uri="x"), LegError),
    ],
)
async def test_what_asterisk_refuses_leaves_nothing(
    house: House, request_: str, error: Exception, expected: type[Exception]
) -> None:
    plain = house.client.send

    def send(method: str, uri: str, **rest: Any) -> asyncio.Future[Any]:
        future = plain(method, uri, **rest)
        if request_ in uri and method == "POST":
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            future.exception()
        return future

    house.client.send = send  # type: ignore[method-assign]
    task = await house.opening(websocket())
    house.arrive()
    with pytest.raises(expected):
        await task
    assert house.left() == []


@pytest.mark.parametrize("steps", range(6))
async def test_a_caller_who_hangs_up_at_any_step_leaves_nothing(house: House, steps: int) -> None:
    house.relays.gate = asyncio.Event()
    task = asyncio.create_task(house.streams.start(house.call, websocket()))
    await asyncio.sleep(0)
    house.relays.gate.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    if steps == 5:
        house.arrive()
    house.call.end(16, house.clock.now())
    house.streams.call_ended(house.call)
    with pytest.raises(LegGone):
        await task
    assert house.left() == []
    assert house.call.failures == []


async def test_a_flow_that_is_stopped_while_it_waits_leaves_nothing(house: House) -> None:
    task = await house.opening(websocket())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert house.left() == []


@pytest.mark.parametrize(
    ("report", "reasons"),
    [
        ({"by": "server", "reason": "", "message": "", "code": 1000}, []),
        ({"by": "server", "reason": "LOST", "message": "code 1011", "code": 1011}, ["EXTERNAL_MEDIA_LOST"]),
        ({"by": "server", "reason": "STUCK", "message": "took nothing", "code": 0}, ["EXTERNAL_MEDIA_STUCK"]),
    ],
)
async def test_a_server_that_ends_it(house: House, report: dict[str, Any], reasons: list[str]) -> None:
    stream = await house.started()
    house.relays.hear[str(stream.wanted.id)](report)
    assert [failure.reason for failure in house.call.failures] == reasons
    assert [failure.action_id for failure in house.call.failures] == [stream.wanted.action_id] * len(reasons)
    assert house.left() == []
    house.event("StasisEnd", stream.media)
    house.relays.hear[str(stream.wanted.id)](report)
    assert len(house.call.failures) == len(reasons)


@pytest.mark.parametrize("late", [False, True])
async def test_a_server_that_closes_while_it_is_set_up(house: House, late: bool) -> None:
    task = await house.opening(websocket())
    if late:
        house.client.answers["POST"] = "pending"
        house.arrive()
        await house.settle()
    (stream,) = house.streams.of(house.call.id)
    house.relays.hear[str(stream.wanted.id)]({"by": "server", "reason": "", "message": "", "code": 1000})
    if late:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    else:
        with pytest.raises(LegError, match="closed the connection at once"):
            await task
    assert house.left() == []


async def test_the_tap_or_the_bridge_is_lost(house: House) -> None:
    stream = await house.started()
    house.event("StasisEnd", stream.tap)
    assert house.call.failures == []
    assert house.left() == []
    stream = await house.started()
    house.bridges.bridge_lost(stream.bridge)
    assert [failure.reason for failure in house.call.failures] == ["EXTERNAL_MEDIA_LOST"]
    assert house.left() == []


async def test_a_call_that_leaves_a_bridge_is_tapped_anew_when_all_old_taps_are_gone(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SETTLE_SECONDS", 0.0)
    streams = [await house.started(), await house.started(rtp(listen="in"))]
    old, before = [stream.tap for stream in streams], len(house.client.sent)
    house.client.emit("ChannelLeftBridge", channel={"id": "somebody else's"})
    await house.settle()
    assert len(house.client.sent) == before
    house.client.emit("ChannelLeftBridge", channel={"id": house.call.channel_id})
    house.client.emit("ChannelLeftBridge", channel={"id": house.call.channel_id})
    await house.settle()
    house.event("StasisEnd", old[0])
    await house.settle()
    deletes = [("DELETE", f"channels/{tap}") for tap in old]
    assert [entry[:2] for entry in house.client.sent[before:]] == deletes
    house.event("StasisEnd", old[1])
    await house.settle()
    new = [stream.tap for stream in streams]
    assert not set(new) & set(old)
    snoops = [("POST", f"channels/simulated/snoop/{tap}") for tap in new]
    assert [entry[:2] for entry in house.client.sent[before:]] == [*deletes, *snoops]
    for stream in streams:
        house.event("StasisStart", stream.tap)
        assert house.client.sent[-1][1:3] == (f"bridges/{stream.bridge}/addChannel", {"channel": stream.tap})
    assert all(stream.running for stream in streams)
    house.streams.stop(house.call)
    assert house.left() == []


async def test_a_call_that_ends_while_it_is_tapped_anew_leaves_nothing(house: House) -> None:
    await house.started()
    house.client.emit("ChannelLeftBridge", channel={"id": house.call.channel_id})
    await house.settle()
    house.call.end(16, house.clock.now())
    house.streams.call_ended(house.call)
    await house.streams.close()
    assert house.left() == []


async def test_so_many_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(service.MAX_PER_CALL):
        await house.started()
    with pytest.raises(LegError, match="may have 4 streams") as raised:
        await house.streams.start(house.call, websocket())
    assert raised.value.reason == "EXTERNAL_MEDIA_LIMIT"
    monkeypatch.setattr(service, "MAX_PER_CUSTOMER", 4)
    other = simulated_call(house.clock, customer_id=house.call.customer_id)
    with pytest.raises(LegError):
        await house.streams.start(other, websocket())
    assert house.streams.stop(house.call) == 4
    assert house.left() == []


async def test_silence_is_sent_only_for_those_who_speak_to_the_phone(house: House) -> None:
    stream = await house.started(websocket(speak="none"))
    assert house.floors.kept == set()
    other = await house.started(websocket(speak="both"))
    assert house.floors.kept == {f"stream-{other.wanted.id}"}
    assert stream.heard_by_phone is False
    house.streams.stop(house.call)


# another life of the controller


def heir(house: House) -> House:
    """A new controller beside the same Asterisk and the same store."""
    new = House()
    new.call, new.kept = house.call, house.kept
    new.streams = new.made()
    return new


def live(call: Call) -> Callable[[UUID], Call | None]:
    return lambda call_id: call if call_id == call.id else None


async def test_rtp_goes_on_untouched_after_a_restart(house: House) -> None:
    stream = await house.started(rtp())
    stream.retap()
    house.streams._keep(stream)
    new = heir(house)
    new.streams.take_over(
        house.kept.records, live(house.call), frozenset({stream.tap, stream.media, stream.bridge, "other"})
    )
    await new.settle()
    assert new.client.sent == []
    assert set(new.board.auxiliary) == {stream.tap, stream.media}
    assert new.bridges.joined_bridges() == {stream.bridge}
    # the action is run again, and finds it running
    await new.streams.start(house.call, stream.wanted)
    assert new.client.sent == []
    assert new.streams.stop(house.call) == 1
    assert [uri for method, uri, _, _ in new.client.sent if method == "DELETE"] == [
        f"channels/{stream.media}",
        f"channels/{stream.tap}",
        f"bridges/{stream.bridge}",
    ]
    assert new.left() == []


@pytest.mark.parametrize("kind", ["websocket", "rtp"])
async def test_what_did_not_survive_is_begun_again(house: House, kind: str) -> None:
    stream = await house.started(websocket() if kind == "websocket" else rtp())
    new = heir(house)
    new.streams.take_over(house.kept.records, live(house.call), frozenset({stream.tap}))
    await new.settle()
    again = asyncio.create_task(new.streams.start(house.call, stream.wanted))
    await new.settle()
    assert not again.done()
    new.arrive()
    await again
    (other,) = new.streams.of(house.call.id)
    assert other.running
    assert other.wanted == stream.wanted
    assert other.tap != stream.tap
    new.streams.call_ended(house.call)
    assert new.left() == []


async def test_streams_of_calls_that_ended_in_the_gap_are_forgotten(house: House) -> None:
    stream = await house.started()
    new = heir(house)
    new.streams.take_over(house.kept.records, lambda _: None, frozenset({stream.tap}))
    assert new.left() == []


async def test_a_call_that_is_in_a_conversation_after_a_restart_is_not_silenced(house: House) -> None:
    stream = await house.started(rtp())
    new = heir(house)

    class Found:
        channels: Mapping[str, Any] = {stream.tap: {}, stream.media: {}}
        bridges: Mapping[str, Any] = {
            stream.bridge: {"channels": [stream.tap, stream.media]},
            "connect-1": {"channels": [house.call.channel_id, "call-other"]},
        }

        def kept(self, part: str) -> dict[str, Any]:
            return dict(house.kept.records)

    new.board.calls = {house.call.id: house.call}
    await new.streams.restore(Found())
    assert new.floors.bridged == {house.call.channel_id, "call-other"}
    assert [one.running for one in new.streams.of(house.call.id)] == [True]
    assert new.client.sent == []


async def test_one_that_cannot_be_begun_again_is_noted(house: House) -> None:
    await house.started()
    new = heir(house)
    new.relays.refuse = StreamFailed("EXTERNAL_MEDIA_FAILED", "does not accept the connection")
    new.streams.take_over(house.kept.records, live(house.call), frozenset())
    await new.settle()
    assert [failure.reason for failure in house.call.failures] == ["EXTERNAL_MEDIA_FAILED"]
    assert new.left() == []


async def test_a_stop_leaves_asterisk_alone(house: House) -> None:
    await house.started()
    before = len(house.client.sent)
    await house.streams.close()
    assert len(house.client.sent) == before
    assert len(house.kept.records) == 1
