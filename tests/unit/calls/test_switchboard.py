"""The switchboard under events that come late, twice, early or never."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from ringline import ari
from ringline.calls import switchboard as module
from ringline.calls.bridges import Bridges
from ringline.calls.leg import LegError, LegGone
from ringline.calls.reconcile import Reconciler
from ringline.calls.states import Direction, Status
from ringline.clock import SystemClock
from ringline.media import Prompt

from .desk import Desk, channel
from .fakes import not_found

PROMPT = Prompt("/prompts/hello", 100)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.board.close()


async def test_an_answered_call_from_dial_to_remote_hangup(desk: Desk) -> None:
    call = desk.answered()
    assert desk.hooks.ready == [call]
    assert call.sip_call_id == "sip-1"
    desk.client.emit("ChannelHangupRequest", channel=channel(call), cause=16)
    desk.client.emit("StasisEnd", channel=channel(call))
    assert call.status is Status.PROGRESSING
    desk.destroyed(call, 0)
    assert (call.status, call.hangup_by, call.hangup_reason) == ("hangup", "remote", "normal")
    assert [status for status, _ in desk.journal.touched] == ["ringing", "progressing", "hangup"]
    assert desk.hooks.ended == [call]
    assert len(desk.board) == 0


async def test_the_answer_before_the_reply_and_every_event_twice(desk: Desk) -> None:
    desk.client.answers["POST"] = "pending"
    call = desk.dial()
    for _ in range(2):
        desk.stasis_start(call)
        desk.dial_event(call, "RINGING")
        desk.dial_event(call, "ANSWER")
    assert desk.hooks.ready == [call]
    assert call.tm_ringing is None, "a ringing that comes after the answer is dropped"
    for _ in range(2):
        desk.destroyed(call, 16)
    assert desk.hooks.ended == [call]


@pytest.mark.parametrize(
    ("cause", "sip", "reason"),
    [
        (17, 486, "busy"),
        (21, 603, "noanswer"),
        (19, 480, "noanswer"),
        (1, 404, "failed"),
        (34, 503, "failed"),
    ],
)
async def test_refusals(desk: Desk, cause: int, sip: int, reason: str) -> None:
    call = desk.dial()
    desk.dial_event(call, "RINGING")
    desk.destroyed(call, cause, tech_cause=sip)
    assert (call.hangup_reason, call.hangup_by, call.hangup_sip_code) == (reason, "remote", sip)
    assert call.tm_progressing is None
    assert desk.hooks.ready == []


async def test_nobody_answers_within_our_dial_timeout() -> None:
    desk = Desk(dial_timeout=0.02)
    call = desk.dial()
    desk.dial_event(call, "RINGING")
    await asyncio.sleep(0.05)
    assert desk.client.requests("DELETE") == [f"channels/{call.channel_id}"]
    assert call.status is Status.RINGING
    desk.destroyed(call, 19, tech_cause=480)
    assert (call.hangup_reason, call.hangup_by) == ("dialout", "remote")
    desk.board.close()


async def test_an_answer_that_crosses_our_dial_timeout_starts_no_flow() -> None:
    desk = Desk(dial_timeout=0.02)
    call = desk.dial()
    await asyncio.sleep(0.05)
    desk.dial_event(call, "ANSWER")
    desk.stasis_start(call)
    assert desk.hooks.ready == []
    desk.destroyed(call, 16)
    assert (call.status, call.hangup_reason, call.tm_progressing) == ("hangup", "dialout", None)
    desk.board.close()


async def test_hang_up_twice_at_every_state(desk: Desk) -> None:
    dialing, ringing, up = desk.dial(), desk.dial(), desk.answered()
    desk.dial_event(ringing, "RINGING")
    for call, ending, reason in (
        (dialing, "canceling", "cancel"),
        (ringing, "canceling", "cancel"),
        (up, "terminating", "normal"),
    ):
        assert desk.board.hang_up(call) is True
        assert desk.board.hang_up(call) is False
        assert call.status == ending
        assert desk.client.requests("DELETE").count(f"channels/{call.channel_id}") == 1
        desk.destroyed(call, 16)
        assert desk.board.hang_up(call) is False
        assert (call.hangup_by, call.hangup_reason) == ("local", reason)
    assert len(desk.board) == 0


async def test_an_answer_that_crosses_our_cancel_starts_no_flow(desk: Desk) -> None:
    call = desk.dial()
    desk.board.hang_up(call)
    desk.dial_event(call, "ANSWER")
    desk.stasis_start(call)
    assert desk.hooks.ready == []
    assert call.status is Status.CANCELING


async def test_a_call_lasts_no_longer_than_it_may() -> None:
    desk = Desk(max_duration=0.03)
    call = desk.answered()
    await asyncio.sleep(0.06)
    assert call.status is Status.TERMINATING
    desk.destroyed(call, 16)
    assert (call.hangup_reason, call.hangup_by) == ("timeout", "local")
    desk.board.close()


async def test_asterisk_refuses_to_dial(desk: Desk) -> None:
    desk.client.answers["POST"] = ari.BadRequest(
        "no such endpoint", status=400, method="POST", uri="channels"
    )
    call = desk.dial()
    await asyncio.sleep(0)
    assert (call.status, call.hangup_reason, call.hangup_by) == ("hangup", "failed", "local")
    assert "no such endpoint" in call.hangup_detail


async def test_a_channel_that_cannot_be_dialled_yet_is_dialled_when_it_is_in_stasis(desk: Desk) -> None:
    not_yet = ari.AriError("Channel not in Stasis application", status=409)
    call = desk.call()
    dialling = f"channels/{call.channel_id}/dial"
    desk.client.answers[f"POST {dialling}"] = not_yet
    desk.board.dial(call, "PJSIP/kamailio/sip:+15559876543@x", {})
    await asyncio.sleep(0)
    assert desk.client.requests("POST") == ["channels/create", dialling]
    del desk.client.answers[f"POST {dialling}"]
    desk.client.emit("StasisStart", channel={"id": call.channel_id, "state": "Down"}, args=["outbound"])
    await asyncio.sleep(0)
    assert desk.client.requests("POST")[2:] == [dialling]
    assert call.status is Status.DIALING


async def test_a_channel_that_can_never_be_dialled_ends_its_call(desk: Desk) -> None:
    call = desk.call()
    desk.client.answers[f"POST channels/{call.channel_id}/dial"] = ari.AriError("never", status=409)
    desk.board.dial(call, "PJSIP/kamailio/sip:+15559876543@x", {})
    desk.client.emit("StasisStart", channel={"id": call.channel_id, "state": "Down"}, args=["outbound"])
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(desk.client.requests("POST")) == 5
    assert desk.client.requests("DELETE") == [f"channels/{call.channel_id}"]
    assert "never" in call.hangup_detail


async def test_a_channel_that_is_not_there_any_more_ends_its_call(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VANISHED_SECONDS", 0.01)
    call = desk.answered()
    desk.client.answers["DELETE"] = not_found()
    desk.client.answers["GET"] = not_found()
    desk.board.hang_up(call)
    await asyncio.sleep(0.05)
    assert (call.status, call.hangup_by, call.hangup_reason) == ("hangup", "local", "normal")
    assert desk.hooks.ended == [call]


async def test_an_incoming_call_ends_with_stasis(desk: Desk) -> None:
    call = desk.call(Direction.INCOMING)
    desk.arrivals.answer = call
    desk.client.emit(
        "StasisStart", channel={"id": "1.2", "state": "Ring"}, args=["inbound", "%2B1555", "provider"]
    )
    assert desk.arrivals.args == ["%2B1555", "provider"]
    assert desk.hooks.ready == [call]
    desk.client.emit("ChannelStateChange", channel={"id": "1.2", "state": "Up"})
    assert call.status is Status.PROGRESSING
    desk.client.emit("ChannelHangupRequest", channel={"id": "1.2"}, cause=16)
    desk.client.emit("StasisEnd", channel={"id": "1.2"})
    assert (call.status, call.hangup_by, call.hangup_reason) == ("hangup", "remote", "normal")


async def test_a_refused_incoming_call_is_told_why_and_leaves_nothing(desk: Desk) -> None:
    desk.client.emit("StasisStart", channel={"id": "1.3", "state": "Ring"}, args=["inbound", "x"])
    assert desk.client.sent[-1][:3] == ("DELETE", "channels/1.3", {"reason_code": 1})
    assert len(desk.board) == 0


async def test_a_channel_that_nobody_placed_is_hung_up(desk: Desk) -> None:
    desk.client.emit("StasisStart", channel={"id": "stray", "state": "Up"}, args=["outbound"])
    assert desk.client.requests("DELETE") == ["channels/stray"]


async def test_play_ends_with_its_event(desk: Desk) -> None:
    call = desk.answered()
    playing = asyncio.create_task(desk.leg(call).play([PROMPT]))
    await asyncio.sleep(0)
    method, uri, _, body = desk.client.sent[-1]
    assert (method, body) == ("POST", {"media": ["sound:/prompts/hello"]})
    playback_id = uri.rsplit("/", 1)[1]
    finished = {"id": playback_id, "state": "done", "target_uri": f"channel:{call.channel_id}"}
    desk.client.emit("PlaybackFinished", playback=finished)
    assert await playing is True


async def test_a_prompt_that_cannot_be_played_is_an_error_of_the_action(desk: Desk) -> None:
    call = desk.answered()
    playing = asyncio.create_task(desk.leg(call).play([PROMPT]))
    await asyncio.sleep(0)
    playback_id = desk.client.sent[-1][1].rsplit("/", 1)[1]
    failed = {"id": playback_id, "state": "failed", "target_uri": f"channel:{call.channel_id}"}
    desk.client.emit("PlaybackFinished", playback=failed)
    with pytest.raises(LegError):
        await playing


async def test_a_prompt_that_fails_because_the_caller_hung_up_is_no_error(desk: Desk) -> None:
    call = desk.answered()
    playing = asyncio.create_task(desk.leg(call).play([PROMPT]))
    await asyncio.sleep(0)
    playback_id = desk.client.sent[-1][1].rsplit("/", 1)[1]
    desk.client.emit("ChannelHangupRequest", channel=channel(call), cause=16)
    failed = {"id": playback_id, "state": "failed", "target_uri": f"channel:{call.channel_id}"}
    desk.client.emit("PlaybackFinished", playback=failed)
    with pytest.raises(LegGone):
        await playing


async def test_the_end_of_the_leg_wakes_whoever_waits_on_it(desk: Desk) -> None:
    call = desk.answered()
    leg = desk.leg(call)
    playing = asyncio.create_task(leg.play([PROMPT]))
    await asyncio.sleep(0)
    desk.destroyed(call, 16)
    with pytest.raises(LegGone):
        await playing
    with pytest.raises(LegGone):
        await leg.answer()


async def test_a_key_stops_a_prompt_that_it_may_stop(desk: Desk) -> None:
    call = desk.answered()
    leg = desk.leg(call)
    playing = asyncio.create_task(leg.play([PROMPT], stop_on_digit=True))
    await asyncio.sleep(0)
    desk.client.emit("ChannelDtmfReceived", channel=channel(call), digit="5")
    desk.client.emit("ChannelDtmfReceived", channel=channel(call), digit="6")
    assert await playing is False
    assert list(leg.digits) == ["5", "6"]
    assert len([uri for uri in desk.client.requests("DELETE") if uri.startswith("playbacks/")]) == 1


async def test_a_prompt_ends_what_still_plays_behind_it(desk: Desk) -> None:
    call = desk.answered()
    leg = desk.leg(call)
    leg.play_behind([PROMPT])
    behind = desk.client.sent[-1][1].rsplit("/", 1)[1]
    leg.play_behind([PROMPT])
    playing = asyncio.create_task(leg.play([PROMPT]))
    await asyncio.sleep(0)
    stopped = [uri for uri in desk.client.requests("DELETE") if uri.startswith("playbacks/")]
    assert len(stopped) == 2
    assert stopped[0] == f"playbacks/{behind}"
    desk.destroyed(call, 16)
    with pytest.raises(LegGone):
        await playing


async def test_a_request_that_nobody_answered_is_asked_after(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringline.calls.ari_leg.RESYNC_SECONDS", 0.01)
    call = desk.answered()
    desk.client.answers["POST"] = ari.ConnectionLost("this socket only")
    playing = asyncio.create_task(desk.leg(call).play([PROMPT]))
    await asyncio.sleep(0)
    first = desk.client.sent[-1][1].rsplit("/", 1)[1]
    desk.client.answers["POST"] = None
    desk.client.answers[f"GET playbacks/{first}"] = not_found()
    await asyncio.sleep(0.05)
    second = desk.client.sent[-1][1].rsplit("/", 1)[1]
    assert second != first
    finished = {"id": second, "target_uri": f"channel:{call.channel_id}", "state": "done"}
    desk.client.emit("PlaybackFinished", playback=finished)
    assert await playing is True


class TestReconciling:
    """What happens when Asterisk was away."""

    @pytest.fixture(autouse=True)
    def no_settling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("ringline.calls.reconcile.SETTLE_SECONDS", -1.0)
        monkeypatch.setattr("ringline.calls.reconcile.UNPLACED_SECONDS", 60.0)

    def reconciler(self, desk: Desk, *channels: dict[str, Any]) -> Reconciler:
        desk.client.answers["GET channels"] = list(channels)
        inside = [channel["id"] for channel in channels if not channel["id"].startswith("other")]
        desk.client.answers["GET applications/ringline"] = {"channel_ids": inside}
        desk.client.answers["GET bridges"] = []
        return Reconciler(
            desk.client,  # type: ignore[arg-type]
            desk.board,
            Bridges(),
            SystemClock(),
            application="ringline",
        )

    async def test_a_call_whose_channel_is_gone_failed(self, desk: Desk) -> None:
        call = desk.answered()
        await self.reconciler(desk).reconcile()
        assert (call.status, call.hangup_reason, call.hangup_by) == ("hangup", "failed", "local")
        assert "media server" in call.hangup_detail
        assert desk.hooks.ended == [call]

    async def test_a_call_whose_request_to_dial_is_still_under_way_is_left_alone(self, desk: Desk) -> None:
        desk.client.answers["POST"] = "pending"
        call = desk.dial()
        await self.reconciler(desk).reconcile()
        assert call.status is Status.DIALING
        assert len(desk.board) == 1

    async def test_a_call_that_was_ending_has_ended_as_asked(self, desk: Desk) -> None:
        call = desk.answered()
        desk.board.hang_up(call)
        await self.reconciler(desk).reconcile()
        assert (call.hangup_reason, call.hangup_by) == ("normal", "local")

    async def test_an_answer_in_the_gap_starts_the_flow(self, desk: Desk) -> None:
        call = desk.dial()
        await self.reconciler(desk, channel(call)).reconcile()
        assert call.status is Status.PROGRESSING
        assert desk.hooks.ready == [call]

    async def test_a_prompt_that_ended_in_the_gap_has_ended(self, desk: Desk) -> None:
        call = desk.answered()
        playing = asyncio.create_task(desk.leg(call).play([PROMPT]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        uri = desk.client.sent[-1][1]
        desk.client.answers[f"GET playbacks/{uri.rsplit('/', 1)[1]}"] = not_found()
        await self.reconciler(desk, channel(call)).reconcile()
        assert await playing is True

    async def test_a_prompt_whose_request_was_lost_is_sent_again(self, desk: Desk) -> None:
        call = desk.answered()
        desk.client.answers["POST"] = ari.ConnectionLost("cut")
        playing = asyncio.create_task(desk.leg(call).play([PROMPT]))
        await asyncio.sleep(0)
        first = desk.client.sent[-1][1]
        desk.client.answers["POST"] = None
        desk.client.answers[f"GET playbacks/{first.rsplit('/', 1)[1]}"] = not_found()
        await self.reconciler(desk, channel(call)).reconcile()
        for _ in range(3):
            await asyncio.sleep(0)
        second = desk.client.sent[-1][1]
        assert second != first
        finished = {
            "id": second.rsplit("/", 1)[1],
            "target_uri": f"channel:{call.channel_id}",
            "state": "done",
        }
        desk.client.emit("PlaybackFinished", playback=finished)
        assert await playing is True

    async def test_a_hang_up_whose_request_was_lost_is_sent_again(self, desk: Desk) -> None:
        call = desk.answered()
        desk.client.answers["DELETE"] = ari.ConnectionLost("cut")
        desk.board.hang_up(call)
        await self.reconciler(desk, channel(call)).reconcile()
        assert desk.client.requests("DELETE") == [f"channels/{call.channel_id}"] * 2

    async def test_channels_of_ours_that_no_call_has_are_hung_up_and_others_left_alone(
        self, desk: Desk
    ) -> None:
        reconciler = self.reconciler(
            desk,
            {"id": "call-orphan", "state": "Up"},
            {"id": "1.7", "state": "Ring"},
            {"id": "other", "state": "Up"},
        )
        await reconciler.reconcile()
        assert desk.client.requests("DELETE") == [], "it may just have arrived"
        await reconciler.reconcile()
        assert sorted(desk.client.requests("DELETE")) == ["channels/1.7", "channels/call-orphan"]
