"""The table of behaviours, as data."""

from __future__ import annotations

import pytest

from ringline.sandbox.behaviours import (
    Answer,
    EarlyMedia,
    Echo,
    Greet,
    HangUp,
    Listen,
    Press,
    Refuse,
    Ring,
    Step,
    Wait,
    script,
)


@pytest.mark.parametrize(("ending", "status"), [("0001", 486), ("0003", 603), ("0004", 404), ("0005", 503)])
@pytest.mark.parametrize("prefix", ["+1555000", "", "00442", "anything"])
def test_refusals(ending: str, status: int, prefix: str) -> None:
    (step,) = script(prefix + ending)
    assert isinstance(step, Refuse)
    assert step.status == status


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        ("+15550000002", [Ring, Refuse]),
        ("+15550000006", [EarlyMedia, Answer, Listen]),
        ("+15550000007", [Answer, Wait, HangUp]),
        ("+15550000008", [Answer, Echo, Listen]),
        ("+15550000009", [Answer, Greet, Listen]),
        ("+15550000010", [Answer, Wait, Press, Listen]),
        ("+15550000000", [Ring, Answer, Listen]),
        ("+15550000020", [Ring, Answer, Listen]),
        ("+15551234567", [Ring, Answer, Listen]),
        ("1", [Ring, Answer, Listen]),
        ("", [Ring, Answer, Listen]),
    ],
)
def test_steps(number: str, kinds: list[type[Step]]) -> None:
    assert [type(step) for step in script(number)] == kinds


@pytest.mark.parametrize("digit", "0123456789")
def test_presses_its_last_digit_after_two_seconds(digit: str) -> None:
    assert script(f"+1555000001{digit}")[1:3] == (Wait(2.0), Press(digit))


def test_ordinary_numbers_ring_for_a_second() -> None:
    assert script("+15551234567")[0] == Ring(1.0)
