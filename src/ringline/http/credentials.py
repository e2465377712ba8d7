"""Where a request carries its credential."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiohttp import web

from ringline.errors import Unauthenticated
from ringline.http.route import Principal

COOKIE = "token"
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Credential:
    """``kind`` is what the place it came from may hold: a login's token, an access key, or either."""

    kind: Literal["jwt", "accesskey", "any"]
    token: str = field(repr=False)
    by_cookie: bool = False


class Authenticator(Protocol):
    """Tells who a credential belongs to, without I/O: it is on the path of every request."""

    def authenticate(self, credential: Credential, *, frozen: bool = False) -> Principal:
        """Raises ``Unauthenticated`` or ``PermissionDenied``; with ``frozen`` a frozen customer's is good too."""


def credential_of(request: web.BaseRequest) -> Credential:
    """The first credential of ``?token=``, ``?accesskey=``, ``Authorization: Bearer`` and cookie ``token``.

    The first one decides: a wrong one is not rescued by a right one elsewhere. Raises ``Unauthenticated``
    when there is none.
    """
    found = _find(request)
    if found is None:
        raise Unauthenticated(
            "This operation needs a credential: the token of POST /auth/login as ?token=, Authorization: "
            "Bearer or cookie `token`, or an access key as ?accesskey= or Authorization: Bearer."
        )
    if len(found.token) > _LONGEST:
        raise Unauthenticated("The credential is too long to be one.", reason="INVALID_CREDENTIALS")
    return found


def _find(request: web.BaseRequest) -> Credential | None:
    query = request.query
    if token := query.get("token"):
        return Credential("jwt", token)
    if token := query.get("accesskey"):
        return Credential("accesskey", token)
    header = request.headers.get("Authorization")
    if header:
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated(
                "The Authorization header must be `Bearer` and a token or an access key.",
                reason="INVALID_CREDENTIALS",
            )
        return Credential("any", token.strip())
    if token := request.cookies.get(COOKIE):
        return Credential("jwt", token, by_cookie=True)
    return None
