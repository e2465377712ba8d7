"""Groupcalls with real telephones: who rings, who hears the words, what is on the wire, how each of them ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import uuid4

import pytest

from tests.stack.conftest import Api, AsteriskView
from tests.stack.containers import Containers
from tests.stack.product import HANGUP, SOURCE, Json, Product, eventually, number, sleep, talk
from tests.stack.telephone import Telephone, Telephones, telephones

WORDS = talk("Good morning. Here is the one call that rang with all of you.")


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


@pytest.fixture
async def phones(env: Mapping[str, str]) -> AsyncIterator[Telephones]:
    async with telephones(env) as made:
        yield made


class Groupcalls:
    """The API's groupcalls."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def ring(
        self, *destinations: Json | Telephone, actions: list[Json] | None = None, **more: Any
    ) -> Json:
        body = {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [one.destination if isinstance(one, Telephone) else one for one in destinations],
            "actions": [WORDS, sleep(20)] if actions is None else actions,
            **more,
        }
        made: Json = await self.api.post("/v1.0/groupcalls", body)
        return made

    async def show(self, groupcall: Json) -> Json:
        shown: Json = await self.api.get(f"/v1.0/groupcalls/{groupcall['id']}")
        return shown

    async def reached(self, groupcall: Json, what: str, within: float = 30.0) -> Json:
        """Until its status is ``what``, or until it is answered."""

        async def look() -> Json | None:
            shown = await self.show(groupcall)
            answered = set(shown["answer_call_id"] + shown["answer_groupcall_id"]) != {"0", "-"}
            return shown if shown["status"] == what or (what == "answered" and answered) else None

        found: Json = await eventually(look, f"the groupcall is {what}", within=within)
        return found

    async def over(self, groupcall: Json, place: int) -> Json:
        """The final record of one of its calls."""
        call_ids = (await self.show(groupcall))["call_ids"]
        return await self.api.wait_call(call_ids[place], "hangup", within=20)

    async def hang_up(self, groupcall: Json) -> Json:
        shown: Json = await self.api.post(f"/v1.0/groupcalls/{groupcall['id']}/hangup")
        return shown

    async def calls(self, groupcall: Json) -> list[Json]:
        return [await self.api.get(f"/v1.0/calls/{one}") for one in (await self.show(groupcall))["call_ids"]]


@pytest.fixture
def groupcalls(api: Api) -> Groupcalls:
    return Groupcalls(api)


async def test_both_ring_one_answers_and_hears_the_words(groupcalls: Groupcalls, phones: Telephones) -> None:
    quick, slow = await phones.add(answers=None), await phones.add(answers=None)
    made = await groupcalls.ring(slow, quick)
    assert (made["status"], len(made["call_ids"])) == ("progressing", 2)
    await asyncio.gather(slow.rings(), quick.rings())
    quick.answer_now()
    shown = await groupcalls.reached(made, "answered")
    cancel = await slow.cancelled()
    reasons = ", ".join(cancel.all("reason"))
    assert "Q.850;cause=26" in reasons
    assert 'SIP;cause=200;text="Call completed elsewhere"' in reasons
    await quick.hears()
    await asyncio.sleep(1)
    assert slow.ear.heard == [], "not one packet"
    lost = await groupcalls.over(made, 0)
    (_, won) = await groupcalls.calls(made)
    assert shown["answer_call_id"] == won["id"]
    assert (won["status"], won["groupcall_id"]) == ("progressing", made["id"])
    assert (lost["hangup_reason"], lost["hangup_cause"], lost["tm_progressing"]) == ("normal", 26, None)
    quick.hang_up(quick.phone.requests("INVITE")[0].one("call-id"))
    shown = await groupcalls.reached(made, "hangup")
    assert shown["tm_hangup"] is not None
    won = await groupcalls.over(made, 1)
    assert (won["hangup_by"], won["hangup_reason"]) == ("remote", "normal")


async def test_two_answer_at_once_and_one_hears_nothing(groupcalls: Groupcalls, phones: Telephones) -> None:
    rivals = [await phones.add(answers=None) for _ in range(4)]
    made = await groupcalls.ring(*rivals)
    await asyncio.gather(*(rival.rings() for rival in rivals))
    for rival in rivals:
        rival.answer_now()
    shown = await groupcalls.reached(made, "answered")
    calls = await groupcalls.calls(made)
    winner = rivals[[call["id"] for call in calls].index(shown["answer_call_id"])]
    for rival in rivals:
        if rival is winner:
            continue
        end = await rival.phone.wait(lambda m: not m.status and m.method in ("BYE", "CANCEL"))
        assert "cause=26" in ", ".join(end.all("reason"))
        if end.method == "BYE":
            # the proxy's workers may let the one overtake the other
            await rival.phone.request("ACK", end.one("call-id"))
    await winner.hears()
    await asyncio.sleep(1)
    for place, rival in enumerate(rivals):
        if rival is not winner:
            assert rival.ear.heard == [], "a loser heard something"
            assert (await groupcalls.over(made, place))["hangup_cause"] == 26
    await groupcalls.hang_up(made)
    await groupcalls.reached(made, "hangup")


async def test_an_answer_that_crosses_its_cancel_is_told_why_it_ends(
    groupcalls: Groupcalls, phones: Telephones
) -> None:
    quick, late = await phones.add(answers=None), await phones.add(answers=None)
    late.crosses = True
    made = await groupcalls.ring(quick, late)
    await asyncio.gather(quick.rings(), late.rings())
    quick.answer_now()
    await late.cancelled()
    bye = await late.phone.wait(lambda m: m.method == "BYE" and not m.status)
    reasons = ", ".join(bye.all("reason"))
    assert "Q.850;cause=26" in reasons
    assert 'SIP;cause=200;text="Call completed elsewhere"' in reasons
    await quick.hears()
    assert late.ear.heard == []
    lost = await groupcalls.over(made, 1)
    assert (lost["hangup_reason"], lost["hangup_cause"], lost["tm_progressing"]) == ("normal", 26, None)
    await groupcalls.hang_up(made)
    await groupcalls.reached(made, "hangup")


async def test_one_after_another(groupcalls: Groupcalls, phones: Telephones) -> None:
    busy, declines, answers = await phones.add(0.3, 486), await phones.add(0.3, 603), await phones.add(0.3)
    never = await phones.add()
    made = await groupcalls.ring(busy, declines, answers, never, ring_method="linear")
    assert len(made["call_ids"]) == 1
    shown = await groupcalls.reached(made, "answered")
    calls = await groupcalls.calls(made)
    assert [call["hangup_reason"] for call in calls] == ["busy", "noanswer", ""]
    assert shown["answer_call_id"] == calls[2]["id"]
    rang = [phone.phone.requests("INVITE")[0].at for phone in (busy, declines, answers)]
    assert rang == sorted(rang)
    assert rang[1] - rang[0] > 0.3, "the second rings once the first has refused"
    assert never.phone.received == []
    await answers.hears()
    await groupcalls.hang_up(made)
    await groupcalls.reached(made, "hangup")


async def test_an_agent_rings_within(
    groupcalls: Groupcalls, phones: Telephones, api: Api, env: Mapping[str, str]
) -> None:
    desk, mobile, other = [await phones.add(answers=None) for _ in range(3)]
    agent = await api.post(
        "/v1.0/agents",
        {
            "username": f"agent-{uuid4().hex[:8]}",
            "password": uuid4().hex,
            "name": "Somebody",
            "ring_method": "ringall",
            "addresses": [desk.destination, mobile.destination],
        },
    )
    try:
        made = await groupcalls.ring({"type": "agent", "target": agent["id"]}, other)
        assert len(made["groupcall_ids"]) == 1
        inner = await api.get(f"/v1.0/groupcalls/{made['groupcall_ids'][0]}")
        assert inner["master_groupcall_id"] == made["id"]
        assert len(inner["call_ids"]) == 2
        await asyncio.gather(desk.rings(), mobile.rings(), other.rings())
        mobile.answer_now()
        shown = await groupcalls.reached(made, "answered")
        assert shown["answer_groupcall_id"] == inner["id"]
        inner = await groupcalls.show(inner)
        assert inner["answer_call_id"] == inner["call_ids"][1]
        for loser in (desk, other):
            await loser.cancelled()
        await mobile.hears()
        await groupcalls.hang_up(made)
        for one in (made, inner):
            await groupcalls.reached(one, "hangup")
    finally:
        await api.call("DELETE", f"/v1.0/agents/{agent['id']}")


async def test_a_hang_up_cancels_everybody(groupcalls: Groupcalls, phones: Telephones) -> None:
    ringing = [await phones.add(answers=None) for _ in range(2)]
    made = await groupcalls.ring(*ringing)
    for phone in ringing:
        await phone.rings()
    await groupcalls.hang_up(made)
    await groupcalls.hang_up(made)
    await groupcalls.reached(made, "hangup")
    for phone in ringing:
        await phone.cancelled()
    assert [call["hangup_reason"] for call in await groupcalls.calls(made)] == ["cancel", "cancel"]


async def test_nobody_answers(groupcalls: Groupcalls, phones: Telephones) -> None:
    made = await groupcalls.ring(await phones.add(0.2, 486), await phones.add(0.2, 480))
    shown = await groupcalls.reached(made, "hangup")
    assert set(shown["answer_call_id"]) == {"0", "-"}
    assert [call["hangup_reason"] for call in await groupcalls.calls(made)] == ["busy", "noanswer"]


async def test_telephones_of_the_network_ring_too(groupcalls: Groupcalls, product: Product) -> None:
    answers, rings = number("1234"), number("0002")
    made = await groupcalls.ring(
        {"type": "tel", "target": rings}, {"type": "tel", "target": answers}, actions=[WORDS, HANGUP]
    )
    await groupcalls.reached(made, "hangup", within=60)
    assert (await product.line(answers))["recording"]
    assert (await product.line(rings))["recording"] is None


async def test_a_call_to_an_agent_is_a_groupcall(api: Api, product: Product, phones: Telephones) -> None:
    phone = await phones.add(0.3)
    agent = await api.post(
        "/v1.0/agents",
        {
            "username": f"agent-{uuid4().hex[:8]}",
            "password": uuid4().hex,
            "name": "Somebody",
            "addresses": [phone.destination, {"type": "extension", "target": "test11"}],
        },
    )
    try:
        body = {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [{"type": "agent", "target": agent["id"]}, phone.destination],
            "actions": [WORDS, HANGUP],
        }
        calls = await api.post("/v1.0/calls", body)
        assert len(calls) == 3
        groups = [call["groupcall_id"] for call in calls]
        assert groups[0] == groups[1] != groups[2]
        assert set(groups[2]) == {"0", "-"}
        groupcall = await api.get(f"/v1.0/groupcalls/{groups[0]}")
        assert groupcall["call_ids"] == [call["id"] for call in calls[:2]]
        for call in calls:
            await product.ended(call)
    finally:
        await api.call("DELETE", f"/v1.0/agents/{agent['id']}")


async def test_listing_deleting_and_asking_again(
    groupcalls: Groupcalls, api: Api, phones: Telephones
) -> None:
    phone = await phones.add(answers=None)
    key = uuid4().hex
    body = {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [phone.destination],
        "actions": [WORDS],
    }
    made = [(await api.call("POST", "/v1.0/groupcalls", body, key=key))[1] for _ in range(2)]
    assert made[0] == made[1]
    await phone.rings()
    page = await api.get("/v1.0/groupcalls", page_size="1")
    assert page["result"][0]["id"] == made[0]["id"]
    assert page["next_page_token"] != ""
    following = await api.get("/v1.0/groupcalls", page_size="1", page_token=page["next_page_token"])
    assert following["result"][0]["id"] != made[0]["id"]
    status, deleted = await api.call("DELETE", f"/v1.0/groupcalls/{made[0]['id']}")
    assert (status, deleted["id"]) == (200, made[0]["id"])
    assert deleted["tm_delete"] is not None
    for method, path in (("GET", ""), ("POST", "/hangup"), ("DELETE", "")):
        status, answer = await api.call(method, f"/v1.0/groupcalls/{made[0]['id']}{path}")
        assert (status, answer["error"]["reason"]) == (404, "GROUPCALL_NOT_FOUND")
    await phone.cancelled()
    assert len({m.one("call-id") for m in phone.phone.requests("INVITE")}) == 1, "rung once"


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"destinations": []}, 400, "destinations"),
        ({"destinations": [{"type": "endpoint", "target": "nobody@test"}]}, 404, "destinations[0].target"),
        ({"destinations": [{"type": "extension", "target": "test11@other"}]}, 404, "destinations[0].target"),
        ({"destinations": [{"type": "extension", "target": "a b"}]}, 400, "destinations[0].target"),
        ({"destinations": [{"type": "agent", "target": str(uuid4())}]}, 404, "destinations[0].target"),
        ({"destinations": [{"type": "agent", "target": "bob"}]}, 400, "destinations[0].target"),
        ({"destinations": [{"type": "conference", "target": str(uuid4())}]}, 400, "'conference'"),
        ({"destinations": [{"type": "tel", "target": "555-123"}]}, 400, "destinations[0].target"),
        ({"ring_method": "random"}, 400, "ring_method"),
        ({"answer_method": "shout"}, 400, "answer_method"),
        ({"anonymous": "perhaps"}, 400, "anonymous"),
        ({"actions": []}, 400, "flow_id"),
        ({"flow_id": str(uuid4())}, 404, "flow"),
        ({"colour": "red"}, 400, "colour"),
        ({"destinations": [{"type": "tel", "target": "+15559876543"}] * 101}, 400, "destinations"),
    ],
)
async def test_what_is_wrong_is_said(api: Api, body: Json, status: int, says: str) -> None:
    full = {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [{"type": "tel", "target": "+15559876543"}],
        "actions": [HANGUP],
        **body,
    }
    answered, answer = await api.call("POST", "/v1.0/groupcalls", full)
    assert answered == status, answer
    assert says in str(answer)


async def agent_of(api: Api, *addresses: Json, ring_method: str = "ringall") -> Json:
    body = {
        "username": f"agent-{uuid4().hex[:8]}",
        "password": uuid4().hex,
        "name": "Somebody",
        "ring_method": ring_method,
        "addresses": list(addresses),
    }
    made: Json = await api.post("/v1.0/agents", body)
    return made


async def test_connect_rings_an_agent_and_bridges_the_phone_that_answers(
    api: Api, product: Product, phones: Telephones
) -> None:
    busy, slow, quick = await phones.add(0.3, 486), await phones.add(answers=None), await phones.add(None)
    first = await agent_of(api, busy.destination, quick.destination, ring_method="linear")
    second = await agent_of(api, slow.destination)
    try:
        destinations = [{"type": "agent", "target": agent["id"]} for agent in (first, second)]
        source = {"type": "tel", "target": SOURCE}
        call = await product.place(
            number("1234"),
            {"type": "connect", "option": {"source": source, "destinations": destinations}},
            HANGUP,
        )

        await asyncio.gather(slow.rings(), quick.rings())
        quick.answer_now()

        async def bridged() -> bool:
            return any(len(bridge["channels"]) == 2 for bridge in await product.asterisk.list("bridges"))

        await eventually(bridged, "caller and agent are in a bridge", within=20)
        await slow.cancelled()
        await eventually(lambda: quick.ear.heard, "the caller's sound", within=20)
        assert slow.ear.heard == []
        shown = await product.show(call)
        legs = [await api.get(f"/v1.0/calls/{leg}") for leg in shown["chained_call_ids"]]
        by_target = {leg["destination"]["target"]: leg for leg in legs}
        assert set(by_target) == {busy.target, slow.target, quick.target}
        groupcall = await api.get(f"/v1.0/groupcalls/{by_target[quick.target]['groupcall_id']}")
        assert (groupcall["master_call_id"], groupcall["ring_method"]) == (call["id"], "linear")
        assert groupcall["answer_call_id"] == by_target[quick.target]["id"]
        quick.hang_up(quick.phone.requests("INVITE")[0].one("call-id"))
        ended = await product.ended(call)
        assert (ended["hangup_reason"], ended["failures"]) == ("normal", [])

        async def over() -> bool:
            shown = await api.get(f"/v1.0/groupcalls/{groupcall['id']}")
            return bool(shown["status"] == "hangup")

        await eventually(over, "the groupcall has ended", within=20)
    finally:
        for agent in (first, second):
            await api.call("DELETE", f"/v1.0/agents/{agent['id']}")


async def killed(containers: Containers) -> None:
    """The controller dies, and its successor is there."""
    started, _ = await containers.life("controller")
    await containers.signal("controller", "KILL")

    async def again() -> bool:
        return (await containers.life("controller"))[0] != started

    await eventually(again, "the controller was started again", within=60)
    await containers.healthy("controller")


async def test_phones_ring_on_when_the_controller_dies(
    groupcalls: Groupcalls, phones: Telephones, containers: Containers
) -> None:
    one, two = await phones.add(answers=None), await phones.add(answers=None)
    made = await groupcalls.ring(one, two)
    for phone in (one, two):
        await phone.rings()
    await asyncio.sleep(1)
    await killed(containers)
    assert [phone.phone.requests("CANCEL") for phone in (one, two)] == [[], []]
    two.answer_now()
    shown = await groupcalls.reached(made, "answered")
    assert shown["answer_call_id"] == made["call_ids"][1]
    await one.cancelled()
    await two.hears()
    assert one.ear.heard == []
    await groupcalls.hang_up(made)
    await groupcalls.reached(made, "hangup")


async def test_the_search_goes_on_when_the_controller_dies(
    groupcalls: Groupcalls, phones: Telephones, containers: Containers
) -> None:
    refuses, answers = await phones.add(answers=None, status=486), await phones.add(0.3)
    made = await groupcalls.ring(refuses, answers, ring_method="linear")
    await refuses.rings()
    await asyncio.sleep(1)
    killing = asyncio.create_task(killed(containers))
    await asyncio.sleep(0.2)
    refuses.answer_now()
    await killing
    shown = await groupcalls.reached(made, "answered")
    assert len(shown["call_ids"]) == 2
    await answers.hears()
    await groupcalls.hang_up(made)
    await groupcalls.reached(made, "hangup")
