"""What is said of a flow when it is posted."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import TypeAdapter

from ringline.errors import InvalidArgument
from ringline.flows import engine
from ringline.flows.actions import Action, AnyAction
from ringline.flows.check import checked
from ringline.media.address_guard import check_url

LIST: TypeAdapter[list[Action]] = TypeAdapter(list[AnyAction])
BEEP: dict[str, Any] = {"type": "beep"}


def any_language(language: str) -> str:
    return language


def faults(*actions: dict[str, Any]) -> list[str]:
    """The places of all faults."""
    with pytest.raises(InvalidArgument) as error:
        checked(LIST.validate_python(list(actions), strict=False), any_language, check_url)
    assert error.value.details
    assert error.value.details[0]["field"] in error.value.message
    return [fault["field"] for fault in error.value.details]


def test_a_jump_to_nowhere_is_refused_with_its_place() -> None:
    nowhere = str(uuid4())
    assert faults(BEEP, {**BEEP, "next_id": nowhere}, {**BEEP, "next_id": nowhere}) == [
        "actions[1].next_id",
        "actions[2].next_id",
    ]


@pytest.mark.parametrize("target", [engine.ZERO_ID, engine.START_ID, engine.FINISH_ID, engine.NEXT_ID])
def test_reserved_targets_are_in_every_flow(target: str) -> None:
    (made,) = checked(LIST.validate_python([{**BEEP, "next_id": target}], strict=False), any_language)
    assert made["next_id"] == target


def test_jumps_forwards_and_backwards_are_fine() -> None:
    a, b = uuid4(), uuid4()
    actions = [{**BEEP, "id": a, "next_id": b}, {**BEEP, "id": b, "next_id": a}]
    assert [
        UUID(made["id"]) for made in checked(LIST.validate_python(actions, strict=False), any_language)
    ] == [
        a,
        b,
    ]


def test_two_actions_with_one_id_are_refused() -> None:
    one = str(uuid4())
    assert faults({**BEEP, "id": one}, {**BEEP, "id": one}) == ["actions[1].id"]


def test_urls_are_judged_by_the_operators_rule_unless_a_variable_is_in_them() -> None:
    urls = ["http://a.example/a.wav", "http://127.0.0.1/a.wav", "http://127.0.0.1/${name}"]
    assert faults(BEEP, {"type": "play", "option": {"stream_urls": urls}}) == [
        "actions[1].option.stream_urls[1]"
    ]
