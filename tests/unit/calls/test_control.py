"""Hold, music, silence, mute: what Asterisk is asked for, in which order, and what the record says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ringline import ari
from ringline.calls.background import Backgrounds
from ringline.calls.call import Call
from ringline.calls.control import Controls, added, removed
from ringline.calls.leg import LegGone
from ringline.calls.states import Direction
from ringline.clock import SystemClock
from ringline.errors import FailedPrecondition, Unavailable
from ringline.media import Prompt

from .desk import Desk, channel


class Booth(Desk):
    """A desk with one answered call that can be controlled."""

    def __init__(self) -> None:
        super().__init__()
        client: Any = self.client
        journal: Any = self.journal
        self.backgrounds = Backgrounds(client)
        self.controls = Controls(client, self.board, journal, self.backgrounds, SystemClock())
        self.board.muting = self.controls
        self.board.watchers.append(self.backgrounds.call_ended)
        self.backgrounds.start()
        self.controls.start()
        self.one = self.answered()
        self.client.sent.clear()

    def asked(self) -> list[str]:
        """What was asked of the call's channel since the last time."""
        prefix = f"channels/{self.one.channel_id}/"
        found = [
            " ".join([method, uri.removeprefix(prefix), *(query or {}).values()])
            for method, uri, query, _ in self.client.sent
        ]
        self.client.sent.clear()
        return found

    def refuse(self, what: str, error: Exception) -> None:
        self.client.answers[f"POST channels/{self.one.channel_id}/{what}"] = error

    def bridge(self, kind: str, call: Call | None = None) -> None:
        self.client.emit(kind, channel=channel(call or self.one), bridge={"id": "connect-1"})

    def finish_playback(self, playback_id: str = "x") -> None:
        playback = {"id": playback_id, "target_uri": f"channel:{self.one.channel_id}", "state": "done"}
        self.client.emit("PlaybackFinished", playback=playback)


async def test_hold_tells_the_other_side_and_plays_music_until_it_is_taken_back() -> None:
    desk = Booth()
    await desk.controls.hold(desk.one, True)
    await desk.controls.hold(desk.one, True)
    assert desk.asked() == ["POST hold", "POST moh"]
    assert (desk.one.hold, desk.one.row()["hold"], desk.one.moh) == (True, True, False)
    await desk.controls.hold(desk.one, False)
    await desk.controls.hold(desk.one, False)
    assert desk.asked() == ["DELETE hold", "DELETE moh"]
    assert desk.one.hold is False
    assert len(desk.journal.touched) >= 2


async def test_music_and_silence_share_one_generator_and_silence_wins() -> None:
    desk = Booth()
    await desk.controls.sound(desk.one, "moh", True)
    await desk.controls.sound(desk.one, "silence", True)
    assert desk.asked() == ["POST moh", "DELETE moh", "POST silence"]
    await desk.controls.hold(desk.one, True)
    assert desk.asked() == ["POST hold"]
    await desk.controls.sound(desk.one, "moh", False)
    await desk.controls.sound(desk.one, "silence", False)
    assert desk.asked() == ["DELETE silence", "POST moh"], "on hold there is music"
    await desk.controls.hold(desk.one, False)
    assert desk.asked() == ["DELETE hold", "DELETE moh"]


async def test_mute_adds_and_removes_directions() -> None:
    desk = Booth()
    call = desk.one
    await desk.controls.mute(call, added(call.mute_direction, "in"))
    await desk.controls.mute(call, added(call.mute_direction, "in"))
    await desk.controls.mute(call, added(call.mute_direction, "both"))
    assert (desk.asked(), call.mute_direction) == (["POST mute in", "POST mute out"], "both")
    await desk.controls.mute(call, removed(call.mute_direction, "in"))
    assert (desk.asked(), call.mute_direction) == (["DELETE mute in"], "out")
    await desk.leg(call).mute("in")
    assert (desk.asked(), call.mute_direction) == (["DELETE mute out", "POST mute in"], "in")


async def test_in_a_bridge_the_parties_hear_each_other_and_a_mute_stays() -> None:
    desk = Booth()
    await desk.controls.mute(desk.one, "in")
    await desk.controls.hold(desk.one, True)
    await desk.controls.sound(desk.one, "moh", True)
    desk.asked()
    desk.bridge("ChannelEnteredBridge")
    assert desk.asked() == ["DELETE hold", "DELETE moh"]
    assert (desk.one.hold, desk.one.moh, desk.one.mute_direction) == (False, False, "in")
    await desk.controls.hold(desk.one, True)
    desk.bridge("ChannelEnteredBridge", desk.call())
    assert desk.asked()[-2:] == ["POST variable TALK_DETECT(set) ", "POST moh"]
    assert desk.one.hold


async def test_in_a_native_bridge_asterisk_is_made_to_carry_the_sound_itself() -> None:
    desk = Booth()
    desk.bridge("ChannelEnteredBridge")
    await desk.controls.sound(desk.one, "moh", True)
    await desk.controls.sound(desk.one, "moh", False)
    await desk.controls.hold(desk.one, True)
    assert desk.asked() == [
        "POST variable TALK_DETECT(set) ",
        "POST moh",
        "DELETE moh",
        "POST hold",
        "POST moh",
    ]
    desk.bridge("ChannelLeftBridge")
    assert desk.asked() == ["POST variable TALK_DETECT(remove) ", "POST moh"]


async def test_a_floor_is_there_while_somebody_whispers_and_nothing_else_sounds() -> None:
    desk = Booth()
    desk.backgrounds.keep_floor(desk.one, "talk")
    desk.backgrounds.keep_floor(desk.one, "stream")
    desk.finish_playback()
    assert desk.asked() == ["POST silence", "POST silence"], "a prompt took it away"
    desk.bridge("ChannelEnteredBridge")
    assert desk.asked() == ["DELETE silence"], "it would cut the other party off"
    desk.bridge("ChannelLeftBridge")
    await desk.controls.sound(desk.one, "moh", True)
    await desk.controls.sound(desk.one, "moh", False)
    assert desk.asked() == ["POST silence", "DELETE silence", "POST moh", "DELETE moh", "POST silence"]
    desk.backgrounds.drop_floor(desk.one, "talk")
    assert desk.asked() == []
    desk.backgrounds.drop_floor(desk.one, "stream")
    desk.backgrounds.drop_floor(desk.one, "stream")
    desk.finish_playback()
    assert desk.asked() == ["DELETE silence"]


async def test_prompts_wait_while_the_call_is_on_hold() -> None:
    desk = Booth()
    playing = asyncio.create_task(desk.leg(desk.one).play([Prompt("/speech/hello", 1000)]))
    await asyncio.sleep(0)
    (first,) = desk.asked()
    await desk.controls.hold(desk.one, True)
    playback = first.removeprefix("POST play/")
    assert desk.asked() == [f"DELETE playbacks/{playback}", "POST hold", "POST moh"]
    desk.finish_playback(playback)
    await asyncio.sleep(0.01)
    assert desk.asked() == ["POST moh"], "the music goes on, the prompt does not"
    await desk.controls.hold(desk.one, False)
    await asyncio.sleep(0.01)
    assert not playing.done()
    *_, again = desk.asked()
    assert again.startswith("POST play/")
    assert again != first
    desk.finish_playback(again.removeprefix("POST play/"))
    assert await playing is True


async def test_a_call_that_ends_on_hold_leaves_nothing_behind() -> None:
    desk = Booth()
    await desk.controls.hold(desk.one, True)
    playing = asyncio.create_task(desk.leg(desk.one).play([Prompt("/speech/hello", 1000)]))
    await asyncio.sleep(0)
    desk.destroyed(desk.one, 16)
    with pytest.raises(LegGone):
        await playing
    desk.asked()
    desk.finish_playback()
    desk.backgrounds.keep_floor(desk.one, "talk")
    assert desk.asked() == []


@pytest.mark.parametrize("direction", list(Direction))
async def test_only_an_answered_call_can_be_controlled(direction: Direction) -> None:
    desk = Booth()
    call = desk.call(direction)
    for attempt in (
        desk.controls.hold(call, True),
        desk.controls.sound(call, "moh", True),
        desk.controls.mute(call, "in", answered=True),
    ):
        with pytest.raises(FailedPrecondition) as refused:
            await attempt
        assert refused.value.reason == "CALL_STATE_INVALID"
    assert desk.asked() == []


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ari.NotFound("Channel not found", status=404), FailedPrecondition),
        (ari.Conflict("Channel not in Stasis", status=409), FailedPrecondition),
        (ari.RequestTimeout("no answer"), Unavailable),
    ],
)
async def test_what_asterisk_did_not_do_is_not_on_the_record(
    error: Exception, expected: type[Exception]
) -> None:
    desk = Booth()
    for what in ("hold", "moh", "silence", "mute"):
        desk.refuse(what, error)
    with pytest.raises(expected):
        await desk.controls.hold(desk.one, True)
    with pytest.raises(expected):
        await desk.controls.sound(desk.one, "silence", True)
    with pytest.raises(expected):
        await desk.controls.mute(desk.one, "both")
    call = desk.one
    assert (call.hold, call.silence, call.mute_direction) == (False, False, "")


async def test_a_restored_call_goes_on_hearing_music() -> None:
    desk = Booth()
    desk.one.hold = True
    desk.backgrounds.restore([desk.one], [desk.one.channel_id])
    desk.controls.restore()
    assert desk.asked() == ["POST variable TALK_DETECT(set) ", "POST moh"]
    assert desk.backgrounds.in_bridge(desk.one.channel_id)
    playing = asyncio.create_task(desk.leg(desk.one).play([Prompt("/speech/hello", 1000)]))
    await asyncio.sleep(0)
    assert desk.asked() == []
    await desk.controls.hold(desk.one, False)
    await asyncio.sleep(0)
    assert desk.asked()[:2] == ["DELETE hold", "DELETE moh"]
    playing.cancel()
