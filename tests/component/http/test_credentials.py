"""Credentials that are taken back: refused within a second in every process, whatever is heard of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import jwt
import pytest
from sqlalchemy import func, select, text, update
from tests.component.http.conftest import ADMIN_PASSWORD, SECRET, Api

from ringline.customers import (
    AccesskeyDirectory,
    AgentDirectory,
    Authentication,
    CustomerDirectory,
    RevokedTokens,
    SigningKeyDirectory,
    Tokens,
    Vigil,
    logout,
    signing,
)
from ringline.customers.tables import accesskeys
from ringline.customers.token_tables import revoked_tokens, signing_keys
from ringline.customers.tokens import accesskey_hash, accesskey_prefix, new_accesskey
from ringline.errors import RinglineError
from ringline.http import Credential, utc_now
from ringline.storage import Database

IN_FORCE = 1.0


@dataclass
class Process:
    """Another process of the same installation."""

    database: Database
    keys: AccesskeyDirectory
    signing: SigningKeyDirectory
    authentication: Authentication

    def accepts(self, token: str) -> bool:
        try:
            self.authentication.authenticate(Credential("any", token))
        except RinglineError:
            return False
        return True

    async def until(self, token: str, *, accepted: bool, seconds: float = 30.0) -> float:
        """Wait until the credential is accepted, or not; after how many seconds, without those in which the machine
        let nobody run.
        """
        began = last = time.monotonic()
        paused = 0.0
        while self.accepts(token) is not accepted:
            assert last - began < seconds, "did not happen in time"
            await asyncio.sleep(0.01)
            now = time.monotonic()
            paused += max(now - last - 0.1, 0.0)
            last = now
        return last - began - paused


async def process(stack: AsyncExitStack, url: str) -> Process:
    database = Database(url, statement_timeout=60.0, connect_timeout=30.0)
    stack.push_async_callback(database.close)
    customers, agents, keys = (
        CustomerDirectory(database),
        AgentDirectory(database),
        AccesskeyDirectory(database),
    )
    signs, revoked = SigningKeyDirectory(database, SECRET), RevokedTokens(database)
    for mirror in (customers, agents, keys, signs, revoked):
        await mirror.start()
        stack.push_async_callback(mirror.close)
    vigil = Vigil(database, (keys, revoked, agents, customers, signs))
    await vigil.start()
    stack.push_async_callback(vigil.close)
    tokens = Tokens(signs, revoked.by_id)
    authentication = Authentication(database, customers=customers, agents=agents, keys=keys, tokens=tokens)
    return Process(database, keys, signs, authentication)


@pytest.fixture
async def other(api: Api) -> AsyncIterator[Process]:
    async with AsyncExitStack() as stack:
        yield await process(stack, api.database.url)


async def _login(api: Api) -> str:
    body = {"username": "admin", "password": ADMIN_PASSWORD}
    status, answer = await api.call("POST", "/auth/login", key=None, json=body)
    assert status == 200, answer
    api.session.cookie_jar.clear()
    return str(answer["token"])


async def _key(api: Api, **more: object) -> tuple[UUID, str]:
    key_id, token = uuid4(), new_accesskey()
    async with api.database.begin() as connection:
        await connection.execute(
            accesskeys.insert().values(
                id=key_id,
                customer_id=api.customer_id,
                token_hash=accesskey_hash(token),
                token_prefix=accesskey_prefix(token),
                tm_create=utc_now(),
                **more,
            )
        )
    return key_id, token


async def _delete(api: Api, key_id: UUID) -> None:
    async with api.database.begin() as connection:
        await connection.execute(
            update(accesskeys).where(accesskeys.c.id == key_id).values(tm_delete=utc_now())
        )


async def test_a_key_made_and_deleted_here_is_known_there_within_a_second(api: Api, other: Process) -> None:
    status, made = await api.call("POST", "/v1.0/accesskeys", json={"name": "for two processes"})
    assert status == 200, made
    assert await other.until(made["token"], accepted=True) < IN_FORCE
    assert (await api.call("DELETE", f"/v1.0/accesskeys/{made['id']}"))[0] == 200
    assert await other.until(made["token"], accepted=False) < IN_FORCE
    assert (await api.call("GET", "/v1.0/customer", key=made["token"]))[0] == 401


async def test_a_deleted_key_is_refused_while_notifications_are_not_heard(api: Api, other: Process) -> None:
    key_id, token = await _key(api)
    await other.until(token, accepted=True)
    connect = other.database.listener._dsn
    # the connection that listens ends, and none can be made: other connections go on
    other.database.listener._dsn = "postgresql://nobody@127.0.0.1:1/none"
    async with other.database.connect() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'ringline-listener'"
            )
        )
    while other.database.listener.connected:
        await asyncio.sleep(0.01)
    await asyncio.sleep(signing.AHEAD_SECONDS / 10)
    await _delete(api, key_id)
    assert await other.until(token, accepted=False) < IN_FORCE
    assert not other.database.listener.connected
    other.database.listener._dsn = connect


async def test_a_listener_that_hangs_is_not_believed(
    api: Api, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id, token = await _key(api)
    await other.until(token, accepted=True)
    # as over a cable that was cut: nothing is heard, and nothing says so
    for following in other.database.listener._followings:
        monkeypatch.setattr(following, "deliver", lambda payload: None)
    task = other.database.listener._task
    assert task is not None
    task.cancel()
    await _delete(api, key_id)
    assert await other.until(token, accepted=False) < IN_FORCE


async def test_an_expired_key_is_refused_without_being_told(api: Api, other: Process) -> None:
    _, token = await _key(api, tm_expire=utc_now() + timedelta(seconds=4))
    await other.until(token, accepted=True)
    assert await other.until(token, accepted=False) < 5
    status, answer = await api.call("GET", "/v1.0/customer", key=token)
    assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert "expired" in answer["error"]["message"]


async def test_a_login_that_was_logged_out_is_refused_everywhere(api: Api, other: Process) -> None:
    token, stays = await _login(api), await _login(api)
    await other.until(token, accepted=True)  # and remembered
    status, _ = await api.call("POST", "/auth/logout", key=token)
    assert status == 200
    assert await other.until(token, accepted=False) < IN_FORCE
    assert other.accepts(stays)
    status, answer = await api.call("GET", "/v1.0/customer", key=token)
    assert (status, answer["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert "logged out" in answer["error"]["message"]
    assert (await api.call("POST", "/auth/logout", key=token))[0] == 401
    await logout.sweep(api.database)
    async with api.database.connect() as connection:
        kept = await connection.scalar(select(func.count()).select_from(revoked_tokens))
        assert kept >= 1  # it could be used for seven days still


async def test_an_access_key_cannot_be_logged_out(api: Api) -> None:
    status, answer = await api.call("POST", "/auth/logout")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "accesskeys" in answer["error"]["message"]


async def test_a_new_key_signs_and_the_old_one_is_accepted_on(
    api: Api, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "AHEAD_SECONDS", 0.0)
    before = await _login(api)
    first = jwt.get_unverified_header(before)["kid"]
    made = await signing.rotate(api.database)
    assert made is not None
    while api.authentication._tokens._keys.by_id(made) is None:
        await asyncio.sleep(0.01)
    after = await _login(api)
    assert jwt.get_unverified_header(after)["kid"] == made.hex != first
    for token in (before, after):
        await other.until(token, accepted=True)
    # not due: the newest is young
    assert await signing.rotate(api.database, only_after=timedelta(days=1)) is None
    async with api.database.connect() as connection:
        expires = await connection.scalar(
            select(signing_keys.c.tm_expire).where(signing_keys.c.id == UUID(first))
        )
    assert expires >= utc_now() + timedelta(seconds=signing.LIFETIME - 60)


async def test_all_logins_are_voided_by_a_word(api: Api, other: Process) -> None:
    token = await _login(api)
    await other.until(token, accepted=True)
    await signing.rotate(api.database, revoke=True)
    assert await other.until(token, accepted=False) < IN_FORCE
    while (await api.call("GET", "/v1.0/customer", key=token))[0] == 200:
        await asyncio.sleep(0.01)
    await other.until(await _login(api), accepted=True)
    await signing.sweep(api.database)


async def test_two_processes_that_start_make_one_key(api: Api) -> None:
    await signing.rotate(api.database, revoke=True)
    async with api.database.begin() as connection:
        await connection.execute(signing_keys.delete())
    async with AsyncExitStack() as stack:
        both = await asyncio.gather(*(process(stack, api.database.url) for _ in range(2)))
        one, two = (each.signing.signing().id for each in both)
        assert one == two
    while api.authentication._tokens._keys.by_id(one) is None:
        await asyncio.sleep(0.01)


async def test_without_postgresql_what_is_known_goes_on(api: Api, other: Process) -> None:
    _, token = await _key(api)
    await other.until(token, accepted=True)
    other.database.listener._dsn = "postgresql://nobody@127.0.0.1:1/none"
    task = other.database.listener._task
    assert task is not None
    task.cancel()
    await other.database.engine.dispose()
    other.database.engine = Database("postgresql+asyncpg://nobody@127.0.0.1:1/none").engine
    await asyncio.sleep(1.5)
    assert other.accepts(token)
