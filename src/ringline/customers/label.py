"""A customer's short name in SIP addresses."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

RESERVED = frozenset({"pstn", "sip", "echo", "reg", "registrar", "www", "api", "trunk"})
"""Labels that are no customer's: ours, and VoIPBIN's."""
_LABEL = re.compile(r"[a-z][a-z0-9-]{2,28}[a-z0-9]", re.ASCII)


def check_label(text: str) -> str:
    """The label as it is. Raises ``ValueError``."""
    if text in RESERVED:
        raise ValueError(f"{text!r} is reserved; choose another one")
    if not _LABEL.fullmatch(text):
        raise ValueError(
            "must be 4 to 30 small letters, digits and hyphens, a letter first and no hyphen last, such as "
            "`acme-berlin`"
        )
    return text


Label = Annotated[
    str,
    AfterValidator(check_label),
    Field(
        description="Your short name in SIP addresses: with `acme` your extensions are `test11@acme.<SIP "
        "domain>`. 4 to 30 "
        "small letters, digits and hyphens, a letter first. Unique in the installation, and never the name that "
        "somebody else's accounts were made under. When it is changed, phones register again under the new "
        "domain with "
        "the password that they have; `test11@acme` in flows and addresses is to be changed by you."
    ),
]
