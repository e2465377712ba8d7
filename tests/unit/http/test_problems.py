"""What the sender of a bad request reads."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
import pytest
from pydantic import Field, Tag, ValidationError

from ringline.errors import InvalidArgument
from ringline.http import PageQuery, RequestModel, UuidOrZero
from ringline.http.body import validate
from ringline.http.places import locate
from ringline.http.problems import from_validation


class Address(RequestModel):
    type: Literal["tel", "sip"]
    target: str = Field(max_length=20)


class TalkOption(RequestModel):
    text: str = Field(min_length=1)
    language: str = "en-US"


class Talk(RequestModel):
    type: Literal["talk"]
    option: TalkOption


class Sleep(RequestModel):
    type: Literal["sleep"]
    duration: int = Field(ge=0, le=3_600_000)


class Free(RequestModel):
    data: dict[str, Any]


class Body(RequestModel):
    source: Address | None = None
    destinations: list[Address] = Field(min_length=1, max_length=3)
    actions: list[Annotated[Talk | Sleep, Field(discriminator="type")]] = Field([])
    variables: dict[str, str] = Field({})
    flow_id: UuidOrZero = None
    id: UUID | None = None


GOOD: dict[str, Any] = {"destinations": [{"type": "tel", "target": "+15551234567"}]}


def problem(body: object) -> InvalidArgument:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    with pytest.raises(InvalidArgument) as raised:
        validate(raw, Body)
    return raised.value


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"destinatons": []}, "destinatons", "is not a known field; did you mean `destinations`?"),
        ({"Flow_ID": "x"}, "Flow_ID", "did you mean `flow_id`?"),
        ({"qqqqq": 1}, "qqqqq", "known ones are `source`, `destinations`"),
        ({"source": {"type": "tel", "target": 5}}, "source.target", "must be a string, not the number 5"),
        ({"source": {"type": "tel", "target": None}}, "source.target", "must be a string, not null"),
        ({"source": {"type": "fax", "target": "1"}}, "source.type", "must be 'tel' or 'sip'"),
        ({"source": {"type": "tel"}}, "source.target", "is required"),
        ({"source": "tel:1"}, "source", 'must be an object, not the string "tel:1"'),
        ({"source": {"type": "tel", "target": "1" * 21}}, "source.target", "at most 20 characters"),
        ({"destinations": []}, "destinations", "must not be empty"),
        ({"destinations": {}}, "destinations", "must be an array, not an object"),
        ({"destinations": GOOD["destinations"] * 4}, "destinations", "at most 3 entries"),
        (
            {"destinations": [*GOOD["destinations"], {"type": "tel", "target": True}]},
            "destinations[1].target",
            "must be a string, not the boolean true",
        ),
        ({"actions": [{"type": "tlk"}]}, "actions[0]", "has the unknown type 'tlk'; did you mean 'talk'?"),
        ({"actions": [{"type": "zzz"}]}, "actions[0]", "known ones are talk, sleep"),
        ({"actions": [{}]}, "actions[0]", "needs a `type`"),
        (
            {"actions": [{"type": "talk", "option": {"txt": "x"}}]},
            "actions[0].option.txt",
            "did you mean `text`?",
        ),
        (
            {"actions": [{"type": "talk", "option": {"text": ""}}]},
            "actions[0].option.text",
            "must not be empty",
        ),
        (
            {"actions": [{"type": "sleep", "duration": "5"}]},
            "actions[0].duration",
            'whole number, not the string "5"',
        ),
        ({"actions": [{"type": "sleep", "duration": 1.5}]}, "actions[0].duration", "whole number"),
        (
            {"actions": [{"type": "sleep", "duration": 3600001}]},
            "actions[0].duration",
            "must be at most 3600000, not 3600001",
        ),
        ({"variables": {"a": 1}}, "variables.a", "must be a string"),
        ({"flow_id": "nonsense"}, "flow_id", "must be a UUID such as"),
        ({"id": 7}, "id", "must be a UUID such as"),
    ],
)
def test_the_field_and_what_would_be_right(change: dict[str, Any], field: str, says: str) -> None:
    error = problem({**GOOD, **change})
    assert error.http_status == 400
    assert error.details[0]["field"] == field
    assert says in error.details[0]["message"]
    assert error.message.startswith(f"`{field}` ")
    assert says in error.message
    assert error.message[-1] in ".?)"


class Secret(RequestModel):
    token: str = Field("", pattern="^[0-9a-f]{4}$")
    password: int = Field(0, le=5)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"token": "nonsense"}, "`token` must match ^[0-9a-f]{4}$."),
        ({"token": 17}, "`token` must be a string, not a number."),
        ({"password": 17}, "`password` must be at most 5."),
    ],
)
def test_of_a_secret_nothing_is_repeated(body: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        validate(orjson.dumps(body), Secret)
    assert raised.value.message == says


@pytest.mark.parametrize(
    "raw",
    [b"", b"  ", b"{", b"nonsense", b'{"a":}', b"\xff\xfe", b"[" * 5000, b'{"a":"\\ud800"}', b"{'a': 1}"],
)
def test_no_json_at_all(raw: bytes) -> None:
    assert problem(raw).reason == "INVALID_JSON_BODY"


def test_json_of_another_kind() -> None:
    error = problem([])
    assert (error.reason, error.message) == ("INVALID_ARGUMENT", "The body must be an object, not an array.")


def test_several_faults_are_all_listed_and_a_misspelling_leads() -> None:
    error = problem({"destinatons": [], "flow_id": "x"})
    assert [detail["field"] for detail in error.details] == ["destinatons", "destinations", "flow_id"]
    assert "3 faults" in error.message


def test_a_flood_of_faults_is_counted_not_listed() -> None:
    error = problem({f"field{number}": 1 for number in range(5000)})
    assert "5001 faults" in error.message
    assert error.details == []
    assert len(problem({f"field{number}": 1 for number in range(300)}).details) == 200


def test_long_values_and_secrets_are_not_repeated() -> None:
    class Login(RequestModel):
        password: Literal["x"]

    with pytest.raises(ValidationError) as raised:
        Login.model_validate_json(b'{"password": "hunter2"}')
    assert "hunter2" not in from_validation(raised.value, Login).message
    error = problem({**GOOD, "source": "x" * 10_000})
    assert len(error.message) < 200


def test_the_character_that_the_database_cannot_hold() -> None:
    body = {"destinations": [{"type": "sip", "target": "a\0b"}]}
    assert "U+0000" in problem(body).message
    validate(rb'{"destinations": [{"type": "sip", "target": "a\\u0000"}]}', Body)  # a backslash, then text


@pytest.mark.parametrize(
    ("text", "field", "given"),
    [
        ('{"data": {"x": 18446744073709551616}}', "data.x", "18446744073709551616"),
        ('{"data": {"x": [1, {"y": -9223372036854775809}]}}', "data.x[1].y", "-9223372036854775809"),
        ('{"data": {"x": 1e400}}', "data.x", "1e400"),
        ('{"data": {"x": -1.5E+999}}', "data.x", "-1.5E+999"),
        ('{"data": {"x": NaN}}', "data.x", "NaN"),
        ('{"data": {"x": -Infinity}}', "data.x", "-Infinity"),
        ('{"data": {"x": ' + "9" * 5000 + "}}", "data.x", "9" * 40),
    ],
)
def test_a_number_that_could_not_be_shown_as_it_was_given(text: str, field: str, given: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        validate(text.encode(), Free)
    assert raised.value.details == [{"field": field, "message": f"must be a number of 64 bits, not {given}"}]


def test_numbers_that_can_be_kept() -> None:
    text = '{"data": {"a": 18446744073709551615, "b": -9223372036854775808, "c": 1e300, "d": "NaN 1e400"}}'
    kept = validate(text.encode(), Free).data
    assert orjson.loads(orjson.dumps(kept)) == kept == json.loads(text)["data"]


def test_a_query_is_read_from_text() -> None:
    assert PageQuery.model_validate({"page_size": "5", "other": "x"}).page_size == 5
    with pytest.raises(ValidationError) as raised:
        PageQuery.model_validate({"page_size": "0"})
    error = from_validation(raised.value, PageQuery, what="query")
    assert error.message == "`page_size` must be at least 1, not 0."


def test_tags_and_type_names_do_not_appear_in_paths() -> None:
    union = list[Annotated[Annotated[Talk, Tag("say")] | Annotated[Sleep, Tag("wait")], Field()]]
    assert locate(union, (0, "say", "option", "txt")).path == "[0].option.txt"
    assert locate(union, (0, "say", "option", "txt")).siblings == ("text", "language")
    assert locate(Body, ("source", "Address", "target")).path == "source.target"
    assert locate(Body, ("somewhere", "else", 3)).path == "somewhere.else[3]"
