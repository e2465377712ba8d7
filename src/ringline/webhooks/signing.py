"""Signatures as Standard Webhooks defines them, and the secrets they are made with.

A secret is computed from a key that only the settings know and a salt in the endpoint's row: neither the database nor
a copy of it can sign, and nothing secret is stored. Specification: standardwebhooks.com, symmetric signatures.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Sequence
from typing import Final
from uuid import UUID

PREFIX: Final = "whsec_"
SHOWN_CHARACTERS: Final = 12
"""Of a secret, prefix included: enough to recognise it by."""
_LABEL: Final = b"ringline webhook secret\0"


class Secrets:
    """Makes the secrets of endpoints."""

    def __init__(self, key: str) -> None:
        self._key = hmac.digest(key.encode(), b"ringline webhooks", "sha256")

    def raw(self, salt: UUID) -> bytes:
        """The 32 bytes that sign."""
        return hmac.digest(self._key, _LABEL + salt.bytes, "sha256")

    def text(self, salt: UUID) -> str:
        """The secret as its owner gets it: ``whsec_`` and base64."""
        return PREFIX + b64encode(self.raw(salt)).decode()

    def prefix(self, salt: UUID) -> str:
        """What of it is shown later."""
        return self.text(salt)[:SHOWN_CHARACTERS]


def sign(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: one signature for each secret, ``timestamp`` in seconds since 1970."""
    signed = b"%b.%d.%b" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + b64encode(hmac.digest(secret, signed, "sha256")).decode() for secret in secrets)
