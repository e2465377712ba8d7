"""Sign-up, forgotten passwords, leaving: what strangers may do, and what they learn."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
import structlog

from ringline.customers.entry import Signups
from ringline.customers.entry.letters import Letters
from ringline.customers.limiter import Limiter
from ringline.customers.tables import account_tokens, agents, customers
from ringline.http import utc_now
from ringline.people import furnish

from .conftest import ADMIN_PASSWORD, Api

PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _unhurried(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tests come from one address."""
    for part, name in (
        (api.people.signups, "_by_address"),
        (api.people.signups, "_by_mailbox"),
        (api.people.resets, "_by_address"),
        (api.people.resets, "_by_agent"),
    ):
        monkeypatch.setattr(part, name, Limiter(rate=100, burst=100))


@contextmanager
def mailbox() -> Iterator[list[dict[str, str]]]:
    """Letters, as they are printed without a mail server."""
    letters: list[dict[str, str]] = []
    with structlog.testing.capture_logs() as said:
        yield letters
        letters += [line for line in said if line["event"] == "mail"]


def link(letter: dict[str, Any]) -> str:
    found = re.search(r"token=([0-9a-f]{64})\n", letter["text"])
    assert found, letter
    return found[1]


def address() -> str:
    return f"{uuid4().hex}@example.com"


async def post(api: Api, path: str, **body: Any) -> tuple[int, Any]:
    return await api.call("POST", path, key=None, json=body)


async def sign_up(api: Api, email: str, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer, and the letter."""
    with mailbox() as letters:
        status, made = await post(api, "/auth/signup", email=email, accepted_tos=True, **more)
    assert status == 200, made
    (letter,) = letters
    assert letter["to"] == email.lower()
    return made, letter


async def member(api: Api, email: str = "") -> tuple[UUID, str, str]:
    """Somebody who has signed up, verified the address and chosen a password: customer, name, access key."""
    email = email or address()
    made, letter = await sign_up(api, email)
    status, verified = await post(api, "/auth/email-verify", token=link(letter))
    assert status == 200, verified
    status, answer = await post(
        api, "/auth/password-reset", token=verified["password_token"], password=PASSWORD
    )
    assert (status, answer) == (200, {})
    return UUID(made["customer"]["id"]), email, made["accesskey"]["token"]


async def login(api: Api, username: str, password: str = PASSWORD) -> str:
    body = {"username": username, "password": password}
    async with api.session.post(f"{api.url}/auth/login", json=body) as response:
        return str((await response.json()).get("token", ""))


async def test_somebody_signs_up_verifies_and_logs_in(api: Api) -> None:
    email = address()
    made, letter = await sign_up(
        api, email.replace("@e", "@E"), name="Ada Ltd", webhook_uri="https://a.example/x"
    )
    customer, key = made["customer"], made["accesskey"]["token"]
    assert (customer["status"], customer["email_verified"], customer["email"]) == ("initial", False, email)
    assert (customer["name"], customer["webhook_uri"]) == ("Ada Ltd", "https://a.example/x")
    assert key.startswith("vb_")
    _, shown = await api.call("GET", "/v1.0/customer", key=key)
    assert shown == customer, "the key works at once"
    _, page = await api.call("GET", "/v1.0/agents", key=key)
    (admin,) = page["result"]
    assert admin["permission"] == 32
    assert email not in str(admin), "nobody has proven the address yet"
    _, account = await api.call("GET", "/v1.0/billing_account", key=key)
    assert account["id"] == customer["billing_account_id"]
    assert account["plan_type"] == "free"
    _, outbound = await api.call("GET", "/v1.0/outbound_config", key=key)
    assert outbound["destination_whitelist"] == []
    _, keys = await api.call("GET", "/v1.0/accesskeys", key=key)
    assert [row["id"] for row in keys["result"]] == [made["accesskey"]["id"]]
    assert key not in str(keys)
    token = link(letter)
    assert f"{api.settings.api_url}/auth/email-verify?token={token}" in letter["text"]
    status, verified = await post(api, "/auth/email-verify", token=token)
    assert status == 200
    assert (verified["customer"]["status"], verified["customer"]["email_verified"]) == ("active", True)
    assert verified["username"] == email
    status, again = await post(api, "/auth/email-verify", token=token)
    assert (status, again["error"]["reason"]) == (400, "INVALID_TOKEN")
    status, _ = await post(api, "/auth/password-reset", token=verified["password_token"], password=PASSWORD)
    assert status == 200
    assert await login(api, email) != ""
    async with api.database.connect() as connection:
        stored = (await connection.execute(sa.select(account_tokens))).all()
    assert token not in str(stored)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"accepted_tos": True}, "email"),
        ({"email": "ada", "accepted_tos": True}, "email"),
        ({"email": "ada@example.com\nBcc: x@example.com", "accepted_tos": True}, "email"),
        ({"email": "ada@example.com"}, "accepted_tos"),
        ({"email": "ada@example.com", "accepted_tos": False}, "accepted_tos"),
        ({"email": "ada@example.com", "accepted_tos": True, "webhook_uri": "ftp://x"}, "webhook_uri"),
        (
            {"email": "ada@example.com", "accepted_tos": True, "webhook_uri": "http://169.254.169.254/"},
            "public",
        ),
        ({"email": "ada@example.com", "accepted_tos": True, "admin": True}, "admin"),
    ],
)
async def test_what_is_wrong_with_a_sign_up_is_said(api: Api, body: dict[str, Any], field: str) -> None:
    status, refused = await post(api, "/auth/signup", **body)
    assert status == 400
    assert field in refused["error"]["message"]


async def test_sign_up_is_off_unless_it_is_switched_on(api: Api) -> None:
    people = api.people
    known = (api.customers, api.agents, api.keys)
    off = Signups(
        api.database, known, people.trail, furnish, Letters("http://x"), people.mailer.post, enabled=False
    )
    on, people.signups._enabled = people.signups._enabled, off._enabled
    try:
        status, refused = await post(api, "/auth/signup", email=address(), accepted_tos=True)
    finally:
        people.signups._enabled = on
    assert (status, refused["error"]["reason"]) == (403, "SIGNUP_DISABLED")
    assert "off" in refused["error"]["message"]


async def test_the_answer_does_not_tell_who_has_an_account(api: Api) -> None:
    """A sign-up with somebody's address is answered alike; only the mailbox learns of it."""
    _, email, _ = await member(api)
    known, letter = await sign_up(api, email)
    fresh, _ = await sign_up(api, address())

    def shape(made: dict[str, Any]) -> dict[str, Any]:
        own = ("id", "customer_id", "token", "token_prefix", "email", "domain_label", "billing_account_id")
        return {
            part: {k: v for k, v in made[part].items() if k not in own and not k.startswith("tm_")}
            for part in made
        }

    assert shape(known) == shape(fresh)
    assert known["customer"]["email"] == email
    assert (await api.call("GET", "/v1.0/customer", key=known["accesskey"]["token"]))[0] == 200
    assert "already" in letter["text"]
    assert "token=" not in letter["text"]
    assert await login(api, email) != "", "the account that was there is untouched"


async def test_two_who_wait_with_one_address_cannot_both_have_it(api: Api) -> None:
    email = address()
    _, first = await sign_up(api, email)
    _, second = await sign_up(api, email)
    answers = await asyncio.gather(
        *(post(api, "/auth/email-verify", token=link(letter)) for letter in (first, second))
    )
    assert sorted(status for status, _ in answers) == [200, 400]
    refused = next(answer for status, answer in answers if status == 400)
    assert refused["error"]["reason"] == "INVALID_TOKEN"


async def test_a_token_is_used_once_whoever_is_faster(api: Api) -> None:
    _, letter = await sign_up(api, address())
    token = link(letter)
    answers = await asyncio.gather(*(post(api, "/auth/email-verify", token=token) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 400, 400, 400, 400]


async def test_an_address_cannot_be_exchanged_while_it_is_being_verified(api: Api) -> None:
    made, letter = await sign_up(api, address())
    key = made["accesskey"]["token"]
    status, refused = await api.call("PUT", "/v1.0/customer", key=key, json={"email": address()})
    assert status == 400
    assert "verified" in refused["error"]["message"]
    status, _ = await post(api, "/auth/email-verify", token=link(letter))
    assert status == 200
    _, changed = await api.call("PUT", "/v1.0/customer", key=key, json={"email": address()})
    assert changed["email_verified"] is False, "nobody has proven the new one"


async def test_who_does_not_verify_expires(api: Api) -> None:
    made, letter = await sign_up(api, address())
    customer_id, key = UUID(made["customer"]["id"]), made["accesskey"]["token"]
    async with api.database.begin() as connection:
        await connection.execute(
            sa.update(customers)
            .where(customers.c.id == customer_id)
            .values(tm_create=utc_now() - timedelta(hours=73))
        )
    await api.people.removal.turn()
    status, refused = await api.call("GET", "/v1.0/customer", key=key)
    assert (status, refused["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert (await post(api, "/auth/email-verify", token=link(letter)))[0] == 400
    async with api.database.connect() as connection:
        row = (await connection.execute(sa.select(customers).where(customers.c.id == customer_id))).one()
    assert (row.status, row.email, row.tm_removed is not None) == ("expired", "", True)


async def test_a_forgotten_password_is_replaced_and_former_logins_end(api: Api) -> None:
    _, email, _ = await member(api)
    before = await login(api, email)
    assert (await api.call("GET", "/v1.0/agents", key=before))[0] == 200
    with mailbox() as letters:
        assert await post(api, "/auth/password-forgot", username=email.upper()) == (200, {})
        await api.people.resets.idle()
    (letter,) = letters
    token = link(letter)
    status, refused = await post(api, "/auth/password-reset", token=token, password="short")
    assert (status, "password" in refused["error"]["message"]) == (400, True)
    assert await post(api, "/auth/password-reset", token=token, password="another password") == (200, {})
    assert (await post(api, "/auth/password-reset", token=token, password="a third one"))[0] == 400
    status, refused = await api.call("GET", "/v1.0/agents", key=before)
    assert (status, refused["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    assert await login(api, email) == ""
    after = await login(api, email, "another password")
    assert (await api.call("GET", "/v1.0/agents", key=after))[0] == 200


async def test_a_password_that_is_changed_ends_former_logins(api: Api) -> None:
    _, email, key = await member(api)
    token = await login(api, email)
    _, page = await api.call("GET", "/v1.0/agents", key=key)
    one = f"/v1.0/agents/{page['result'][0]['id']}/password"
    assert (await api.call("PUT", one, key=token, json={"password": "another password"}))[0] == 200
    assert (await api.call("GET", "/v1.0/agents", key=token))[0] == 401
    assert (await api.call("GET", "/v1.0/agents", key=key))[0] == 200, "an access key has no password"


async def test_nobody_learns_whether_there_is_such_a_login(api: Api) -> None:
    _, email, _ = await member(api)
    with mailbox() as letters:
        answers = [
            await post(api, "/auth/password-forgot", username=name) for name in (email, address(), "nobody")
        ]
        await api.people.resets.idle()
    assert answers == [(200, {})] * 3
    assert [letter["to"] for letter in letters] == [email]


async def test_a_login_that_is_no_address_gets_mail_at_its_customers(api: Api) -> None:
    customer_id, _ = await api.another_customer()
    async with api.database.begin() as connection:
        await connection.execute(
            sa.update(customers).where(customers.c.id == customer_id).values(email="office@example.com")
        )
    with mailbox() as letters:
        await post(api, "/auth/password-forgot", username=f"agent-{customer_id}")
        await api.people.resets.idle()
    assert [letter["to"] for letter in letters] == ["office@example.com"]


async def test_a_reset_is_over_after_an_hour(api: Api) -> None:
    _, email, _ = await member(api)
    with mailbox() as letters:
        await post(api, "/auth/password-forgot", username=email)
        await api.people.resets.idle()
    token = link(letters[0])
    async with api.database.begin() as connection:
        agent_id = sa.select(agents.c.id).where(agents.c.username == email).scalar_subquery()
        mine = account_tokens.c.agent_id == agent_id
        (row,) = (await connection.execute(sa.select(account_tokens).where(mine))).all()
        assert row.tm_expire - row.tm_create == timedelta(hours=1)
        await connection.execute(sa.update(account_tokens).where(mine).values(tm_expire=utc_now()))
    assert (await post(api, "/auth/password-reset", token=token, password=PASSWORD))[0] == 400


async def test_the_purposes_of_tokens_are_kept_apart(api: Api) -> None:
    _, letter = await sign_up(api, address())
    assert (await post(api, "/auth/password-reset", token=link(letter), password=PASSWORD))[0] == 400
    assert (await post(api, "/auth/email-verify", token=link(letter)))[0] == 200


async def test_mailboxes_and_the_server_are_protected_from_floods(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.people.resets, "_by_agent", Limiter(rate=0.001, burst=3))
    _, email, _ = await member(api)
    with mailbox() as letters:
        for _ in range(6):
            assert await post(api, "/auth/password-forgot", username=email) == (200, {})
        await api.people.resets.idle()
    assert len(letters) == 3
    monkeypatch.setattr(api.people.signups, "_by_address", Limiter(rate=0.001, burst=2))
    statuses = []
    for _ in range(3):
        status, _answer = await post(api, "/auth/signup", email=address(), accepted_tos=True)
        statuses.append(status)
    assert statuses == [200, 200, 429]
    monkeypatch.setattr(api.people.resets, "_by_address", Limiter(rate=0.001, burst=1))
    assert (await post(api, "/auth/password-forgot", username="x"))[0] == 200
    status, refused = await post(api, "/auth/password-forgot", username="x")
    assert (status, refused["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")


async def test_an_account_is_closed_and_recovered(api: Api) -> None:
    customer_id, email, key = await member(api)
    token = await login(api, email)
    for body, expected in (
        ({}, 400),
        ({"password": "x", "confirmation_phrase": "DELETE"}, 400),
    ):
        assert (await api.call("POST", "/auth/unregister", key=token, json=body))[0] == expected
    status, small = await api.call(
        "POST", "/auth/unregister", key=token, json={"confirmation_phrase": "delete"}
    )
    (fault,) = small["error"]["details"]
    assert (status, fault["field"], "DELETE" in fault["message"]) == (400, "confirmation_phrase", True)
    wrong = await api.call("POST", "/auth/unregister", key=token, json={"password": "wrong password"})
    assert (wrong[0], wrong[1]["error"]["reason"]) == (401, "INVALID_CREDENTIALS")
    status, refused = await api.call("POST", "/auth/unregister", key=key, json={"password": PASSWORD})
    assert (status, "confirmation_phrase" in refused["error"]["message"]) == (400, True)
    status, _ = await api.call("DELETE", "/auth/unregister", key=token)
    assert status == 409, "nothing to recover from"
    status, frozen = await api.call("POST", "/auth/unregister", key=token, json={"password": PASSWORD})
    assert (status, frozen["status"]) == (200, "frozen")
    for credential in (token, key):
        status, refused = await api.call("GET", "/v1.0/agents", key=credential)
        error = refused["error"]
        assert (status, error["reason"]) == (403, "ACCOUNT_FROZEN")
        assert error["details"][0] == {
            "recovery_endpoint": "DELETE /auth/unregister",
            "deletion_effective_at": frozen["tm_deletion_scheduled"],
        }
    fresh = await login(api, email)
    assert fresh != "", "whoever lost the token can come back too"
    status, recovered = await api.call("DELETE", "/auth/unregister", key=fresh)
    assert (status, recovered["status"], recovered["tm_deletion_scheduled"]) == (200, "active", None)
    assert (await api.call("GET", "/v1.0/agents", key=key))[0] == 200
    assert api.customers.by_id(customer_id) is not None


async def test_a_customer_with_a_new_address_is_recovered_as_it_was(api: Api) -> None:
    customer_id, email, key = await member(api)
    status, changed = await api.call("PUT", "/v1.0/customer", key=key, json={"email": address()})
    assert (status, changed["email_verified"]) == (200, False)
    async with api.database.begin() as connection:
        long_ago = utc_now() - timedelta(days=30)
        await connection.execute(
            sa.update(customers).where(customers.c.id == customer_id).values(tm_create=long_ago)
        )
    token = await login(api, email)
    assert (await api.call("POST", "/auth/unregister", key=token, json={"password": PASSWORD}))[0] == 200
    status, recovered = await api.call("DELETE", "/auth/unregister", key=token)
    assert (status, recovered["status"]) == (200, "active")
    await api.people.removal.turn()
    assert (await api.call("GET", "/v1.0/agents", key=key))[0] == 200, "it has not expired"


async def test_who_never_proved_an_address_waits_for_that_again(api: Api) -> None:
    made, _ = await sign_up(api, address())
    customer_id = UUID(made["customer"]["id"])
    await api.people.leaving.freeze(customer_id)
    assert (await api.people.leaving.recover(customer_id)).status == "initial"


async def test_an_address_that_is_not_verified_gets_no_mail_of_the_installations_administrators(
    api: Api,
) -> None:
    # any access key of the operator's customer changes the address
    for verified, expected in ((False, []), (True, ["thief@example.com"])):
        async with api.database.begin() as connection:
            of_admin = sa.select(agents.c.customer_id).where(agents.c.username == api.settings.admin_username)
            await connection.execute(
                sa.update(customers)
                .where(customers.c.id == of_admin.scalar_subquery())
                .values(email="thief@example.com", email_verified=verified)
            )
        with mailbox() as letters:
            await post(api, "/auth/password-forgot", username=api.settings.admin_username)
            await api.people.resets.idle()
        assert [letter["to"] for letter in letters] == expected
    async with api.database.begin() as connection:
        of_admin = sa.select(agents.c.customer_id).where(agents.c.username == api.settings.admin_username)
        await connection.execute(
            sa.update(customers).where(customers.c.id == of_admin.scalar_subquery()).values(email="")
        )


async def test_a_password_that_is_set_makes_links_in_mails_void(api: Api) -> None:
    _, email, key = await member(api)
    with mailbox() as letters:
        await post(api, "/auth/password-forgot", username=email)
        await api.people.resets.idle()
    _, page = await api.call("GET", "/v1.0/agents", key=key)
    (agent,) = page["result"]
    body = {"password": "another password"}
    assert (await api.call("PUT", f"/v1.0/agents/{agent['id']}/password", key=key, json=body))[0] == 200
    status, refused = await post(api, "/auth/password-reset", token=link(letters[0]), password=PASSWORD)
    assert (status, refused["error"]["reason"]) == (400, "INVALID_TOKEN")
    assert await login(api, email, "another password") != ""


async def test_thirty_days_later_it_is_gone(api: Api) -> None:
    customer_id, email, key = await member(api)
    status, frozen = await api.call(
        "POST", "/auth/unregister", key=key, json={"confirmation_phrase": "DELETE"}
    )
    assert status == 200, frozen
    await api.people.removal.turn()
    assert (await api.call("GET", "/v1.0/agents", key=key))[0] == 403, "not yet"
    async with api.database.begin() as connection:
        await connection.execute(
            sa.update(customers)
            .where(customers.c.id == customer_id)
            .values(tm_deletion_scheduled=utc_now() - timedelta(seconds=1))
        )
    await api.people.removal.turn()
    assert (await api.call("GET", "/v1.0/agents", key=key))[0] == 401
    assert await login(api, email) == ""
    await member(api, email)  # the address is free again


async def test_only_an_admin_closes_the_account(api: Api) -> None:
    _, _, key = await member(api)
    body = {"username": address(), "password": PASSWORD}
    await api.call("POST", "/v1.0/agents", key=key, json=body)
    token = await login(api, body["username"])
    status, _ = await api.call("POST", "/auth/unregister", key=token, json={"password": PASSWORD})
    assert status == 403


async def test_the_customer_of_the_installations_administrators_stays(api: Api) -> None:
    status, refused = await api.call(
        "POST", "/auth/unregister", json={"confirmation_phrase": "DELETE", "immediate": True}
    )
    assert (status, refused["error"]["reason"]) == (409, "CUSTOMER_STATE_INVALID")
    assert await login(api, "admin", ADMIN_PASSWORD) != ""


async def test_the_pages_that_mails_lead_to_do_nothing_by_being_opened(api: Api) -> None:
    _, letter = await sign_up(api, address())
    token = link(letter)
    for path in ("/auth/email-verify", "/auth/password-reset", "/auth/password-forgot"):
        async with api.session.get(f"{api.url}{path}?token={token}") as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert "form-action 'none'" in response.headers["Content-Security-Policy"]
            assert response.headers["Referrer-Policy"] == "no-referrer"
            text = await response.text()
            assert token not in text
            assert "/auth/account.js" in text
    for name in ("account.js", "account.css"):
        async with api.session.get(f"{api.url}/auth/{name}") as response:
            assert response.status == 200
    assert (await post(api, "/auth/email-verify", token=token))[0] == 200
