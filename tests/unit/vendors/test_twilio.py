"""Twilio as a vendor, on a strict local Twilio: what is found, bought, configured and sent, and what goes wrong."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ringline.vendors.errors import (
    NotSupported,
    VendorBusy,
    VendorError,
    VendorMisconfigured,
    VendorRefused,
    VendorUnavailable,
    VendorUncertain,
    VendorUnknown,
)
from ringline.vendors.models import Held, Search
from ringline.vendors.twilio import Twilio
from tests.unit.vendors.twilio_account import HANDSET, HOME, HOOK_URL, NUMBER, OFFICE, account, purchase, text
from tests.vendors.twilio_server import Fault, Sale, TwilioServer

LOST = [Fault("500", "POST", "", times=1), Fault("cut", "POST", ""), Fault("slow", "POST", "", seconds=3.0)]
NEVER_DONE = [Fault("503", "POST", ""), Fault("drop", "POST", "")]


def fault(like: Fault, path: str, method: str = "POST") -> Fault:
    return replace(like, path=path, method=method)


async def buy(server: TwilioServer, vendor: Twilio, number: str = NUMBER) -> Held:
    order = await vendor.buy(purchase(number))
    return Held(number, order.number_reference)


# search


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Search("US", "local"), {NUMBER, "+14155550123", "+12125550123"}),
        (Search("US"), {NUMBER, "+14155550123", "+12125550123", "+18005550123"}),
        (Search("US", "local", limit=1), {NUMBER}),
        (Search("US", "local", region="NY"), {"+12125550123"}),
        (Search("US", "local", region="new york"), {"+12125550123"}),
        (Search("US", "local", region="Nowhere"), set()),
        (Search("US", contains="0123"), {"+14155550123", "+12125550123", "+18005550123"}),
        (Search("US", "local", contains="415***0123"), {"+14155550123"}),
        (Search("US", "local", contains="4*5*5*0100"), {NUMBER}),
        (Search("US", "local", contains="0*0"), {NUMBER}),
        (Search("US", "local", contains="9"), set()),
        (Search("GB"), {"+447400123456", "+442079460123"}),
        (Search("GB", region="London"), {"+442079460123"}),
        (Search("GB", features=("sms",)), {"+447400123456"}),
        (Search("GB", features=("emergency",)), {"+442079460123"}),
        (Search("US", features=("fax",)), set()),
        (Search("DE"), set()),
        (Search("../GB"), set()),
        (Search("DE", features=("emergency",)), set()),
    ],
    ids=lambda value: None if isinstance(value, set) else str(value)[7:60],
)
async def test_search(wanted: Search, found: set[str]) -> None:
    async with account() as (_, vendor):
        assert {offer.number for offer in await vendor.search(wanted)} == found


async def test_what_an_offer_says() -> None:
    async with account() as (_, vendor):
        [offer] = await vendor.search(Search("US", "local", contains="4155550123"))
        assert (offer.country, offer.kind, offer.region, offer.city) == ("US", "local", "CA", "San Francisco")
        assert offer.features == ("voice", "sms", "mms", "emergency")


@pytest.mark.parametrize("number", [NUMBER, "+18005550123", "+447400123456", "+442079460123"])
async def test_find_a_number_of_any_kind(number: str) -> None:
    async with account() as (_, vendor):
        offer = await vendor.find(number)
        assert offer is not None
        assert offer.number == number


@pytest.mark.parametrize("number", ["+14155550101", "+4930123456", "+8991234567890", "+18885550123"])
async def test_find_a_number_that_is_not_on_sale(number: str) -> None:
    async with account() as (_, vendor):
        assert await vendor.find(number) is None


# buying


async def test_a_number_is_bought_and_pointed_at_us() -> None:
    async with account() as (server, vendor):
        wanted = purchase()
        order = await vendor.buy(wanted)
        assert order.state == "done"
        row = server.numbers[order.number_reference]
        assert row["trunk_sid"] == server.trunk_sid
        assert row["sms_url"] == row["sms_fallback_url"] == HOOK_URL
        assert await vendor.find_order(wanted, order.reference) == order
        assert await vendor.find_order(wanted, "") == order


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost.kind)
async def test_a_lost_answer_is_uncertain_and_the_number_is_found_not_bought_twice(lost: Fault) -> None:
    async with account(total_seconds=1.5 if lost.kind == "slow" else 10) as (server, vendor):
        server.faults = [fault(lost, "IncomingPhoneNumbers")]
        wanted = purchase()
        with pytest.raises(VendorUncertain):
            await vendor.buy(wanted)
        order = await vendor.find_order(wanted, "")
        assert order is not None
        assert order.state == "done"
        # and somebody who asks again all the same gets the same number
        assert await vendor.buy(wanted) == order
        assert server.purchases == [NUMBER]


@pytest.mark.parametrize("never", NEVER_DONE, ids=lambda never: never.kind)
async def test_what_never_happened_is_uncertain_too_and_nothing_is_found(never: Fault) -> None:
    async with account() as (server, vendor):
        server.faults = [fault(never, "IncomingPhoneNumbers")]
        wanted = purchase()
        with pytest.raises(VendorUncertain):
            await vendor.buy(wanted)
        assert await vendor.find_order(wanted, "") is None
        assert server.purchases == []


async def test_fifty_at_once_buy_one_number_once() -> None:
    async with account() as (server, vendor):
        wanted = [purchase() for _ in range(50)]
        results = await asyncio.gather(*(vendor.buy(one) for one in wanted), return_exceptions=True)
        won = [result for result in results if not isinstance(result, BaseException)]
        lost = [result for result in results if isinstance(result, VendorRefused)]
        assert (len(won), len(lost)) == (1, 49)
        assert {error.code for error in lost} == {"21422"}
        assert server.purchases == [NUMBER]


async def test_a_number_of_the_account_that_no_purchase_of_ours_bought() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        order = await vendor.find_order(purchase(), "")
        assert order is not None
        assert order.state == "failed"
        assert "already" in order.reason
        with pytest.raises(VendorRefused, match="not available"):
            await vendor.buy(purchase())


async def test_a_number_whose_digits_contain_the_wanted_ones_is_another() -> None:
    async with account() as (server, vendor):
        server.on_sale.append(Sale("+1415555010012"))
        await buy(server, vendor, "+1415555010012")
        assert await vendor.find_order(purchase(), "") is None


@pytest.mark.parametrize("pause", ["0.1", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_too_many_requests_are_waited_for(pause: str) -> None:
    async with account() as (server, vendor):
        server.faults = [Fault("429", "POST", "IncomingPhoneNumbers", retry_after=pause)]
        assert (await vendor.buy(purchase())).state == "done"
        assert len(server.requests) == 2


async def test_a_long_pause_is_the_callers_business() -> None:
    async with account() as (server, vendor):
        server.faults = [Fault("429", "POST", "IncomingPhoneNumbers", retry_after="120")]
        with pytest.raises(VendorBusy) as caught:
            await vendor.buy(purchase())
        assert caught.value.retry_after == 120


async def test_the_address_that_a_country_demands_is_given() -> None:
    async with account() as (server, vendor):
        server.on_sale[0].wants = "address"
        with pytest.raises(VendorRefused) as caught:
            await vendor.buy(purchase())
        assert caught.value.code == "21631"
        server.addresses["AD1"] = {
            "sid": "AD1", "iso_country": "US", "friendly_name": "ours", "emergency_enabled": False
        }  # fmt: skip
        assert (await vendor.buy(purchase())).state == "done"


async def test_the_bundle_that_a_country_demands_is_given() -> None:
    async with account() as (server, vendor):
        server.on_sale[4].wants = "bundle"
        with pytest.raises(VendorRefused) as caught:
            await vendor.buy(purchase("+447400123456"))
        assert caught.value.code == "21649"
        bundle = {"status": "twilio-approved", "iso_country": "GB", "number_type": "mobile"}
        server.bundles += [
            {"sid": "BU1", **bundle, "number_type": "local"},
            {"sid": "BU2", **bundle, "status": "draft"},
            {"sid": "BU3", **bundle},
        ]
        assert (await vendor.buy(purchase("+447400123456"))).state == "done"
        assert ("BundleSid", "BU3") in server.requests[-1].form


# configuring and giving back


async def test_voice_and_texts_are_switched_off_and_on() -> None:
    async with account() as (server, vendor):
        held = await buy(server, vendor)
        row = server.numbers[held.reference]
        await vendor.configure(replace(held, voice=False, messaging=False))
        assert (row["trunk_sid"], row["sms_url"], row["sms_fallback_url"]) == (None, "", "")
        await vendor.configure(replace(held, reference=""))  # by its number
        assert (row["trunk_sid"], row["sms_url"]) == (server.trunk_sid, HOOK_URL)


async def test_configuring_is_repeated_until_it_worked() -> None:
    async with account() as (server, vendor):
        held = await buy(server, vendor)
        server.faults = [Fault("500", "POST", held.reference), Fault("cut", "POST", held.reference)]
        await vendor.configure(replace(held, voice=False))
        assert server.numbers[held.reference]["trunk_sid"] is None


async def test_an_emergency_address_comes_changes_and_goes() -> None:
    async with account() as (server, vendor):
        held = await buy(server, vendor)
        row = server.numbers[held.reference]
        await vendor.configure(replace(held, emergency=HOME))
        home = row["emergency_address_sid"]
        assert server.addresses[home]["customer_name"] == "Jane Doe"
        await vendor.configure(replace(held, emergency=HOME))
        assert (row["emergency_address_sid"], len(server.addresses)) == (home, 1)
        server.unregister_looks = 2
        await vendor.configure(replace(held, emergency=OFFICE))
        assert row["emergency_address_sid"] not in {None, home}
        await vendor.configure(held)
        assert row["emergency_address_sid"] is None
        await vendor.configure(replace(held, emergency=HOME))
        assert (row["emergency_address_sid"], len(server.addresses)) == (home, 2)


async def test_an_emergency_address_that_goes_off_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringline.vendors.twilio.holding._PAUSE_SECONDS", 0.01)
    async with account() as (server, vendor):
        held = await buy(server, vendor)
        await vendor.configure(replace(held, emergency=HOME))
        server.unregister_looks = 6
        with pytest.raises(VendorBusy) as caught:
            await vendor.configure(replace(held, emergency=OFFICE))
        assert caught.value.retry_after == 30
        server.unregister_looks = 0
        server.numbers[held.reference]["emergency_address_status"] = "unregistered"
        await vendor.configure(replace(held, emergency=OFFICE))
        assert server.numbers[held.reference]["emergency_address_status"] == "registered"


async def test_an_address_that_twilio_cannot_find() -> None:
    async with account() as (server, vendor):
        held = await buy(server, vendor)
        with pytest.raises(VendorRefused, match="21628"):
            await vendor.configure(replace(held, emergency=replace(HOME, street="Nowhere 1")))
        await vendor.configure(replace(held, emergency=HOME))
        server.numbers[held.reference]["emergency_address_status"] = "registration-failure"
        with pytest.raises(VendorRefused, match="could not register"):
            await vendor.configure(replace(held, emergency=HOME))


async def test_released_once_or_twice_or_by_somebody_else() -> None:
    async with account() as (server, vendor):
        held = await buy(server, vendor)
        await vendor.configure(replace(held, emergency=HOME))
        server.faults = [Fault("500", "DELETE", held.reference)]
        await vendor.release(held)
        assert not server.numbers
        await vendor.release(held)
        await vendor.release(replace(held, reference=""))
        with pytest.raises(VendorUnknown):
            await vendor.configure(held)
        with pytest.raises(VendorUnknown):
            await vendor.configure(replace(held, reference=""))


# texts


async def test_a_text_is_taken_and_goes_on() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        sent = await vendor.send(text("x" * 200))
        assert (sent.state, sent.parts, sent.reason) == ("sending", 2, "")
        server.messages[sent.reference]["status"] = "delivered"
        assert (await vendor.find_text(text(), sent.reference)) == replace(sent, state="delivered")
        server.messages[sent.reference] |= {"status": "undelivered", "error_code": 30007}
        failed = await vendor.find_text(text(), sent.reference)
        assert failed is not None
        assert (failed.state, failed.reason) == ("failed", "30007: a carrier filtered the text as unwanted")
        assert await vendor.find_text(text(), "SM" + "0" * 32) is None


@pytest.mark.parametrize("lost", LOST, ids=lambda lost: lost.kind)
async def test_a_text_whose_answer_was_lost_is_sent_once_and_found(lost: Fault) -> None:
    async with account(total_seconds=1.5 if lost.kind == "slow" else 10) as (server, vendor):
        await buy(server, vendor)
        server.faults = [fault(lost, "Messages")]
        wanted = replace(text(), tm_sent=datetime.now(UTC))
        with pytest.raises(VendorUncertain):
            await vendor.send(wanted)
        [sid] = server.messages
        found = await vendor.find_text(wanted, "")
        assert found is not None
        assert found.reference == sid


async def test_what_twilio_cannot_tell() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        now = datetime.now(UTC)
        wanted = replace(text("same words"), tm_sent=now)
        assert await vendor.find_text(wanted, "") is None
        server.keep(NUMBER, HANDSET, "other words")
        server.keep(NUMBER, HANDSET, "the same words")
        server.keep(NUMBER, HANDSET, "same words", 1)
        server.keep(NUMBER, "+14155550198", "same words")
        assert await vendor.find_text(wanted, "") is None
        one = server.keep(NUMBER, HANDSET, "same words")
        found = await vendor.find_text(wanted, "")
        assert found is not None
        assert found.reference == one["sid"]
        # sent long after that one: it is another
        assert await vendor.find_text(replace(wanted, tm_sent=now + timedelta(hours=1)), "") is None
        with pytest.raises(NotSupported):
            await vendor.find_text(replace(wanted, tm_sent=None), "")
        server.keep(NUMBER, HANDSET, "same words")
        with pytest.raises(NotSupported, match="several equal texts"):
            await vendor.find_text(wanted, "")


async def test_a_text_of_an_account_on_trial_is_found() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        one = server.keep(NUMBER, HANDSET, "Sent from your Twilio trial account - same words")
        found = await vendor.find_text(replace(text("same words "), tm_sent=datetime.now(UTC)), "")
        assert found is not None
        assert found.reference == one["sid"]


async def test_a_text_is_found_on_a_later_page() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        first = server.keep(NUMBER, HANDSET, "same words")
        for index in range(120):
            server.keep(NUMBER, HANDSET, f"other words {index}")
        found = await vendor.find_text(replace(text("same words"), tm_sent=datetime.now(UTC)), "")
        assert found is not None
        assert found.reference == first["sid"]
        assert len([request for request in server.requests if request.method == "GET"]) == 3


@pytest.mark.parametrize(
    ("body", "media", "to", "code", "words"),
    [
        ("x" * 1601, 0, HANDSET, "21617", "longer than 1600"),
        ("x", 11, HANDSET, "21623", "more than 10 media"),
        ("", 0, HANDSET, "21619", "body or media"),
        ("x", 0, "+15550000", "21610", "opted out"),
        ("x", 0, "+15550001", "21614", "no mobile number"),
        ("x", 0, "15550001", "21211", "no valid telephone number"),
    ],
)
async def test_refused_texts(body: str, media: int, to: str, code: str, words: str) -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        server.opted_out.add("+15550000")
        server.landlines.add("+15550001")
        wanted = text(body, media=tuple(f"https://example.com/{index}.png" for index in range(media)), to=to)
        with pytest.raises(VendorRefused) as caught:
            await vendor.send(wanted)
        assert caught.value.code == code
        assert words in caught.value.message
        assert not server.messages


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (400, 21408, VendorRefused, "texts to this region"),
        (400, 21608, VendorRefused, "on trial"),
        (400, 21999, VendorRefused, "21999: Refused"),
        (403, 20403, VendorMisconfigured, "does not serve this installation"),
        (400, 20005, VendorMisconfigured, "does not serve this installation"),
    ],
)
async def test_whose_business_a_refusal_is(
    status: int, code: int, error: type[VendorError], words: str
) -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        server.refused[HANDSET] = (status, code)
        with pytest.raises(error, match=words) as caught:
            await vendor.send(text())
        assert caught.value.code == str(code)


async def test_the_texts_of_the_day_are_spent() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        server.refused[HANDSET] = (429, 63038)
        with pytest.raises(VendorBusy) as caught:
            await vendor.send(text())
        assert (caught.value.retry_after, caught.value.code) == (900, "63038")


async def test_a_sender_that_is_not_ours() -> None:
    async with account() as (_, vendor):
        with pytest.raises(VendorRefused, match="21606"):
            await vendor.send(text())


async def test_a_text_of_media_alone_has_no_body() -> None:
    async with account() as (server, vendor):
        await buy(server, vendor)
        await vendor.send(text("", media=("https://example.com/1.png",)))
        assert "Body" not in dict(server.requests[-1].form)


# the account


async def test_check_says_what_was_found() -> None:
    async with account() as (server, vendor):
        said = await vendor.check()
        assert "'Example Ltd.' is active" in said
        assert "trunk 'edge' leads to sip:edge.example.com:5060" in said
        assert "old.example.com" not in said
        server.origination.pop(0)
        with pytest.raises(VendorMisconfigured, match="no origination URI"):
            await vendor.check()
        server.account_status = "suspended"
        with pytest.raises(VendorMisconfigured, match="suspended"):
            await vendor.check()


@pytest.mark.parametrize(
    ("sid", "token", "trunk", "words"),
    [
        ("", "wrong", "", "does not serve"),
        ("SK1", "", "", "no account SID"),
        ("", "", "edge", "no trunk SID"),
        ("", "", "TK" + "0" * 32, "not found"),
    ],
    ids=["token", "account", "trunk's form", "unknown trunk"],
)
async def test_check_with_wrong_settings(sid: str, token: str, trunk: str, words: str) -> None:
    async with account() as (server, _):
        wrong = Twilio(
            sid or server.account_sid,
            token or server.auth_token,
            trunk_sid=trunk,
            hook_url=HOOK_URL,
            base_url=server.url,
        )
        with pytest.raises(VendorError, match=words) as caught:
            await wrong.check()
        assert server.auth_token not in str(caught.value)
        await wrong.close()


async def test_without_a_trunk_numbers_carry_texts_only() -> None:
    async with account() as (server, _):
        vendor = Twilio(server.account_sid, server.auth_token, hook_url=HOOK_URL, base_url=server.url)
        order = await vendor.buy(purchase())
        assert server.numbers[order.number_reference]["trunk_sid"] is None
        assert "texts only" in await vendor.check()
        await vendor.close()


@pytest.mark.parametrize(
    ("hook_url", "good"),
    [
        ("https://api.example.com/hooks/twilio", True),
        ("https://93.184.216.34/hooks/twilio", True),
        ("http://127.0.0.1:8080/hooks/twilio", False),
        ("http://localhost:8080/hooks/twilio", False),
        ("http://10.0.0.1/hooks/twilio", False),
        ("http://ringline.internal/hooks/twilio", False),
    ],
)
async def test_the_real_twilio_has_to_reach_us(
    hook_url: str, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with account() as (server, _):
        vendor = Twilio(server.account_sid, server.auth_token, hook_url=hook_url)
        # to the local one, without the setting that says so
        monkeypatch.setattr(vendor._client, "_base", server.url)
        if good:
            await vendor.check()
        else:
            with pytest.raises(VendorMisconfigured, match="RINGLINE_PUBLIC_URL"):
                await vendor.check()
        await vendor.close()


async def test_nobody_there() -> None:
    async with account() as (server, vendor):
        await server.close()
        for ask in (vendor.buy(purchase()), vendor.search(Search("US", "local")), vendor.send(text())):
            with pytest.raises(VendorUnavailable):
                await ask


# media


async def test_media_of_a_text_are_fetched_with_credentials_that_storage_does_not_see() -> None:
    async with account() as (server, vendor):
        server.media["ME1"] = ("image/png", b"\x89PNG" + b"x" * 100_000)
        url = f"https://api.twilio.com/2010-04-01/Accounts/{server.account_sid}/Messages/MM1/Media/ME1"
        assert await vendor.fetch_media(url, 200_000) == server.media["ME1"]
        assert server.media_seen == [""]
        with pytest.raises(VendorRefused, match="larger than 1000"):
            await vendor.fetch_media(url, 1000)
        with pytest.raises(VendorUnknown):
            await vendor.fetch_media(url.replace("ME1", "ME2"), 1000)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/2010-04-01/Accounts/{sid}/Messages/MM1/Media/ME1",
        "http://api.twilio.com/2010-04-01/Accounts/{sid}/Messages/MM1/Media/ME1",
        "https://api.twilio.com@evil.example/2010-04-01/Accounts/{sid}/x",
        "https://api.twilio.com/2010-04-01/Accounts/{sid}/../../x",
        "https://api.twilio.com/2010-04-01/Accounts/AC0/Messages/MM1/Media/ME1",
    ],
)
async def test_credentials_go_to_twilio_only(url: str) -> None:
    async with account() as (server, vendor):
        with pytest.raises(VendorRefused, match="not twilio's"):
            await vendor.fetch_media(url.format(sid=server.account_sid), 1000)
        assert not server.requests


@pytest.mark.parametrize("to", ["http://127.0.0.1:1/x", "ftp://example.com/x"])
async def test_storage_without_tls_is_not_asked(to: str) -> None:
    async with account() as (server, vendor):
        server.media["ME1"], server.media_to = ("image/png", b"x"), to
        url = f"https://api.twilio.com/2010-04-01/Accounts/{server.account_sid}/Messages/MM1/Media/ME1"
        with pytest.raises(VendorRefused, match="without TLS"):
            await vendor.fetch_media(url, 1000)
