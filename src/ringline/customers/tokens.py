"""The two credentials: tokens of a login (JWT, RFC 7519) and access keys."""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from ringline.customers.signing import LIFETIME, Keys, OneKey

ALGORITHM = "HS256"
ISSUER = "ringline"
AUDIENCE = "ringline-api"

ACCESSKEY_PREFIX = "vb_"
_PREFIX_SHOWN = len(ACCESSKEY_PREFIX) + 8
_ALPHABET = string.ascii_letters + string.digits
_ACCESSKEY_RANDOM = 40
_REMEMBERED = 10_000


def new_accesskey() -> str:
    """A fresh access key: ``vb_`` and 40 random letters and digits (238 bits)."""
    return ACCESSKEY_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_ACCESSKEY_RANDOM))


def accesskey_hash(token: str) -> bytes:
    """What is stored of an access key. It is random, so a plain SHA-256 is enough."""
    return hashlib.sha256(token.encode()).digest()


def accesskey_prefix(token: str) -> str:
    """What is shown of an access key after it was made."""
    return token[:_PREFIX_SHOWN]


class InvalidToken(Exception):
    """A token that proves nothing; the text says why, for the sender."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a login's token says. ``id`` is its ``jti``, ``expires`` is in seconds since the epoch.

    ``password_version`` counts the agent's passwords: a token of an earlier one proves nothing any more.
    """

    agent_id: UUID
    expires: float
    id: UUID
    key_id: UUID
    password_version: int = 0


class Tokens:
    """Issues and checks login tokens.

    A token that was checked is remembered until it expires, so that only its first use costs a signature; whether
    its key is still accepted and whether it was taken back is looked up each time.
    """

    def __init__(
        self, keys: Keys | str, revoked: Callable[[UUID], object | None] = lambda token_id: None
    ) -> None:
        """``keys``: what signs, or a secret of at least 32 bytes. ``revoked``: whether a token was taken back."""
        self._keys = OneKey(keys) if isinstance(keys, str) else keys
        self._revoked = revoked
        self._known: OrderedDict[str, Claims] = OrderedDict()

    def issue(self, agent_id: UUID, customer_id: UUID, username: str, password_version: int = 0) -> str:
        """A token for an agent, valid for 7 days. Raises ``Unavailable`` where there is no key to sign with."""
        import jwt  # noqa: PLC0415 - see _decode

        now, key = int(time.time()), self._keys.signing()
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": str(agent_id),
                "customer_id": str(customer_id),
                "username": username,
                "pwv": password_version,
                "iat": now,
                "exp": now + LIFETIME,
                "jti": uuid4().hex,
            },
            key.secret,
            algorithm=ALGORITHM,
            headers={"kid": key.id.hex},
        )

    def check(self, token: str) -> Claims:
        """What the token says. Raises ``InvalidToken``."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._decode(token)
            self._known[token] = claims
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        now = time.time()
        if claims.expires <= now:
            self._known.pop(token, None)
            raise InvalidToken("the token has expired; log in again")
        key = self._keys.by_id(claims.key_id)
        if key is None or (key.expires is not None and key.expires <= now):
            self._known.pop(token, None)
            raise InvalidToken("the token was signed with a key that is no longer accepted; log in again")
        if self._revoked(claims.id) is not None:
            raise InvalidToken("the token was logged out; log in again")
        return claims

    def _decode(self, token: str) -> Claims:
        # with all of cryptography behind it, which signatures by a secret do not need: a tenth of a second of a start
        import jwt  # noqa: PLC0415

        try:
            key = self._keys.by_id(UUID(hex=str(jwt.get_unverified_header(token).get("kid"))))
            if key is None:
                raise InvalidToken("the token is not one of this server; log in again")
            found: dict[str, Any] = jwt.decode(
                token,
                key.secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "aud", "iss", "jti"]},
            )
            return Claims(
                UUID(found["sub"]),
                float(found["exp"]),
                UUID(hex=found["jti"]),
                key.id,
                int(found.get("pwv", 0)),
            )
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the token has expired; log in again") from None
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            raise InvalidToken("the token is not valid") from None
