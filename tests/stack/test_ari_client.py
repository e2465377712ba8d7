"""The ARI client against the stack's Asterisk, beside the controller: an application of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from ringline.ari import BadRequest, Channel, Client, Conflict, NotFound, ServerError, State
from tests.stack.product import SOURCE, Product, eventually, number

if TYPE_CHECKING:
    from tests.stack.conftest import AsteriskView

Dial = Callable[..., "asyncio.Future[Channel]"]


@pytest.fixture
async def client(env: Mapping[str, str]) -> AsyncIterator[Client]:
    client = make(env, f"test-{secrets.token_hex(4)}")
    await client.start(timeout=30)
    yield client
    await client.close()


def make(env: Mapping[str, str], application: str, **options: Any) -> Client:
    return Client(
        env["RINGLINE_ARI_URL"],
        env["RINGLINE_ARI_USERNAME"],
        env["RINGLINE_ARI_PASSWORD"],
        application,
        **options,
    )


@pytest.fixture
async def dial(env: Mapping[str, str], client: Client, product: Product) -> Dial:
    """Calls a number of the sandbox carrier, through Kamailio, into the test's application."""
    customer = (await product.api.get("/v1.0/customer"))["id"]

    def start(to: str, channel_id: str, **options: Any) -> asyncio.Future[Channel]:
        return client.channels.originate(
            f"PJSIP/kamailio/sip:{to}@{env['RINGLINE_SIP_DOMAIN']}",
            channelId=channel_id,
            callerId=f'"" <{SOURCE}>',
            timeout=20,
            variables={
                "PJSIP_HEADER(add,X-Ringline-Customer)": customer,
                "PJSIP_HEADER(add,X-Ringline-Call)": str(uuid4()),
            },
            **options,
        )

    return start


async def within(seconds: float, future: asyncio.Future[Any]) -> Any:
    return await asyncio.wait_for(future, seconds)


async def test_the_sockets_are_applications_of_asterisk_and_only_one_gets_events(client: Client) -> None:
    applications = {application.id: application.json for application in await client.applications.list()}

    name = client.application
    assert {name, *(f"{name}-req-{index}" for index in range(1, 5))} <= set(applications)
    allowed = {entry["type"] for entry in applications[name]["events_allowed"]}
    assert {"StasisStart", "RESTResponse"} <= allowed
    assert "ChannelVarset" not in allowed


async def test_a_call_from_its_first_event_to_its_last(client: Client, dial: Dial, ari: AsteriskView) -> None:
    """Originate, play while nothing is awaited in between, hang up: every event in order, nothing left."""
    channel = client.channel(str(uuid4()))
    types: list[str] = []
    channel.on_event("*", lambda _, event: types.append(event["type"]))
    started = channel.next_event("StasisStart", "ChannelDestroyed")
    playback = client.playback(str(uuid4()), channel.key)
    finished = playback.next_event("PlaybackFinished")

    await dial(number(), channel.id)
    assert (await within(20, started))["type"] == "StasisStart"
    playing = channel.play("sound:hello-world", playbackId=playback.id)
    assert (await within(20, playing)) == playback
    assert (await within(20, finished))["playback"]["state"] == "done"

    destroyed = channel.next_event("ChannelDestroyed")
    await channel.hangup(reason_code=16)
    assert (await within(20, destroyed))["cause"] == 16
    assert [kind for kind in types if kind in {"StasisStart", "StasisEnd", "ChannelDestroyed"}] == [
        "StasisStart",
        "StasisEnd",
        "ChannelDestroyed",
    ]
    assert channel.id not in {entry["id"] for entry in await ari.list("channels")}
    await eventually(lambda: not client.dispatcher.objects, "nothing is kept of what is gone")


async def test_refusals_are_errors_of_their_own_kind(client: Client, dial: Dial) -> None:
    with pytest.raises(NotFound):
        await client.channel("nobody").answer()
    with pytest.raises(ServerError):
        await client.channels.originate("Nonsense/1", channelId=str(uuid4()))
    with pytest.raises(NotFound, match="Resource"):
        await client.request("GET", "nothing/here")

    bridge = await client.bridges.create(bridgeId=str(uuid4()))
    try:
        with pytest.raises(BadRequest):
            await bridge.addChannel("nobody")
    finally:
        await bridge.destroy()

    channel = client.channel(str(uuid4()))
    destroyed = channel.next_event("ChannelDestroyed")
    await dial(number("0002"), channel.id)
    with pytest.raises(Conflict):
        await dial(number("0002"), channel.id)
    await channel.hangup()
    await within(20, destroyed)


async def test_requests_of_one_key_are_served_in_order_under_load(client: Client) -> None:
    """Each pair makes and destroys a bridge without waiting in between: overtaking would leave bridges behind."""
    prefix = secrets.token_hex(4)
    futures: list[asyncio.Future[Any]] = []
    for index in range(200):
        bridge = client.bridge(f"{prefix}-{index}", key=f"call-{index}")
        futures.append(client.bridges.create(bridgeId=bridge.id, key=bridge.key))
        futures.append(bridge.destroy())
    await asyncio.gather(*futures)

    async def all_gone() -> bool:
        return not [bridge for bridge in await client.bridges.list() if bridge.id.startswith(prefix)]

    # Asterisk dissolves them in a thread of its own, after it has answered
    await eventually(all_gone, "no bridge is left")


async def test_a_recording_is_fetched_over_http(client: Client, dial: Dial) -> None:
    channel = client.channel(str(uuid4()))
    name = f"ari-test/{secrets.token_hex(4)}"
    started = channel.next_event("StasisStart")
    await dial(number(), channel.id)
    await within(20, started)

    recording = client.live_recording(name, channel.key)
    finished = recording.next_event("RecordingFinished")
    assert (await channel.record(name, "wav", beep=False)) == recording
    await asyncio.sleep(2)
    await recording.stop()
    await within(20, finished)
    stored = await client.recordings.getStored(name)
    data = await stored.getStoredFile()
    await stored.deleteStored()
    await channel.hangup()

    assert data[:4] == b"RIFF"
    assert len(data) > 8000
    with pytest.raises(NotFound):
        await client.recordings.getStored(name)


async def test_all_of_ari_is_there(client: Client) -> None:
    """Every operation of Asterisk's own description can be called by its name."""
    assert {
        "applications",
        "asterisk",
        "bridges",
        "channels",
        "deviceStates",
        "endpoints",
        "events",
        "mailboxes",
        "playbacks",
        "recordings",
        "sounds",
    } <= set(client.description.resources)
    for resource in client.description.resources:
        for operation in client.description.operations(resource):
            assert callable(getattr(getattr(client, resource), operation))

    info = await client.asterisk.getInfo(only=["system"])
    assert info["system"]["version"].startswith("22.")
    assert "PJSIP/kamailio" in {endpoint.id for endpoint in await client.endpoints.list()}
    await client.deviceStates.update(deviceName="Stasis:ari-test", deviceState="INUSE")
    assert (await client.deviceStates.get(deviceName="Stasis:ari-test")).json["state"] == "INUSE"
    await client.deviceStates.delete(deviceName="Stasis:ari-test")


async def test_only_wanted_events_come(client: Client, env: Mapping[str, str]) -> None:
    """A user event is not on the list; with another list it is."""
    seen: list[str] = []
    client.on_event("*", lambda event: seen.append(event["type"]))
    await client.events.userEvent(eventName="x", application=client.application)
    await client.asterisk.ping()
    await asyncio.sleep(0.3)
    assert seen == []

    async with make(env, f"{client.application}-2", allowed_events=["ChannelUserevent"]) as listener:
        heard: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        listener.on_event("ChannelUserevent", heard.set_result)
        await client.events.userEvent(eventName="x", application=listener.application)
        assert (await within(20, heard))["eventname"] == "x"


async def test_being_taken_over_is_told(client: Client, env: Mapping[str, str]) -> None:
    states: list[State] = []
    client.on_state(lambda state, detail: states.append(state))

    async with make(env, client.application, request_sockets=0) as rival:
        async with asyncio.timeout(20):
            while State.LOST not in states:
                await asyncio.sleep(0.05)
        # before it is this one's turn to take over
        assert states == [State.REPLACED, State.LOST]
        assert rival.connected

    async with asyncio.timeout(60):
        while not client.connected:
            await asyncio.sleep(0.1)
