"""What programs written for ari-py do, written with ``await``, on the stack's Asterisk.

The scenarios are those of ari-py's README and of the examples that accompany it: greet a caller and answer digits,
watch channels come and go, control a playback, hold callers in a bridge, connect two.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from uuid import uuid4

import pytest

from ringline.ari import Bridge, Channel, Client, LiveRecording, Playback
from tests.stack.own_asterisk import OwnAsterisk
from tests.stack.product import SOURCE, Product, eventually, number

Event = dict[str, Any]
Originate = Callable[..., "asyncio.Future[Channel]"]


@pytest.fixture
async def client(env: Mapping[str, str]) -> AsyncIterator[Client]:
    client = Client(
        env["RINGLINE_ARI_URL"],
        env["RINGLINE_ARI_USERNAME"],
        env["RINGLINE_ARI_PASSWORD"],
        f"hello-{secrets.token_hex(4)}",
        allowed_events=None,
    )
    await client.start(timeout=30)
    yield client
    await client.close()


@pytest.fixture
async def originate(env: Mapping[str, str], client: Client, product: Product) -> Originate:
    """Calls a telephone of the sandbox carrier; once it answers, its channel is the application's."""
    customer = (await product.api.get("/v1.0/customer"))["id"]
    variables = {
        "PJSIP_HEADER(add,X-Ringline-Customer)": customer,
        "PJSIP_HEADER(add,X-Ringline-Call)": str(uuid4()),
    }

    def call(to: str, channel_id: str | None = None) -> asyncio.Future[Channel]:
        return client.channels.originate(
            endpoint=f"PJSIP/kamailio/sip:{to}@{env['RINGLINE_SIP_DOMAIN']}",
            app=client.application,
            appArgs="dialed",
            channelId=channel_id,
            callerId=SOURCE,
            timeout=20,
            variables={"variables": variables},
        )

    return call


async def test_hello_world_of_the_readme(client: Client, originate: Originate) -> None:
    """Greet whoever comes, play the digit they press, say goodbye and let go."""
    played: list[str] = []
    gone = asyncio.Event()

    async def on_dtmf(channel: Channel, event: Event) -> None:
        digit = event["digit"]
        ended = client.playback(f"digit-{channel.id}").next_event("PlaybackFinished")
        playback = await channel.play(media=f"sound:digits/{digit}", playbackId=f"digit-{channel.id}")
        played.append(playback.json["media_uri"])
        await asyncio.wait_for(ended, 30)
        await channel.continueInDialplan(context="edge", extension="h")

    async def on_start(channel: Channel, event: Event) -> None:
        assert event["args"] == ["dialed"]
        channel.on_event("ChannelDtmfReceived", on_dtmf)
        channel.on_event("StasisEnd", lambda channel, event: gone.set())
        await channel.answer()
        playback = await channel.play(media="sound:hello-world")
        played.append(playback.json["media_uri"])

    client.on_channel_event("StasisStart", on_start)
    await originate(number("0017"))
    await asyncio.wait_for(gone.wait(), 30)

    assert played == ["sound:hello-world", "sound:digits/7"]


async def test_the_readme_with_every_key(env: Mapping[str, str]) -> None:
    """``*`` and ``#`` as well, from a telephone that can press them: the other end of a call to oneself."""
    async with (
        OwnAsterisk(env, "hello") as asterisk,
        Client(asterisk.url, asterisk.username, asterisk.password, "hello") as client,
    ):
        played: list[str] = []
        gone = asyncio.Event()

        def on_dtmf(channel: Channel, event: Event) -> None:
            # Plain functions need no await: requests leave in the order of the calls.
            digit = event["digit"]
            media = {"#": "sound:vm-goodbye", "*": "sound:demo-thanks"}.get(digit, f"sound:digits/{digit}")
            channel.play(media=media)
            played.append(media)
            if digit == "#":
                channel.continueInDialplan()

        def on_start(channel: Channel, event: Event) -> None:
            if event["args"][:1] != ["inbound"]:
                return
            channel.on_event("ChannelDtmfReceived", on_dtmf)
            channel.on_event("StasisEnd", lambda channel, event: gone.set())
            channel.answer()
            channel.play(media="sound:hello-world")

        client.on_channel_event("StasisStart", on_start)
        phone = client.channel("phone")
        talking = phone.next_event("StasisStart")
        await client.channels.originate(asterisk.endpoint("+15550001111"), channelId=phone.id, timeout=20)
        await asyncio.wait_for(talking, 30)
        await phone.sendDTMF(dtmf="4*#", before=200, between=150)
        await asyncio.wait_for(gone.wait(), 30)

        assert played == ["sound:digits/4", "sound:demo-thanks", "sound:vm-goodbye"]


async def test_channels_are_listed_and_watched(client: Client, originate: Originate) -> None:
    """List what is there, follow the states of a channel, read and set a variable, send digits, hang up."""
    states: list[str] = []
    ended: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    entered: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    client.on_channel_event("ChannelStateChange", lambda channel, event: states.append(channel.json["state"]))
    client.on_channel_event("StasisEnd", lambda channel, event: ended.set_result(channel))
    client.on_channel_event("StasisStart", lambda channel, event: entered.set_result(channel))

    made = await originate(number())
    channel = await asyncio.wait_for(entered, 30)
    assert channel == made
    assert channel in await client.channels.list()
    details = await client.channels.get(channelId=channel.id)
    assert details.json["name"].startswith("PJSIP/kamailio-")
    assert details.json["state"] == "Up"

    await channel.setChannelVar(variable="GREETING", value="hello")
    assert await channel.getChannelVar(variable="GREETING") == "hello"
    assert (await client.channels.getChannelVar(channelId=channel.id, variable="GREETING")) is not None
    await channel.sendDTMF(dtmf="12")
    await channel.mute(direction="in")
    await channel.unmute(direction="in")
    await channel.hangup()

    assert (await asyncio.wait_for(ended, 10)) == channel
    assert "Up" in states


async def test_a_playback_is_controlled(client: Client, originate: Originate) -> None:
    """Pause, go on, start again, stop; a handler that was closed hears nothing more."""
    heard: list[str] = []
    entered: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
    client.on_channel_event("StasisStart", lambda channel, event: entered.set_result(channel))
    starts = client.on_playback_event("PlaybackStarted", lambda playback, event: heard.append(playback.id))

    await originate(number())
    channel = await asyncio.wait_for(entered, 30)
    playback = await channel.play(media=["sound:tt-monkeys", "sound:tt-weasels"], playbackId=str(uuid4()))
    assert isinstance(playback, Playback)
    finished = playback.next_event("PlaybackFinished")
    await eventually(lambda: heard == [playback.id], "it started")
    for operation in ("pause", "unpause", "restart", "forward"):
        await playback.control(operation=operation)
    assert (await client.playbacks.get(playbackId=playback.id)).json["target_uri"] == f"channel:{channel.id}"
    await playback.stop()
    await asyncio.wait_for(finished, 30)

    starts.close()
    again = await channel.play(media="tone:ring;tonezone=us")
    await asyncio.sleep(0.3)
    await again.stop()
    await channel.hangup()
    assert set(heard) == {playback.id}  # "restart" starts it once more


async def test_callers_wait_in_a_bridge_that_is_recorded(client: Client, originate: Originate) -> None:
    """One bridge for all callers; who comes in hears the others; the last one switches off the light."""
    bridge = await client.bridges.create(type="mixing", bridgeId=str(uuid4()), name="meeting")
    assert bridge in [entry for entry in await client.bridges.list() if entry.json["bridge_type"] == "mixing"]
    inside: list[str] = []
    empty = asyncio.Event()

    async def on_start(channel: Channel, event: Event) -> None:
        await channel.answer()
        await bridge.addChannel(channel=channel.id)

    def on_left(left: Bridge, event: Event) -> None:
        inside.remove(event["channel"]["id"])
        if not inside:
            empty.set()

    client.on_channel_event("StasisStart", on_start)
    bridge.on_event("ChannelEnteredBridge", lambda bridge, event: inside.append(event["channel"]["id"]))
    bridge.on_event("ChannelLeftBridge", on_left)

    first, second = await asyncio.gather(originate(number()), originate(number()))
    await eventually(lambda: sorted(inside) == sorted([first.id, second.id]), "both are in", within=30)
    current = await client.bridges.get(bridgeId=bridge.id)
    assert sorted(current.json["channels"]) == sorted(inside)

    beeped = client.playback(f"beep-{bridge.id}").next_event("PlaybackFinished")
    await bridge.play(media="sound:beep", playbackId=f"beep-{bridge.id}")
    await asyncio.wait_for(beeped, 30)
    recording = await bridge.record(
        name=f"ari-py/{bridge.id}", format="wav", ifExists="overwrite", beep=False
    )
    assert isinstance(recording, LiveRecording)
    stored = recording.next_event("RecordingFinished")
    await asyncio.sleep(0.5)
    await recording.stop()
    await asyncio.wait_for(stored, 30)
    await client.recordings.deleteStored(recordingName=recording.id)

    await bridge.removeChannel(channel=first.id)
    await first.hangup()
    await second.hangup()
    await asyncio.wait_for(empty.wait(), 30)
    destroyed = bridge.next_event("BridgeDestroyed")
    await bridge.destroy()
    await asyncio.wait_for(destroyed, 30)


async def test_one_caller_is_connected_to_another(client: Client, originate: Originate) -> None:
    """Dial a second channel while the first hears it ring; connect them; one hangs up and so does the other."""
    first, second = client.channel(str(uuid4())), client.channel(str(uuid4()))
    first_entered, second_entered = first.next_event("StasisStart"), second.next_event("StasisStart")
    await originate(number("0008"), first.id)
    await asyncio.wait_for(first_entered, 30)
    await first.ring()
    await originate(number(), second.id)
    await asyncio.wait_for(second_entered, 30)

    bridge = await client.bridges.create(type="mixing")
    await bridge.addChannel(channel=[first.id, second.id])
    second.on_event("StasisEnd", lambda channel, event: first.hangup())
    both = asyncio.gather(first.next_event("StasisEnd"), second.next_event("StasisEnd"))
    await second.hangup()
    await asyncio.wait_for(both, 30)
    await bridge.destroy()
