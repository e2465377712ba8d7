"""The pure engine."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from ringline.flows import engine
from ringline.flows.engine import Finish, FlowError, Jump, Next, Push, step, upcoming
from ringline.flows.snapshot import Snapshot


def actions(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "next_id": engine.ZERO_ID, "type": name, "option": {}} for name in names]


def run(listed: list[dict[str, Any]], *results: Any) -> list[str]:
    """The ids that are run when the actions answer ``results`` (then ``Next`` to the end)."""
    snapshot, seen, answers = Snapshot(), [], list(results)
    action = step(listed, snapshot, None)
    while action is not None:
        seen.append(action["id"])
        action = step(listed, snapshot, answers.pop(0) if answers else Next(waited=True))
    return seen


def test_in_order_to_the_end() -> None:
    assert run(actions("a", "b", "c")) == ["a", "b", "c"]


def test_no_actions_end_at_once() -> None:
    assert run([]) == []


def test_next_id_overrides_the_sequence() -> None:
    listed = actions("a", "b", "c")
    listed[0]["next_id"] = "c"
    assert run(listed) == ["a", "c"]


def test_jump_and_finish() -> None:
    assert run(actions("a", "b", "c"), Jump("c")) == ["a", "c"]
    assert run(actions("a", "b", "c"), Finish()) == ["a"]
    assert run(actions("a", "b", "c"), Jump(engine.FINISH_ID)) == ["a"]
    assert run(actions("a", "b"), Next(), Jump(engine.START_ID)) == ["a", "b", "a", "b"]


def test_a_pushed_frame_runs_first_and_returns_behind_its_pusher() -> None:
    assert run(actions("a", "b"), Push(actions("x", "y"))) == ["a", "x", "y", "b"]


def test_a_jump_leaves_the_frames_inside() -> None:
    assert run(actions("a", "b"), Push(actions("x", "y")), Jump("b")) == ["a", "x", "b"]


def test_a_jump_to_nowhere_is_an_error_with_a_reason() -> None:
    with pytest.raises(FlowError) as error:
        run(actions("a"), Jump("nowhere"))
    assert error.value.reason == "TARGET_NOT_FOUND"


def test_a_loop_that_waits_for_nothing_is_stopped() -> None:
    listed = actions("a")
    snapshot = Snapshot()
    step(listed, snapshot, None)
    with pytest.raises(FlowError) as error:
        for _ in range(engine.MAX_STREAK + 1):
            step(listed, snapshot, Jump("a"))
    assert error.value.reason == "LOOP_LIMIT"


def test_waiting_resets_the_guard() -> None:
    listed = actions("a", "b")
    listed[1]["next_id"] = "a"
    snapshot = Snapshot()
    step(listed, snapshot, None)
    for _ in range(3 * engine.MAX_STREAK):
        step(listed, snapshot, Next(waited=True))
    assert snapshot.executed > 3 * engine.MAX_STREAK


def test_a_flow_does_not_run_for_ever_however_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_EXECUTED", 50)
    listed = actions("a")
    snapshot = Snapshot()
    step(listed, snapshot, None)
    listed[0]["next_id"] = "a"
    with pytest.raises(FlowError) as error:
        for _ in range(50):
            step(listed, snapshot, Next(waited=True))
    assert (error.value.reason, snapshot.executed) == ("ACTION_LIMIT", 51)


def test_endless_nesting_is_stopped() -> None:
    snapshot = Snapshot()
    step(actions("a"), snapshot, None)
    with pytest.raises(FlowError) as error:
        for _ in range(engine.MAX_DEPTH + 1):
            step(actions("a"), snapshot, Push(actions("a", "b")))
    assert error.value.reason == "TOO_DEEP"


def test_the_snapshot_survives_its_json() -> None:
    listed = actions("a", "b")
    snapshot = Snapshot(variables={"name": "Ann"})
    step(listed, snapshot, None)
    step(listed, snapshot, Push(actions("x", "y")))
    snapshot.loops["g"] = 2
    copy = Snapshot.from_json(snapshot.as_json())
    assert copy == snapshot
    assert step(listed, copy, Next()) == step(listed, snapshot, Next())


def test_upcoming_looks_ahead_by_sequence_and_next_id() -> None:
    listed = actions("a", "b", "c")
    listed[1]["next_id"] = "a"
    snapshot = Snapshot()
    step(listed, snapshot, None)
    assert upcoming(listed, snapshot) == listed[1]
    step(listed, snapshot, Next())
    assert upcoming(listed, snapshot) == listed[0]


def test_ids_of_real_actions_are_uuids_as_text() -> None:
    target = str(uuid4())
    listed = actions("a", "b")
    listed[1]["id"] = target
    assert run(listed, Jump(target)) == ["a", target]
