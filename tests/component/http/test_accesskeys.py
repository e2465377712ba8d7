"""Access keys: made, shown once, used, taken back."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy import select, update
from tests.component.http.conftest import ADMIN_PASSWORD, Api

from ringline.customers.tables import accesskeys
from ringline.http import Permission, utc_now


async def test_a_key_lives(api: Api) -> None:
    status, made = await api.call(
        "POST", "/v1.0/accesskeys", json={"name": "a", "detail": "b", "expire": 3600}
    )
    assert status == 200
    token = made["token"]
    assert token.startswith("vb_")
    assert made["token_prefix"] == token[:11]
    assert made["tm_expire"].endswith("Z")
    assert made["tm_delete"] is None
    assert (await api.call("GET", "/v1.0/customer", key=token))[0] == 200

    path = f"/v1.0/accesskeys/{made['id']}"
    status, read = await api.call("GET", path)
    assert status == 200
    assert "token" not in read
    assert read["name"] == "a"

    status, changed = await api.call("PUT", path, json={"name": "c"})
    assert (status, changed["name"], changed["detail"]) == (200, "c", "b")
    assert changed["tm_update"] is not None

    status, deleted = await api.call("DELETE", path)
    assert status == 200
    assert deleted["tm_delete"] is not None
    assert (await api.call("GET", "/v1.0/customer", key=token))[0] == 401
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        status, answer = await api.call(method, path, json=body)
        assert (status, answer["error"]["reason"]) == (404, "ACCESSKEY_NOT_FOUND")


async def test_the_token_itself_is_not_stored(api: Api) -> None:
    _, made = await api.call("POST", "/v1.0/accesskeys", json={})
    async with api.database.connect() as connection:
        row = (await connection.execute(select(accesskeys).where(accesskeys.c.id == made["id"]))).one()
    assert made["token"].encode() not in repr(row).encode()
    assert made["tm_expire"] is None


async def test_an_expired_key_is_refused(api: Api) -> None:
    _, made = await api.call("POST", "/v1.0/accesskeys", json={"expire": 1})
    async with api.database.begin() as connection:
        await connection.execute(
            update(accesskeys).where(accesskeys.c.id == made["id"]).values(tm_expire=utc_now())
        )
    await api.keys.refresh(UUID(made["id"]))
    status, answer = await api.call("GET", "/v1.0/customer", key=made["token"])
    assert (status, "expired" in answer["error"]["message"]) == (401, True)


async def test_another_customer_s_key_does_not_exist(api: Api) -> None:
    _, made = await api.call("POST", "/v1.0/accesskeys", json={})
    _, stranger = await api.another_customer()
    for method, body in (("GET", None), ("PUT", {"name": "x"}), ("DELETE", None)):
        status, answer = await api.call(method, f"/v1.0/accesskeys/{made['id']}", key=stranger, json=body)
        assert (status, answer["error"]["reason"]) == (404, "ACCESSKEY_NOT_FOUND")
    assert (await api.call("GET", "/v1.0/customer", key=made["token"]))[0] == 200
    _, listed = await api.call("GET", "/v1.0/accesskeys", key=stranger)
    assert len(listed["result"]) == 1


async def test_writing_needs_an_admin(api: Api) -> None:
    customer_id, _ = await api.another_customer(Permission.CUSTOMER_AGENT)
    _, login = await api.call(
        "POST",
        "/auth/login",
        key=None,
        json={"username": f"agent-{customer_id}", "password": ADMIN_PASSWORD},
    )
    api.session.cookie_jar.clear()
    token = login["token"]
    assert (await api.call("GET", "/v1.0/accesskeys", key=token))[0] == 200
    status, answer = await api.call("POST", "/v1.0/accesskeys", key=token, json={})
    assert (status, answer["error"]["reason"]) == (403, "PERMISSION_DENIED")


async def test_the_time_of_last_use_is_written_behind(api: Api) -> None:
    _, made = await api.call("POST", "/v1.0/accesskeys", json={})
    await api.call("GET", "/v1.0/customer", key=made["token"])
    await api.authentication.write_use()
    _, read = await api.call("GET", f"/v1.0/accesskeys/{made['id']}")
    assert read["tm_last_use"] is not None
    assert read["tm_update"] is None


async def test_bad_ids(api: Api) -> None:
    status, answer = await api.call("GET", "/v1.0/accesskeys/not-a-uuid")
    assert (status, answer["error"]["reason"]) == (400, "INVALID_ID")
    status, _ = await api.call("GET", f"/v1.0/accesskeys/{uuid4()}")
    assert status == 404


async def test_pages_lose_and_repeat_nothing_even_when_rows_are_of_the_same_moment(api: Api) -> None:
    customer_id, key = await api.another_customer()
    moments = [utc_now() for _ in range(3)]
    made = [uuid4() for _ in range(30)]
    async with api.database.begin() as connection:
        await connection.execute(
            accesskeys.insert(),
            [
                {
                    "id": key_id,
                    "customer_id": customer_id,
                    "token_hash": key_id.bytes,
                    "token_prefix": "",
                    "tm_create": moments[number % 3],
                }
                for number, key_id in enumerate(made)
            ],
        )
    for size in (1, 7, 10, 31, 1000):
        seen: list[str] = []
        token = ""
        while True:
            status, page = await api.call(
                "GET", "/v1.0/accesskeys", key=key, params={"page_size": size, "page_token": token}
            )
            assert status == 200
            assert 0 < len(page["result"]) <= size
            seen += [row["id"] for row in page["result"]]
            token = page["next_page_token"]
            if not token:
                break
        assert len(seen) == len(set(seen)) == 31  # and the key that asks
        assert {str(key_id) for key_id in made} < set(seen)
        ages = [made.index(UUID(row)) % 3 for row in seen if UUID(row) in made]
        assert ages == sorted(ages, reverse=True)
