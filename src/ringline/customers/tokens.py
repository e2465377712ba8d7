"""The two credentials: tokens of a login (JWT, RFC 7519) and access keys."""

from __future__ import annotations

import hashlib
import secrets
import string
import time
from collections import OrderedDict
from dataclasses import dataclass
from uuid import UUID

import jwt

ALGORITHM = "HS256"
ISSUER = "ringline"
AUDIENCE = "ringline-api"
LIFETIME = 7 * 24 * 3600

ACCESSKEY_PREFIX = "vb_"
_PREFIX_SHOWN = len(ACCESSKEY_PREFIX) + 8
_ALPHABET = string.ascii_letters + string.digits
_ACCESSKEY_RANDOM = 40
_SHORTEST_SECRET = 32
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
    """What a login's token says. ``expires`` is in seconds since the epoch."""

    agent_id: UUID
    expires: float


class Tokens:
    """Issues and checks login tokens with one secret of at least 32 bytes.

    A token that was checked is remembered until it expires, so that only its first use costs a signature.
    """

    def __init__(self, secret: str) -> None:
        if len(secret.encode()) < _SHORTEST_SECRET:
            raise ValueError(f"RINGLINE_JWT_SECRET must be at least {_SHORTEST_SECRET} bytes long")
        self._secret = secret
        # Names the secret without telling it, so that tokens of an earlier one are known as such.
        self._key_id = hashlib.sha256(b"key id " + secret.encode()).hexdigest()[:16]
        self._known: OrderedDict[str, Claims] = OrderedDict()

    def issue(self, agent_id: UUID, customer_id: UUID, username: str) -> str:
        """A token for an agent, valid for 7 days."""
        now = int(time.time())
        return jwt.encode(
            {
                "iss": ISSUER,
                "aud": AUDIENCE,
                "sub": str(agent_id),
                "customer_id": str(customer_id),
                "username": username,
                "iat": now,
                "exp": now + LIFETIME,
                "jti": secrets.token_hex(8),
            },
            self._secret,
            algorithm=ALGORITHM,
            headers={"kid": self._key_id},
        )

    def check(self, token: str) -> Claims:
        """What the token says. Raises ``InvalidToken``."""
        claims = self._known.get(token)
        if claims is None:
            claims = self._decode(token)
            self._known[token] = claims
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if claims.expires <= time.time():
            self._known.pop(token, None)
            raise InvalidToken("the token has expired; log in again")
        return claims

    def _decode(self, token: str) -> Claims:
        try:
            if jwt.get_unverified_header(token).get("kid") != self._key_id:
                raise InvalidToken("the token is not one of this server; log in again")
            found = jwt.decode(
                token,
                self._secret,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "iat", "sub", "aud", "iss"]},
            )
            return Claims(UUID(found["sub"]), float(found["exp"]))
        except jwt.ExpiredSignatureError:
            raise InvalidToken("the token has expired; log in again") from None
        except (jwt.InvalidTokenError, ValueError):
            raise InvalidToken("the token is not valid") from None
