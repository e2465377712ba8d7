"""Texts that arrive, texts between two numbers of the installation, and what STOP, HELP and START do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from ringline.errors import InvalidArgument, NotFound, PaymentRequired, PermissionDenied, ResourceExhausted
from ringline.messages import starting
from ringline.messages.models import OptoutQuery
from ringline.messages.records import tel
from ringline.messages.reports import ReportTooEarly
from ringline.messages.texting import MAX_HOPS, PAIR_SECONDS, PAIR_TEXTS
from ringline.messages.writing import HELP, STARTED, STOPPED
from ringline.vendors.events import Media, TextArrived, TextChanged
from ringline.vendors.models import Sent

from .conftest import World

HANDSET = "+491701234567"


def arrival(number: str, text: str, *, source: str = HANDSET, **more: Any) -> TextArrived:
    name = uuid4().hex
    return TextArrived(
        **{"event_id": name, "reference": name, **more}, source=source, destination=number, text=text
    )


async def heard(world: World, *events: TextArrived) -> None:
    for event in events:
        await world.room.reports.arrived("fake", event)


async def test_a_text_arrives_once_however_often_it_is_reported(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    event = arrival(number, "héllo 👋\0", media=(Media("https://media.example/1.png", "image/png"),))
    await asyncio.gather(*(world.room.reports.arrived("fake", event) for _ in range(5)))
    await world.room.reports.arrived("fake", event)
    [row] = await world.all(customer)
    shown = await world.one(customer, row.id)
    assert (shown.direction, shown.status, shown.type, shown.text) == (
        "inbound",
        "delivered",
        "mms",
        "héllo 👋",
    )
    assert shown.source.target == HANDSET
    [target] = shown.targets
    assert (target.destination.target, target.status, target.parts) == (number, "delivered", 1)
    assert shown.media[0].model_dump() == {"url": "https://media.example/1.png", "content_type": "image/png"}


@pytest.mark.parametrize("status", ["suspended", "deleted", "unknown", "virtual", "inactive"])
async def test_what_nobody_takes_is_dropped(world: World, status: str) -> None:
    customer = await world.customer(status="frozen" if status == "inactive" else "active")
    number = await world.number(customer, virtual=status == "virtual")
    if status == "suspended":
        await world.change(number, status=status)
    if status == "deleted":
        await world.change(number, status="deleted", tm_delete=world.clock.now())
    await heard(world, arrival("+12120000000" if status == "unknown" else number, "hello"))
    assert not await world.all(customer)


async def test_a_text_for_a_number_that_is_being_bought_is_brought_again(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer, status="purchase-pending")
    early = arrival(number, "hello")
    with pytest.raises(ReportTooEarly, match="is being bought"):
        await heard(world, early)
    assert not await world.all(customer)
    await world.change(number, status="active")
    await heard(world, early)
    assert [row.text for row in await world.all(customer)] == ["hello"]


async def test_a_text_of_any_size_and_sender_is_kept(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    await heard(
        world,
        arrival(number, "x" * 30_000, source="AMAZON"),
        arrival(number, "half \ud83d of a pair", source="72404"),
        arrival(number, "", source="0049 170 1234567"),
    )
    rows = await world.all(customer)
    assert [len(row.text) for row in rows] == [10_000, 16, 0]
    assert [row.source_number for row in rows][:2] == ["AMAZON", "72404"]


async def test_between_two_customers_no_vendor_is_needed(world: World) -> None:
    one, other = await world.customer(), await world.customer()
    ours, theirs = await world.number(one), await world.number(other, virtual=True)
    message = await world.text(one, ours, theirs, HANDSET, text="hello there")
    states = {target.destination.target: target.status for target in message.targets}
    assert states == {theirs: "delivered", HANDSET: "sending"}
    [row] = await world.all(other)
    assert (row.direction, row.text, row.source_number) == ("inbound", "hello there", ours)
    await world.turn()
    assert [text.destination for text in world.carrier.attempts] == [HANDSET]


async def test_a_virtual_number_texts_inside_only(world: World) -> None:
    one, other = await world.customer(), await world.customer()
    ours, theirs = await world.number(one, virtual=True), await world.number(other)
    assert (await world.text(one, ours, theirs)).status == "delivered"
    with pytest.raises(InvalidArgument, match="virtual number, which the telephone network does not know"):
        await world.text(one, ours, HANDSET)
    with pytest.raises(InvalidArgument, match="virtual number"):
        await world.text(one, ours, theirs, HANDSET)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"status": "suspended"}, "number_not_active"), (None, "unknown_number")],
    ids=["suspended", "nobody's"],
)
async def test_inside_numbers_that_take_nothing(world: World, change: Any, reason: str) -> None:
    one, other = await world.customer(), await world.customer()
    ours = await world.number(one)
    theirs = await world.number(other, virtual=True) if change else "+899000000000"
    if change:
        await world.change(theirs, **change)
    [target] = (await world.text(one, ours, theirs)).targets
    assert (target.status, target.reason) == ("failed", reason)
    assert not await world.all(other)


async def test_stop_is_kept_for_the_pair_until_start(world: World) -> None:
    customer = await world.customer()
    number, second = await world.number(customer), await world.number(customer)
    await heard(world, arrival(number, "ｓ\u200bTOP! "), arrival(number, "stop"))
    await world.turn()
    assert [text.text for text in world.carrier.attempts] == [STOPPED], "one confirmation, and one only"
    [target] = (await world.text(customer, number, HANDSET)).targets
    assert (target.status, target.reason) == ("failed", "opted_out")
    assert (await world.text(customer, second, HANDSET)).status == "sending"
    assert (await world.text(customer, number, "+491701234568")).status == "sending"
    [kept] = await world.room.service.optouts(customer, OptoutQuery())
    assert (kept.number, kept.handset) == (number, HANDSET)
    assert not await world.room.service.optouts(await world.customer(), OptoutQuery())
    await world.turn()
    world.carrier.attempts.clear()
    await heard(world, arrival(number, "Start"), arrival(number, "yes"))
    await world.turn()
    assert [text.text for text in world.carrier.attempts] == [STARTED]
    assert (await world.text(customer, number, HANDSET)).status == "sending"
    assert not await world.room.service.optouts(customer, OptoutQuery())


async def test_a_stop_reaches_texts_that_wait(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    message = await world.text(customer, number, HANDSET)
    await heard(world, arrival(number, "STOP"))
    await world.turn()
    await world.turn()
    [target] = (await world.one(customer, message.id)).targets
    assert (target.status, target.reason) == ("failed", "opted_out")
    assert [text.text for text in world.carrier.attempts] == [STOPPED]


async def test_stops_that_come_together_are_confirmed_once(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    await asyncio.gather(*(heard(world, arrival(number, "STOP")) for _ in range(6)))
    await world.turn()
    assert [text.text for text in world.carrier.attempts] == [STOPPED]
    assert len(await world.room.service.optouts(customer, OptoutQuery())) == 1


async def test_help_is_answered_where_no_flow_does(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    with_flow = await world.number(customer, message_flow_id=uuid4())
    await heard(world, arrival(number, "help?"), arrival(with_flow, "HELP"))
    await world.turn()
    assert [(text.source, text.text) for text in world.carrier.attempts] == [(number, HELP)]


async def test_the_operator_may_say_what_is_answered_or_leave_it_to_carriers(
    worlds: Callable[..., World],
) -> None:
    said = worlds(message_help_text="Ask +12025550143.")
    customer = await said.customer()
    number = await said.number(customer)
    await heard(said, arrival(number, "HELP"))
    await said.turn()
    assert [text.text for text in said.carrier.attempts] == ["Ask +12025550143."]
    off = worlds(message_opt_out="off")
    await off.read()
    await heard(off, arrival(number, "STOP"), arrival(number, "HELP"))
    assert (await off.text(customer, number, HANDSET)).status == "sending"
    await off.turn()
    assert [text.text for text in off.carrier.attempts] == ["hello"]


async def test_stop_between_two_numbers_of_the_installation(world: World) -> None:
    one, other = await world.customer(), await world.customer()
    shop, person = await world.number(one), await world.number(other)
    assert (await world.text(other, person, shop, text="STOP")).status == "delivered"
    [answer] = await world.all(other, direction="inbound")
    assert answer.text == STOPPED
    [target] = (await world.text(one, shop, person)).targets
    assert (target.status, target.reason) == ("failed", "opted_out")
    # the confirmation says START, and is not taken for one
    assert not await world.room.service.optouts(other, OptoutQuery())


async def test_who_has_no_number_to_answer_is_not_answered(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    await heard(world, arrival(number, "STOP", source="BANK"))
    await world.turn()
    assert not world.carrier.attempts
    assert len(await world.room.service.optouts(customer, OptoutQuery())) == 1


# flows


async def test_a_flow_is_started_once(world: World) -> None:
    customer, flow_id = await world.customer(), uuid4()
    number = await world.number(customer, message_flow_id=flow_id)
    await heard(world, arrival(number, " hours? thanks"))
    for _ in range(3):
        await world.room.starting.turn()
    [started] = world.flows.started
    assert (started["flow_id"], started["reference_type"]) == (flow_id, "message")
    variables = started["variables"]
    [row] = await world.all(customer)
    assert started["activeflow_id"] == row.activeflow_id
    assert started["reference_id"] == row.id
    expected = {
        "id": str(row.id),
        "direction": "inbound",
        "type": "sms",
        "text": " hours? thanks",
        "keyword": "HOURS",
        "source.target": HANDSET,
        "source.type": "tel",
        "source.name": "",
        "destination.target": number,
        "target.destination.target": number,
        "media_count": "0",
    }
    assert {name: variables[f"voipbin.message.{name}"] for name in expected} == expected
    world.flows.stored.add(row.activeflow_id)
    await world.room.starting.turn()
    [row] = await world.all(customer)
    assert row.flow_state == "started"


@pytest.mark.parametrize("left", ["nothing", "kept", "stored"])
async def test_a_process_that_dies_between_storing_and_starting(world: World, left: str) -> None:
    """Whatever the one before has left of the flow: its successor sees that it has been started once."""
    customer = await world.customer()
    number = await world.number(customer, message_flow_id=uuid4())
    await heard(world, arrival(number, "hello"))
    if left != "nothing":
        await world.room.starting.turn()
        [begun] = world.flows.started
        (world.flows.known if left == "kept" else world.flows.stored).add(begun["activeflow_id"])
    world.another()
    await world.room.starting.turn()
    assert len(world.flows.started) == 1


async def test_flows_wait_where_too_many_run_and_a_deleted_one_is_left(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer, message_flow_id=uuid4())
    world.flows.fail = ResourceExhausted("too many")
    await heard(world, arrival(number, "one"))
    await world.room.starting.turn()
    world.flows.fail = None
    await world.room.starting.turn()
    assert len(world.flows.started) == 1
    world.flows.fail = NotFound("deleted", reason="FLOW_NOT_FOUND")
    await heard(world, arrival(number, "two"))
    await world.room.starting.turn()
    assert [row.flow_state for row in await world.all(customer)] == ["pending", "failed"]


async def test_a_customer_whose_flows_have_no_place_holds_up_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "BATCH", 3)
    busy, other = await world.customer(), await world.customer()
    crowded = await world.number(busy, message_flow_id=uuid4())
    quiet = await world.number(other, message_flow_id=uuid4())
    world.flows.full.add(busy)
    for text in ("one", "two", "three", "four"):
        await heard(world, arrival(crowded, text))
    await heard(world, arrival(quiet, "hello"))
    await world.room.starting.turn()
    assert [begun["customer_id"] for begun in world.flows.started] == [other]
    world.flows.full.clear()
    # two batches, the first of which is seen to be stored before the second is read
    for _ in range(3):
        world.flows.stored |= {begun["activeflow_id"] for begun in world.flows.started}
        await world.room.starting.turn()
    assert [begun["customer_id"] for begun in world.flows.started] == [other, *[busy] * 4]


async def by_flow(world: World, customer: UUID, source: str, destination: str, **more: Any) -> None:
    await world.room.texts.send(
        uuid4(),
        customer,
        source=tel(source),
        destinations=[tel(destination)],
        text="again",
        activeflow_id=uuid4(),
        **more,
    )


async def test_flows_that_answer_each_other_come_to_an_end(world: World) -> None:
    one, other = await world.customer(), await world.customer()
    ours, theirs = await world.number(one), await world.number(other, virtual=True)
    parties = [(one, ours, theirs), (other, theirs, ours)]
    await by_flow(world, one, ours, theirs)
    for turn in range(1, MAX_HOPS + 1):
        customer, source, destination = parties[turn % 2]
        last = (await world.all(customer, direction="inbound"))[-1]
        await by_flow(world, customer, source, destination, answers=last.id)
    customer, source, destination = parties[(MAX_HOPS + 1) % 2]
    last = (await world.all(customer, direction="inbound"))[-1]
    with pytest.raises(Exception, match="answered each other 10 times"):
        await by_flow(world, customer, source, destination, answers=last.id)


async def test_flows_send_no_flood_to_one_handset(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    for _ in range(PAIR_TEXTS):
        await by_flow(world, customer, number, HANDSET)
    with pytest.raises(ResourceExhausted, match="looks like a loop"):
        await by_flow(world, customer, number, HANDSET)
    await by_flow(world, customer, number, "+491701234568")
    world.clock.on(PAIR_SECONDS + 1)
    await by_flow(world, customer, number, HANDSET)


# what may be sent


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "no E.164": ({"destinations": ["202-555-0143"]}, "destinations[0].target", "did you mean +12025550143"),
    "a virtual number of the wrong length": (
        {"destinations": ["+89912"]},
        "destinations[0].target",
        "exactly nine",
    ),
    "an extension": (
        {"destinations": [{"type": "extension", "target": "100"}]},
        "destinations[0].type",
        "`tel` addresses",
    ),
    "a source that is none": ({"source": {"type": "sip", "target": "a@b"}}, "source.type", "`tel` addresses"),
    "a foreign source": ({"source": "+12025550100"}, "source.target", "not one of yours"),
    "a text that is too long": (
        {"text": "x" * 10_000},
        "text",
        "10000 characters (66 parts in GSM-7); at most 1600",
    ),
    "no text": ({"text": "  \n"}, "text", "is empty"),
    "control characters": ({"text": "a\x1bb"}, "text", "control characters"),
    "a picture in an sms": (
        {"type": "sms", "media": ["https://example.com/a.png"]},
        "media",
        "make it `mms`",
    ),
    "an mms without": ({"type": "mms"}, "media", "needs at least one URL"),
    "a private address": ({"media": ["http://127.0.0.1/a.png"]}, "media[0]", "not a public address"),
    "the cloud's own": ({"media": ["http://169.254.169.254/latest"]}, "media[0]", "not a public address"),
    "a file": ({"media": ["file:///etc/passwd"]}, "media[0]", "only http and https"),
    "credentials": ({"media": ["https://a:b@example.com/"]}, "media[0]", "credentials"),
}


@pytest.mark.parametrize("name", WRONG)
async def test_what_cannot_be_sent(world: World, name: str) -> None:
    wanted, place, says = WRONG[name]
    customer = await world.customer()
    number = await world.number(customer)
    given = {"source": number, "text": "hello", **wanted}
    destinations = given.pop("destinations", [HANDSET])
    with pytest.raises(InvalidArgument) as refused:
        await world.text(customer, given.pop("source"), *destinations, **given)
    assert refused.value.details[0]["field"] == place
    assert says in refused.value.message
    assert not await world.all(customer)


async def test_the_number_itself_is_no_destination(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    with pytest.raises(InvalidArgument, match="is the source itself"):
        await world.text(customer, number, HANDSET, number)


@pytest.mark.parametrize("status", ["suspended", "purchase-pending"])
async def test_a_number_that_is_not_active_sends_nothing(world: World, status: str) -> None:
    customer = await world.customer()
    number = await world.number(customer, status=status)
    with pytest.raises(InvalidArgument, match=f"not active but {status}"):
        await world.text(customer, number, HANDSET)


async def test_who_cannot_pay_for_every_part_sends_nothing(world: World) -> None:
    customer = await world.customer(credit=16_000)
    number = await world.number(customer)
    assert (await world.text(customer, number, HANDSET, text="x" * 161)).status == "sending"
    with pytest.raises(PaymentRequired, match=r"costs 0\.024 US dollars"):
        await world.text(customer, number, HANDSET, "+491701234568", "+491701234569")
    other = await world.number(await world.customer())
    broke = await world.customer(credit=0)
    assert (await world.text(broke, await world.number(broke), other)).status == "delivered"


async def test_a_customer_that_is_not_active_sends_nothing(world: World) -> None:
    customer = await world.customer(status="frozen")
    number = await world.number(customer)
    with pytest.raises(PermissionDenied):
        await world.text(customer, number, HANDSET)


async def test_a_text_is_only_a_text(world: World) -> None:
    """Whatever looks like a statement, a header or a template arrives as it was written."""
    customer = await world.customer()
    number = await world.number(customer)
    text = "'; DROP TABLE messages; -- ${voipbin.call.id} {{7*7}} <script> %s \r\nX-Evil: 1 🏴\u200d☠️"
    message = await world.text(customer, number, HANDSET, text=text)
    await world.turn()
    assert (await world.one(customer, message.id)).text == text
    assert world.carrier.attempts[0].text == text


async def test_nobody_sees_the_texts_of_others(world: World) -> None:
    customer, other = await world.customer(), await world.customer()
    number = await world.number(customer)
    message = await world.text(customer, number, HANDSET)
    for act in (world.room.service.get, world.room.service.delete):
        with pytest.raises(Exception, match="no such message"):
            await act(other, message.id)
    with pytest.raises(InvalidArgument, match="not one of yours"):
        await world.text(other, number, HANDSET)


async def test_reports_of_texts_with_several_targets_do_not_get_lost(world: World) -> None:
    customer = await world.customer()
    number = await world.number(customer)
    message = await world.text(customer, number, *(f"+4917012345{index:02d}" for index in range(20)))
    await world.turn()
    while len(world.carrier.sent) < 20:
        await world.turn(1)
    reports = [
        TextChanged(f"e{index}", text.id, text.destination, Sent(state, f"ref-{text.id}"))
        for index, text in enumerate(world.carrier.sent.values())
        for state in ("sent", "delivered", "sending")
    ]
    await asyncio.gather(*(world.room.reports.changed("fake", report) for report in reversed(reports)))
    assert (await world.one(customer, message.id)).status == "delivered"
