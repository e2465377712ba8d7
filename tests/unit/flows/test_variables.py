"""Variables: what may be set, and what happens when they are put in."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringline.errors import InvalidArgument
from ringline.flows import variables
from ringline.flows.variables import MAX_RESULT, TooLong, check, substitute

VALUES = {"name": "Ann", "sly": "${name}", "markup": "<break/> & co", "long": "x" * MAX_RESULT}


def lookup(name: str) -> str:
    return VALUES.get(name, "")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("hello ${name}", "hello Ann"),
        ("${ name }${missing}!", "Ann!"),
        ("${sly}", "${name}"),
        ("$name {name} ${} ${a{b}", "$name {name} ${} ${a{b}"),
        ("<speak>${markup}</speak>", "<speak>&lt;break/&gt; &amp; co</speak>"),
        ("${markup}", "<break/> & co"),
    ],
)
def test_substitution(text: str, result: str) -> None:
    assert substitute(text, lookup) == result


def test_only_texts_are_touched_and_nothing_is_changed_in_place() -> None:
    option = {"text": "${name}", "list": ["${name}", 1, None, True], "n": 5}
    assert substitute(option, lookup) == {"text": "Ann", "list": ["Ann", 1, None, True], "n": 5}
    assert option["text"] == "${name}"


def test_a_text_does_not_grow_without_end() -> None:
    with pytest.raises(TooLong):
        substitute("${long}${name}", lookup)


def test_a_text_that_grows_too_long_is_given_up_before_it_is_made() -> None:
    asked: list[str] = []

    def count(name: str) -> str:
        asked.append(name)
        return "x" * 32_768

    with pytest.raises(TooLong):
        substitute("${a}" * 1250, count)
    assert len(asked) <= MAX_RESULT // 32_768 + 1
    asked.clear()
    with pytest.raises(TooLong):
        substitute({"urls": ["${a}"] * 50}, count)
    assert len(asked) <= MAX_RESULT // 32_768 + 1


def test_the_limit_is_of_the_result_and_not_of_the_names() -> None:
    name = "n" * 200
    text = f"${{{name}}}" * (MAX_RESULT // 100)
    assert substitute(text, lookup) == ""
    assert len(substitute("${half}${half}", lambda _: "x" * (MAX_RESULT // 2))) == MAX_RESULT


@given(st.text(max_size=200), st.text(max_size=50))
def test_what_was_put_in_is_never_looked_through_again(text: str, value: str) -> None:
    asked: list[str] = []

    def count(name: str) -> str:
        asked.append(name)
        return "${again}" + value

    substitute(text, count)
    assert len(asked) == len(variables._REFERENCE.findall(text))


def test_reserved_names_are_left_out() -> None:
    assert check({"voipbin.call.id": "x", "VoIPBIN.y": "x", "a": "1"}) == {"a": "1"}


@pytest.mark.parametrize(
    ("given_variables", "message"),
    [
        ({f"k{index}": "" for index in range(101)}, "at most 100"),
        ({"a": "x" * 32_769}, "variables.a"),
        ({"a": "ä" * 16_385}, "variables.a"),
        ({"a": "x" * 32_000, "b": "x" * 32_000, "c": "x" * 2_000}, "in all"),
        ({"": "x"}, "1 to 256"),
        ({"a}b": "x"}, "braces"),
    ],
)
def test_limits(given_variables: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        check(given_variables)
