"""Tokens of logins and access keys."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import jwt
import pytest

from ringline.customers import tokens
from ringline.customers.tokens import InvalidToken, Tokens, accesskey_hash, accesskey_prefix, new_accesskey

SECRET = "0123456789abcdef0123456789abcdef"


def _signed(secret: str = SECRET, headers: dict[str, Any] | None = None, **changes: Any) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "sub": str(uuid4()),
        "iat": now,
        "exp": now + 60,
    }
    claims.update(changes)
    kid = jwt.get_unverified_header(Tokens(SECRET).issue(uuid4(), uuid4(), "x"))["kid"]
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None},
        secret,
        algorithm="HS256",
        headers={"kid": kid, **(headers or {})},
    )


def test_a_token_says_who() -> None:
    agent, service = uuid4(), Tokens(SECRET)
    token = service.issue(agent, uuid4(), "admin")
    for _ in range(2):  # signed, then remembered
        claims = service.check(token)
        assert claims.agent_id == agent
        assert 7 * 24 * 3600 - 5 <= claims.expires - time.time() <= 7 * 24 * 3600
    assert Tokens(SECRET).check(token).agent_id == agent


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        _signed(secret="another secret, also of 32 bytes"),
        _signed(headers={"kid": "other"}),
        _signed(aud="somebody else"),
        _signed(iss="somebody else"),
        _signed(sub="not a uuid"),
        _signed(sub=None),
        _signed(exp=None),
        _signed(exp=int(time.time()) - 1),
        _signed().rsplit(".", 1)[0] + ".",
        jwt.encode({"sub": str(uuid4())}, None, algorithm="none"),
    ],
)
def test_what_proves_nothing(token: str) -> None:
    service = Tokens(SECRET)
    for _ in range(2):
        with pytest.raises(InvalidToken):
            service.check(token)


def test_a_remembered_token_still_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    service, now = Tokens(SECRET), time.time()
    token = service.issue(uuid4(), uuid4(), "admin")
    service.check(token)
    monkeypatch.setattr(tokens.time, "time", lambda: now + tokens.LIFETIME + 1)
    with pytest.raises(InvalidToken, match="expired"):
        service.check(token)


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_REMEMBERED", 3)
    service = Tokens(SECRET)
    issued = [service.issue(uuid4(), uuid4(), "x") for _ in range(10)]
    for token in issued:
        service.check(token)
    assert len(service._known) == 3
    service.check(issued[0])


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="RINGLINE_JWT_SECRET"):
        Tokens("short")


def test_access_keys() -> None:
    keys = {new_accesskey() for _ in range(100)}
    assert len(keys) == 100
    for key in keys:
        assert key.startswith("vb_")
        assert key[3:].isalnum()
        assert accesskey_prefix(key) == key[:11]
    assert accesskey_hash("a") != accesskey_hash("b")
    assert len(accesskey_hash("a")) == 32
