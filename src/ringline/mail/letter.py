"""A letter and the addresses that may stand on it (RFC 5321, RFC 5322)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Annotated, Final

from pydantic import AfterValidator, Field

LONGEST: Final = 254
"""Characters of an address (RFC 5321 section 4.5.3.1.3, without the brackets)."""
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LONGEST_LOCAL: Final = 64
_EXAMPLE: Final = "must be an e-mail address such as ada@example.com"


def check_address(text: str) -> str:
    """The address as it is. Raises ``ValueError`` for what no mail can be sent to.

    Plain addresses only: no names, no quotes, no comments, no addresses by number. Names of domains in other scripts
    come in their ASCII form (``xn--``).
    """
    local, at, domain = text.rpartition("@")
    labels = domain.split(".")
    if (
        not at
        or len(text) > LONGEST
        or len(local) > _LONGEST_LOCAL
        or not _LOCAL.fullmatch(local)
        or len(labels) < 2
        or not all(_LABEL.fullmatch(label) for label in labels)
        or labels[-1].isdigit()
    ):
        raise ValueError(_EXAMPLE)
    return text


def is_address(text: str) -> bool:
    """Whether mail can be sent to it."""
    try:
        check_address(text)
    except ValueError:
        return False
    return True


EmailAddress = Annotated[
    str, AfterValidator(check_address), Field(min_length=3, max_length=LONGEST, examples=["ada@example.com"])
]


@dataclass(frozen=True, slots=True)
class Letter:
    """Plain text to one address. ``text`` ends its lines with ``\\n``; it holds secrets, so it is not shown."""

    to: str
    subject: str
    text: str = field(repr=False)

    def message(self, sender: str) -> EmailMessage:
        """As it is sent, from ``sender`` (``name <address>`` or an address).

        Raises ``ValueError`` for an address that is none, and for line breaks in what becomes a header.
        """
        check_address(self.to)
        if not self.subject.isprintable():
            raise ValueError("a subject has no line breaks and no control characters")
        name, address = parseaddr(sender)
        message = EmailMessage(policy=SMTP)
        message["From"] = Address(name, addr_spec=address)
        message["To"] = Address(addr_spec=self.to)
        message["Subject"] = self.subject
        message["Date"] = format_datetime(datetime.now(UTC))
        message["Message-ID"] = make_msgid(domain=address.rpartition("@")[2] or "localhost")
        # nobody's out-of-office notice is wanted (RFC 3834)
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        return message
