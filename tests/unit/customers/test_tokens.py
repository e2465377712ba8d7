"""Tokens of logins and access keys."""

from __future__ import annotations

import time
import warnings
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest

from ringline.customers import tokens
from ringline.customers.signing import LIFETIME, OneKey, SigningKey
from ringline.customers.tokens import InvalidToken, Tokens, accesskey_hash, accesskey_prefix, new_accesskey

SECRET = "0123456789abcdef0123456789abcdef"


def _signed(
    secret: str = SECRET, headers: dict[str, Any] | None = None, algorithm: str = "HS256", **changes: Any
) -> str:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "sub": str(uuid4()),
        "iat": now,
        "exp": now + 60,
        "jti": uuid4().hex,
    }
    claims.update(changes)
    key = OneKey(SECRET).signing()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # HS512 wants longer keys than ours
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            key.secret if secret == SECRET else secret,
            algorithm=algorithm,
            headers={"kid": key.id.hex, **(headers or {})},
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
        _signed(jti=None),
        _signed(jti="no uuid"),
        _signed(iat=None),
        _signed(aud=None),
        _signed(algorithm="HS512"),
        _signed(exp=int(time.time()) - 1),
        _signed().rsplit(".", 1)[0] + ".",
        jwt.encode({"sub": str(uuid4())}, None, algorithm="none"),
        jwt.encode(
            {"sub": str(uuid4())}, None, algorithm="none", headers={"kid": OneKey(SECRET).signing().id.hex}
        ),
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
    monkeypatch.setattr(tokens.time, "time", lambda: now + LIFETIME + 1)
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


class Ring:
    """Keys that a test changes."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = {key.id: key for key in keys}

    def by_id(self, key_id: UUID) -> SigningKey | None:
        return self.keys.get(key_id)

    def signing(self) -> SigningKey:
        return max(self.keys.values(), key=lambda key: key.signs)


def _key(signs: float, expires: float | None = None) -> SigningKey:
    return SigningKey(uuid4(), uuid4().bytes * 2, signs, expires)


def test_an_old_key_is_accepted_until_it_expires_and_a_deleted_one_no_more() -> None:
    old = _key(1)
    ring = Ring(old)
    service = Tokens(ring)
    before = service.issue(uuid4(), uuid4(), "x")
    ring.keys[old.id] = SigningKey(old.id, old.secret, 1, time.time() + 60)
    new = _key(2)
    ring.keys[new.id] = new
    after = service.issue(uuid4(), uuid4(), "x")
    assert jwt.get_unverified_header(after)["kid"] == new.id.hex
    for token in (before, after):
        service.check(token)
    ring.keys[old.id] = SigningKey(old.id, old.secret, 1, time.time() - 1)
    with pytest.raises(InvalidToken, match="no longer accepted"):
        service.check(before)
    del ring.keys[new.id]
    with pytest.raises(InvalidToken):  # although it is remembered
        service.check(after)


def test_a_token_that_was_taken_back_is_refused_although_it_is_remembered() -> None:
    gone: set[UUID] = set()
    service = Tokens(SECRET, lambda token_id: token_id if token_id in gone else None)
    token, other = (service.issue(uuid4(), uuid4(), "x") for _ in range(2))
    gone.add(service.check(token).id)
    with pytest.raises(InvalidToken, match="logged out"):
        service.check(token)
    service.check(other)
