"""Flows on the simulated leg and on real calls: the same actions in the same order, and what was said was heard."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from tests.stack.audio import chirp, encode, find, read_wav
from tests.stack.files import Files
from tests.stack.product import (
    ANSWER,
    BEEP,
    HANGUP,
    Json,
    Product,
    digits,
    eventually,
    number,
    play,
    sleep,
)
from tests.stack.wrapper import ringline

SECONDS = 0.8
SOUNDS = {
    "menu": chirp(400, 900, 2.5),
    "one": chirp(2800, 2200, SECONDS),
    "two": chirp(1000, 3000, SECONDS),
    "other": chirp(3200, 1200, SECONDS),
    "over": chirp(600, 300, SECONDS),
}
A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")
NEXT = "00000000-0000-0000-0000-000000000003"


def act(kind: str, name: str | None = None, next_id: str | None = None, **option: object) -> Json:
    made: Json = {"type": kind, "option": option}
    return made | ({"id": name} if name else {}) | ({"next_id": next_id} if next_id else {})


def named(name: str, action: Json) -> Json:
    return {**action, "id": name}


@dataclass
class Case:
    """A flow, whom it calls (the carrier's behaviour), and the same for the simulated leg."""

    actions: list[Json]
    ending: str = "1234"
    scenario: Json = field(default_factory=dict)
    within: bool = False
    """Whether its actions are run by ``fetch_flow`` from a flow that has only that and a last sound."""


class Sounds:
    """The sounds on the web, as ``play`` actions."""

    def __init__(self, files: Files) -> None:
        self.urls = {name: files.add(f"{name}.wav", encode(sound, "wav")) for name, sound in SOUNDS.items()}
        self.names = {url: name for name, url in self.urls.items()}

    def __getitem__(self, name: str) -> Json:
        return play(self.urls[name])

    @property
    def seconds(self) -> dict[str, float]:
        return {self.urls[name]: len(sound) / 8000 for name, sound in SOUNDS.items()}


def menu(say: Sounds) -> list[Json]:
    """The tutorial's branch example."""
    return [
        named(A, say["menu"]),
        act("digits_receive", duration=1500, length=1),
        act("branch", default_target_id=D, target_ids={"1": B, "2": C}),
        named(B, say["one"]),
        HANGUP,
        named(C, say["two"]),
        HANGUP,
        named(D, say["other"]),
        act("goto", target_id=A, loop_count=1),
        say["over"],
        HANGUP,
    ]


def rings(ending: str) -> Json:
    return act("connect", destinations=[{"type": "tel", "target": number(ending)}])


def cases(say: Sounds) -> dict[str, Case]:
    return {
        "a key": Case(menu(say), "0011", {"digits": ["1@2.0"]}),
        "another key": Case(menu(say), "0012", {"digits": ["2@2.0"]}),
        "no key": Case(menu(say)),
        "conditions": Case(
            [
                act("variable_set", key="n", value="7"),
                act(
                    "condition_variable",
                    condition=">",
                    variable="n",
                    value_type="number",
                    value_number=9,
                    false_target_id=C,
                ),
                say["one"],
                named(C, say["two"]),
                act("condition_call_status", status="progressing", false_target_id=A),
                act("variable_set", key="keys", value="1${n}#", next_id=B),
                named(A, say["other"]),
                named(B, digits("${keys}")),
            ]
        ),
        "a loop": Case(
            [ANSWER, named(A, BEEP), sleep(0.3), act("goto", target_id=A, loop_count=2), say["over"], act("stop")]
        ),
        "within another": Case(
            [say["one"], act("condition_call_digits", length=1, false_target_id=NEXT), say["two"]], within=True
        ),
        "they hang up": Case([sleep(0.2), say["menu"], say["one"]], "0007", {"hangup_at": 1.0}),
        "a conversation": Case(
            [rings("0007"), say["two"]], scenario={"parties": [{"answers_after": 1.0, "talks_for": 1.0}]}
        ),
        "nobody to talk with": Case([rings("0001"), say["other"]], scenario={"parties": [{"answers_after": None}]}),
        "an action that fails": Case(
            [act("variable_set", key="bad", value="xyz"), digits("${bad}"), act("talk", text="${bad}"), say["one"]]
        ),
        "a loop without end": Case(
            [act("variable_set", name=A, key="x", value="1"), act("goto", target_id=A, loop_count=100_000)]
        ),
        "what decides cannot": Case(
            [
                act("variable_set", key="long", value="x" * 30_000),
                act(
                    "condition_variable",
                    condition="==",
                    variable="${long}" * 5,
                    false_target_id=NEXT,
                ),
                say["one"],
            ]
        ),
    }  # fmt: skip


NAMES = (
    "a key", "another key", "no key", "conditions", "a loop", "within another", "they hang up", "a conversation",
    "nobody to talk with", "an action that fails", "a loop without end", "what decides cannot",
)  # fmt: skip


@pytest.fixture
def say(files: Files) -> Sounds:
    return Sounds(files)


async def prepared(product: Product, case: Case, say: Sounds) -> list[Json]:
    """The actions with ids of their own, so that they can be told apart in both traces."""
    actions = [{"id": str(uuid4()), **action} for action in case.actions]
    if not case.within:
        return actions
    flow_id = await product.store_flow(*actions)
    return [
        {"id": str(uuid4()), "type": "fetch_flow", "option": {"flow_id": flow_id}},
        {"id": str(uuid4()), **say["over"]},
    ]


async def ended(product: Product, activeflow_id: str) -> Json:
    async def look() -> Json | None:
        shown: Json = await product.api.get(f"/v1.0/activeflows/{activeflow_id}")
        return shown if shown["status"] == "ended" else None

    found: Json = await eventually(look, "the activeflow has ended")
    return found


def heard(product: Product, line: Json) -> list[str]:
    """The sounds in the carrier's recording, in order."""
    recording = read_wav(product.recording(line))
    found = []
    for name, sound in SOUNDS.items():
        rest = recording.copy()
        while (match := find(rest, sound)).peak > 0.8:
            found.append((match.start, name))
            rest[int(match.start * 8000) : int(match.end * 8000)] = np.zeros(1)
    return [name for _, name in sorted(found)]


@pytest.mark.parametrize("name", NAMES)
async def test_both_legs_tell_the_same_story(product: Product, say: Sounds, name: str) -> None:
    case = cases(say)[name]
    actions = await prepared(product, case, say)
    tried = await product.api.post(
        "/v1.0/flows/simulations", {"actions": actions, "files": say.seconds, **case.scenario}
    )
    to = number(case.ending)
    placed = await product.place(to, *actions)
    record = await product.ended(placed, within=60)
    flow = await ended(product, placed["activeflow_id"])
    line = await product.line(to)

    steps = [entry["type"] for entry in tried["trace"] if entry["event"] == "action"]
    real = [action["type"] for action in flow["executed_actions"]]
    assert real == steps[-100:], "the same actions in the same order"
    assert flow["reason"] == tried["reason"]
    assert (record["hangup_by"], record["hangup_reason"]) == (tried["hangup_by"], tried["hangup_reason"])
    failed = [(action["type"], action["reason"]) for action in flow["executed_actions"] if action["reason"]]
    assert failed == [
        (entry["type"], entry["detail"]) for entry in tried["trace"] if entry["event"] == "failed"
    ]
    assert [failure["reason"] for failure in record["failures"]] == [
        failure["reason"] for failure in tried["failures"]
    ]

    said = [
        say.names[entry["detail"].removeprefix("file:")]
        for entry in tried["trace"]
        if entry["event"] == "play" and entry["detail"].startswith("file:")
    ]
    whole = said if tried["reason"] != "hangup" else said[:-1]
    assert heard(product, line) == whole, "what was said was heard, in the same order"
    sent = "".join(entry["detail"] for entry in tried["trace"] if entry["event"] == "digits")
    assert line["dtmf"] == sent

    # how long each took; on a real leg what is played is asked for and answered over a network first
    if "connect" not in steps and len(steps) < 100:
        virtual = _durations(tried)
        for action, seconds in zip(flow["executed_actions"], virtual, strict=True):
            took = action["duration"] / 1000
            # a machine that stands still for a moment makes it longer, never shorter
            assert seconds - 1.5 < took < seconds + 5, (action, seconds)


def _durations(tried: Json) -> list[float]:
    """Seconds of each action of a simulation."""
    starts = [entry["at"] for entry in tried["trace"] if entry["event"] == "action"]
    return [end - start for start, end in zip(starts, [*starts[1:], tried["seconds"]], strict=True)]


async def test_the_command_tries_files_of_the_present_folder(product: Product, tmp_path: Path) -> None:
    (tmp_path / "flow.json").write_text(json.dumps([BEEP, HANGUP]))
    code, said = await ringline("flow", "try", "flow.json", folder=tmp_path)
    assert code == 0, said
    assert said.splitlines()[-1] == "The flow came to its end, after 0.4 s."
