"""Passwords of SIP accounts: what may be one, and the only thing that is kept of it."""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

SHORTEST, LONGEST = 8, 128


def ha1(username: str, realm: str, password: str) -> str:
    """The digest secret of RFC 2617: MD5 over ``username:realm:password``, in hexadecimal."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).hexdigest()


def password_problem(password: str, username: str) -> str | None:
    """What forbids a password for an account of this name: the first thing that a scanner tries."""
    return "must differ from the account's own name" if password.lower() == username.lower() else None


def _printable(password: SecretStr) -> SecretStr:
    text = password.get_secret_value()
    # what UTF-8 cannot write has no digest
    if not text.isprintable() or text.encode(errors="replace") != text.encode(errors="ignore"):
        raise ValueError("must have no control characters: no telephone could be given them")
    return password


Password = Annotated[
    SecretStr,
    Field(
        min_length=SHORTEST,
        max_length=LONGEST,
        description=f"{SHORTEST} to {LONGEST} characters, not the account's own name. Only a digest is kept of "
        f"it: it is "
        "never shown again.",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
    AfterValidator(_printable),
]
