"""A request sent twice is carried out once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from tests.component.http.conftest import Api

from ringline.errors import InvalidArgument
from ringline.http import DatabaseIdempotency, utc_now
from ringline.http.tables import idempotency_keys
from ringline.storage import Database, DatabaseUnavailable


def _key() -> dict[str, str]:
    return {"Idempotency-Key": f"key {uuid4()}"}


async def _send(api: Api, text: str, headers: dict[str, str], key: str = "") -> tuple[int, dict, bool]:  # type: ignore[type-arg]
    async with api.session.post(
        f"{api.url}/v1.0/work",
        json={"text": text},
        headers={**headers, "Authorization": f"Bearer {key or api.settings.accesskey.get_secret_value()}"},
    ) as response:
        return response.status, await response.json(), "Idempotent-Replayed" in response.headers


async def test_the_same_request_gets_the_same_answer(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    first = await _send(api, text, headers)
    second = await _send(api, text, headers)
    assert first[0] == second[0] == 200
    assert first[1] == second[1]
    assert (first[2], second[2]) == (False, True)
    assert api.done.count(text) == 1


async def test_without_a_key_every_request_counts(api: Api) -> None:
    text = uuid4().hex
    await _send(api, text, {})
    await _send(api, text, {})
    assert api.done.count(text) == 2


async def test_another_body_is_refused(api: Api) -> None:
    headers = _key()
    await _send(api, uuid4().hex, headers)
    text = uuid4().hex
    status, answer, _ = await _send(api, text, headers)
    assert (status, answer["error"]["reason"]) == (409, "IDEMPOTENCY_KEY_REUSED")
    assert api.done.count(text) == 0


async def test_another_customer_may_use_the_same_key(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    _, stranger = await api.another_customer()
    await _send(api, text, headers)
    assert (await _send(api, text, headers, stranger))[2] is False
    assert api.done.count(text) == 2


async def test_twenty_at_once_are_carried_out_once(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    answers = await asyncio.gather(*(_send(api, text, headers) for _ in range(20)))
    assert api.done.count(text) == 1
    assert {status for status, _, _ in answers} <= {200, 409}
    for status, answer, _ in answers:
        if status == 409:
            assert answer["error"]["reason"] == "IDEMPOTENCY_KEY_IN_USE"


@pytest.mark.parametrize("failure", [InvalidArgument("no"), RuntimeError("oops")])
async def test_a_failure_gives_the_key_back(api: Api, failure: Exception) -> None:
    headers, text = _key(), uuid4().hex
    api.fail_next.append(failure)
    assert (await _send(api, text, headers))[0] in (400, 500)
    assert (await _send(api, text, headers))[0] == 200
    assert api.done.count(text) == 1


async def test_a_bad_body_takes_no_key(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    status, _ = await api.call("POST", "/v1.0/work", json={"txt": text}, headers=headers)
    assert status == 400
    assert (await _send(api, text, headers))[0] == 200


async def test_a_holder_that_died_holds_the_key_for_a_minute(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    await _send(api, text, headers)
    mine = idempotency_keys.c.key == headers["Idempotency-Key"]
    async with api.database.begin() as connection:
        await connection.execute(update(idempotency_keys).where(mine).values(response=None))
    assert (await _send(api, text, headers))[1]["error"]["reason"] == "IDEMPOTENCY_KEY_IN_USE"
    async with api.database.begin() as connection:
        past = utc_now() - timedelta(seconds=1)
        await connection.execute(update(idempotency_keys).where(mine).values(tm_lease=past))
    assert (await _send(api, text, headers))[0] == 200
    assert api.done.count(text) == 2
    first, second = api.seeds[text]
    assert first == second is not None


async def test_work_whose_answer_could_not_be_stored_is_repeated_with_the_same_seed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL restarts between the commit of the work and the storing of its answer."""
    headers, text = _key(), uuid4().hex

    async def restarting(*_: object) -> None:
        raise DatabaseUnavailable("the server is shutting down")

    with monkeypatch.context() as patched:
        patched.setattr(DatabaseIdempotency, "finish", restarting)
        assert (await _send(api, text, headers))[0] == 200
    assert (await _send(api, text, headers))[1]["error"]["reason"] == "IDEMPOTENCY_KEY_IN_USE"
    async with api.database.begin() as connection:
        await connection.execute(
            update(idempotency_keys)
            .where(idempotency_keys.c.key == headers["Idempotency-Key"])
            .values(tm_lease=utc_now() - timedelta(seconds=1))
        )
    assert (await _send(api, text, headers))[0] == 200
    assert (await _send(api, text, headers))[2] is True
    first, second = api.seeds[text]
    assert first == second is not None


async def test_after_a_failure_the_key_has_another_seed(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    for _ in range(2):
        api.fail_next.append(DatabaseUnavailable("lost during the commit"))
        assert (await _send(api, text, headers))[0] == 503
    assert (await _send(api, text, headers))[0] == 200
    assert len(set(api.seeds[text])) == 3


async def test_a_key_that_could_not_be_given_back_is_free_once_the_database_is_there(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers, text = _key(), uuid4().hex
    away = False

    def begin(database: Database) -> Any:
        if away:
            raise DatabaseUnavailable("the server is starting up")
        return real(database)

    def leave() -> None:
        nonlocal away
        away = True

    real = Database.begin
    with monkeypatch.context() as patched:
        patched.setattr(Database, "begin", begin)
        api.before_failing = leave
        api.fail_next.append(DatabaseUnavailable("lost during the commit"))
        assert (await _send(api, text, headers))[0] == 503
        assert (await _send(api, text, headers))[0] == 503
    api.before_failing = None
    assert (await _send(api, text, headers))[0] == 200
    assert api.done.count(text) == 1
    first, second = api.seeds[text]
    assert first != second


async def test_after_a_failure_the_key_takes_another_body_with_another_seed(api: Api) -> None:
    headers, text, other = _key(), uuid4().hex, uuid4().hex
    api.fail_next.append(InvalidArgument("no"))
    assert (await _send(api, text, headers))[0] == 400
    assert (await _send(api, other, headers))[0] == 200
    assert (await _send(api, text, headers))[1]["error"]["reason"] == "IDEMPOTENCY_KEY_REUSED"
    assert api.seeds[text] != api.seeds[other]


async def test_seeds_differ_by_key_and_customer_and_need_a_key(api: Api) -> None:
    headers, text = _key(), uuid4().hex
    _, stranger = await api.another_customer()
    await _send(api, text, headers)
    await _send(api, text, headers, stranger)
    await _send(api, text, _key())
    await _send(api, text, {})
    seeds = api.seeds[text]
    assert len(set(seeds)) == 4
    assert seeds[3] is None


@pytest.mark.parametrize("same", [True, False])
async def test_a_key_is_free_again_after_its_day(api: Api, *, same: bool) -> None:
    headers, text = _key(), uuid4().hex
    other = text if same else uuid4().hex
    await _send(api, text, headers)
    async with api.database.begin() as connection:
        await connection.execute(
            update(idempotency_keys)
            .where(idempotency_keys.c.key == headers["Idempotency-Key"])
            .values(tm_expire=utc_now() - timedelta(seconds=1))
        )
    assert (await _send(api, other, headers))[0] == 200
    assert api.done.count(other) == (2 if same else 1)
    assert api.seeds[text][0] != api.seeds[other][-1]


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_what_cannot_be_a_key(api: Api, key: str) -> None:
    status, answer, _ = await _send(api, "x", {"Idempotency-Key": key})
    assert status == 400
    assert "255" in answer["error"]["message"]
