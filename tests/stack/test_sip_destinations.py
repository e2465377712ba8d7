"""``sip`` destinations on the running stack: called like telephones, never inside, told nothing of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.stack.conftest import Api, AsteriskView
from tests.stack.product import HANGUP, SOURCE, Json, Product, eventually, number, sleep, talk
from tests.stack.registering import forget
from tests.stack.telephone import Telephones, telephones

WORDS = talk("Good morning. This is said to a telephone of the internet.")


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle()


@pytest.fixture
async def phones(env: Mapping[str, str]) -> AsyncIterator[Telephones]:
    async with telephones(env) as made:
        yield made


async def place(api: Api, destination: Json, *actions: Json, **more: object) -> Json:
    body = {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [destination],
        "actions": list(actions) or [WORDS, HANGUP],
        **more,
    }
    calls = await api.post("/v1.0/calls", body)
    assert len(calls) == 1
    call: Json = calls[0]
    return call


async def test_a_host_is_called_and_hears_the_words(api: Api, product: Product, phones: Telephones) -> None:
    phone = await phones.add(0.3)
    call = await place(api, phone.destination)
    assert call["destination"] == {**phone.destination, "target_name": "", "name": "", "detail": ""}
    ended = await product.ended(call)
    assert (ended["hangup_by"], ended["hangup_reason"], ended["failures"]) == ("local", "normal", [])
    assert phone.heard() > 500
    (invite,) = phone.phone.requests("INVITE")
    assert invite.uri == f"sip:{phone.target}"
    assert f"sip:{SOURCE}@" in invite.one("from")
    assert "127.0.0.1" not in invite.one("from")
    assert invite.one("contact").startswith("<sip:ringline@")
    for secret in ("X-Ringline", "P-Asserted-Identity", "Remote-Party-ID"):
        assert secret.lower() not in invite.raw.lower()


async def test_anonymous_has_no_effect_and_no_number_of_another_is_shown(
    api: Api, product: Product, phones: Telephones
) -> None:
    phone = await phones.add(0.2)
    call = await place(api, phone.destination, HANGUP, anonymous="yes")
    assert call["anonymous"] is False
    await product.ended(call)
    assert f"sip:{SOURCE}@" in phone.phone.requests("INVITE")[-1].one("from")
    source = {"type": "sip", "target": "alice@example.com", "target_name": "Alice"}
    call = await place(api, phone.destination, HANGUP, source=source)
    await product.ended(call)
    shown = phone.phone.requests("INVITE")[-1].one("from")
    assert shown.startswith('"Alice" <sip:alice@')
    assert "example.com" not in shown, "we speak for our own domain only"


async def test_refusals_have_the_reasons_of_telephones(
    api: Api, product: Product, phones: Telephones
) -> None:
    for status, reason in (
        (486, "busy"),
        (603, "noanswer"),
        (480, "noanswer"),
        (404, "failed"),
        (503, "failed"),
    ):
        phone = await phones.add(0.1, status)
        ended = await product.ended(await place(api, phone.destination))
        assert (ended["hangup_reason"], ended["hangup_sip_code"]) == (reason, status)


async def test_a_host_that_is_not_there_fails(api: Api, product: Product, phones: Telephones) -> None:
    phone = await phones.add()
    phone.phone.close()
    began = asyncio.get_running_loop().time()
    silent = await place(api, phone.destination)
    unknown = await place(api, {"type": "sip", "target": "x@nobody.invalid:5060"})
    inside = await place(api, {"type": "sip", "target": "x@localhost.localdomain:5060"})
    ended = await product.ended(unknown)
    assert (ended["hangup_reason"], ended["hangup_cause"], ended["hangup_sip_code"]) == ("failed", 1, 404)
    ended = await product.ended(inside)
    assert (ended["hangup_reason"], ended["hangup_cause"]) == ("failed", 1)
    ended = await product.ended(silent)
    assert ended["hangup_reason"] == "failed"
    # not when they have rung for as long as they may
    assert asyncio.get_running_loop().time() - began < 45


async def test_a_phone_that_hangs_up(api: Api, product: Product, phones: Telephones) -> None:
    phone = await phones.add(0.2)
    call = await place(api, phone.destination, sleep(30))
    await product.reached(call, "progressing")
    await phone.phone.wait(lambda m: m.method == "ACK")
    phone.hang_up(phone.phone.requests("INVITE")[0].one("call-id"))
    ended = await product.ended(call)
    assert (ended["hangup_by"], ended["hangup_reason"]) == ("remote", "normal")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("x@10.0.0.1", "not a public address"),
        ("x@127.0.0.1:15060", "not a public address"),
        ("x@169.254.169.254", "not a public address"),
        ("x@192.168.1.1:5060;transport=tcp", "not a public address"),
        ("sips:x@example.com", "TLS"),
        ("x@localhost", "full name"),
        ("x@example.com:25", "port"),
        ("x@example.com?Replaces=1", "headers"),
        ("x@example.com\r\nX-Evil: 1", "port"),
        ("x", "user@host"),
    ],
)
async def test_what_cannot_be_called_is_refused(api: Api, target: str, says: str) -> None:
    body = {
        "source": {"type": "tel", "target": SOURCE},
        "destinations": [{"type": "tel", "target": number()}, {"type": "sip", "target": target}],
        "actions": [HANGUP],
    }
    status, answer = await api.call("POST", "/v1.0/calls", body)
    assert status == 400
    assert "destinations[1].target" in answer["error"]["message"]
    assert says in answer["error"]["message"] or says == "port"


async def test_ourselves_are_not_called_by_sip(api: Api, env: Mapping[str, str]) -> None:
    for host in (env["RINGLINE_SIP_DOMAIN"], f"test.{env['RINGLINE_SIP_DOMAIN']}"):
        body = {
            "source": {"type": "tel", "target": SOURCE},
            "destinations": [{"type": "sip", "target": f"{SOURCE}@{host}"}],
            "actions": [HANGUP],
        }
        status, answer = await api.call("POST", "/v1.0/calls", body)
        assert (status, "itself" in answer["error"]["message"]) == (400, True), answer


async def test_connect_and_call_reach_sip_too(api: Api, product: Product, phones: Telephones) -> None:
    talked, notified = await phones.add(0.3), await phones.add(0.3)
    caller = number("1234")
    source = {"type": "tel", "target": SOURCE}
    call = await product.place(
        caller,
        {
            "type": "call",
            "option": {"source": source, "destinations": [notified.destination], "actions": [WORDS, HANGUP]},
        },
        {"type": "connect", "option": {"source": source, "destinations": [talked.destination]}},
        HANGUP,
    )

    async def bridged() -> bool:
        return any(len(bridge["channels"]) == 2 for bridge in await product.asterisk.list("bridges"))

    await eventually(bridged, "the two are in a bridge", within=40)
    await eventually(lambda: notified.heard() > 500, "the other phone hears the words", within=40)
    await eventually(lambda: talked.ear.heard, "sound of the caller")
    talked.hang_up(talked.phone.requests("INVITE")[0].one("call-id"))
    ended = await product.ended(call)
    assert ended["failures"] == []
    assert ended["hangup_reason"] == "normal"


async def test_an_extension_that_is_not_registered(api: Api, product: Product) -> None:
    await forget(api, "test11")
    call = await place(api, {"type": "extension", "target": "test11"})
    groupcall = await api.get(f"/v1.0/groupcalls/{call['groupcall_id']}")
    assert groupcall["call_ids"] == [call["id"]]
    ended = await product.ended(call)
    assert (ended["hangup_reason"], ended["hangup_cause"], ended["hangup_sip_code"]) == ("noanswer", 19, 480)
    assert "registered" in ended["hangup_detail"]
