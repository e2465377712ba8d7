"""Speaking to one party: one channel whispers, whatever the order of events, and nothing of it is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringline import ari
from ringline.calls.background import Backgrounds
from ringline.calls.whisper import MAX_TEXTS, Whispers
from ringline.errors import FailedPrecondition, ResourceExhausted, Unavailable
from ringline.media import Prompt

from .desk import Desk, channel

HELLO, BYE = Prompt("/speech/hello", 1000), Prompt("/speech/bye", 500)


class Prompter(Desk):
    def __init__(self) -> None:
        super().__init__()
        client: Any = self.client
        self.backgrounds = Backgrounds(client)
        self.backgrounds.start()
        self.whispers = Whispers(client, self.board, self.backgrounds, application="ringline")
        self.whispers.start()
        self.one = self.answered()
        self.client.sent.clear()

    @property
    def snoops(self) -> list[str]:
        return [uri.rpartition("/")[2] for uri in self.client.requests("POST") if "/snoop/" in uri]

    def opened(self) -> None:
        self.client.emit("StasisStart", channel={"id": self.snoops[-1]}, args=["talk"])

    def played(self) -> list[str]:
        return [body["media"][0] for _, uri, _, body in self.client.sent if "/play/" in uri]

    def finish(self, index: int, state: str = "done") -> None:
        uri = [uri for uri in self.client.requests("POST") if "/play/" in uri][index]
        _, snoop, _, playback = uri.split("/")
        self.client.emit(
            "PlaybackFinished", playback={"id": playback, "target_uri": f"channel:{snoop}", "state": state}
        )

    def nothing_left(self) -> None:
        assert self.board.auxiliary == {}
        for snoop in self.snoops:
            assert self.client.requests("DELETE").count(f"channels/{snoop}") <= 1
        silence = f"channels/{self.one.channel_id}/silence"
        asked = [method for method, uri, _, _ in self.client.sent if uri == silence]
        assert self.one.ended or asked[-1:] in ([], ["DELETE"])


async def test_texts_are_spoken_one_after_another_and_the_channel_goes() -> None:
    desk = Prompter()
    await desk.whispers.say(desk.one, HELLO)
    await desk.whispers.say(desk.one, BYE)
    assert (len(desk.snoops), desk.played()) == (1, [])
    query = next(query for _, uri, query, _ in desk.client.sent if "/snoop/" in uri)
    assert query is not None
    assert (query["spy"], query["whisper"]) == ("none", "out")
    desk.opened()
    assert desk.played() == ["sound:/speech/hello", "sound:/speech/bye"]
    desk.finish(0)
    assert desk.client.requests("DELETE") == []
    desk.finish(1, "failed")
    assert f"channels/{desk.snoops[0]}" in desk.client.requests("DELETE")
    desk.nothing_left()
    await desk.whispers.say(desk.one, HELLO)
    assert len(desk.snoops) == 2


async def test_a_key_ends_what_a_key_may_end() -> None:
    desk = Prompter()
    await desk.whispers.say(desk.one, HELLO, stop_on_digit=True)
    await desk.whispers.say(desk.one, BYE)
    desk.opened()
    desk.client.emit("ChannelDtmfReceived", channel={"id": "stranger"}, digit="1")
    desk.client.emit("ChannelDtmfReceived", channel=channel(desk.one), digit="1")
    assert [uri.startswith("playbacks/") for uri in desk.client.requests("DELETE")] == [True]
    desk.finish(0)
    desk.finish(1)
    desk.nothing_left()


async def test_a_whisper_begins_anew_when_its_party_leaves_a_bridge() -> None:
    desk = Prompter()
    await desk.whispers.say(desk.one, HELLO)
    desk.opened()
    desk.client.emit("ChannelLeftBridge", channel=channel(desk.one), bridge={"id": "connect-1"})
    assert f"channels/{desk.snoops[0]}" in desk.client.requests("DELETE")
    await desk.whispers.say(desk.one, BYE)
    await asyncio.sleep(0.5)
    assert len(desk.snoops) == 2
    desk.opened()
    assert desk.played()[1:] == ["sound:/speech/hello", "sound:/speech/bye"]
    desk.finish(1)
    desk.finish(2)
    desk.nothing_left()


@pytest.mark.parametrize("opened", [False, True])
async def test_the_call_ends_meanwhile(opened: bool) -> None:
    desk = Prompter()
    await desk.whispers.say(desk.one, HELLO)
    if opened:
        desk.opened()
    desk.destroyed(desk.one, 16)
    desk.nothing_left()
    if not opened:
        desk.opened()
        assert desk.client.requests("DELETE")[-1] == f"channels/{desk.snoops[0]}", "it comes too late"
    with pytest.raises(FailedPrecondition):
        await desk.whispers.say(desk.one, HELLO)


async def test_the_channel_that_whispers_ends_by_itself() -> None:
    desk = Prompter()
    await desk.whispers.say(desk.one, HELLO)
    desk.opened()
    desk.client.emit("StasisEnd", channel={"id": desk.snoops[0]})
    desk.nothing_left()
    await desk.whispers.say(desk.one, HELLO)
    desk.opened()
    assert len(desk.played()) == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ari.NotFound("Channel not found", status=404), FailedPrecondition),
        (ari.RequestTimeout("no answer"), Unavailable),
    ],
)
async def test_asterisk_refuses(error: Exception, expected: type[Exception]) -> None:
    desk = Prompter()
    desk.client.answers["POST"] = error
    with pytest.raises(expected):
        await desk.whispers.say(desk.one, HELLO)
    desk.nothing_left()


async def test_the_queue_is_bounded() -> None:
    desk = Prompter()
    for _ in range(MAX_TEXTS):
        await desk.whispers.say(desk.one, HELLO)
    with pytest.raises(ResourceExhausted) as refused:
        await desk.whispers.say(desk.one, HELLO)
    assert refused.value.reason == "TALK_QUEUE_FULL"
