"""Control flow on the simulated leg: branches, loops, conditions, variables."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from pydantic import TypeAdapter

from ringline.calls.simulated import Script
from ringline.errors import InvalidArgument
from ringline.flows.actions import Action, AnyAction
from ringline.flows.check import checked

from .test_runner import Ran, run, talk

LIST: TypeAdapter[list[Action]] = TypeAdapter(list[AnyAction])
A, B, C, D = (str(uuid4()) for _ in range(4))


def spoken(ran: Ran) -> list[str]:
    return [detail.removeprefix("/speech/") for _, what, detail in ran.trace if what == "play"]


def menu() -> list[dict[str, Any]]:
    """The shape of the seed page's branch example."""
    return [
        {"id": A, **talk("menu")},
        {"type": "digits_receive", "option": {"duration": 5000, "length": 1}},
        {
            "type": "branch",
            "option": {"default_target_id": D, "target_ids": {"1": B, "2": C}},
        },
        {"id": B, **talk("one")},
        {"type": "hangup"},
        {"id": C, **talk("two")},
        {"type": "hangup"},
        {"id": D, **talk("default")},
        {"type": "goto", "option": {"target_id": A, "loop_count": 2}},
        talk("over"),
        {"type": "hangup"},
    ]


@pytest.mark.parametrize(("key", "words"), [("1", ["menu", "one"]), ("2", ["menu", "two"])])
async def test_a_key_chooses_its_branch(key: str, words: list[str]) -> None:
    ran = await run(*menu(), script=Script(digits=[(0.9, key)]))
    assert spoken(ran) == words
    assert ran.flow.reason == "complete"


async def test_a_key_during_the_prompt_counts() -> None:
    ran = await run(*menu(), script=Script(digits=[(0.1, "2")]))
    assert spoken(ran) == ["menu", "two"]
    assert ran.trace[-1][0] < 1.0


async def test_no_key_takes_the_default_and_its_loops() -> None:
    ran = await run(*menu())
    assert spoken(ran) == ["menu", "default"] * 3 + ["over"]


async def test_a_wrong_key_and_then_a_right_one() -> None:
    ran = await run(*menu(), script=Script(digits=[(0.5, "9"), (1.5, "1")]))
    assert spoken(ran) == ["menu", "default", "menu", "one"]


async def test_two_digits_in_one_packet_are_two_inputs() -> None:
    receive = {"type": "digits_receive", "option": {"duration": 3000, "length": 1}}
    said = talk("${voipbin.call.digits}")
    ran = await run(receive, said, receive, said, script=Script(digits=[(0.5, "4"), (0.5, "2")]))
    assert spoken(ran) == ["4", "2"]


async def test_an_end_key_ends_the_input_and_belongs_to_it() -> None:
    ran = await run(
        {"type": "digits_receive", "option": {"duration": 9000, "length": 10, "key": "#"}},
        talk("${voipbin.call.digits}"),
        script=Script(digits=[(0.5, "4"), (0.6, "2"), (0.7, "#"), (0.8, "7")]),
    )
    assert spoken(ran) == ["42#"]


async def test_set_and_compare_variables() -> None:
    ran = await run(
        {"type": "variable_set", "option": {"key": "n", "value": "10"}},
        {"type": "variable_set", "option": {"key": "copy", "value": "${n}5"}},
        {
            "type": "condition_variable",
            "option": {
                "condition": ">",
                "variable": "copy",
                "value_type": "number",
                "value_number": 100,
                "false_target_id": B,
            },
        },
        talk("greater"),
        {
            "type": "condition_variable",
            "option": {"condition": "==", "variable": "${n}", "value_string": "11", "false_target_id": B},
        },
        talk("never"),
        {"id": B, **talk("end ${copy}")},
    )
    assert spoken(ran) == ["greater", "end 105"]


@pytest.mark.parametrize(
    ("option", "holds"),
    [
        ({"condition": "==", "hour": 0, "minute": 0}, True),
        ({"condition": "==", "hour": 1}, False),
        ({"condition": ">=", "month": 1, "day": 1}, True),
        ({"condition": "==", "weekdays": [4]}, True),
        ({"condition": "==", "weekdays": [0, 6]}, False),
        ({"condition": "==", "weekdays": [4], "month": 2}, False),
    ],
)
async def test_the_time_of_the_clock(option: dict[str, Any], holds: bool) -> None:
    """The simulated clock stands at Thursday, 1 January 2026, midnight UTC."""
    ran = await run(
        {"type": "condition_datetime", "option": {**option, "false_target_id": B}},
        talk("true"),
        {"type": "stop"},
        {"id": B, **talk("false")},
    )
    assert spoken(ran) == (["true"] if holds else ["false"])


async def test_a_loop_without_end_is_stopped_with_a_reason() -> None:
    ran = await run({"id": A, "type": "goto", "option": {"target_id": A, "loop_count": 100_000}})
    assert ran.flow.reason == "LOOP_LIMIT"
    assert ran.failures == [("goto", "LOOP_LIMIT")]
    assert ran.trace[-1][1] == "hangup"


@pytest.mark.parametrize(
    ("actions", "place"),
    [
        ([{"type": "goto", "option": {"target_id": A, "loop_count": 1}}], "actions[0].option.target_id"),
        (
            [
                {"type": "branch", "option": {"default_target_id": B, "target_ids": {"1": A}}},
                {"id": B, "type": "stop"},
            ],
            "actions[0].option.target_ids.1",
        ),
        ([{"id": A, "type": "stop"}, {"id": A, "type": "stop"}], "actions[1].id"),
        ([talk("x", language="xx-YY")], "actions[0].option.language"),
    ],
)
def test_faults_are_named_by_their_place(actions: list[dict[str, Any]], place: str) -> None:
    def check_language(tag: str) -> str:
        if tag != "en-US":
            raise InvalidArgument("unknown language")
        return tag

    with pytest.raises(InvalidArgument) as refused:
        checked(LIST.validate_python(actions, strict=False), check_language)
    assert [detail["field"] for detail in refused.value.details] == [place]
