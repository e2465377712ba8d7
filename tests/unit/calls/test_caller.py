"""How a leg shows who is calling."""

from __future__ import annotations

from uuid import uuid4

import pytest

from ringline.calls.caller import Caller, hides
from ringline.sip.identity import caller


def test_a_shown_number() -> None:
    shown = Caller("+15551234567", 'Ann "the" <boss>\r\nX-Evil: 1')
    variables = shown.variables(uuid4(), uuid4())
    assert variables["CONNECTEDLINE(name)"] == "Ann the bossX-Evil: 1"
    assert variables["CONNECTEDLINE(num)"] == "+15551234567"
    assert "CONNECTEDLINE(pres)" not in variables


def test_a_hidden_number_goes_without_its_name_and_is_marked() -> None:
    hidden = Caller("+15551234567", "Ann", hidden=True)
    variables = hidden.variables(uuid4(), uuid4())
    assert variables["CONNECTEDLINE(name)"] == ""
    assert variables["CONNECTEDLINE(num)"] == "+15551234567"
    assert variables["CONNECTEDLINE(pres)"] == "prohib_passed_screen"


def test_nobody() -> None:
    variables = Caller("").variables(uuid4(), uuid4())
    assert variables["CONNECTEDLINE(num)"] == "anonymous"
    assert "CONNECTEDLINE(pres)" in variables


@pytest.mark.parametrize("number", ['x> "Bank" <+1555', "+1555\r\nX: y", "alice", "+1"])
def test_what_is_no_number_never_reaches_a_header(number: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        Caller(number)


@pytest.mark.parametrize(
    ("anonymous", "incoming", "hidden"),
    [
        ("yes", None, True),
        ("yes", False, True),
        ("no", True, False),
        ("auto", None, False),
        ("auto", True, True),
        ("auto", False, False),
    ],
)
def test_auto_inherits_and_no_wins(anonymous: str, incoming: bool | None, hidden: bool) -> None:
    assert hides(anonymous, incoming) is hidden  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "header", ["<sip:%00@h>", "<sip:a%0d%0ab@h>", "<sip:a b@h>", "<sip:" + "9" * 65 + "@h>"]
)
def test_a_caller_whose_number_is_none_has_none(header: str) -> None:
    who = caller(header, "", "")
    assert who.number in ("", "ab")
    assert not any(ord(character) < 32 for character in who.number + who.display)
