"""Service codes that every phone can dial: one table, each code with its flow.

They are told in ``docs/phones.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ECHO_MS = 180_000


@dataclass(frozen=True, slots=True)
class Speaker:
    """What is known of the phone that dialled, to be told to whoever holds it. ``number``: the one that it shows.

    ``contacts``: how many phones are registered, ``None`` where that is not known.
    """

    extension: str
    customer: str
    number: str
    contacts: int | None = None
    anonymous: bool = False
    trunk: bool = False


Step = tuple[str, dict[str, Any]]
"""An action: type and options."""


@dataclass(frozen=True, slots=True)
class Code:
    """A service: what it is called in the call's record, and the flow of the call."""

    name: str
    steps: Callable[[Speaker], list[Step]]


def _say(text: str) -> Step:
    return "talk", {"text": text, "language": "en-US"}


def _echo(_: Speaker) -> list[Step]:
    return [
        ("answer", {}),
        _say("Echo test. You will now hear everything that you say."),
        ("echo", {"duration": ECHO_MS}),
        _say("The echo test is over. Good bye."),
    ]


def _who(speaker: Speaker) -> list[Step]:
    sentences = [
        f"This is {'trunk' if speaker.trunk else 'extension'} {_spell(speaker.extension)}",
        f"of {speaker.customer}" if speaker.customer else "",
    ]
    text = " ".join(part for part in sentences if part) + ". "
    if (count := speaker.contacts) is not None:
        phones = {0: "No phone is", 1: "One phone is"}.get(count, f"{count} phones are")
        text += f"{phones} registered with it. "
    if not speaker.number:
        text += "Calls to the telephone network show no number."
    elif speaker.anonymous:
        text += f"Your number {_spell(speaker.number)} is hidden."
    else:
        text += f"Calls to the telephone network show the number {_spell(speaker.number)}."
    return [("answer", {}), ("sleep", {"duration": 300}), _say(text), ("sleep", {"duration": 300})]


def _spell(text: str) -> str:
    """Digits one by one, letters in a piece; ``${`` would be a variable."""
    spelled = ""
    for character in text.replace("$", ""):
        if character.isdigit():
            spelled += f" {character} "
        elif character == "+":
            spelled += " plus "
        else:
            spelled += character
    return " ".join(spelled.split())


CODES = {
    "*43": Code("Echo test", _echo),
    "*65": Code("Who am I", _who),
}
"""By what is dialled."""
