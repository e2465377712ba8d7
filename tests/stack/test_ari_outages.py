"""The ARI client and the AMI monitor through every end of an Asterisk, and its beginnings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from ringline.ari import Client, ConnectionLost, State, Unauthorized
from ringline.ari.ami import AmiMonitor, Boot, Quality, SecurityEvent
from tests.stack.own_asterisk import OwnAsterisk
from tests.stack.product import eventually
from tests.stack.stalls import Stalls

NOTICED = 10.0
"""Seconds within which every sort of loss must be told."""


@pytest.fixture(scope="module")
async def asterisk(env: Mapping[str, str]) -> AsyncIterator[OwnAsterisk]:
    async with OwnAsterisk(env, "outages") as asterisk:
        yield asterisk


@pytest.fixture
async def client(asterisk: OwnAsterisk) -> AsyncIterator[Client]:
    client = Client(asterisk.url, asterisk.username, asterisk.password, "outages")
    await client.start(timeout=30)
    yield client
    await client.close()


class States:
    def __init__(self, client: Client) -> None:
        self.seen: list[State] = []
        client.on_state(lambda state, detail: self.seen.append(state))

    async def until(self, *states: State, within: float) -> None:
        await eventually(
            lambda: self.seen[-len(states) :] == list(states), f"{states}", within=within, every=0.02
        )


async def test_a_killed_asterisk(asterisk: OwnAsterisk, client: Client) -> None:
    states = States(client)
    await asterisk.kill()
    await states.until(State.LOST, within=NOTICED)
    with pytest.raises(ConnectionLost):
        await client.request("GET", "asterisk/ping")

    await asterisk.start()
    await states.until(State.LOST, State.CONNECTED, State.GAP, within=60)
    assert (await client.request("GET", "asterisk/ping"))["ping"] == "pong"


async def test_an_asterisk_that_is_shut_down(asterisk: OwnAsterisk, client: Client) -> None:
    states = States(client)
    stopping = asyncio.ensure_future(asterisk.shut_down())
    await states.until(State.LOST, within=NOTICED)
    await stopping
    await asterisk.start()
    await states.until(State.LOST, State.CONNECTED, State.GAP, within=60)


async def test_a_stopped_process_is_noticed_and_used_again(asterisk: OwnAsterisk, client: Client) -> None:
    states = States(client)
    await asterisk.stop_process()
    try:
        async with Stalls() as stalls:
            requests = [
                client.send("GET", "asterisk/ping", key=str(index), timeout=60) for index in range(20)
            ]
            results = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), 40)
            assert all(isinstance(result, ConnectionLost) for result in results)
            await states.until(State.LOST, within=NOTICED)
            assert stalls.seconds() < NOTICED + 1
    finally:
        await asterisk.continue_process()
    await states.until(State.LOST, State.CONNECTED, State.GAP, within=60)
    assert (await client.request("GET", "asterisk/ping", key="1"))["ping"] == "pong"


async def test_channels_outlive_the_connection_and_are_found_again(
    asterisk: OwnAsterisk, client: Client
) -> None:
    """What a controller does after a gap: compare its books with Asterisk's lists."""
    here = client.channel("outlives")
    started = here.next_event("StasisStart")
    client.on_channel_event("StasisStart", lambda channel, event: channel.answer())
    await client.channels.originate(asterisk.endpoint("+15550001111"), channelId=here.id, timeout=20)
    await asyncio.wait_for(started, 30)
    await client.close()

    async with Client(asterisk.url, asterisk.username, asterisk.password, "outages") as successor:
        channels = await successor.channels.list()
        assert len(channels) == 2
        assert here.id in {channel.id for channel in channels}
        application = await successor.applications.get("outages")
        assert here.id in application.json["channel_ids"]
        for channel in channels:
            channel.hangup()

        async def none_left() -> bool:
            return not await successor.channels.list()

        await eventually(none_left, "no channels")


async def test_ami_tells_boots_restarts_and_refusals(asterisk: OwnAsterisk) -> None:
    boots: list[Boot] = []
    lost: list[str] = []
    security: list[SecurityEvent] = []
    monitor = AmiMonitor(
        "127.0.0.1",
        asterisk.ami_port,
        asterisk.username,
        asterisk.password,
        on_boot=boots.append,
        on_lost=lost.append,
        on_security=security.append,
    )
    await monitor.start(30)
    try:
        assert "uptime" in await monitor.command("core show uptime")
        intruder = AmiMonitor("127.0.0.1", asterisk.ami_port, asterisk.username, "guessed")
        with pytest.raises(Unauthorized):
            await intruder.start(20)
        await intruder.close()
        await eventually(lambda: security, "a refused login is told")
        assert security[0].kind == "InvalidPassword"
        assert security[0].account == asterisk.username

        await asterisk.stop_process()
        try:
            await eventually(lambda: lost, "silence is noticed", within=NOTICED + 5)
        finally:
            await asterisk.continue_process()
        await eventually(lambda: len(boots) == 2, "back again", within=30)
        assert not boots[1].restarted

        await asterisk.kill()
        await asterisk.start()
        await eventually(lambda: len(boots) == 3, "the restart is told", within=60)
        assert boots[2].restarted
    finally:
        await monitor.close()


async def test_ami_tells_the_quality_of_a_call(asterisk: OwnAsterisk) -> None:
    """Both ends report by RTCP every five seconds."""
    reports: list[Quality] = []
    monitor = AmiMonitor(
        "127.0.0.1", asterisk.ami_port, asterisk.username, asterisk.password, on_quality=reports.append
    )
    await monitor.start(30)
    client = Client(asterisk.url, asterisk.username, asterisk.password, "outages")
    await client.start(timeout=30)
    try:
        client.on_channel_event(
            "StasisStart", lambda channel, event: (channel.answer(), channel.startSilence())[0]
        )
        channel = await client.channels.originate(
            asterisk.endpoint("+15550001111"), channelId="quality", timeout=20
        )
        await eventually(
            lambda: [
                one for one in reports if one.channel_id == channel.id and one.round_trip_ms is not None
            ],
            "a report with a round-trip time",
            within=40,
        )
        await eventually(
            lambda: {one.direction for one in reports} == {"sent", "received"}, "reports of both directions"
        )
        await channel.hangup()
    finally:
        await client.close()
        await monitor.close()
