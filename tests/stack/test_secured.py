"""Encrypted sound (SDES) of telephones and trunks: as the account wants it, in both directions; and what calls to SIP
addresses offer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.stack.conftest import AsteriskView
from tests.stack.product import HANGUP, SOURCE, Product
from tests.stack.registering import Account, Line
from tests.stack.sip import SDP, Dialog, Message, Phone, reply
from tests.stack.telephone import telephones

KEY = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\r\n"
SECURED = SDP.replace("RTP/AVP", "RTP/SAVP") + KEY


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    yield
    await ari.wait_idle()


@pytest.fixture
async def phone() -> AsyncIterator[Phone]:
    phone = await Phone.open(0, reply(488), "127.0.0.121")
    yield phone
    phone.close()


async def account(product: Product, env: Mapping[str, str], phone: Phone, kind: str) -> tuple[Line, str]:
    """A new extension or trunk on this telephone, and its path."""
    name, password = f"s{uuid4().hex[:10]}", uuid4().hex
    body: dict[str, Any] = {"extension": name, "password": password}
    if kind == "trunks":
        body = {"domain_name": name, "auth_types": ["basic"], "username": name, "password": password}
    made = await product.api.post(f"/v1.0/{kind}", body)
    assert made["srtp"] == "optional"
    domain = made["realm" if kind == "trunks" else "domain_name"]
    found = Account(UUID(made["id"]), UUID(made["customer_id"]), name, domain, password)
    return Line(phone, found, int(env["RINGLINE_KAMAILIO_PORT"])), f"/v1.0/{kind}/{made['id']}"


async def dialled(line: Line, body: str) -> Message:
    """The final answer to a call to the echo test, which is over then."""
    begun = await line.invite("*43", body=body)
    answer = await line.phone.final(begun.call_id, within=30)
    if answer.status >= 300:
        line.phone.send(Dialog(**{**begun.__dict__, "to": answer.one("to")}).text("ACK"), line.port)
        return answer
    begun.accept(answer)
    line.phone.send(begun.text("ACK"), line.port)
    begun.next()
    line.phone.send(begun.text("BYE"), line.port)
    assert (await line.phone.final(begun.call_id, "BYE", within=30)).status == 200
    return answer


@pytest.mark.parametrize("kind", ["extensions", "trunks"])
async def test_sound_is_secured_as_the_account_wants_it(
    product: Product, env: Mapping[str, str], phone: Phone, kind: str
) -> None:
    line, path = await account(product, env, phone, kind)
    before = await product.metrics()
    try:
        for srtp, plain, secured in (("optional", 200, 200), ("required", 488, 200), ("none", 200, 488)):
            _, changed = await product.api.call("PUT", path, {"srtp": srtp})
            assert changed["srtp"] == srtp
            answers = [await dialled(line, SDP), await dialled(line, SECURED)]
            assert [answer.status for answer in answers] == [plain, secured], srtp
            for answer, kind_of_media in zip(answers, ("RTP/AVP", "RTP/SAVP"), strict=True):
                if answer.status == 200:
                    assert re.search(rf"^m=audio \d+ {kind_of_media} ", answer.body, re.MULTILINE), (
                        answer.body
                    )
                    assert ("a=crypto:" in answer.body) == (kind_of_media == "RTP/SAVP")
        after = await product.metrics()
        for reason in ("srtp_required", "srtp_not_taken"):
            name = f"ringline_calls_refused_total{{reason={reason}}}"
            assert after[name] == before.get(name, 0) + 1
    finally:
        await product.api.delete(path)


async def test_a_phone_that_wants_it_is_offered_nothing_else(
    product: Product, env: Mapping[str, str], phone: Phone
) -> None:
    line, path = await account(product, env, phone, "extensions")
    try:
        assert (await line.register()).status == 200
        for srtp, media in (("optional", "RTP/AVP"), ("required", "RTP/SAVP")):
            await product.api.put(path, {"srtp": srtp})
            body = {
                "source": {"type": "tel", "target": SOURCE},
                "destinations": [{"type": "extension", "target": line.account.user}],
                "actions": [HANGUP],
            }
            (call,) = await product.api.post("/v1.0/calls", body)
            ended = await product.ended(call)
            assert ended["hangup_sip_code"] == 488
            invite = phone.requests("INVITE")[-1]
            assert re.findall(r"^m=audio \d+ (\S+)", invite.body, re.MULTILINE) == [media]
            assert ("a=crypto:" in invite.body) == (media == "RTP/SAVP")
            assert "x-ringline" not in invite.raw.lower()
    finally:
        await product.api.delete(path)


async def test_calls_to_sip_addresses_offer_the_customers_codecs(
    product: Product, env: Mapping[str, str]
) -> None:
    async with telephones(env) as made:
        called = await made.add(0.2)
        try:
            status, config = await product.api.call("PUT", "/v1.0/outbound_config", {"codecs": "g722, pcma"})
            assert (status, config["codecs"]) == (200, "G722,PCMA")
            body = {
                "source": {"type": "tel", "target": SOURCE},
                "destinations": [called.destination],
                "actions": [HANGUP],
            }
            (call,) = await product.api.post("/v1.0/calls", body)
            await product.ended(call)
        finally:
            await product.api.put("/v1.0/outbound_config", {"codecs": ""})
        offer = called.phone.requests("INVITE")[-1].body
        names = dict(re.findall(r"^a=rtpmap:(\d+) ([^/]+/\d+)", offer, re.MULTILINE))
        media = re.search(r"^m=audio \d+ RTP/AVP ([0-9 ]+)", offer, re.MULTILINE)
        assert media is not None
        assert [names[kind] for kind in media[1].split()] == [
            "G722/8000",
            "PCMA/8000",
            "telephone-event/8000",
            "telephone-event/48000",
        ]
        assert len(names) == 4
