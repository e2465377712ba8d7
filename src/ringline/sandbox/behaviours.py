"""How a dialled number behaves: fixed by its last four digits, written down as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ANSWERED_SECONDS: Final = 120.0
MAX_RINGING_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Refuse:
    """Final answer with this SIP status."""

    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ring:
    """180, then wait this long for nothing."""

    seconds: float


@dataclass(frozen=True, slots=True)
class EarlyMedia:
    """183 and a tone of this length before the answer."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answer:
    """200; from here on the call is recorded and lasts 120 s at most."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Stay on the line for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Echo:
    """Send back what is heard from now on."""


@dataclass(frozen=True, slots=True)
class Greet:
    """The greeting of the answering machine, then its beep."""


@dataclass(frozen=True, slots=True)
class Press:
    """Press these keys."""

    digits: str


@dataclass(frozen=True, slots=True)
class Listen:
    """Stay until the other side hangs up or the time is over."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """BYE."""


Step = Refuse | Ring | EarlyMedia | Answer | Wait | Echo | Greet | Press | Listen | HangUp
Script = tuple[Step, ...]

_TABLE: Final[dict[str, Script]] = {
    "0001": (Refuse(486, "Busy Here"),),
    "0002": (Ring(MAX_RINGING_SECONDS), Refuse(480, "Temporarily Unavailable")),
    "0003": (Refuse(603, "Decline"),),
    "0004": (Refuse(404, "Not Found"),),
    "0005": (Refuse(503, "Service Unavailable"),),
    "0006": (EarlyMedia(2.0), Answer(), Listen()),
    "0007": (Answer(), Wait(1.0), HangUp()),
    "0008": (Answer(), Echo(), Listen()),
    "0009": (Answer(), Greet(), Listen()),
    **{f"001{digit}": (Answer(), Wait(2.0), Press(digit), Listen()) for digit in "0123456789"},
}
_OTHER: Final[Script] = (Ring(1.0), Answer(), Listen())


def script(number: str) -> Script:
    """What the carrier does with a call to this number."""
    return _TABLE.get(number[-4:], _OTHER)
