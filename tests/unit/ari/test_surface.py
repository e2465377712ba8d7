"""The surface: typed operations, and all others by Asterisk's own description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringline.ari import Bridge, Channel, Client, Playback
from ringline.ari.others import Endpoint

from .description import FILES
from .fake_asterisk import FakeAsterisk


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk(descriptions=FILES) as fake:
        yield fake


def accept(asterisk: FakeAsterisk, method: str, path: str, body: Any = None) -> None:
    asterisk.route(method, path, lambda call: (204, None) if body is None else (200, body))


async def test_originate_sends_everything_in_the_body_and_answers_a_channel(
    asterisk: FakeAsterisk, client: Client
) -> None:
    accept(asterisk, "POST", "channels", {"id": "c1", "name": "PJSIP/kamailio-1"})

    channel = await client.channels.originate(
        "PJSIP/kamailio/sip:+15551234567@x.test",
        channelId="c1",
        callerId='"A" <+15550000000>',
        timeout=30,
        formats=["ulaw", "alaw"],
        variables={"PJSIP_HEADER(add,X-Ringline-Call)": "call-1"},
        key="call-1",
    )

    assert isinstance(channel, Channel)
    assert (channel.id, channel.key, channel.json["name"]) == ("c1", "call-1", "PJSIP/kamailio-1")
    assert asterisk.requests[-1].body == {
        "endpoint": "PJSIP/kamailio/sip:+15551234567@x.test",
        "app": "app",
        "channelId": "c1",
        "callerId": '"A" <+15550000000>',
        "timeout": 30,
        "formats": "ulaw,alaw",
        "variables": {"PJSIP_HEADER(add,X-Ringline-Call)": "call-1"},
    }


async def test_variables_may_be_written_as_ari_py_wants_them(asterisk: FakeAsterisk, client: Client) -> None:
    accept(asterisk, "POST", "channels", {"id": "c1"})

    await client.channels.originate(
        "Local/1@x", context="c", extension="1", variables={"variables": {"A": "1"}}
    )

    assert asterisk.requests[-1].body == {
        "endpoint": "Local/1@x",
        "context": "c",
        "extension": "1",
        "variables": {"A": "1"},
    }


async def test_operations_without_await_leave_in_order_over_one_socket(
    asterisk: FakeAsterisk, client: Client
) -> None:
    accept(asterisk, "POST", "channels/c1/answer")
    accept(asterisk, "POST", "channels/c1/play", {"id": "p1", "target_uri": "channel:c1"})
    accept(asterisk, "POST", "bridges/b1/addChannel")
    accept(asterisk, "DELETE", "channels/c1")
    channel, bridge = client.channel("c1", key="call"), client.bridge("b1", key="call")

    channel.answer()
    playing = channel.play(["sound:a,b", "sound:c"], playbackId="p1")
    bridge.addChannel(channel=["c1", "c2"], mute=True)
    await channel.hangup(reason_code=17)

    playback = await playing
    assert isinstance(playback, Playback)
    assert (playback.id, playback.key) == ("p1", "call")
    served = asterisk.requests[-4:]
    assert [call.path for call in served] == [
        "channels/c1/answer",
        "channels/c1/play",
        "bridges/b1/addChannel",
        "channels/c1",
    ]
    assert len({call.socket for call in served}) == 1
    assert served[1].body == {"media": ["sound:a,b", "sound:c"], "playbackId": "p1"}
    assert served[2].query == {"channel": "c1,c2", "mute": "true"}
    assert served[3].query == {"reason_code": "17"}


@pytest.mark.parametrize(
    ("call", "method", "path", "query", "body"),
    [
        (lambda c: c.channel("c 1/2").ring(), "POST", "channels/c%201%2F2/ring", {}, None),
        (lambda c: c.channel("c").ringStop(), "DELETE", "channels/c/ring", {}, None),
        (
            lambda c: c.channel("c").sendDTMF("1#", between=200),
            "POST",
            "channels/c/dtmf",
            {"dtmf": "1#", "between": "200"},
            None,
        ),
        (
            lambda c: c.channel("c").record("f/n", "wav", beep=False, maxDurationSeconds=3),
            "POST",
            "channels/c/record",
            {"name": "f/n", "format": "wav", "beep": "false", "maxDurationSeconds": "3"},
            None,
        ),
        (lambda c: c.channel("c").dial(timeout=9), "POST", "channels/c/dial", {"timeout": "9"}, None),
        (
            lambda c: c.channel("c").mute(direction="in"),
            "POST",
            "channels/c/mute",
            {"direction": "in"},
            None,
        ),
        (lambda c: c.channel("c").unmute(), "DELETE", "channels/c/mute", {"direction": "both"}, None),
        (lambda c: c.channel("c").hold(), "POST", "channels/c/hold", {}, None),
        (lambda c: c.channel("c").unhold(), "DELETE", "channels/c/hold", {}, None),
        (lambda c: c.channel("c").startMoh(mohClass="m"), "POST", "channels/c/moh", {"mohClass": "m"}, None),
        (lambda c: c.channel("c").stopMoh(), "DELETE", "channels/c/moh", {}, None),
        (lambda c: c.channel("c").startSilence(), "POST", "channels/c/silence", {}, None),
        (lambda c: c.channel("c").stopSilence(), "DELETE", "channels/c/silence", {}, None),
        (
            lambda c: c.channel("c").continueInDialplan(context="x", priority=2),
            "POST",
            "channels/c/continue",
            {"context": "x", "priority": "2"},
            None,
        ),
        (
            lambda c: c.channel("c").setChannelVar("A", "b c"),
            "POST",
            "channels/c/variable",
            {"variable": "A", "value": "b c"},
            None,
        ),
        (lambda c: c.channel("c").rtpstatistics(), "GET", "channels/c/rtp_statistics", {}, None),
        (lambda c: c.bridge("b").destroy(), "DELETE", "bridges/b", {}, None),
        (
            lambda c: c.bridge("b").removeChannel("c"),
            "POST",
            "bridges/b/removeChannel",
            {"channel": "c"},
            None,
        ),
        (lambda c: c.bridge("b").startMoh(), "POST", "bridges/b/moh", {}, None),
        (lambda c: c.bridge("b").stopMoh(), "DELETE", "bridges/b/moh", {}, None),
        (lambda c: c.playback("p").stop(), "DELETE", "playbacks/p", {}, None),
        (
            lambda c: c.playback("p").control("pause"),
            "POST",
            "playbacks/p/control",
            {"operation": "pause"},
            None,
        ),
        (lambda c: c.live_recording("f/n").stop(), "POST", "recordings/live/f%2Fn/stop", {}, None),
        (lambda c: c.live_recording("n").cancel(), "DELETE", "recordings/live/n", {}, None),
        (lambda c: c.live_recording("n").pause(), "POST", "recordings/live/n/pause", {}, None),
        (lambda c: c.live_recording("n").unpause(), "DELETE", "recordings/live/n/pause", {}, None),
        (lambda c: c.live_recording("n").mute(), "POST", "recordings/live/n/mute", {}, None),
        (lambda c: c.live_recording("n").unmute(), "DELETE", "recordings/live/n/mute", {}, None),
        (lambda c: c.stored_recording("n").deleteStored(), "DELETE", "recordings/stored/n", {}, None),
        # by the description
        (
            lambda c: c.channels.hangup(channelId="c", reason="busy"),
            "DELETE",
            "channels/c",
            {"reason": "busy"},
            None,
        ),
        (lambda c: c.channel("c").move(app="other"), "POST", "channels/c/move", {"app": "other"}, None),
        (
            lambda c: c.channel("c").setChannelVars(variables={"A": "1"}),
            "POST",
            "channels/c/variables",
            {},
            {"variables": {"A": "1"}},
        ),
        (
            lambda c: c.bridge("b").setVideoSource(channelId="c"),
            "POST",
            "bridges/b/videoSource/c",
            {},
            None,
        ),
        (
            lambda c: c.events.userEvent(eventName="e", application="a", source=["channel:1", "channel:2"]),
            "POST",
            "events/user/e",
            {"application": "a"},
            {"source": ["channel:1", "channel:2"]},
        ),
    ],
)
async def test_operations_are_sent_as_asterisk_describes_them(
    asterisk: FakeAsterisk,
    client: Client,
    call: Any,
    method: str,
    path: str,
    query: dict[str, str],
    body: Any,
) -> None:
    accept(asterisk, method, path, {"name": "f/n"} if path.endswith("/record") else None)

    await call(client)

    request = asterisk.requests[-1]
    assert (request.method, request.path, request.query, request.body) == (method, path, query, body)


async def test_answers_become_objects(asterisk: FakeAsterisk, client: Client) -> None:
    accept(asterisk, "GET", "channels", [{"id": "a"}, {"id": "b"}])
    accept(asterisk, "GET", "bridges/b1", {"id": "b1", "channels": ["a"]})
    accept(asterisk, "GET", "endpoints", [{"technology": "PJSIP", "resource": "kamailio", "state": "online"}])
    accept(asterisk, "GET", "channels/c/variable", {"value": "v"})

    assert await client.channels.list() == [client.channel("a"), client.channel("b")]
    bridge = await client.bridges.get("b1")
    assert isinstance(bridge, Bridge)
    assert bridge.json["channels"] == ["a"]
    (endpoint,) = await client.endpoints.list()
    assert isinstance(endpoint, Endpoint)
    assert endpoint.id == "PJSIP/kamailio"
    assert await client.channel("c").getChannelVar("X") == "v"


async def test_an_endpoint_names_itself_by_two_parts(asterisk: FakeAsterisk, client: Client) -> None:
    accept(asterisk, "PUT", "endpoints/PJSIP/kamailio/sendMessage")
    endpoint = Endpoint(client, {"technology": "PJSIP", "resource": "kamailio"})

    await endpoint.sendMessageToEndpoint(body="hello")

    assert asterisk.requests[-1].query == {"body": "hello"}


async def test_binary_answers_are_bytes(asterisk: FakeAsterisk, client: Client) -> None:
    asterisk.files["recordings/stored/f%2Fn/file"] = b"RIFF"

    assert await client.recordings.getStoredFile(recordingName="f/n") == b"RIFF"
    assert await client.stored_recording("f/n").getStoredFile() == b"RIFF"


async def test_mistakes_are_told_before_anything_is_sent(asterisk: FakeAsterisk, client: Client) -> None:
    before = len(asterisk.requests)

    with pytest.raises(AttributeError, match="did you mean hangup"):
        client.channels.hangupp(channelId="c")
    with pytest.raises(TypeError, match="no parameter 'reson'"):
        client.channels.hangup(channelId="c", reson="busy")
    with pytest.raises(TypeError, match="needs the parameter 'app'"):
        client.channel("c").move()
    with pytest.raises(AttributeError, match="no operation on one channel"):
        client.channel("c").externalMedia(app="a")
    with pytest.raises(AttributeError, match="no ARI resource 'chanels'"):
        client.chanels.list()
    assert "move" in dir(client.channels)
    assert len(asterisk.requests) == before


async def test_without_a_description_typed_operations_still_work() -> None:
    async with FakeAsterisk() as asterisk:
        accept(asterisk, "POST", "channels/c/answer")
        async with Client(asterisk.url, "test", "secret", "app") as client:
            await client.channel("c").answer()
            with pytest.raises(AttributeError, match="description was not read"):
                client.channel("c").move(app="a")


@pytest.mark.parametrize("url", ["ftp://x", "http://", "//x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        Client(url, "u", "p", "app")
