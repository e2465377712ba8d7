"""Flows on the simulated leg: what is heard, in which order, and how a flow ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter

from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.calls.states import Direction, HangupReason, Status
from ringline.clock import VirtualClock
from ringline.flows import engine
from ringline.flows.actions import Action, AnyAction
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.check import canonical
from ringline.flows.runner import Runner
from ringline.media import MediaFailed, Prompt

ADAPTER: TypeAdapter[list[Action]] = TypeAdapter(list[AnyAction])


class Media:
    """Speech that lasts 100 ms a character; texts with ``fail`` in them cannot be spoken."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt:
        self.asked.append(text)
        if "fail" in text:
            raise MediaFailed("no speech engine could say it", reason="SPEECH_FAILED")
        return Prompt(f"/speech/{text}", 100 * len(text))

    async def file(self, url: str) -> Prompt:
        if "private" in url:
            raise MediaFailed("private addresses are not fetched", reason="FETCH_FORBIDDEN")
        return Prompt(f"/file/{url}", 1000)

    async def beep(self) -> Prompt:
        return Prompt("/beep", 400)


@dataclass
class Observed:
    changes: list[tuple[str, str]] = field(default_factory=list)
    actions: list[tuple[str, str]] = field(default_factory=list)

    def flow_changed(self, activeflow: Activeflow) -> None:
        current = activeflow.snapshot.current
        self.changes.append((activeflow.status.value, current["type"] if current else ""))

    def action_done(self, kind: str, result: str, seconds: float) -> None:
        self.actions.append((kind, result))


@dataclass
class Ran:
    leg: SimulatedLeg
    flow: Activeflow
    observed: Observed
    media: Media

    @property
    def trace(self) -> list[tuple[float, str, str]]:
        return [(heard.at, heard.what, heard.detail) for heard in self.leg.trace]

    @property
    def failures(self) -> list[tuple[str, str]]:
        return [(failure.type, failure.reason) for failure in self.leg.call.failures]


async def run(
    *actions: dict[str, Any],
    script: Script | None = None,
    direction: Direction = Direction.OUTGOING,
    variables: dict[str, str] | None = None,
    media: Media | None = None,
) -> Ran:
    clock = VirtualClock()
    call = simulated_call(clock, direction=direction)
    leg = SimulatedLeg(call, clock, script)
    flow = Activeflow(
        uuid4(),
        call.customer_id,
        uuid4(),
        canonical(ADAPTER.validate_python(list(actions), strict=False)),
        clock.now(),
    )
    flow.snapshot.variables.update(variables or {})
    observed, media = Observed(), media or Media()
    await Runner(flow, leg, media, clock, observed).run()
    return Ran(leg, flow, observed, media)


def talk(text: str, **option: Any) -> dict[str, Any]:
    return {"type": "talk", "option": {"text": text, **option}}


async def test_everything_in_one_flow_and_in_order() -> None:
    ran = await run(
        {"type": "answer"},
        talk("hello"),
        {"type": "play", "option": {"stream_urls": ["http://a.example/x.wav", "http://a.example/y.wav"]}},
        {"type": "beep"},
        {"type": "sleep", "option": {"duration": 1500}},
        {"type": "dtmf_send", "option": {"dtmfs": "12#", "duration": 500, "interval": 500}},
    )
    assert ran.trace == [
        (0.0, "play", "/speech/hello"),
        (0.5, "play", "/file/http://a.example/x.wav"),
        (1.5, "play", "/file/http://a.example/y.wav"),
        (2.5, "play", "/beep"),
        (4.4, "digits", "12#"),
        (6.9, "hangup", "normal"),
    ]
    assert (ran.leg.call.status, ran.leg.call.hangup_reason) == (Status.HANGUP, HangupReason.NORMAL)
    assert (ran.flow.status, ran.flow.reason) == (ActiveflowStatus.ENDED, "complete")
    assert ran.failures == []


async def test_an_incoming_call_is_answered_and_an_outgoing_one_is_up_already() -> None:
    incoming = await run({"type": "answer"}, direction=Direction.INCOMING)
    assert [what for _, what, _ in incoming.trace] == ["answer", "hangup"]
    outgoing = await run({"type": "answer"})
    assert [what for _, what, _ in outgoing.trace] == ["hangup"]


async def test_the_snapshot_is_reported_before_each_action_and_at_the_end() -> None:
    ran = await run(talk("a"), {"type": "beep"})
    # each of the two notes besides when it began to play
    changes = [change for change, _ in groupby(ran.observed.changes)]
    assert changes == [("running", "talk"), ("running", "beep"), ("ended", "")]
    assert ran.observed.actions == [("talk", "ok"), ("beep", "ok")]


async def test_what_fails_is_noted_on_the_call_and_the_flow_goes_on() -> None:
    ran = await run(
        talk("fail this"),
        {"type": "play", "option": {"stream_urls": ["http://private.example/a", "http://b.example/b"]}},
        talk("still here"),
    )
    assert ran.failures == [("talk", "SPEECH_FAILED"), ("play", "FETCH_FORBIDDEN")]
    assert [detail for _, what, detail in ran.trace if what == "play"] == [
        "/file/http://b.example/b",
        "/speech/still here",
    ]
    assert ran.flow.reason == "complete"


async def test_a_decision_that_cannot_be_made_ends_the_flow_with_its_reason() -> None:
    ran = await run(
        {
            "type": "condition_variable",
            "option": {"condition": "==", "variable": "${long}${long}", "false_target_id": engine.FINISH_ID},
        },
        talk("never"),
        variables={"long": "x" * 100_000},
    )
    assert ran.failures == [("condition_variable", "OPTION_TOO_LONG")]
    assert (ran.flow.reason, [what for _, what, _ in ran.trace]) == ("OPTION_TOO_LONG", ["hangup"])


async def test_the_caller_hangs_up_in_the_middle() -> None:
    ran = await run(talk("0123456789"), talk("never"), script=Script(hangs_up_at=0.5))
    assert ran.trace == [(0.0, "play", "/speech/0123456789"), (0.5, "hangup", "remote")]
    assert (ran.leg.call.hangup_by, ran.flow.reason) == ("remote", "hangup")
    assert ran.observed.actions == [("talk", "gone")]


async def test_a_key_ends_a_talk_that_allows_it() -> None:
    script = Script(digits=[(0.3, "5")])
    ran = await run(talk("0123456789", digits_handle="next"), talk("then"), script=script)
    assert ran.trace == [
        (0.0, "play", "/speech/0123456789"),
        (0.3, "stopped", ""),
        (0.3, "play", "/speech/then"),
        (0.7, "hangup", "normal"),
    ]
    other = await run(talk("0123456789"), script=Script(digits=[(0.3, "5")]))
    assert other.trace[-1] == (1.0, "hangup", "normal")


async def test_an_asynchronous_talk_does_not_hold_the_flow() -> None:
    ran = await run(talk("0123456789", **{"async": True}), {"type": "sleep", "option": {"duration": 200}})
    assert ran.trace == [(0.0, "play_behind", "/speech/0123456789"), (0.2, "hangup", "normal")]


async def test_hangup_ends_the_flow_with_its_reason() -> None:
    ran = await run({"type": "hangup", "option": {"reason": "busy"}}, talk("never"))
    assert ran.trace == [(0.0, "hangup", "busy")]


async def test_variables_are_put_in_once_and_never_looked_through_again() -> None:
    ran = await run(
        talk("Hi ${name}, from ${voipbin.call.source.target}${missing}"),
        variables={"name": "${voipbin.call.id}"},
    )
    assert ran.media.asked[-1] == "Hi ${voipbin.call.id}, from +15551234567"


async def test_an_option_that_is_wrong_only_once_its_variable_is_known() -> None:
    ran = await run(
        {"type": "digits_send", "option": {"digits": "${keys}"}}, talk("on"), variables={"keys": "12x"}
    )
    assert ran.failures == [("digits_send", "INVALID_OPTION")]
    assert [what for _, what, _ in ran.trace] == ["play", "hangup"]


async def test_the_next_speech_is_made_while_the_present_one_plays() -> None:
    ran = await run(talk("one"), talk("two"), talk("three"))
    assert ran.media.asked == ["one", "two", "two", "three", "three"]


async def test_cancelling_the_runner_ends_the_flow_and_leaves_no_task() -> None:
    class Stuck(SimulatedLeg):
        async def wait(self, seconds: float) -> None:
            await asyncio.Event().wait()

    clock = VirtualClock()
    call = simulated_call(clock)
    flow = Activeflow(
        uuid4(),
        call.customer_id,
        uuid4(),
        canonical(
            ADAPTER.validate_python(
                [{"type": "sleep", "option": {"duration": 60000}}, talk("x")], strict=False
            )
        ),
        clock.now(),
    )
    before = len(asyncio.all_tasks())
    task = asyncio.create_task(Runner(flow, Stuck(call, clock), Media(), clock, Observed()).run())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert (flow.status, flow.reason) == (ActiveflowStatus.ENDED, "hangup")
    assert len(asyncio.all_tasks()) == before


A = str(uuid4())


async def turns_of_the_loop(
    *actions: dict[str, Any], variables: dict[str, str] | None = None
) -> tuple[Ran, int]:
    """Run a flow beside a task that counts how often it gets its turn."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    try:
        return await run(*actions, variables=variables), turns
    finally:
        counting.cancel()


async def test_an_action_that_fails_and_jumps_to_itself_ends_soon_and_lets_others_work() -> None:
    ran, turns = await turns_of_the_loop(
        {"id": A, "next_id": A, **talk("${a}" * 1250)}, variables={"a": "x" * 32_768}
    )
    assert ran.flow.reason == "LOOP_LIMIT"
    assert ("talk", "OPTION_TOO_LONG") in ran.failures
    assert turns >= engine.MAX_STREAK


async def test_actions_that_do_not_wait_let_others_work() -> None:
    ran, turns = await turns_of_the_loop({"id": A, "next_id": A, **talk("x", **{"async": True})})
    assert (ran.flow.reason, ran.flow.snapshot.executed) == ("LOOP_LIMIT", engine.MAX_STREAK + 1)
    assert turns >= engine.MAX_STREAK


async def test_a_wait_too_short_does_not_count_as_one() -> None:
    nap = {"type": "sleep", "option": {"duration": 1}}
    ran = await run({"id": A, **talk("x", **{"async": True})}, {**nap, "next_id": A})
    assert (ran.flow.reason, ran.flow.snapshot.executed) == ("LOOP_LIMIT", engine.MAX_STREAK + 1)


async def test_a_wait_of_a_tenth_of_a_second_counts() -> None:
    sleep = {"id": A, "next_id": A, "type": "sleep", "option": {"duration": 100}}
    ran = await run(sleep, script=Script(hangs_up_at=0.1 * 2 * engine.MAX_STREAK))
    assert (ran.flow.reason, ran.leg.call.hangup_by) == ("hangup", "remote")


async def test_no_more_than_one_action_is_prepared_at_a_time() -> None:
    class Endless(Media):
        """Speech that is never ready ahead of time."""

        def __init__(self) -> None:
            super().__init__()
            self.under_way = self.most = 0

        async def speech(self, text: str, language: str = "en-US", voice_id: str = "") -> Prompt:
            task = asyncio.current_task()
            if task is None or task.get_name() != "prepare":
                return await super().speech(text, language, voice_id)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                await asyncio.Event().wait()
            finally:
                self.under_way -= 1
            raise AssertionError

    media = Endless()
    ran = await run(*(talk("x") for _ in range(20)), media=media)
    await asyncio.sleep(0)
    assert (ran.flow.reason, media.most, media.under_way) == ("complete", 1, 0)
