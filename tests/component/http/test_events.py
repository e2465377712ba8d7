"""Whatever the API changes is announced in the transaction of the change, as the API shows it."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.component.http.conftest import Api

from ringline.announcing import VIEWS
from ringline.conferences.models import ConferenceView
from ringline.conferences.store import conferences
from ringline.events.catalogue import BY_RESOURCE, TYPES
from ringline.events.rendering import Rendering
from ringline.events.store import events
from ringline.flows.store import flows
from ringline.http import utc_now
from ringline.messages.models import MessageAnswer
from ringline.messages.store import messages, targets

PASSWORD = "correct horse 7"


async def _render(connection: AsyncConnection, resource_id: UUID) -> list[Any]:
    """What the publisher would make of a resource's events; nothing of it stays."""
    mine = events.c.resource_id == resource_id
    await connection.execute(sa.update(events).where(mine).values(published=events.c.position))
    await Rendering(VIEWS).render(connection, 0, 2**62)
    rows = (await connection.execute(sa.select(events).where(mine).order_by(events.c.sequence))).all()
    await connection.rollback()
    return list(rows)


async def _told(api: Api, resource_id: str) -> list[Any]:
    async with api.database.engine.connect() as connection:
        return await _render(connection, UUID(resource_id))


CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("extension", {"extension": "x{}", "password": PASSWORD, "name": "a"}, {"name": "b"}),
    (
        "trunk",
        {"domain_name": "t{}", "auth_types": ["ip"], "allowed_ips": ["9.9.9.9"]},
        {"name": "b"},
    ),
    ("queue", {"name": "a"}, {"name": "b"}),
    ("tag", {"name": "a"}, {"name": "b"}),
    ("agent", {"username": "u{}", "password": PASSWORD}, {"name": "b"}),
    ("number", {"number": "+899{}", "name": "a"}, {"name": "b"}),
]


@pytest.mark.parametrize(("resource", "body", "change"), CASES, ids=[case[0] for case in CASES])
async def test_what_is_made_changed_and_deleted_is_announced_as_the_api_shows_it(
    api: Api, resource: str, body: dict[str, Any], change: dict[str, Any]
) -> None:
    customer_id, key = await api.another_customer()
    unique = str(uuid4().int)[:9]
    body = {name: value.format(unique) if isinstance(value, str) else value for name, value in body.items()}
    status, made = await api.call("POST", f"/v1.0/{resource}s", key=key, json=body)
    assert status == 200, made
    path = f"/v1.0/{resource}s/{made['id']}"
    status, changed = await api.call("PUT", path, key=key, json=change)
    assert status == 200, changed
    status, deleted = await api.call("DELETE", path, key=key)
    assert status == 200, deleted
    rows = await _told(api, made["id"])
    assert [row.type for row in rows] == [f"{resource}_{what}" for what in ("created", "updated", "deleted")]
    assert [row.sequence for row in rows] == [1, 2, 3]
    assert [row.data for row in rows] == [made, changed, deleted]
    assert {row.customer_id for row in rows} == {customer_id}
    assert {row.resource for row in rows} == {resource}
    assert {row.type for row in rows} <= set(TYPES)
    assert not any(row.raw for row in rows)


async def test_secrets_are_in_no_event_not_even_before_it_is_published(api: Api) -> None:
    _, key = await api.another_customer()
    for path, body in (
        ("extensions", {"extension": f"s{uuid4().hex[:8]}", "password": PASSWORD}),
        ("agents", {"username": f"s{uuid4().hex[:8]}", "password": PASSWORD}),
    ):
        _, made = await api.call("POST", f"/v1.0/{path}", key=key, json=body)
        async with api.database.connect() as connection:
            statement = sa.select(sa.cast(events.c.data, sa.Text)).where(
                events.c.resource_id == UUID(made["id"])
            )
            (text,) = (await connection.execute(statement)).scalars().all()
        assert "ha1" not in text
        assert "password_hash" not in text
        assert PASSWORD not in text


async def test_what_is_taken_back_is_not_announced_and_neither_is_what_changes_nothing(api: Api) -> None:
    customer_id, key = await api.another_customer()
    _, made = await api.call("POST", "/v1.0/tags", key=key, json={"name": "a"})
    tags = sa.table("tags", sa.column("id", sa.Uuid), sa.column("name"), sa.column("tm_update"))
    mine = tags.c.id == UUID(made["id"])
    with pytest.raises(LookupError):
        async with api.database.begin() as connection:
            await connection.execute(sa.update(tags).where(mine).values(name="b"))
            raise LookupError
    async with api.database.begin() as connection:
        await connection.execute(sa.update(tags).where(mine).values(name="a", tm_update=utc_now()))
    assert [row.type for row in await _told(api, made["id"])] == ["tag_created"]
    rows = await _told(api, str(customer_id))
    assert [row.type for row in rows] == ["customer_created"]
    assert rows[0].data["id"] == str(customer_id)
    assert "tm_terms_accepted" not in rows[0].data


async def test_everything_that_triggers_announce_has_a_view_and_is_in_the_catalogue(api: Api) -> None:
    statement = sa.text(
        "SELECT DISTINCT split_part(encode(tgargs, 'escape'), '\\000', 1) FROM pg_trigger"
        " WHERE tgname = 'ringline_announce'"
    )
    async with api.database.connect() as connection:
        announced = set((await connection.execute(statement)).scalars())
    assert announced | {"message"} == set(VIEWS)
    assert announced < set(BY_RESOURCE)
    for resource in announced:
        assert {f"{resource}_{what}" for what in ("created", "updated", "deleted")} <= set(TYPES)


async def test_flows_conferences_and_texts_with_their_targets(api: Api) -> None:
    customer_id, _ = await api.another_customer()
    now, flow, conference, message = utc_now(), uuid4(), uuid4(), uuid4()
    address = {"type": "tel", "target": "+15551230001", "target_name": "", "name": "", "detail": ""}
    common = {"customer_id": customer_id, "tm_create": now}
    async with api.database.begin() as connection:
        await connection.execute(sa.insert(flows).values(id=flow, actions=[], **common))
        await connection.execute(
            sa.insert(conferences).values(id=conference, type="conference", status="progressing", **common)
        )
        of_message = {"type": "sms", "direction": "outbound", "status": "sending", "source": address}
        await connection.execute(
            sa.insert(messages).values(
                id=message, **of_message, source_number="+15551230001", text="hello", **common
            )
        )
        # after the message: it is announced at the commit
        target = {"position": 0, "source_number": "+15551230001", "destination_number": "+15559990001"}
        await connection.execute(
            sa.insert(targets).values(
                id=uuid4(), message_id=message, destination=address, status="sending", **target, **common
            )
        )
    async with api.database.begin() as connection:
        mine = targets.c.message_id == message
        await connection.execute(sa.update(targets).where(mine).values(status="delivered", tm_update=now))
        await connection.execute(sa.update(targets).where(mine).values(parts=2))
        await connection.execute(
            sa.update(conferences).where(conferences.c.id == conference).values(name="b")
        )
        await connection.execute(sa.update(messages).where(messages.c.id == message).values(tm_delete=now))
    rows = await _told(api, str(message))
    assert [row.type for row in rows] == ["message_created", "message_updated", "message_deleted"]
    assert [row.data["targets"][0]["status"] for row in rows] == ["sending", "delivered", "delivered"]
    assert set(rows[0].data) == set(MessageAnswer.model_fields)
    told = await _told(api, str(conference))
    assert [row.type for row in told] == ["conference_created", "conference_updated"]
    assert set(told[0].data) == set(ConferenceView.model_fields)
    assert [row.data["actions"] for row in await _told(api, str(flow))] == [[]]
