"""One recording in Asterisk: every way it begins, goes on and ends, and that nothing is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ringline import ari
from ringline.errors import FailedPrecondition, RinglineError, Unavailable
from ringline.recordings import tape as tapes
from ringline.recordings.models import Reason, Status
from tests.unit.calls.fakes import not_found

from .studio import Desk, settle


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapes, "START_SECONDS", 0.05)
    monkeypatch.setattr(tapes, "CHECK_SECONDS", 0.02)
    monkeypatch.setattr(tapes, "DROP_SECONDS", 0.02)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def record_queries(desk: Desk) -> list[dict[str, Any]]:
    return [query or {} for method, uri, query, _ in desk.studio.sent if uri.endswith("/record")]


async def test_it_begins_on_a_snoop_channel_and_is_stopped() -> None:
    desk = Desk(max_seconds=60)
    await desk.tape.start()
    assert desk.recording.status is Status.RECORDING
    assert desk.recording.tm_start is not None
    (query,) = record_queries(desk)
    assert (query["name"], query["format"], query["ifExists"]) == (desk.recording.name, "wav", "fail")
    assert query["maxDurationSeconds"] == 62
    desk.tape.stop(Reason.STOP)
    desk.tape.stop(Reason.KEY)
    await settle()
    assert desk.over == [(Reason.STOP, "")]
    assert desk.clean


async def test_a_bridge_needs_no_snoop_channel() -> None:
    desk = Desk(target="bridge:conference-1")
    await desk.tape.start()
    posts = desk.studio.requests("POST")
    assert posts == ["applications/ringline/subscription", "bridges/conference-1/record"]
    desk.tape.stop(Reason.STOP)
    await settle()
    assert desk.over == [(Reason.STOP, "")]


@pytest.mark.parametrize(
    ("end_of_key", "pressed", "ends"),
    [("none", "#", False), ("any", "7", True), ("#", "7", False), ("#", "#", True), ("*", "*", True)],
)
async def test_a_key_ends_it(end_of_key: str, pressed: str, ends: bool) -> None:
    desk = Desk(end_of_key=end_of_key)
    await desk.tape.start()
    desk.tape.key_pressed(pressed)
    await settle()
    assert [reason for reason, _ in desk.over] == ([Reason.KEY] if ends else [])
    desk.tape.stop(Reason.STOP)
    await settle()
    assert desk.clean


async def test_silence_ends_it_after_talk_and_without_any() -> None:
    desk = Desk(end_of_silence=1)
    await desk.tape.start()
    sent = [query for _, uri, query, _ in desk.studio.sent if uri.endswith("/variable")]
    assert sent == [{"variable": "TALK_DETECT(set)", "value": "1000"}]
    desk.tape.talking(begun=True)
    await asyncio.sleep(1.1)
    assert desk.over == []
    desk.tape.talking(begun=False)
    await settle()
    assert [reason for reason, _ in desk.over] == [Reason.SILENCE]
    quiet = Desk(end_of_silence=1)
    await quiet.tape.start()
    await until(lambda: quiet.over)
    assert [reason for reason, _ in quiet.over] == [Reason.SILENCE]
    assert quiet.clean


async def test_its_time_ends_it() -> None:
    desk = Desk(max_seconds=1)
    await desk.tape.start()
    await until(lambda: desk.over)
    assert [reason for reason, _ in desk.over] == [Reason.DURATION]
    assert desk.clean


async def test_a_hang_up_ends_it() -> None:
    desk = Desk()
    await desk.tape.start()
    desk.studio.hang_up(desk.recording.name)
    assert [reason for reason, _ in desk.over] == [Reason.HANGUP]
    await settle()
    assert desk.clean


async def test_an_end_that_nobody_reports_is_found(quick: None) -> None:
    desk = Desk()
    await desk.tape.start()
    desk.studio.live.clear()
    desk.tape.subject_gone()
    await until(lambda: desk.over)
    await settle()
    assert [reason for reason, _ in desk.over] == [Reason.HANGUP]
    assert desk.tape.unheard, "when it ended, its file knows"


async def test_a_stop_whose_event_is_lost_is_found(quick: None) -> None:
    desk = Desk()
    await desk.tape.start()
    desk.studio.silent.add("stop")
    desk.tape.stop(Reason.STOP)
    await until(lambda: desk.over)
    await settle()
    assert [reason for reason, _ in desk.over] == [Reason.STOP]
    assert desk.clean


async def test_a_stop_while_it_begins_takes_effect() -> None:
    desk = Desk()
    starting = asyncio.create_task(desk.tape.start())
    await asyncio.sleep(0)
    desk.tape.stop(Reason.STOP)
    await starting
    await settle()
    assert desk.over == [(Reason.STOP, "")]
    assert desk.clean


@pytest.mark.parametrize(
    ("part", "error", "raised"),
    [
        ("/snoop/", not_found(), FailedPrecondition),
        ("/record", ari.Conflict("not in Stasis", status=409), FailedPrecondition),
        ("/record", ari.ServerError("disk full", status=500), Unavailable),
        ("/snoop/", ari.ConnectionLost("gone"), Unavailable),
    ],
)
async def test_what_cannot_begin_is_over_and_leaves_nothing(
    part: str, error: Exception, raised: type[RinglineError]
) -> None:
    desk = Desk()
    desk.studio.broken[part] = error
    with pytest.raises(raised):
        await desk.tape.start()
    assert [reason for reason, _ in desk.over] == [Reason.FAILED]
    await settle()
    assert desk.clean


async def test_a_snoop_channel_that_never_arrives(quick: None) -> None:
    desk = Desk()
    desk.studio.silent.add("snoop")
    with pytest.raises(Unavailable):
        await desk.tape.start()
    assert [reason for reason, _ in desk.over] == [Reason.FAILED]
    assert desk.clean


async def test_a_call_that_ends_while_it_begins() -> None:
    desk = Desk()
    desk.studio.silent.add("snoop")
    starting = asyncio.create_task(desk.tape.start())
    await settle()
    desk.tape.subject_gone()
    with pytest.raises(FailedPrecondition):
        await starting
    assert desk.clean


async def test_a_flow_that_is_cancelled_while_it_begins() -> None:
    desk = Desk()
    desk.studio.silent.add("snoop")
    starting = asyncio.create_task(desk.tape.start())
    await settle()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert len(desk.over) == 1
    assert desk.clean


async def test_it_goes_on_in_the_same_file_when_the_call_leaves_a_bridge() -> None:
    desk = Desk()
    await desk.tape.start()
    desk.tape.left_bridge()
    desk.tape.left_bridge()
    await settle()
    first, second = record_queries(desk)
    assert (first["ifExists"], second["ifExists"]) == ("fail", "append")
    assert first["name"] == second["name"]
    assert desk.studio.channels == {f"snoop-{desk.recording.id}-1"}
    assert set(desk.studio.auxiliary) == desk.studio.channels
    assert desk.over == []
    desk.tape.stop(Reason.STOP)
    await settle()
    assert desk.over == [(Reason.STOP, "")]
    assert desk.clean


@pytest.mark.parametrize("moment", range(12))
@pytest.mark.parametrize("ending", ["stop", "hangup"])
async def test_an_end_at_every_moment_of_going_on(quick: None, moment: int, ending: str) -> None:
    desk = Desk()
    await desk.tape.start()
    desk.tape.left_bridge()
    for _ in range(moment):
        await asyncio.sleep(0)
    if ending == "stop":
        desk.tape.stop(Reason.STOP)
    else:
        desk.studio.broken["/snoop/"] = desk.studio.broken["/record"] = not_found()
        desk.tape.subject_gone()
        if desk.recording.name in desk.studio.live:
            desk.studio.hang_up(desk.recording.name)
    await asyncio.sleep(0.15)
    await settle()
    assert len(desk.over) == 1
    assert desk.over[0][0] is (Reason.STOP if ending == "stop" else Reason.HANGUP)
    assert desk.clean


async def test_one_of_another_life_is_taken_over_where_it_stands() -> None:
    desk = Desk(max_seconds=60)
    desk.recording.status, desk.tape.restored = Status.RECORDING, True
    snoop = f"snoop-{desk.recording.id}-3"
    desk.studio.channels.add(snoop)
    desk.studio.live[desk.recording.name] = snoop
    await desk.tape.check()
    assert desk.running == 1
    assert set(desk.studio.auxiliary) == {snoop}
    desk.tape.stop(Reason.STOP)
    await settle()
    assert desk.clean


async def test_one_that_ended_in_between_is_over() -> None:
    desk = Desk()
    desk.recording.status, desk.tape.restored = Status.RECORDING, True
    await desk.tape.check()
    assert len(desk.over) == 1
    assert desk.tape.unheard


async def test_one_that_nobody_can_tell_about_is_kept() -> None:
    desk = Desk()
    await desk.tape.start()
    desk.studio.broken["GET recordings"] = ari.ConnectionLost("away")
    await desk.tape.check()
    assert desk.over == []
    desk.tape.close()
