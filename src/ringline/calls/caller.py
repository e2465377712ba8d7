"""How an outgoing leg shows who is calling (RFC 3323, RFC 3325; ``shared/spec/decisions.md`` section 4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from ringline.sip import e164
from ringline.sip.address import Address

Anonymity = Literal["yes", "no", "auto"]

_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\<>]')
MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """``number`` is the real E.164 number, ``""`` where there is none; ``hidden`` keeps it from being shown.

    Raises ``ValueError`` for a number of any other form: it is written into a header.
    """

    number: str
    name: str = ""
    hidden: bool = False

    def __post_init__(self) -> None:
        if self.number and not e164.is_e164(self.number):
            raise ValueError(f"{self.number[:40]!r} is not an E.164 number")

    def variables(self, customer_id: UUID, call_id: UUID) -> dict[str, str]:
        """Channel variables: who pays and which call (for Kamailio, which removes both), number and presentation.

        A channel that is created takes no caller id: its connected line is the whole of it. A hidden caller's name
        goes nowhere.
        """
        headers = {
            "PJSIP_HEADER(add,X-Ringline-Customer)": str(customer_id),
            "PJSIP_HEADER(add,X-Ringline-Call)": str(call_id),
            "CONNECTEDLINE(num)": self.number or "anonymous",
            "CONNECTEDLINE(name)": self._shown_name(),
        }
        if self.hidden or not self.number:
            headers["CONNECTEDLINE(pres)"] = "prohib_passed_screen"
        return headers

    def _shown_name(self) -> str:
        return "" if self.hidden else _UNSAFE.sub("", self.name)[:MAX_NAME].strip()


def hides(anonymous: Anonymity, incoming_hidden: bool | None = None) -> bool:
    """Whether a leg goes out anonymous. ``auto`` inherits from the incoming leg, and is ``no`` without one."""
    if anonymous == "auto":
        return bool(incoming_hidden)
    return anonymous == "yes"


def shown_source(source: Address, number: str) -> Address:
    """The source as the record shows it when another number of the customer's stands in for it."""
    if source.target == number:
        return source
    return source.model_copy(update={"type": "tel", "target": number, "target_name": number})
