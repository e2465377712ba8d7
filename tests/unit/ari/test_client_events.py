"""Events: order, queues, handlers that are slow or fail, and objects that come and go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from ringline.ari import Channel, Client, Gone

from .fake_asterisk import FakeAsterisk


def dtmf(channel_id: str, digit: str) -> dict[str, Any]:
    return {"type": "ChannelDtmfReceived", "digit": digit, "channel": {"id": channel_id, "name": "x"}}


async def settle(client: Client, events: int) -> None:
    """Until the client has seen this many events and worked them off."""
    async with asyncio.timeout(30):
        while client.stats.events < events or client.queued:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.02)


async def test_plain_handlers_run_in_the_order_of_the_socket(asterisk: FakeAsterisk, client: Client) -> None:
    seen: list[str] = []
    client.on_event("ChannelDtmfReceived", lambda event: seen.append(event["digit"]))
    client.on_event("*", lambda event: seen.append(event["type"][0]))

    for digit in "12":
        await asterisk.emit(dtmf("c1", digit))
    await settle(client, 2)

    assert seen == ["1", "C", "2", "C"]


async def test_coroutine_handlers_keep_the_order_of_a_channel(asterisk: FakeAsterisk, client: Client) -> None:
    seen: list[str] = []

    async def handle(channel: Channel, event: dict[str, Any]) -> None:
        await asyncio.sleep(0.02 if event["digit"] == "1" else 0)
        seen.append(event["digit"])

    client.on_channel_event("ChannelDtmfReceived", handle)
    for digit in "1234":
        await asterisk.emit(dtmf("c1", digit))
    await settle(client, 4)
    async with asyncio.timeout(30):
        while len(seen) < 4:
            await asyncio.sleep(0.01)

    assert seen == ["1", "2", "3", "4"]


async def test_a_slow_channel_holds_up_neither_others_nor_the_reader(
    asterisk: FakeAsterisk, client: Client
) -> None:
    release = asyncio.Event()
    seen: list[str] = []

    async def handle(channel: Channel, event: dict[str, Any]) -> None:
        if channel.id == "slow":
            await release.wait()
        seen.append(channel.id)

    client.on_channel_event("ChannelDtmfReceived", handle)
    await asterisk.emit(dtmf("slow", "1"))
    await asterisk.emit(dtmf("fast", "1"))
    await settle(client, 2)

    assert seen == ["fast"]
    assert await client.request("GET", "asterisk/ping") == {"ping": "pong"}
    release.set()
    await settle(client, 2)
    assert seen == ["fast", "slow"]


async def test_a_full_queue_is_an_error_in_the_log_and_a_number_never_silence(asterisk: FakeAsterisk) -> None:
    class Dropped:
        def __init__(self) -> None:
            self.events: list[tuple[str, str]] = []

        def request_done(self, method: str, resource: str, status: int, seconds: float) -> None: ...

        def event_dropped(self, event_type: str, queue: str) -> None:
            self.events.append((event_type, queue))

        def reconnected(self, application: str) -> None: ...

    observer = Dropped()
    release = asyncio.Event()
    handled: list[str] = []

    running = asyncio.Event()

    async def handle(event: dict[str, Any]) -> None:
        running.set()
        await release.wait()
        handled.append(event["digit"])

    client = Client(asterisk.url, "test", "secret", "app", request_sockets=0, queue_size=3, observer=observer)
    async with client:
        client.on_event("ChannelDtmfReceived", handle)
        with capture_logs() as lines:
            await asterisk.emit(dtmf("c1", "1"))
            await running.wait()
            for digit in "23456":
                await asterisk.emit(dtmf("c1", digit))
            async with asyncio.timeout(30):
                while client.stats.events < 6:
                    await asyncio.sleep(0.01)
        release.set()
        await settle(client, 6)

    assert handled == ["1", "2", "3", "4"]  # one running, three waiting
    assert client.stats.events_dropped == 2
    assert observer.events == [("ChannelDtmfReceived", "c1")] * 2
    assert [line["log_level"] for line in lines if line["event"] == "ari_queue_full"] == ["error"]


async def test_handlers_that_fail_are_logged_and_harm_nobody(asterisk: FakeAsterisk, client: Client) -> None:
    seen: list[str] = []

    def broken(event: dict[str, Any]) -> None:
        raise RuntimeError("plain")

    async def broken_later(event: dict[str, Any]) -> None:
        raise RuntimeError("coroutine")

    client.on_event("ChannelDtmfReceived", broken)
    client.on_event("ChannelDtmfReceived", broken_later)
    client.on_event("ChannelDtmfReceived", lambda event: seen.append(event["digit"]))
    with capture_logs() as lines:
        await asterisk.emit(dtmf("c1", "1"))
        await asterisk.emit(dtmf("c1", "2"))
        await settle(client, 2)

    assert seen == ["1", "2"]
    assert client.stats.handlers_failed == 4
    assert len([line for line in lines if line["event"] == "ari_handler_failed"]) == 4


async def test_a_function_that_returns_a_coroutine_is_queued(asterisk: FakeAsterisk, client: Client) -> None:
    seen: list[str] = []

    async def later(event: dict[str, Any]) -> None:
        seen.append(event["digit"])

    client.on_event("ChannelDtmfReceived", lambda event: later(event))  # noqa: PLW0108 - the point of it
    await asterisk.emit(dtmf("c1", "7"))
    await settle(client, 1)

    assert seen == ["7"]


async def test_closing_a_subscription_ends_it_and_twice_does_no_harm(
    asterisk: FakeAsterisk, client: Client
) -> None:
    seen: list[str] = []
    subscription = client.on_event("ChannelDtmfReceived", lambda event: seen.append(event["digit"]))
    await asterisk.emit(dtmf("c1", "1"))
    await settle(client, 1)

    subscription.close()
    subscription.close()
    await asterisk.emit(dtmf("c1", "2"))
    await settle(client, 2)

    assert seen == ["1"]


async def test_an_object_hears_only_its_own_events_until_it_is_gone(
    asterisk: FakeAsterisk, client: Client
) -> None:
    seen: list[tuple[str, str]] = []
    channel = client.channel("c1", key="call-1")

    def handle(fresh: Channel, event: dict[str, Any]) -> None:
        assert fresh.key == "call-1"
        seen.append((fresh.json["name"], event["type"]))

    channel.on_event("ChannelDtmfReceived", handle)
    channel.on_event("ChannelDestroyed", handle)
    await asterisk.emit(dtmf("c1", "1"))
    await asterisk.emit(dtmf("c2", "1"))
    await asterisk.emit({"type": "ChannelDestroyed", "cause": 16, "channel": {"id": "c1", "name": "x"}})
    await asterisk.emit(dtmf("c1", "2"))
    await settle(client, 4)

    assert seen == [("x", "ChannelDtmfReceived"), ("x", "ChannelDestroyed")]
    assert len(client.dispatcher.objects) == 0


async def test_dial_gives_its_channels_by_name(asterisk: FakeAsterisk, client: Client) -> None:
    seen: list[Any] = []
    client.on_channel_event("Dial", lambda channels, event: seen.append(channels))
    heard: list[str] = []
    client.channel("b").on_event("Dial", lambda channel, event: heard.append(event["dialstatus"]))

    await asterisk.emit({"type": "Dial", "dialstatus": "RINGING", "peer": {"id": "b"}, "caller": {"id": "a"}})
    await settle(client, 1)

    assert seen == [{"peer": client.channel("b"), "caller": client.channel("a")}]
    assert heard == ["RINGING"]


async def test_next_event_is_asked_for_before_it_happens(asterisk: FakeAsterisk, client: Client) -> None:
    playback = client.playback("p1")
    finished = playback.next_event("PlaybackFinished")
    lost = client.channel("c1").next_event("ChannelDtmfReceived")

    await asterisk.emit({"type": "PlaybackFinished", "playback": {"id": "p1", "target_uri": "channel:c1"}})
    await asterisk.emit({"type": "ChannelDestroyed", "channel": {"id": "c1"}})

    async with asyncio.timeout(30):
        assert (await finished)["type"] == "PlaybackFinished"
        with pytest.raises(Gone):
            await lost
    assert len(client.dispatcher.objects) == 0


async def test_a_channel_that_left_stasis_is_forgotten_in_time(
    asterisk: FakeAsterisk, client: Client
) -> None:
    loop = asyncio.get_running_loop()
    for channel_id in ("back", "away"):
        client.channel(channel_id).on_event("StasisStart", lambda channel, event: None)
        await asterisk.emit({"type": "StasisEnd", "channel": {"id": channel_id}})
    await asterisk.emit({"type": "StasisStart", "channel": {"id": "back"}, "args": []})
    await settle(client, 3)

    client.dispatcher.tick(loop.time() + 30)
    assert len(client.dispatcher.objects) == 2
    client.dispatcher.tick(loop.time() + 61)
    assert client.dispatcher.objects.older_than("channel", -1) == ["back"]


async def test_a_hundred_thousand_calls_leave_nothing_behind(client: Client) -> None:
    events = client.dispatcher

    async def later(channel: Channel, event: dict[str, Any]) -> None:
        return None

    def at_once(channel: Channel, event: dict[str, Any]) -> None:
        return None

    for number in range(100_000):
        channel = client.channel(f"c{number}")
        channel.on_event("ChannelDestroyed", later if number % 10 == 0 else at_once)
        events.dispatch({"type": "ChannelDestroyed", "channel": {"id": channel.id}})
        if number % 1000 == 0:
            await asyncio.sleep(0)
    async with asyncio.timeout(30):
        while events.objects or len(events.lanes):
            await asyncio.sleep(0.01)

    assert len(events.objects) == 0
    assert len(events.lanes) == 0
    assert events.lanes.waiting == 0


async def test_closing_ends_handlers_that_hang(
    asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringline.ari.client.CLOSE_SECONDS", 0.1)
    cancelled: list[bool] = []

    async def hang(event: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    client = Client(asterisk.url, "test", "secret", "app", request_sockets=0)
    await client.start(timeout=5)
    client.on_event("ChannelDtmfReceived", hang)
    await asterisk.emit(dtmf("c1", "1"))
    async with asyncio.timeout(30):
        while client.stats.events < 1:
            await asyncio.sleep(0.01)
    await client.close()

    assert cancelled == [True]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("ari-")] == []
