"""Flows tried without a telephone: what is told, how it is bounded, and that nothing happens for real."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from click.testing import Result
from pydantic import ValidationError
from typer.testing import CliRunner

from ringline import cli, log, settings
from ringline.errors import InvalidArgument, NotFound
from ringline.flows import check
from ringline.flows.simulation import run as simulation
from ringline.flows.simulation import trace
from ringline.flows.simulation.http import InlineScenario, view
from ringline.flows.simulation.run import Tried, simulate
from ringline.flows.simulation.scenario import Scenario
from ringline.flows.snapshot import RawAction

from .test_control import A, B, C, menu
from .test_page import EXAMPLE, PAGE
from .test_runner import talk

SOMEBODY = {"type": "tel", "target": "+15557778888"}


def raws(*actions: dict[str, Any]) -> list[RawAction]:
    found = check.examine(list(actions))
    assert found.faults == []
    return check.canonical(found.actions)


async def tried(*actions: dict[str, Any], stored: Any = None, **scenario: Any) -> Tried:
    return await simulate(raws(*actions), Scenario.model_validate_json(json.dumps(scenario)), stored=stored)


def told(result: Tried, *events: str) -> list[str]:
    return [entry.text for entry in result.trace if not events or entry.event in events]


def receive(**option: Any) -> dict[str, Any]:
    return {"type": "digits_receive", "option": {"duration": 5000, **option}}


async def test_the_whole_story_of_a_menu() -> None:
    result = await tried(*menu(), digits=["9", "2"])
    assert [(entry.at, entry.event, entry.action, entry.text) for entry in result.trace] == [
        (0.0, "action", "actions[0]", ""),
        (0.0, "play", "actions[0]", 'says "menu"'),
        (0.3, "action", "actions[1]", ""),
        (0.3, "waits", "actions[1]", "waits for 1 key, at most 5 s"),
        (0.8, "received", "actions[1]", "receives 9"),
        (0.8, "variable", "actions[1]", 'voipbin.call.digits = "9"'),
        (0.8, "action", "actions[2]", ""),
        (0.8, "variable", "actions[2]", 'voipbin.call.digits = ""'),
        (0.8, "goes_on", "actions[2]", "goes on at actions[7] (talk)"),
        (0.8, "action", "actions[7]", ""),
        (0.8, "play", "actions[7]", 'says "default"'),
        (1.29, "action", "actions[8]", ""),
        (1.29, "goes_on", "actions[8]", "goes on at actions[0] (talk)"),
        (1.29, "action", "actions[0]", ""),
        (1.29, "play", "actions[0]", 'says "menu"'),
        (1.59, "action", "actions[1]", ""),
        (1.59, "waits", "actions[1]", "waits for 1 key, at most 5 s"),
        (2.09, "received", "actions[1]", "receives 2"),
        (2.09, "variable", "actions[1]", 'voipbin.call.digits = "2"'),
        (2.09, "action", "actions[2]", ""),
        (2.09, "variable", "actions[2]", 'voipbin.call.digits = ""'),
        (2.09, "goes_on", "actions[2]", "goes on at actions[5] (talk)"),
        (2.09, "action", "actions[5]", ""),
        (2.09, "play", "actions[5]", 'says "two"'),
        (2.39, "action", "actions[6]", ""),
        (2.39, "hangup", "actions[6]", "hangs up (normal)"),
    ]
    assert (result.reason, result.hangup_by, result.seconds, result.cut) == ("complete", "local", 2.39, False)


async def test_keys_for_each_time_they_are_asked_for() -> None:
    said = talk("got ${voipbin.call.digits}")
    result = await tried(
        receive(length=1), said, receive(length=9, key="#"), said, receive(), said, receive(length=0), said,
        digits=["12", "42#7", "-", "777"],
    )  # fmt: skip
    assert told(result, "play") == [
        'says "got 1"',
        'says "got 42#"',
        'says "got "',
        'says "got 777"',
    ]


async def test_keys_at_their_moments() -> None:
    result = await tried(talk("x" * 100, digits_handle="next"), receive(length=2), digits=["12@3.5"])
    assert told(result, "stopped", "received") == ["a key ends it", "receives 12"]
    assert result.trace[2].at == 3.5


async def test_a_caller_who_hangs_up() -> None:
    result = await tried(talk("x" * 100), talk("never"), hangup_at=1.5)
    assert told(result, "hangup") == ["the other side hangs up"]
    assert (result.reason, result.hangup_by, result.seconds) == ("hangup", "remote", 1.5)


async def test_who_is_connected_and_who_is_not() -> None:
    connect = {"type": "connect", "option": {"destinations": [SOMEBODY]}}
    parties = [{"answers_after": None}, {"answers_after": 2, "talks_for": 30}]
    result = await tried(connect, connect, parties=parties)
    assert told(result, "connect", "connected", "disconnected") == [
        "rings +15557778888",
        "rings +15557778888",
        "somebody answers",
        "the conversation is over",
    ]
    assert result.seconds == 60 + 2 + 30


async def test_what_servers_answer() -> None:
    fetch = {"type": "fetch", "option": {"event_url": "https://a.example/next"}}
    web = [{"url": "https://a.example/*", "method": "POST", "body": [talk("from there")]}]
    result = await tried(fetch, talk("here"), web=web)
    assert told(result, "request", "play", "goes_on") == [
        "requests POST https://a.example/next: 200",
        "goes on with talk, which was fetched",
        'says "from there"',
        "goes on at actions[1] (talk)",
        'says "here"',
    ]
    for answer, reason in (
        ({"status": 500}, "FETCH_STATUS"),
        ({"fails": "TIMEOUT"}, "FETCH_TIMEOUT"),
        ({"body": [{"type": "tlak"}]}, "FETCH_INVALID"),
        ({"body": "no json"}, "FETCH_INVALID"),
    ):
        result = await tried(fetch, web=[{"url": "https://a.example/next", **answer}])
        assert result.reason == reason
    assert (await tried(fetch, talk("on"))).reason == "complete"


async def test_webhooks_are_answered_or_only_noted() -> None:
    def send(**option: Any) -> dict[str, Any]:
        return {"type": "webhook_send", "option": {"uri": "https://a.example/w", "method": "POST", **option}}

    web = [{"url": "https://a.example/w", "status": 418, "body": "teapot"}]
    result = await tried(
        send(sync=True), talk("${voipbin.webhook.status_code} ${voipbin.webhook.body}"), web=web
    )
    assert told(result, "play") == ['says "418 teapot"']
    result = await tried(send(sync=False))
    assert told(result, "request") == ["requests POST https://a.example/w: in the background"]


async def test_flows_within_come_from_the_scenario_and_then_from_the_store() -> None:
    given, kept = str(uuid4()), uuid4()

    class Stored:
        async def actions(self, customer_id: UUID, flow_id: UUID) -> list[RawAction]:
            if flow_id != kept:
                raise NotFound("no such flow", reason="FLOW_NOT_FOUND")
            return raws(talk("kept"))

    def fetch(flow_id: Any) -> dict[str, Any]:
        return {"type": "fetch_flow", "option": {"flow_id": str(flow_id)}}

    result = await tried(fetch(given), fetch(kept), flows={given: [talk("given")]}, stored=Stored())
    assert told(result, "play") == ['says "given"', 'says "kept"']
    assert (await tried(fetch(uuid4()), stored=Stored())).reason == "FLOW_NOT_FOUND"
    assert (await tried(fetch(kept))).reason == "FLOW_NOT_FOUND"


async def test_calls_are_noted_and_not_placed() -> None:
    call = {"type": "call", "option": {"destinations": [SOMEBODY], "actions": [talk("x")]}}
    assert told(await tried(call), "call") == ["places a call to +15557778888"]


async def test_it_is_the_moment_that_was_given() -> None:
    condition = {
        "type": "condition_datetime",
        "option": {"condition": "==", "hour": 9, "weekdays": [0], "false_target_id": B},
    }
    flow = [condition, talk("open"), {"type": "stop"}, {"id": B, **talk("closed")}]
    assert told(await tried(*flow, now="2026-11-22T09:30:00Z"), "play") == ['says "open"']
    assert told(await tried(*flow, now="2026-11-23T09:30:00Z"), "play") == ['says "closed"']


async def test_a_call_has_an_end() -> None:
    result = await tried({"id": A, "type": "sleep", "option": {"duration": 600_000}, "next_id": A})
    assert (result.seconds, result.hangup_reason, result.reason) == (3600, "timeout", "hangup")
    assert told(result, "hangup") == ["hangs up: a call lasts no longer"]


async def test_so_many_actions_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MAX_STEPS", 50)
    result = await tried({"id": A, "type": "sleep", "option": {"duration": 100}, "next_id": A})
    assert (result.reason, result.message) == ("SIMULATION_LIMIT", "a simulation ends after 50 actions")
    spin = await tried(
        {"id": C, "type": "branch", "option": {"default_target_id": A}},
        {"id": A, "type": "branch", "option": {"default_target_id": B}},
        {"id": B, "type": "goto", "option": {"target_id": C, "loop_count": 100_000}},
    )
    assert spin.reason == "SIMULATION_LIMIT"
    monkeypatch.setattr(trace, "MAX_ENTRIES", 5)
    cut = await tried(*menu())
    assert (cut.cut, len(cut.trace)) == (True, 5)


async def test_so_much_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "REAL_SECONDS", 0.0)
    result = await tried(talk("x"))
    assert result.reason == "SIMULATION_TIMEOUT"


@pytest.mark.parametrize(
    "wrong",
    [
        {"digits": ["1x"]},
        {"digits": "1"},
        {"hangup_at": -1},
        {"hangup_at": 1e9},
        {"parties": [{"answers_after": 61}]},
        {"web": [{"url": "x", "status": 99}]},
        {"direction": "sideways"},
        {"flows": {str(uuid4()): [{"type": "tlak"}]}},
        {"speed": 2},
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Scenario.model_validate_json(json.dumps(wrong))


async def test_variables_have_their_limits_here_too() -> None:
    assert told(await tried(talk("${a}"), variables={"a": "1", "voipbin.x": "2"}), "play") == ['says "1"']
    with pytest.raises(InvalidArgument, match="32768"):
        await tried(talk("x"), variables={"a": "x" * 40_000})


async def test_who_answers_is_found_out() -> None:
    amd = {"type": "amd", "option": {"machine_handle": "hangup"}}
    assert (await tried(amd, talk("hello"), answerer="MACHINE")).hangup_reason == "amd"
    assert told(await tried(amd, talk("hello")), "play") == ['says "hello"']


async def test_an_incoming_call_is_answered() -> None:
    result = await tried(
        {"type": "answer"}, talk("${voipbin.call.source.target}"), direction="incoming", source="+1999"
    )
    assert told(result, "answer", "play") == ["answers", 'says "+1999"']


@pytest.mark.parametrize("text", [match[1] for match in EXAMPLE.finditer(PAGE)])
async def test_every_example_of_the_page_can_be_tried(text: str) -> None:
    data = json.loads(text)
    if not isinstance(data, dict) or "actions" not in data:
        return
    body = InlineScenario.model_validate_json(json.dumps({**data, "digits": ["1"]} if "name" not in data else {
        "actions": data["actions"]
    }))  # fmt: skip
    result = await simulate(check.canonical(body.actions), body)
    assert result.reason in ("complete", "FLOW_NOT_FOUND")
    assert view(result).trace


def test_seconds_without_a_zone_are_utc() -> None:
    scenario = Scenario.model_validate_json('{"now": "2026-11-22T09:30:00"}')
    assert scenario.now is not None
    assert scenario.now.replace(tzinfo=UTC) == datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


class TestCommand:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log, "configure", lambda *_: None)
        settings.load.cache_clear()

    def ringline(self, folder: Path, flow: list[dict[str, Any]], *options: str, stdin: str = "") -> Result:
        (folder / "flow.json").write_text(json.dumps(flow))
        arguments = ["flow", "try", str(folder / "flow.json"), *options]
        return CliRunner().invoke(cli.app, arguments, input=stdin)

    def test_the_trace_in_a_terminal(self, tmp_path: Path) -> None:
        done = self.ringline(tmp_path, menu(), "--digits", "1")
        assert done.exit_code == 0
        assert done.stdout.splitlines() == [
            "     0.0 s  actions[0] talk",
            '     0.0 s    says "menu"',
            "     0.3 s  actions[1] digits_receive",
            "     0.3 s    waits for 1 key, at most 5 s",
            "     0.8 s    receives 1",
            '     0.8 s    voipbin.call.digits = "1"',
            "     0.8 s  actions[2] branch",
            '     0.8 s    voipbin.call.digits = ""',
            "     0.8 s  actions[3] talk",
            '     0.8 s    says "one"',
            "     1.1 s  actions[4] hangup",
            "     1.1 s    hangs up (normal)",
            "The flow came to its end, after 1.1 s.",
        ]

    def test_keys_from_the_keyboard(self, tmp_path: Path) -> None:
        done = self.ringline(tmp_path, menu(), "--interactive", stdin="x\n9\nh\n")
        assert "keys are 0-9, A-D, # and *" in done.stdout
        assert "goes on at actions[7] (talk)" in done.stdout
        assert done.stdout.splitlines()[-1].startswith("The call ended before the flow did")
        assert self.ringline(tmp_path, menu(), "--interactive").exit_code == 0, (
            "the end of the input hangs up"
        )

    def test_a_script_and_options(self, tmp_path: Path) -> None:
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"variables": {"a": "1"}, "hangup_at": 100}))
        flow = [talk("${a} ${b} ${voipbin.call.direction}")]
        done = self.ringline(
            tmp_path, flow, "--script", str(script), "--variable", "b=2", "--incoming", "--json"
        )
        shown = json.loads(done.stdout)
        assert shown["trace"][1]["text"] == 'says "1 2 incoming"'

    def test_what_is_wrong_is_said(self, tmp_path: Path) -> None:
        loop = [{"type": "goto", "option": {"target_id": str(uuid4()), "loop_count": 1}}]
        assert "leads nowhere" in self.ringline(tmp_path, loop).stderr
        assert self.ringline(tmp_path, loop).exit_code == 1
        for options, says in (
            (["--digits", "1x"], "digits[0] must be keys"),
            (["--script", str(tmp_path / "none.json")], "No such file"),
            (["--variable", "x"], "NAME=TEXT"),
        ):
            done = self.ringline(tmp_path, [talk("x")], *options)
            assert (done.exit_code, says in done.stderr) == (2, True)
        gone = [{"type": "fetch_flow", "option": {"flow_id": str(uuid4())}}]
        done = self.ringline(tmp_path, gone)
        assert (done.exit_code, "The flow was stopped: FLOW_NOT_FOUND" in done.stdout) == (1, True)


async def test_a_flow_of_a_text_is_tried_without_a_call() -> None:
    example = Path(__file__).parents[3] / "docs" / "examples" / "sms-auto-responder.json"
    flow = json.loads(example.read_text())
    for text, sent in {
        "hours?": "texts to +15557778888: We're open Mon-Fri 9-5",
        "${voipbin.call.id}": "texts to +12025550143: From +15557778888: ${voipbin.call.id}",
    }.items():
        result = await tried(*flow["actions"], text=text, source="+15557778888")
        assert result.reason == "complete"
        assert told(result, "message_send") == [sent]
    assert (await tried(*flow["actions"], text="Stop")).trace[-1].type == "stop"


async def test_what_needs_a_call_is_skipped_in_the_flow_of_a_text() -> None:
    result = await tried(
        talk("hello"),
        {"type": "message_send", "option": {"destinations": [SOMEBODY], "text": "hi"}},
        text="x",
    )
    assert told(result, "skipped", "message_send") == [
        "is skipped: there is no call",
        "texts to +15557778888: hi",
    ]
    assert result.variables["voipbin.message.destination.target"] == "+15559876543"


async def test_a_text_that_a_flow_of_a_call_sends_is_told() -> None:
    result = await tried({"type": "message_send", "option": {"destinations": [SOMEBODY], "text": "hi"}})
    assert told(result, "message_send") == ["texts to +15557778888: hi"]
