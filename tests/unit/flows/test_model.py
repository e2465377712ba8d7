"""The engine against a model of what docs/flows.md says, and flows that die and go on against flows that do not.

The model is written from the page and not from the engine: a flow is a pile of lists, each with the position that
is being run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import orjson
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from ringline.calls.simulated import Script, SimulatedLeg, simulated_call
from ringline.clock import VirtualClock
from ringline.flows import engine
from ringline.flows.actions import Services
from ringline.flows.actions.services import FetchRequest
from ringline.flows.activeflow import Activeflow, ActiveflowStatus
from ringline.flows.calling import NotedCalls
from ringline.flows.engine import Finish, FlowError, Jump, Next, Push, Result
from ringline.flows.runner import Runner
from ringline.flows.snapshot import RawAction, Snapshot

from .test_runner import Media

MAX_STREAK, MAX_EXECUTED, MAX_DEPTH = 8, 60, 4
"""The engine's limits are lowered to these, so that they are met often."""


@contextmanager
def low_limits() -> Iterator[None]:
    with (
        patch.object(engine, "MAX_STREAK", MAX_STREAK),
        patch.object(engine, "MAX_EXECUTED", MAX_EXECUTED),
        patch.object(engine, "MAX_DEPTH", MAX_DEPTH),
    ):
        yield


class Stopped(Exception):
    """The model's flow was stopped, for this reason."""


@dataclass
class Model:
    """Lists within lists; ``positions`` says which action of each is being run (or will be next)."""

    lists: list[list[RawAction]]
    positions: list[int] = field(default_factory=lambda: [0])
    ran: int = 0
    without_waiting: int = 0

    def first(self) -> str | None:
        return self._arrive(waited=False)

    def go_on(self, result: Result) -> str | None:
        """The id of the action that runs after the present one answered ``result``; ``None`` at the end."""
        match result:
            case Finish():
                self._leave_all()
            case Jump(target):
                self._to(target)
            case Push(pushed):
                self._onwards()
                if len(self.lists) == MAX_DEPTH:
                    raise Stopped("TOO_DEEP")
                self.lists.append(pushed)
                self.positions.append(0)
            case Next():
                self._onwards()
        return self._arrive(waited=isinstance(result, Next) and result.waited)

    def _onwards(self) -> None:
        self._to(self.lists[-1][self.positions[-1]]["next_id"], of_next_id=True)

    def _to(self, target: str, *, of_next_id: bool = False) -> None:
        if target == engine.NEXT_ID or (of_next_id and target == engine.ZERO_ID):
            self.positions[-1] += 1
        elif target == engine.FINISH_ID:
            self._leave_all()
        elif target == engine.START_ID:
            del self.lists[1:], self.positions[1:]
            self.positions[0] = 0
        else:
            while self.lists:
                ids = [action["id"] for action in self.lists[-1]]
                if target in ids:
                    self.positions[-1] = ids.index(target)
                    return
                self.lists.pop()
                self.positions.pop()
            raise Stopped("TARGET_NOT_FOUND")

    def _leave_all(self) -> None:
        self.lists.clear()
        self.positions.clear()

    def _arrive(self, *, waited: bool) -> str | None:
        while self.lists and self.positions[-1] >= len(self.lists[-1]):
            self.lists.pop()
            self.positions.pop()
        self.without_waiting = 0 if waited else self.without_waiting + 1
        if not self.lists:
            return None
        self.ran += 1
        if self.ran > MAX_EXECUTED:
            raise Stopped("ACTION_LIMIT")
        if self.without_waiting > MAX_STREAK:
            raise Stopped("LOOP_LIMIT")
        here: str = self.lists[-1][self.positions[-1]]["id"]
        return here


POOL = [str(UUID(int=0xA0 + index)) for index in range(12)]
NOWHERE = str(UUID(int=0xFF))
RESERVED = [engine.START_ID, engine.FINISH_ID, engine.NEXT_ID]
TARGETS = st.sampled_from([*POOL * 2, *RESERVED, NOWHERE])


@st.composite
def lists_of_actions(draw: st.DrawFn, most: int = 6) -> list[RawAction]:
    ids = draw(st.lists(st.sampled_from(POOL), unique=True, min_size=0, max_size=most))
    nexts = st.sampled_from([engine.ZERO_ID] * 6 + [*POOL[:4], *RESERVED, NOWHERE])
    return [{"id": one, "next_id": draw(nexts), "type": "any", "option": {}} for one in ids]


class EngineMachine(RuleBasedStateMachine):
    """Steps of a random flow, in the engine and in the model; its snapshot may be stored and read at any time."""

    @initialize(actions=lists_of_actions(10))
    def begin(self, actions: list[RawAction]) -> None:
        self.actions = actions
        self.snapshot = Snapshot()
        self.model = Model([[*actions]])
        self.over = False
        self._compare(None)

    @precondition(lambda self: not self.over)
    @rule(waited=st.booleans())
    def the_next_one(self, waited: bool) -> None:
        self._compare(Next(waited=waited))

    @precondition(lambda self: not self.over)
    @rule(aim=TARGETS)
    def jump(self, aim: str) -> None:
        self._compare(Jump(aim))

    @precondition(lambda self: not self.over)
    @rule(pushed=lists_of_actions())
    def push(self, pushed: list[RawAction]) -> None:
        self._compare(Push(pushed))

    @precondition(lambda self: not self.over and self.model.ran > 5)
    @rule()
    def finish(self) -> None:
        self._compare(Finish())

    @rule()
    def store_and_read(self) -> None:
        stored = orjson.dumps(self.snapshot.as_json())
        self.snapshot = Snapshot.from_json(orjson.loads(stored))
        assert orjson.dumps(self.snapshot.as_json()) == stored

    def _compare(self, result: Result | None) -> None:
        expected: object
        got: object
        try:
            expected = self.model.first() if result is None else self.model.go_on(result)
        except Stopped as stopped:
            expected = f"stopped: {stopped}"
        with low_limits():
            try:
                action = engine.step(self.actions, self.snapshot, result)
                got = None if action is None else action["id"]
            except FlowError as error:
                got = f"stopped: {error.reason}"
        assert got == expected
        self.over = expected is None or str(expected).startswith("stopped")
        if not self.over:
            assert self.snapshot.current is not None
            assert (self.snapshot.executed, self.snapshot.streak) == (
                self.model.ran,
                self.model.without_waiting,
            )
            assert [frame.cursor for frame in self.snapshot.frames] == self.model.positions


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


# whole flows, with actions that do something: what is heard, and what is heard when the controller dies meanwhile

NAMES = ["a", "b"]
VALUES = ["", "1", "2", "x"]


@st.composite
def flows(draw: st.DrawFn, most: int = 8, *, within: bool = False) -> list[RawAction]:
    """Actions that were checked, as far as their form goes; where they lead is anybody's guess."""
    ids = [str(UUID(int=(0xB00 if within else 0xA00) + index)) for index in range(draw(st.integers(1, most)))]
    target = st.sampled_from([*ids, *([POOL[0]] if within else []), *RESERVED])
    value = st.sampled_from(VALUES)

    def option(kind: str) -> dict[str, Any]:
        match kind:
            case "talk":
                return {"text": draw(st.sampled_from(["say ${a}", "one", "two ${b}"]))}
            case "sleep":
                return {"duration": draw(st.sampled_from([50, 200]))}
            case "variable_set":
                return {"key": draw(st.sampled_from(NAMES)), "value": draw(value)}
            case "goto":
                return {"target_id": draw(target), "loop_count": draw(st.integers(0, 3))}
            case "branch":
                keys = draw(st.lists(st.sampled_from(VALUES[1:]), unique=True))
                return {
                    "variable": draw(st.sampled_from(["", *NAMES])),
                    "default_target_id": draw(target),
                    "target_ids": {key: draw(target) for key in keys},
                }
            case "condition_variable":
                return {
                    "condition": draw(st.sampled_from(["==", "!="])),
                    "variable": draw(st.sampled_from(NAMES)),
                    "value_string": draw(value),
                    "false_target_id": draw(target),
                }
            case "digits_receive":
                return {"duration": 1000, "length": 1}
            case "fetch":
                return {"event_url": "https://a.example/next"}
        return {}

    kinds = [
        "talk",
        "talk",
        "sleep",
        "variable_set",
        "goto",
        "branch",
        "condition_variable",
        "digits_receive",
    ]
    kinds += ["stop", "hangup"] + ([] if within else ["fetch"])
    made = []
    for one in ids:
        kind = draw(st.sampled_from(kinds))
        following = draw(st.sampled_from([engine.ZERO_ID] * 5 + ids))
        made.append({"id": one, "next_id": following, "type": kind, "option": option(kind)})
    return made


@dataclass
class Heard:
    """What the documented flow does, without any of our classes: the model's own interpreter of actions."""

    actions: list[RawAction]
    fetched: list[RawAction]
    keys: list[str]
    said: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    jumps: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    def run(self) -> Heard:
        model = Model([[*self.actions]])
        self._all = {action["id"]: action for action in [*self.actions, *self.fetched]}
        try:
            here = model.first()
            while here is not None:
                here = model.go_on(self._do(self._all[here]))
            self.reason = "complete"
        except Stopped as stopped:
            self.reason = str(stopped)
        return self

    def _do(self, action: RawAction) -> Result:
        option = action["option"]
        match action["type"]:
            case "talk":
                text = option["text"]
                for name in NAMES:
                    text = text.replace(f"${{{name}}}", self.values.get(name, ""))
                self.said.append(text)
                return Next(waited=True)
            case "sleep":
                return Next(waited=option["duration"] >= 100)
            case "variable_set":
                self.values[option["key"]] = option["value"]
            case "goto":
                made = self.jumps.get(action["id"], 0)
                if made < option["loop_count"]:
                    self.jumps[action["id"]] = made + 1
                    return Jump(option["target_id"])
            case "branch":
                name = option["variable"] or "digits"
                value, self.values[name] = self.values.get(name, ""), ""
                return Jump(option["target_ids"].get(value, option["default_target_id"]))
            case "condition_variable":
                same = self.values.get(option["variable"], "") == option["value_string"]
                if same != (option["condition"] == "=="):
                    return Jump(option["false_target_id"])
            case "digits_receive":
                # a key that was pressed before is there at once
                there = bool(self.keys)
                self.values["digits"] = self.keys.pop(0) if there else ""
                return Next(waited=not there)
            case "fetch":
                return Push([*self.fetched])
            case "stop" | "hangup":
                return Finish()
        return Next()


class Killed(BaseException):
    """The controller's process is gone: nothing after this line is executed."""


class Fetches:
    def __init__(self, actions: list[RawAction]) -> None:
        self.actions = actions

    async def fetch(self, request: FetchRequest) -> list[RawAction]:
        return self.actions


class Life:
    """One life of the controller after another, on one leg. ``deaths``: how many steps each life makes."""

    def __init__(self, actions: list[RawAction], fetched: list[RawAction], script: Script) -> None:
        self.clock = VirtualClock()
        call = simulated_call(self.clock)
        self.leg = SimulatedLeg(call, self.clock, script)
        self.flow = Activeflow(uuid4(), call.customer_id, uuid4(), actions, self.clock.now())
        self.services = Services(calls=NotedCalls(), fetches=Fetches(fetched))
        self.lives = 0
        self._left = 0
        self._begun = 0

    def flow_changed(self, activeflow: Activeflow) -> None:
        if activeflow.status is ActiveflowStatus.ENDED or activeflow.snapshot.executed == self._begun:
            return
        self._begun = activeflow.snapshot.executed
        self._stored = orjson.dumps(activeflow.snapshot.as_json())
        self._left -= 1
        if self._left == 0:
            raise Killed

    def action_done(self, kind: str, result: str, seconds: float) -> None:
        pass

    async def run(self, deaths: list[int]) -> None:
        for steps in [*deaths, 0]:
            self._left = steps
            runner = Runner(
                self.flow, self.leg, Media(), self.clock, self, self.services, resumed=self.lives > 0
            )
            try:
                await runner.run()
            except Killed:
                self.lives += 1
                self.flow.snapshot = Snapshot.from_json(orjson.loads(self._stored))
                self.flow.status, self.flow.reason = ActiveflowStatus.RUNNING, ""
            else:
                return

    @property
    def said(self) -> list[str]:
        return [heard.detail.removeprefix("/speech/") for heard in self.leg.trace if heard.what == "play"]


def keys_of(keys: list[str]) -> Script:
    """All pressed at the very start: each is taken by the first that waits for one."""
    return Script(digits=[(0.0, key) for key in keys])


FLOW_SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEYS = st.lists(st.sampled_from(["1", "2"]), max_size=3)


THREE_TIMES: list[RawAction] = [
    {"id": POOL[0], "next_id": engine.ZERO_ID, "type": "talk", "option": {"text": "one"}},
    {
        "id": POOL[1],
        "next_id": engine.ZERO_ID,
        "type": "goto",
        "option": {"target_id": POOL[0], "loop_count": 2},
    },
]


@FLOW_SETTINGS
@example(THREE_TIMES, [], [], [3, 2])
@given(flows(), flows(4, within=True), KEYS, st.lists(st.integers(1, 6), max_size=4))
def test_a_flow_does_what_the_page_says_however_often_its_controller_dies(
    actions: list[RawAction], fetched: list[RawAction], keys: list[str], deaths: list[int]
) -> None:
    expected = Heard(actions, fetched, [*keys]).run()
    life = Life(actions, fetched, keys_of(keys))
    with low_limits():
        asyncio.run(life.run(deaths))
    assert life.said == expected.said
    assert life.flow.reason == expected.reason
    variables = dict(life.flow.snapshot.variables)
    variables["digits"] = variables.pop("voipbin.call.digits", "")
    assert {name: text for name, text in variables.items() if text} == {
        name: text for name, text in expected.values.items() if text
    }
    assert life.leg.call.ended


@FLOW_SETTINGS
@given(flows(), flows(4, within=True), KEYS, st.floats(0.01, 5.0), st.lists(st.integers(1, 6), max_size=2))
def test_a_caller_who_hangs_up_hears_the_beginning_of_it_and_no_more(
    actions: list[RawAction], fetched: list[RawAction], keys: list[str], moment: float, deaths: list[int]
) -> None:
    expected = Heard(actions, fetched, [*keys]).run()
    script = keys_of(keys)
    script.hangs_up_at = moment
    life = Life(actions, fetched, script)
    with low_limits():
        asyncio.run(life.run(deaths))
    assert life.said == expected.said[: len(life.said)]
    assert life.leg.call.ended
    assert life.flow.status is ActiveflowStatus.ENDED
    gone = any(heard.what == "hangup" and heard.detail == "remote" for heard in life.leg.trace)
    assert (life.flow.reason == "hangup") == gone
    if gone:
        assert life.clock.monotonic() <= moment + 0.001
    else:
        assert (life.said, life.flow.reason) == (expected.said, expected.reason)
