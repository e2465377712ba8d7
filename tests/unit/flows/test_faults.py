"""Wrong flows, and what is said of them: every fault with its place, and what would be right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from ringline.errors import InvalidArgument
from ringline.flows import check, engine
from ringline.flows.actions import Action, AnyAction, kinds
from ringline.flows.check import Rules, canonical, checked, examine, missing_flows
from ringline.flows.http import CreateFlow
from ringline.http.body import validate
from ringline.media import languages
from ringline.media.address_guard import check_url

Json = dict[str, Any]
LIST: TypeAdapter[list[Action]] = TypeAdapter(list[AnyAction])

A = "a0000000-0000-4000-8000-00000000000a"
B = "b0000000-0000-4000-8000-00000000000b"
C = "c0000000-0000-4000-8000-00000000000c"
NOWHERE = "99999999-9999-4999-8999-999999999999"
BEEP: Json = {"type": "beep"}
SOMEBODY = {"type": "tel", "target": "+15559876543"}
DIGITS: Json = {"type": "digits_receive", "option": {"duration": 3000, "length": 1}}


def language(tag: str) -> str:
    return languages.check(tag, ["en-US", "de", "ko"])


RULES = Rules(language, check_url)


def act(kind: str, next_id: str | None = None, name: str | None = None, **option: Any) -> Json:
    made: Json = {"type": kind, "option": option}
    return made | ({"id": name} if name else {}) | ({"next_id": next_id} if next_id else {})


def put(value: str = "1", **rest: Any) -> Json:
    return act("variable_set", key="x", value=value, **rest)


def call(*actions: Json) -> Json:
    return act("call", destinations=[SOMEBODY], actions=list(actions))


def faults(*actions: Any, **body: Any) -> list[tuple[str, str]]:
    """What a ``POST /v1.0/flows`` is refused with."""
    with pytest.raises(InvalidArgument) as refused:
        validate(json.dumps({"actions": list(actions), **body}).encode(), CreateFlow, RULES)
    assert refused.value.details
    return [(fault["field"], fault["message"]) for fault in refused.value.details]


def good(*actions: Json) -> Sequence[Action]:
    found = examine(list(actions), RULES)
    assert found.faults == []
    return found.actions


def warnings(*actions: Json) -> list[tuple[str, str]]:
    return [(finding.field, finding.message) for finding in check.odd(good(*actions))]


WRONG: dict[str, tuple[Any, str, str]] = {
    "no object": (5, "actions[0]", "must be an object, not the number 5"),
    "no type": ({"option": {}}, "actions[0]", "needs a `type` that says what it is"),
    "a type that is no text": ({"type": 7}, "actions[0]", "'7'"),
    "a misspelt type": (act("tlak", text="x"), "actions[0].type", "did you mean `talk`?"),
    "a type in capitals": (act("Digits-Receive"), "actions[0].type", "did you mean `digits_receive`?"),
    "an unknown type": (act("dance"), "actions[0].type", "known ones are `a"),
    "a text to nobody": (
        act("message_send", text="x", destinations=[]),
        "actions[0].option.destinations",
        "must not be empty",
    ),
    "a text to a local number": (
        act("message_send", text="x", destinations=[{"type": "tel", "target": "202-555-0143"}]),
        "actions[0].option.destinations[0].target",
        "did you mean +12025550143?",
    ),
    "a text to an extension": (
        act("message_send", text="x", destinations=[{"type": "extension", "target": "100"}]),
        "actions[0].option.destinations[0].target",
        "texts go between `tel` addresses",
    ),
    "a text without words": (
        act("message_send", text=" ", destinations=[{"type": "tel", "target": "+12025550143"}]),
        "actions[0].option.text",
        "is empty",
    ),
    "a text that is too long": (
        act("message_send", text="x" * 1601, destinations=[{"type": "tel", "target": "+12025550143"}]),
        "actions[0].option.text",
        "1601 characters; at most 1600",
    ),
    "an ai action": (act("ai_talk"), "actions[0].type", "comes with a later version"),
    "another ai action": (act("ai_whatever"), "actions[0].type", "comes with a later version"),
    "an action of VoIPBIN's": (act("email_send"), "actions[0].type", "Ringline does not have"),
    "an option is missing": (act("talk"), "actions[0].option.text", "is required"),
    "a misspelt option": (
        act("talk", text="x", langage="en-US"),
        "actions[0].option.langage",
        "did you mean `language`?",
    ),
    "an unknown option": (act("beep", loud=True), "actions[0].option.loud", "is not a known field"),
    "a misspelt field": ({**BEEP, "nextid": A}, "actions[0].nextid", "did you mean `next_id`?"),
    "a text for a number": (
        act("sleep", duration="5"),
        "actions[0].option.duration",
        'must be a whole number, not the string "5"',
    ),
    "a fraction": (act("sleep", duration=1.5), "actions[0].option.duration", "must be a whole number"),
    "a number for a text": (act("talk", text=5), "actions[0].option.text", "must be a string, not the number 5"),
    "null": (act("talk", text=None), "actions[0].option.text", "must be a string, not null"),
    "a text for a truth": (act("talk", text="x", **{"async": "yes"}), "actions[0].option.async", "true or false"),
    "too short a time": (act("sleep", duration=0), "actions[0].option.duration", "must be at least 1, not 0"),
    "too long a time": (
        act("sleep", duration=3_600_001),
        "actions[0].option.duration",
        "must be at most 3600000",
    ),
    "too long a wait": (act("digits_receive", duration=600_001), "actions[0].option.duration", "at most 600000"),
    "too many keys": (act("digits_receive", duration=1, length=101), "actions[0].option.length", "at most 100"),
    "a key that is none": (act("digits_receive", duration=1, key="x"), "actions[0].option.key", "made of 0-9"),
    "digits that are none": (act("digits_send", digits="12x"), "actions[0].option.digits", "1 to 100 of 0-9"),
    "a key too short": (act("digits_send", digits="1", duration=99), "actions[0].option.duration", "at least 100"),
    "too long a text": (act("talk", text="x" * 5001), "actions[0].option.text", "at most 5000 characters"),
    "an empty text": (act("talk", text=""), "actions[0].option.text", "must not be empty"),
    "broken SSML": (act("talk", text="<speak>x"), "actions[0].option.text", "SSML"),
    "an unknown language": (act("talk", text="x", language="xx-XX"), "actions[0].option.language", "BCP 47"),
    "a language like a known one": (
        act("talk", text="x", language="deu"),
        "actions[0].option.language",
        "nearest known: de",
    ),
    "a private address": (
        act("play", stream_urls=["http://10.0.0.1/a.wav"]),
        "actions[0].option.stream_urls[0]",
        "10.0.0.1",
    ),
    "no address of the web": (
        act("play", stream_urls=["https://a.example/a.wav", "ftp://a.example/a"]),
        "actions[0].option.stream_urls[1]",
        "http",
    ),
    "nothing to play": (act("play", stream_urls=[]), "actions[0].option.stream_urls", "must not be empty"),
    "an id that is none": ({**BEEP, "id": "first"}, "actions[0].id", "must be a UUID such as"),
    "a reserved id": ({**BEEP, "id": engine.FINISH_ID}, "actions[0].id", "is reserved"),
    "a jump to nowhere": (act("goto", target_id=NOWHERE, loop_count=1), "actions[0].option.target_id", "nowhere"),
    "a jump to no id at all": (
        act("goto", target_id=engine.ZERO_ID, loop_count=1),
        "actions[0].option.target_id",
        engine.FINISH_ID,
    ),
    "a jump without a count": (act("goto", target_id=A), "actions[0].option.loop_count", "is required"),
    "a branch to nowhere": (
        act("branch", default_target_id=engine.NEXT_ID, target_ids={"1": engine.NEXT_ID, "2": NOWHERE}),
        "actions[0].option.target_ids.2",
        "leads nowhere",
    ),
    "a branch to no id": (
        act("branch", default_target_id=engine.NEXT_ID, target_ids={"1": "sales"}),
        "actions[0].option.target_ids.1",
        'must be a UUID such as f457951b-9918-44af-a834-2216b1cc31bc, not the string "sales"',
    ),
    "a branch without a default": (
        act("branch", target_ids={}),
        "actions[0].option.default_target_id",
        "is required",
    ),
    "a condition to nowhere": (
        act("condition_call_digits", length=1, false_target_id=NOWHERE),
        "actions[0].option.false_target_id",
        "leads nowhere",
    ),
    "an unknown comparison": (
        act("condition_variable", condition="=", variable="x", false_target_id=engine.NEXT_ID),
        "actions[0].option.condition",
        "must be '==', '!=', '>'",
    ),
    "an hour that is none": (
        act("condition_datetime", condition="==", hour=24, false_target_id=engine.NEXT_ID),
        "actions[0].option.hour",
        "must be at most 23",
    ),
    "a day of the week that is none": (
        act("condition_datetime", condition="==", weekdays=[1, 7], false_target_id=engine.NEXT_ID),
        "actions[0].option.weekdays[1]",
        "must be at most 6",
    ),
    "a status that is none": (
        act("condition_call_status", status="up", false_target_id=engine.NEXT_ID),
        "actions[0].option.status",
        "'progressing'",
    ),
    "a reserved variable": (
        act("variable_set", key="VoIPBIN.call.digits", value="1"),
        "actions[0].option.key",
        "must not begin with `voipbin.`",
    ),
    "a variable with braces": (act("variable_set", key="${x}"), "actions[0].option.key", "no braces"),
    "a number as people write it": (
        act("connect", destinations=[{"type": "tel", "target": "(650) 253-0000"}]),
        "actions[0].option.destinations[0].target",
        "+16502530000",
    ),
    "nobody to connect with": (act("connect", destinations=[]), "actions[0].option.destinations", "empty"),
    "an unknown anonymity": (
        act("connect", destinations=[SOMEBODY], anonymous="maybe"),
        "actions[0].option.anonymous",
        "'yes'",
    ),
    "a hangup reason that is none": (act("hangup", reason="tired"), "actions[0].option.reason", "'busy'"),
    "a call without anything to do": (
        act("call", destinations=[SOMEBODY]),
        "actions[0].option",
        "needs `actions` or a `flow_id`",
    ),
    "a fault within a call": (
        call(BEEP, act("talk")),
        "actions[0].option.actions[1].option.text",
        "is required",
    ),
    "a jump within a call": (
        call(act("goto", target_id=NOWHERE, loop_count=1)),
        "actions[0].option.actions[0].option.target_id",
        "leads nowhere",
    ),
    "actions that are no list": (
        act("call", destinations=[SOMEBODY], actions={"0": BEEP}),
        "actions[0].option.actions",
        "must be an array",
    ),
    "a loop of one": (put(name=A, next_id=A), "actions[0].next_id", "closes a loop without end"),
    "a loop from the start": (put(next_id=engine.START_ID), "actions[0].next_id", "closes a loop without end"),
    "a loop around a sleep too short": (
        act("sleep", duration=50, name=A, next_id=A),
        "actions[0].next_id",
        "closes a loop without end",
    ),
    "a loop around a talk nobody waits for": (
        act("talk", text="x", name=A, next_id=A, **{"async": True}),
        "actions[0].next_id",
        "closes a loop without end",
    ),
    "a loop that decides on what stays": (
        act("condition_call_status", name=A, status="progressing", false_target_id=A),
        "actions[0].option.false_target_id",
        "closes a loop without end",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_one_wrong_action(name: str) -> None:
    action, place, says = WRONG[name]
    ((field, message),) = faults(action)
    if field == "actions[0].option.destinations[0]":
        field += ".target"  # the check of an address names the field in its sentence
    assert field == place
    assert says in message
    assert not message.endswith(".")


def test_every_fault_of_a_flow_is_listed_with_those_of_its_body() -> None:
    found = faults(
        act("tlak", text="x"),
        act("talk", langage="x"),
        {**BEEP, "id": A},
        {**BEEP, "id": A, "next_id": NOWHERE},
        call(act("sleep", duration=0), act("talk", text="x", language="xx")),
        act("branch", default_target_id=NOWHERE, target_ids={"1": "x"}),
        act("goto", target_id=B, loop_count=1),
        put(name=C, next_id=C),
        name="x" * 300,
        on_complete_flow="x",
    )
    assert sorted(field for field, _ in found) == [
        "actions[0].type",
        "actions[1].option.langage",
        "actions[1].option.text",
        "actions[3].id",
        "actions[3].next_id",
        "actions[4].option.actions[0].option.duration",
        "actions[4].option.actions[1].option.language",
        "actions[5].option.target_ids.1",
        "actions[6].option.target_id",
        "actions[7].next_id",
        "name",
        "on_complete_flow",
    ]


def test_what_a_wrong_action_is_called_is_known_all_the_same() -> None:
    ((field, _),) = faults(act("talk", name=A), act("goto", target_id=A, loop_count=1))
    assert field == "actions[0].option.text"


def test_a_mistyped_id_names_the_one_that_was_meant() -> None:
    ((_, message),) = faults({**BEEP, "id": A}, act("goto", target_id=A[:-1] + "b", loop_count=1))
    assert message.endswith(f"did you mean {A} (actions[0])?")


def test_jumps_neither_enter_nor_leave_a_flow_of_its_own() -> None:
    into = faults(call({**BEEP, "id": A}), act("goto", target_id=A, loop_count=1))
    out_of = faults({**BEEP, "id": A}, call(act("goto", target_id=A, loop_count=1)))
    assert [field for field, _ in into] == ["actions[1].option.target_id"]
    assert [field for field, _ in out_of] == ["actions[1].option.actions[0].option.target_id"]
    good({**BEEP, "id": A}, call({**BEEP, "id": A}, act("goto", target_id=A, loop_count=1)))


def test_a_fetched_list_may_aim_at_those_around_it() -> None:
    actions = LIST.validate_python([act("goto", target_id=A, loop_count=1)], strict=False)
    assert checked(actions, language, outer=frozenset({UUID(A)}))
    with pytest.raises(InvalidArgument, match="leads nowhere"):
        checked(actions, language)


@pytest.mark.parametrize(
    "loop",
    [
        [{**BEEP, "id": A, "next_id": A}],
        [act("sleep", duration=100, name=A, next_id=A)],
        [act("digits_receive", duration=1000, name=A), act("branch", default_target_id=A, target_ids={"1": A})],
        [put(name=A), act("goto", target_id=A, loop_count=100_000)],
        [
            put("${x}x", name=A),
            act(
                "condition_variable",
                condition=">",
                variable="x",
                value_type="length",
                value_length=5,
                false_target_id=A,
            ),
        ],
        [
            act("condition_variable", name=A, condition="==", variable="x", value_string="1", false_target_id=B),
            act("stop"),
            put(name=B, next_id=A),
        ],
        [act("branch", name=A, variable="x", default_target_id=engine.FINISH_ID, target_ids={"1": A})],
        [act("stop"), put(name=A, next_id=A)],
        [act("connect", destinations=[SOMEBODY], name=A, next_id=A)],
        [act("fetch", event_url="https://a.example/next", name=A, next_id=A)],
        [act("talk", text="x", digits_handle="next", name=A), DIGITS, act("branch", default_target_id=A)],
    ],
)  # fmt: skip
def test_a_loop_with_a_bound_is_no_fault(loop: list[Json]) -> None:
    good(*loop)


def test_a_loop_is_described_by_its_way() -> None:
    ((field, message),) = faults(
        BEEP,
        put(name=A),
        act("condition_call_digits", length=1, false_target_id=C),
        act("hangup"),
        act("talk", text="x", name=C, next_id=B, **{"async": True}),
        act("condition_call_status", status="progressing", name=B, false_target_id=C),
        BEEP,
    )
    assert field == "actions[5].option.false_target_id"
    assert "(actions[4] -> actions[5] -> actions[4])" in message


def test_calls_too_deep_are_said_where_they_begin_to_be() -> None:
    action = act("talk", text="x")
    for _ in range(check.MAX_DEPTH + 1):
        action = call(action)
    ((field, message),) = faults(action)
    assert field == "actions[0]" + ".option.actions[0]" * check.MAX_DEPTH + ".option.actions"
    assert "nested deeper than 5" in message


def test_too_many_actions_are_one_fault() -> None:
    ((field, message),) = faults(*[BEEP] * 1001)
    assert (field, message) == ("actions", "has 1001 actions; at most 1000 are possible")


def test_a_thousand_actions_are_fine_and_their_ids_differ() -> None:
    assert len({action["id"] for action in canonical(good(*[BEEP] * 1000))}) == 1000


def test_actions_for_other_calls_count_too() -> None:
    ((field, message),) = faults(*[call(*[BEEP] * 900)] * 6)
    assert (field, message.split(";")[0]) == (
        "actions",
        "holds 5406 actions together with those for other calls",
    )
    good(*[call(*[BEEP] * 900)] * 5)


def test_faults_without_end_are_cut() -> None:
    assert len(faults(*[{"type": "slep"}] * 900)) == check.MAX_FAULTS
    nowhere = [act("goto", target_id=str(uuid4()), loop_count=1) for _ in range(900)]
    assert len(faults(*nowhere)) == check.MAX_FAULTS


@pytest.mark.parametrize("actions", [None, "x", {"0": BEEP}])
def test_what_is_no_list(actions: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        validate(json.dumps({"actions": actions}).encode(), CreateFlow, RULES)
    assert [fault["field"] for fault in refused.value.details] == ["actions"]


def test_a_zero_id_means_none() -> None:
    one, two = good({**BEEP, "id": engine.ZERO_ID}, {**BEEP, "id": engine.ZERO_ID})
    assert len({one.id, two.id, UUID(int=0)}) == 3


@pytest.mark.parametrize(
    ("flow", "expected"),
    [
        ([BEEP, act("hangup"), BEEP, act("talk", text="x")], [("actions[2]", "all up to actions[3]")]),
        ([BEEP, act("stop"), BEEP, {**BEEP, "id": A}, act("goto", target_id=A, loop_count=1)],
         [("actions[2]", "can never be reached")]),
        ([act("branch", default_target_id=A), {**BEEP, "id": A}], [("actions[0]", "always takes its default")]),
        ([DIGITS, act("branch", default_target_id=A), {**BEEP, "id": A}], []),
        ([act("branch", variable="tier", default_target_id=A), {**BEEP, "id": A}], []),
        ([{**act("hangup"), "next_id": A}, {**BEEP, "id": A}],
         [("actions[1]", "never be reached"), ("actions[0].next_id", "has no effect")]),
        ([act("talk", text="${voipbin.call.destination.number} ${x} ${voipbin.queue.id}")],
         [("actions[0].option.text", "did you mean `voipbin.call.destination.name`?")]),
        ([call(act("stop"), BEEP)], [("actions[0].option.actions[1]", "can never be reached")]),
        ([act("talk", text="${voipbin.call.source.target}")], []),
    ],
)  # fmt: skip
def test_what_is_odd_is_a_warning(flow: list[Json], expected: list[tuple[str, str]]) -> None:
    found = warnings(*flow)
    assert [field for field, _ in found] == [field for field, _ in expected]
    for (_, message), (_, says) in zip(found, expected, strict=True):
        assert says in message


async def test_a_stored_flow_that_is_not_there_is_a_fault_with_its_place() -> None:
    here, gone = uuid4(), uuid4()
    asked: list[UUID] = []

    async def exists(flow_id: UUID) -> bool:
        asked.append(flow_id)
        return flow_id == here

    flows = [act("call", destinations=[SOMEBODY], flow_id=str(one)) for one in (here, gone, gone)]
    found = await missing_flows(good(*flows, call(*flows[1:2])), exists)
    assert [finding.field for finding in found] == [
        "actions[1].option.flow_id",
        "actions[2].option.flow_id",
        "actions[3].option.actions[0].option.flow_id",
    ]
    assert str(gone) in found[0].message
    assert asked == [here, gone], "each is asked for once"


def test_every_action_states_facts_that_can_be_asked() -> None:
    for kind, made in kinds().items():
        assert isinstance(made.needs_call, bool), kind
        assert isinstance(made.fatal, bool), kind
        assert set(made.nested) <= set(made.model_fields["option"].annotation.model_fields), kind  # type: ignore[union-attr]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ROUGH = st.fixed_dictionaries(
    {"type": st.sampled_from([*kinds(), "x"]) | JSON},
    optional={
        "option": JSON,
        "id": st.sampled_from([A, B]) | JSON,
        "next_id": st.sampled_from([A, B, C]) | JSON,
    },
)


@given(JSON | st.lists(ROUGH | JSON, max_size=5))
def test_nothing_that_comes_is_too_strange(raw: Any) -> None:
    found = examine(raw, RULES)
    for fault in found.faults:
        assert fault.field.startswith("actions")
        assert fault.message
    if not found.faults:
        assert checked(found.actions, language, check_url) == canonical(found.actions)
