"""From an event to an endpoint: signed, once, in order, whatever else is the matter."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from bench.receivers import CUT, HANG, Arrival
from standardwebhooks import Webhook
from tests.component.webhooks.conftest import House, event, until

from ringline.errors import FailedPrecondition
from ringline.events import envelope, reader
from ringline.webhooks.deliveries.models import DeliveryQuery, Recovery
from ringline.webhooks.endpoints.models import SecretRotation, WebhookChange


def sequences(arrivals: list[Arrival]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for arrival in arrivals:
        said = json.loads(arrival.body)
        found.setdefault(said["resource_id"], []).append(said["sequence"])
    return found


async def test_an_event_arrives_signed_and_as_everywhere_else(house: House) -> None:
    customer_id, resource_id = await house.customer(), uuid4()
    receiver = await house.receiver()
    endpoint = await house.endpoint(customer_id, receiver)
    secret = house.room.endpoints.with_secret(endpoint).secret
    first = event(customer_id, resource_id, "call_created")
    await house.emit(first, event(customer_id, resource_id, "call_hangup"))
    await until(lambda: len(receiver.arrivals) == 2)
    arrival = receiver.arrivals[0]
    assert (arrival.method, arrival.path) == ("POST", "/hook")
    assert arrival.headers["webhook-id"] == str(first.id)
    assert arrival.headers["content-type"] == "application/json"
    said: Any = Webhook(secret).verify(arrival.body, arrival.headers)
    async with house.database.connect() as connection:
        stored = await reader.by_id(connection, customer_id, first.id)
    assert stored is not None
    assert said == json.loads(json.dumps(envelope.envelope(stored)))
    assert sequences(receiver.arrivals) == {str(resource_id): [1, 2]}

    async def delivered() -> bool:
        return [row.status for row in await house.statuses(endpoint.id)] == ["delivered"] * 2

    async with asyncio.timeout(60):
        while not await delivered():
            await asyncio.sleep(0.05)
    row = (await house.statuses(endpoint.id))[0]
    [attempt] = row.attempts
    assert (attempt["status"], attempt["error"], attempt["answer"]) == (200, "", "ok")
    assert (row.attempt_count, row.tm_next, row.event_id) == (1, None, first.id)


async def test_endpoints_get_what_they_ask_for(house: House) -> None:
    customer_id, other = await house.customer(), await house.customer()
    everything, calls, made, texts = [await house.receiver() for _ in range(4)]
    await house.endpoint(customer_id, everything)
    await house.endpoint(customer_id, calls, events=["call_*", "groupcall_created"])
    await house.endpoint(customer_id, made, events=["*_created"])
    await house.endpoint(customer_id, texts, resources=["message"])
    foreign = await house.receiver()
    await house.endpoint(other, foreign)
    off = await house.receiver()
    await house.endpoint(customer_id, off, enabled=False)
    names = [
        "call_created",
        "callxhangup",
        "message_created",
        "message_sent",
        "groupcall_created",
        "call_hangup",
    ]
    for name in names:
        await house.emit(event(customer_id, uuid4(), name))
    await until(lambda: len(everything.arrivals) == 6)
    await until(lambda: [len(one.arrivals) for one in (calls, made, texts)] == [3, 3, 2])

    def types(arrivals: list[Arrival]) -> set[str]:
        return {json.loads(arrival.body)["type"] for arrival in arrivals}

    assert types(calls.arrivals) == {"call_created", "call_hangup", "groupcall_created"}
    assert types(made.arrivals) == {"call_created", "message_created", "groupcall_created"}
    assert types(texts.arrivals) == {"message_created", "message_sent"}
    assert foreign.arrivals == off.arrivals == []


async def test_a_failing_delivery_holds_up_its_own_resource_only(house: House) -> None:
    customer_id = await house.customer()
    receiver, other = await house.receiver(), await house.receiver()
    bad, good = uuid4(), uuid4()
    failing = True

    def behave(arrival: Arrival) -> int:
        return 500 if failing and str(bad) in arrival.body.decode() else 200

    receiver.behave = behave
    endpoint = await house.endpoint(customer_id, receiver)
    await house.endpoint(customer_id, other)
    for _ in range(3):
        await house.emit(event(customer_id, bad), event(customer_id, good))
    await until(lambda: len(other.arrivals) == 6 and sequences(receiver.arrivals).get(str(good)) == [1, 2, 3])
    await until(lambda: str(bad) in sequences(receiver.arrivals))
    assert set(sequences(receiver.arrivals)[str(bad)]) == {1}, "what came later waits behind it"
    failing = False
    await until(lambda: sequences(receiver.arrivals)[str(bad)][-1] == 3)
    tries = sequences(receiver.arrivals)[str(bad)].count(1)
    assert tries > 1
    assert sequences(receiver.arrivals)[str(bad)] == [*[1] * tries, 2, 3]
    first, again = [one for one in receiver.arrivals if str(bad) in one.body.decode()][:2]
    assert first.headers["webhook-id"] == again.headers["webhook-id"] and first.body == again.body

    async def attempts() -> list[int]:
        rows = await house.statuses(endpoint.id)
        return [row.attempt_count for row in rows if row.resource_id == bad and row.status == "delivered"]

    async with asyncio.timeout(60):
        while await attempts() != [tries, 1, 1]:
            await asyncio.sleep(0.05)


async def test_bad_endpoints_delay_no_other(house: House) -> None:
    customer_id = await house.customer()
    good, bad = await house.receiver(), [await house.receiver() for _ in range(3)]
    for receiver, how in zip(bad, (HANG, CUT, 500), strict=True):
        receiver.behave = lambda _, how=how: how  # type: ignore[misc]
        await house.endpoint(customer_id, receiver)
    await house.endpoint(customer_id, good)
    resources = [uuid4() for _ in range(50)]
    for _ in range(10):
        await house.emit(*(event(customer_id, one) for one in resources))
    await until(lambda: len(good.arrivals) == 500, 60)
    assert sequences(good.arrivals) == {str(one): list(range(1, 11)) for one in resources}
    assert all(len(receiver.arrivals) < 200 for receiver in bad), "the circuits are open"


async def test_a_gone_endpoint_is_disabled_at_once_and_its_customer_told(house: House) -> None:
    customer_id = await house.customer()
    gone, witness = await house.receiver(), await house.receiver()
    gone.behave = lambda _: 410
    endpoint = await house.endpoint(customer_id, gone)
    await house.endpoint(customer_id, witness, events=["webhook_*"])
    resource_id = uuid4()
    await house.emit(event(customer_id, resource_id), event(customer_id, resource_id))
    await until(lambda: witness.arrivals)
    said = json.loads(witness.arrivals[0].body)
    assert (said["type"], said["resource_id"]) == ("webhook_disabled", str(endpoint.id))
    assert said["data"]["disabled_reason"] == "gone" and "secret" not in said["data"]
    row = await house.row(endpoint.id)
    assert (row.enabled, row.disabled_reason) == (False, "gone")
    async with asyncio.timeout(60):
        while {one.status for one in await house.statuses(endpoint.id)} != {"failed"}:
            await asyncio.sleep(0.05)
    assert [one.reason for one in await house.statuses(endpoint.id)] == ["gone", "disabled"]
    assert len(gone.arrivals) == 1
    # and back again: what has failed is recovered, in order
    gone.behave = lambda _: 200
    with pytest.raises(FailedPrecondition, match="disabled"):
        await house.room.deliveries.recover(customer_id, endpoint.id, Recovery(since="2020-01-01"))
    await house.room.endpoints.update(customer_id, endpoint.id, WebhookChange(enabled=True))
    answer = await house.room.deliveries.recover(customer_id, endpoint.id, Recovery(since="2020-01-01"))
    assert answer.count == 2
    await until(lambda: len(gone.arrivals) == 3)
    assert sequences(gone.arrivals[1:]) == {str(resource_id): [1, 2]}


@pytest.mark.parametrize(
    ("answer", "reasons"), [(410, ["gone", "disabled"]), (500, ["disabled", "disabled"])]
)
async def test_an_attempt_that_disables_is_noted_before_what_waits_is_given_up(
    house: House, monkeypatch: pytest.MonkeyPatch, answer: int, reasons: list[str]
) -> None:
    usual = house.room.worker.dispatch._store

    async def slow(outcomes: list[dict[str, Any]]) -> None:
        await asyncio.sleep(1)
        await usual(outcomes)

    monkeypatch.setattr(house.room.worker.dispatch, "_store", slow)
    customer_id, resource_id = await house.customer(), uuid4()
    receiver = await house.receiver()
    receiver.behave = lambda _: answer
    endpoint = await house.endpoint(customer_id, receiver)
    await _failing_for(house, UUID(str(endpoint.id)), days=4)
    await house.emit(event(customer_id, resource_id), event(customer_id, resource_id))
    async with asyncio.timeout(60):
        while {one.status for one in await house.statuses(endpoint.id)} != {"failed"}:
            await asyncio.sleep(0.02)
    found = await house.statuses(endpoint.id)
    assert [one.reason for one in found] == reasons
    assert [[attempt["status"] for attempt in one.attempts] for one in found] == [[answer], []]
    assert [one.tm_next for one in found] == [None, None]


async def test_an_attempt_outlives_its_endpoint(house: House) -> None:
    """What was under way as all was given up says how it ended, and is not tried again."""
    customer_id = await house.customer()
    receiver = await house.receiver()
    ends = {"gone": 410, "again": 500, "well": 200}
    gates = {name: asyncio.Event() for name in ends}
    usual = house.room.poster.post

    async def held(method: str, uri: str, event_id: str, body: bytes, *more: Any) -> Any:
        name = names[event_id]
        receiver.behave = lambda _: ends[name]
        attempt = await usual(method, uri, event_id, body, *more)
        under_way.add(name)
        await gates[name].wait()
        return attempt

    told = {name: event(customer_id, uuid4()) for name in ends}
    names = {str(one.id): name for name, one in told.items()}
    under_way: set[str] = set()
    house.room.poster.post = held  # type: ignore[method-assign]
    endpoint = await house.endpoint(customer_id, receiver)
    for one in told.values():
        await house.emit(one)
        await until(lambda: names[str(one.id)] in under_way)  # noqa: B023 - called at once
    await house.room.endpoints.update(customer_id, endpoint.id, WebhookChange(enabled=False))
    async with asyncio.timeout(60):
        while {one.reason for one in await house.statuses(endpoint.id)} != {"disabled"}:
            await asyncio.sleep(0.05)
    for gate in gates.values():
        gate.set()
    async with asyncio.timeout(60):
        while not all(one.attempt_count for one in await house.statuses(endpoint.id)):
            await asyncio.sleep(0.05)
    found = {names[str(one.event_id)]: one for one in await house.statuses(endpoint.id)}
    assert {name: (one.status, one.reason, one.tm_next) for name, one in found.items()} == {
        "gone": ("failed", "gone", None),
        "again": ("failed", "disabled", None),
        "well": ("delivered", "", None),
    }


async def _failing_for(house: House, webhook_id: UUID, days: int) -> None:
    async with house.database.begin() as connection:
        await connection.execute(
            sa.text("UPDATE webhooks SET tm_failing = now() - make_interval(days => :days) WHERE id = :id"),
            {"days": days, "id": webhook_id},
        )


async def test_after_days_of_nothing_but_failure_an_endpoint_is_disabled_and_its_customer_told(
    house: House,
) -> None:
    customer_id = await house.customer()
    async with house.database.begin() as connection:
        await connection.execute(
            sa.text("UPDATE customers SET email = 'ops@example.com' WHERE id = :id"), {"id": customer_id}
        )
    letters: list[tuple[str, str, str]] = []
    house.room.disabling.post = lambda *letter: letters.append(letter)
    dead, revived, witness = [await house.receiver() for _ in range(3)]
    dead.behave = lambda _: 500
    dead_id = UUID(str((await house.endpoint(customer_id, dead, events=["call_*"])).id))
    revived_id = UUID(str((await house.endpoint(customer_id, revived, events=["call_*"])).id))
    await house.endpoint(customer_id, witness, events=["webhook_*"])
    for webhook_id in (dead_id, revived_id):
        await _failing_for(house, webhook_id, days=4)
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: witness.arrivals and letters)
    said = json.loads(witness.arrivals[0].body)
    assert (said["resource_id"], said["data"]["disabled_reason"]) == (str(dead_id), "failing")
    [(to, _, text)] = letters
    assert to == "ops@example.com" and "for days nothing" in text and "recover" in text
    # what arrived ends the days of failure: nothing of it is disabled
    async with asyncio.timeout(60):
        while (await house.row(revived_id)).tm_failing is not None:
            await asyncio.sleep(0.05)
    assert (await house.row(revived_id)).enabled
    assert not (await house.row(dead_id)).enabled


async def test_an_event_is_sent_again_with_the_same_id(house: House) -> None:
    customer_id = await house.customer()
    receiver = await house.receiver()
    endpoint = await house.endpoint(customer_id, receiver)
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: receiver.arrivals)
    async with asyncio.timeout(60):
        while [row.status for row in await house.statuses(endpoint.id)] != ["delivered"]:
            await asyncio.sleep(0.05)
    [row] = await house.room.deliveries.page(customer_id, DeliveryQuery(webhook_id=endpoint.id))
    await house.room.deliveries.redeliver(customer_id, row.id)
    await until(lambda: len(receiver.arrivals) == 2)
    assert len({arrival.headers["webhook-id"] for arrival in receiver.arrivals}) == 1
    assert len({arrival.body for arrival in receiver.arrivals}) == 1
    async with asyncio.timeout(60):
        while (await house.room.deliveries.get(customer_id, row.id)).attempt_count != 2:
            await asyncio.sleep(0.05)
    # one attempt was asked for: a failure is the end of it
    receiver.behave = lambda _: 500
    await house.room.deliveries.redeliver(customer_id, row.id)
    async with asyncio.timeout(60):
        while (await house.room.deliveries.get(customer_id, row.id)).status != "failed":
            await asyncio.sleep(0.05)
    assert len(receiver.arrivals) == 3


async def test_a_pending_delivery_that_is_sent_again_is_tried_at_once(house: House) -> None:
    customer_id = await house.customer()
    receiver = await house.receiver()
    receiver.behave = lambda _: 429
    endpoint = await house.endpoint(customer_id, receiver)
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: receiver.arrivals)
    async with asyncio.timeout(60):
        while not [row for row in await house.statuses(endpoint.id) if row.tm_next]:
            await asyncio.sleep(0.05)
    [row] = await house.statuses(endpoint.id)
    assert row.status == "pending" and (row.tm_next - row.tm_update).total_seconds() > 29, "as it asked for"
    receiver.behave = lambda _: 200
    await house.room.deliveries.redeliver(customer_id, row.id)
    await until(lambda: len(receiver.arrivals) == 2, 15)


async def test_what_waits_for_a_server_that_is_down_goes_to_another_address_at_once(house: House) -> None:
    customer_id = await house.customer()
    down, other = await house.receiver(), await house.receiver()
    down.behave = lambda _: 429
    endpoint = await house.endpoint(customer_id, down)
    await house.emit(*(event(customer_id, uuid4()) for _ in range(3)))
    async with asyncio.timeout(60):
        while len([row for row in await house.statuses(endpoint.id) if row.tm_next]) < 3:
            await asyncio.sleep(0.05)
    assert all(
        (row.tm_next - row.tm_update).total_seconds() > 29 for row in await house.statuses(endpoint.id)
    )
    await house.room.endpoints.update(customer_id, endpoint.id, WebhookChange(uri=other.url))
    await until(lambda: len(other.arrivals) == 3, 15)


async def test_all_queues_of_a_process_count_what_they_hold_together(house: House) -> None:
    customer_id = await house.customer()
    for _ in range(2):
        hanging = await house.receiver()
        hanging.behave = lambda _: HANG
        await house.endpoint(customer_id, hanging)
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: all(receiver.arrivals for receiver in house.receivers))
    body = len(house.receivers[0].arrivals[0].body)
    assert house.room.worker._budget.used > 2 * body


async def test_both_secrets_sign_while_one_is_replaced(house: House) -> None:
    customer_id = await house.customer()
    receiver = await house.receiver()
    endpoint = await house.endpoint(customer_id, receiver)
    old = house.room.endpoints.with_secret(endpoint).secret
    row = await house.room.endpoints.rotate(customer_id, endpoint.id, SecretRotation(overlap=3600))
    new = house.room.endpoints.with_secret(row).secret
    assert new != old and new.startswith("whsec_")
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: receiver.arrivals)
    arrival = receiver.arrivals[0]
    assert len(arrival.headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        Webhook(secret).verify(arrival.body, arrival.headers)
    await house.room.endpoints.rotate(customer_id, endpoint.id, SecretRotation(overlap=0))
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: len(receiver.arrivals) == 2)
    assert len(receiver.arrivals[1].headers["webhook-signature"].split(" ")) == 1


async def test_the_customers_own_webhook_follows_the_customer(house: House) -> None:
    receiver, later = await house.receiver(), await house.receiver()
    customer_id = await house.customer(uri=receiver.url, method="PUT")
    own = await house.room.endpoints.get(customer_id, customer_id)
    assert (own.type, own.uri, own.method) == ("customer", receiver.url, "PUT")
    secret = house.room.endpoints.with_secret(own).secret
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: receiver.arrivals)
    assert receiver.arrivals[0].method == "PUT"
    Webhook(secret).verify(receiver.arrivals[0].body, receiver.arrivals[0].headers)
    import sqlalchemy as sa

    async with house.database.begin() as connection:
        change = sa.text("UPDATE customers SET webhook_uri = :uri, webhook_method = '' WHERE id = :id")
        await connection.execute(change, {"uri": later.url, "id": customer_id})
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: later.arrivals)
    assert later.arrivals[0].method == "POST" and len(receiver.arrivals) == 1
    Webhook(secret).verify(later.arrivals[0].body, later.arrivals[0].headers)
    with pytest.raises(FailedPrecondition, match=r"PUT /v1\.0/customer"):
        await house.room.endpoints.update(customer_id, customer_id, WebhookChange(uri=receiver.url))
    with pytest.raises(FailedPrecondition):
        await house.room.endpoints.delete(customer_id, customer_id)


async def test_a_flow_in_execution_has_a_webhook_of_its_own(house: House) -> None:
    import sqlalchemy as sa

    customer_id, flow, plain = await house.customer(), uuid4(), uuid4()
    everything, own = await house.receiver(), await house.receiver()
    await house.endpoint(customer_id, everything)
    async with house.database.begin() as connection:
        for activeflow_id, uri in ((flow, own.url), (plain, "")):
            await connection.execute(
                sa.text(
                    "INSERT INTO activeflows (id, customer_id, reference_type, actions, snapshot, webhook_uri,"
                    " webhook_method, tm_create) VALUES (:id, :customer, 'call', '[]', '{}', :uri, 'POST', now())"
                ),
                {"id": activeflow_id, "customer": customer_id, "uri": uri},
            )
    call = uuid4()
    await house.emit(event(customer_id, call, activeflow_id=flow))
    await house.emit(
        event(customer_id, uuid4(), activeflow_id=plain), event(customer_id, call, activeflow_id=flow)
    )
    await until(lambda: (len(everything.arrivals), len(own.arrivals)) == (3, 2))
    assert sequences(own.arrivals) == {str(call): [1, 2]}


async def test_a_test_event_says_what_the_endpoint_answers(house: House) -> None:
    customer_id = await house.customer()
    receiver = await house.receiver()
    endpoint = await house.endpoint(customer_id, receiver)
    secret = house.room.endpoints.with_secret(endpoint).secret
    answer = await house.room.deliveries.test(customer_id, endpoint.id)
    assert (answer.delivered, answer.attempt.status, answer.attempt.answer) == (True, 200, "ok")
    said: Any = Webhook(secret).verify(receiver.arrivals[0].body, receiver.arrivals[0].headers)
    assert (said["type"], said["id"]) == ("webhook_test", str(answer.event_id))
    receiver.behave = lambda _: 302
    answer = await house.room.deliveries.test(customer_id, endpoint.id)
    assert (answer.delivered, answer.attempt.status, len(receiver.arrivals)) == (False, 302, 2)
    assert answer.attempt.error == "answered 302", "nobody goes where it leads"
    await receiver.close()
    answer = await house.room.deliveries.test(customer_id, endpoint.id)
    assert (answer.delivered, answer.attempt.status) == (False, 0)
    assert "127.0.0.1" in answer.attempt.error


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 \x00\xff\xed\xa0\x80\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 500 Bad\r\nContent-Length: 7\r\n\r\n\x00\xff\xed\xa0\x80\\u",
        b"HTTP/1.1 200 OK\r\nX: \x00\r\n\r\n",
        b"\x00\xff not HTTP at all\r\n\r\n",
        b"HTTP/1.1 500 Bad\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 500 Bad\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000,
        b"HTTP/1.1 500 Bad\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 500 Bad\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_whatever_an_endpoint_answers_is_noted(house: House, answer: bytes) -> None:
    customer_id = await house.customer()
    hostile, good = await house.receiver(), await house.receiver()
    hostile.behave = lambda _: answer
    bad = await house.endpoint(customer_id, hostile)
    fine = await house.endpoint(customer_id, good)
    await house.emit(event(customer_id, uuid4()))

    async def noted() -> bool:
        rows = [*await house.statuses(bad.id), *await house.statuses(fine.id)]
        return [row.attempt_count > 0 for row in rows] == [True, True]

    async with asyncio.timeout(60):
        while not await noted():
            await asyncio.sleep(0.05)
    [row] = await house.statuses(bad.id)
    assert row.status == "pending" and row.attempts[0]["error"]
    assert len(row.attempts[0]["answer"]) <= 500
    assert (await house.statuses(fine.id))[0].status == "delivered"


async def test_workers_beside_each_other_deliver_once_and_take_over(idle_house: House, house: House) -> None:
    second = House(house.database.url)
    await second.room.worker.start()
    try:
        customer_id = await house.customer()
        receivers = [await house.receiver() for _ in range(6)]
        for receiver in receivers:
            await house.endpoint(customer_id, receiver)
        resources = [uuid4() for _ in range(20)]
        for _ in range(5):
            await house.emit(*(event(customer_id, one) for one in resources))
        await until(lambda: all(len(receiver.arrivals) == 100 for receiver in receivers), 60)
        wanted = {str(one): [1, 2, 3, 4, 5] for one in resources}
        assert all(sequences(receiver.arrivals) == wanted for receiver in receivers)
        # whoever is stopped gives its endpoints back: the other goes on at once
        await house.room.worker.close()
        await house.emit(*(event(customer_id, one) for one in resources))
        await until(lambda: all(len(receiver.arrivals) == 120 for receiver in receivers), 60)
    finally:
        await second.close()


async def test_nobody_sees_anothers_deliveries(house: House) -> None:
    customer_id, other = await house.customer(), await house.customer()
    receiver = await house.receiver()
    endpoint = await house.endpoint(customer_id, receiver)
    await house.emit(event(customer_id, uuid4()))
    await until(lambda: receiver.arrivals)
    [row] = await house.statuses(endpoint.id)
    assert await house.room.deliveries.page(other, DeliveryQuery()) == []
    for work in (
        house.room.deliveries.get(other, row.id),
        house.room.deliveries.redeliver(other, row.id),
        house.room.deliveries.recover(other, endpoint.id, Recovery(since="2020-01-01")),
        house.room.deliveries.test(other, endpoint.id),
        house.room.endpoints.rotate(other, endpoint.id, SecretRotation()),
    ):
        with pytest.raises(Exception, match="no such"):
            await work
    assert isinstance(row.id, UUID)
