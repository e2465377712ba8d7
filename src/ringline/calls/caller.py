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
_USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
MAX_NAME = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """``number`` is the real E.164 number, ``""`` where there is none; ``hidden`` keeps it from being shown.

    ``user`` stands for a caller that has a SIP address and no number; the telephone network is never shown it.
    Raises ``ValueError`` for a number or user of any other form: it is written into a header.
    """

    number: str
    name: str = ""
    hidden: bool = False
    user: str = ""

    def __post_init__(self) -> None:
        if self.number and not e164.is_e164(self.number):
            raise ValueError(f"{self.number[:40]!r} is not an E.164 number")
        if self.user and not _USER.fullmatch(self.user):
            raise ValueError(f"{self.user[:40]!r} cannot be the user of a SIP address")

    def variables(self, customer_id: UUID, call_id: UUID) -> dict[str, str]:
        """Channel variables: who pays and which call (for Kamailio, which removes both), number and presentation.

        A channel that is created takes no caller id: its connected line is the whole of it. A hidden caller's name
        goes nowhere.
        """
        headers = {
            "PJSIP_HEADER(add,X-Ringline-Customer)": str(customer_id),
            "PJSIP_HEADER(add,X-Ringline-Call)": str(call_id),
            "CONNECTEDLINE(num)": self._identity(),
            "CONNECTEDLINE(name)": self._shown_name(),
        }
        if self.hidden or not (self.number or self.user):
            headers["CONNECTEDLINE(pres)"] = "prohib_passed_screen"
        return headers

    def _identity(self) -> str:
        return self.number or self.user or "anonymous"

    def _shown_name(self) -> str:
        return "" if self.hidden else _UNSAFE.sub("", self.name)[:MAX_NAME].strip()


def hides(anonymous: Anonymity, incoming_hidden: bool | None = None) -> bool:
    """Whether a leg goes out anonymous. ``auto`` inherits from the incoming leg, and is ``no`` without one."""
    if anonymous == "auto":
        return bool(incoming_hidden)
    return anonymous == "yes"


def shown_user(target: str) -> str:
    """The user of a caller's SIP address or the name of an extension, ``""`` where it cannot be shown."""
    user = target.removeprefix("sip:").partition("@")[0]
    return user if _USER.fullmatch(user) else ""


def shown_source(source: Address, number: str) -> Address:
    """The source as the record shows it when another number of the customer's stands in for it."""
    if source.target == number:
        return source
    return source.model_copy(update={"type": "tel", "target": number, "target_name": number})
