"""Who calls, as it is on the wire between Kamailio and the carrier: shown where it is to be shown, nowhere else."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping

import pytest

from tests.stack.product import DEFAULT_SOURCE, SOURCE, Json, Product, eventually, number, sleep
from tests.stack.sip import Message
from tests.stack.wire import Wire, listen

ZERO = "00000000-0000-0000-0000-000000000000"
NAME = "Ringline Test Ltd"


@pytest.fixture(scope="module")
async def wire(env: Mapping[str, str]) -> AsyncIterator[Wire]:
    """Everything the carrier's SIP port sends and receives."""
    async with listen(env, int(env["RINGLINE_CARRIER_SIP_PORT"])) as wire:
        yield wire


@pytest.fixture(scope="module")
async def default_number(product: Product) -> AsyncIterator[str]:
    """The customer's default outgoing number for as long as the test lasts. Its id."""
    page = await product.api.get("/v1.0/numbers", number=DEFAULT_SOURCE)
    (row,) = page["result"]
    await _set_default(product, row["id"])
    yield row["id"]
    await _set_default(product, ZERO)


async def _set_default(product: Product, number_id: str) -> None:
    status, answer = await product.api.call(
        "PUT", "/v1.0/customer", {"default_outgoing_source_number_id": number_id}
    )
    assert (status, answer["default_outgoing_source_number_id"]) == (200, number_id)


async def dialog(product: Product, wire: Wire, to: str, **fields: object) -> tuple[Json, Json, list[Message]]:
    """Place a call that is answered and ended. Its record, the carrier's line, and what Kamailio sent of it."""
    call = await product.place(to, sleep(0.5), **fields)
    record = await product.ended(call)
    line = await product.line(to)
    await wire.wait(to, lambda message: message.method == "BYE" and message.status == 200)
    carrier = int(product.env["RINGLINE_CARRIER_SIP_PORT"])
    sent = [packet.message for packet in wire.dialog(to) if packet.target == carrier]
    assert {message.method for message in sent} == {"INVITE", "ACK", "BYE"}
    return record, line, sent


def headers_with(text: str, messages: list[Message]) -> set[str]:
    """The names of the headers (``start`` and ``body`` too) that hold ``text`` in any of these messages."""
    found = set()
    for message in messages:
        places = [*message.fields, ("start", message.start), ("body", message.body)]
        found |= {name for name, value in places if text in value}
    return found


def bare(number: str) -> str:
    """A number as it would be recognised however it is spelt."""
    return number.removeprefix("+1")


async def test_anonymous_yes_hides_the_number_everywhere_but_in_the_asserted_identity(
    product: Product, wire: Wire
) -> None:
    to = number()
    source = {"type": "tel", "target": SOURCE, "target_name": NAME, "name": NAME}
    record, line, sent = await dialog(product, wire, to, anonymous="yes", source=source)
    domain = product.env["RINGLINE_SIP_DOMAIN"]

    assert (line["from_display"], line["from_uri"]) == ("Anonymous", "sip:anonymous@anonymous.invalid")
    assert line["privacy"] == "id"
    assert re.fullmatch(
        rf'("[^"]*" ?)?<sip:{re.escape(SOURCE)}@{re.escape(domain)}>', line["p_asserted_identity"]
    )

    invite = sent[0]
    assert invite.all("privacy") == ["id"]
    assert re.match(r'"Anonymous" <sip:anonymous@anonymous\.invalid>;tag=', invite.one("from"))
    assert len(invite.all("from")) == len(invite.all("p-asserted-identity")) == 1
    assert headers_with(bare(SOURCE), sent) == {"p-asserted-identity"}
    assert headers_with("Ringline Test", sent) == set(), (
        "the caller's name is no less private than the number"
    )
    for message in sent:
        assert re.match(r'"Anonymous" <sip:anonymous@anonymous\.invalid>;tag=', message.one("from"))
    assert (record["anonymous"], record["source"]["target"]) == (True, SOURCE)


@pytest.mark.parametrize("anonymous", ["no", "auto", None])
async def test_the_number_is_shown_otherwise(product: Product, wire: Wire, anonymous: str | None) -> None:
    to = number()
    fields = {} if anonymous is None else {"anonymous": anonymous}
    record, line, sent = await dialog(product, wire, to, **fields)
    domain = product.env["RINGLINE_SIP_DOMAIN"]
    assert line["from_uri"] == f"sip:{SOURCE}@{domain}"
    assert line["privacy"] == ""
    assert f"<sip:{SOURCE}@{domain}>" in line["p_asserted_identity"]
    assert sent[0].all("privacy") == []
    assert record["anonymous"] is False


async def test_nothing_internal_leaves_for_the_carrier(product: Product, wire: Wire) -> None:
    to = number()
    _, _, sent = await dialog(product, wire, to, anonymous="yes")
    customer = str(await product.customer_id())
    for message in sent:
        names = {name for name, _ in message.fields}
        assert not {name for name in names if name.startswith("x-")}, names
        assert names.isdisjoint({"remote-party-id", "p-preferred-identity", "diversion", "history-info"})
        assert customer not in message.raw
        assert "asterisk" not in message.one("user-agent").lower(), (
            "which media server this is, is nobody's business"
        )


async def test_a_display_name_is_shown_only_by_who_shows_the_number(product: Product, wire: Wire) -> None:
    to = number()
    source = {"type": "tel", "target": SOURCE, "target_name": NAME}
    _, line, _ = await dialog(product, wire, to, source=source, anonymous="no")
    assert line["from_display"] == NAME


async def test_no_leg_leaves_without_a_valid_source(product: Product) -> None:
    status, customer = await product.api.call("GET", "/v1.0/customer")
    assert (status, customer["default_outgoing_source_number_id"]) == (200, ZERO)
    virtual, foreign = "+899100000001", "+15550009999"
    pending = await product.store_number(None, status="purchase-pending")
    try:
        to = number()
        for source in (foreign, virtual, pending, ""):
            for anonymous in ("yes", "no"):
                status, answer = await product.api.call(
                    "POST",
                    "/v1.0/calls",
                    {
                        "source": {"type": "tel", "target": source},
                        "destinations": [{"type": "tel", "target": to}],
                        "actions": [sleep(1)],
                        "anonymous": anonymous,
                    },
                )
                assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT"), (source, answer)
                assert "source" in answer["error"]["message"]
        await asyncio.sleep(0.5)
        assert product.lines(to) == []
    finally:
        await product.drop_numbers(pending)


async def test_the_default_number_stands_in_for_an_invalid_source(
    product: Product, wire: Wire, default_number: str
) -> None:
    domain = product.env["RINGLINE_SIP_DOMAIN"]
    shown, hidden = number(), number()
    foreign = {"type": "tel", "target": "+15550009999"}

    async def substituted() -> tuple[Json, Json, list[Message]]:
        return await dialog(product, wire, shown, source=foreign)

    record, line, _ = await substituted()
    assert line["from_uri"] == f"sip:{DEFAULT_SOURCE}@{domain}"
    assert record["source"]["target"] == DEFAULT_SOURCE
    record, line, sent = await dialog(product, wire, hidden, source=foreign, anonymous="yes")
    assert (line["from_uri"], line["privacy"]) == ("sip:anonymous@anonymous.invalid", "id")
    assert f"<sip:{DEFAULT_SOURCE}@{domain}>" in line["p_asserted_identity"]
    assert headers_with(bare(DEFAULT_SOURCE), sent) == {"p-asserted-identity"}
    # a valid source of one's own is not replaced
    own = number()
    _, line, _ = await dialog(product, wire, own)
    assert line["from_uri"] == f"sip:{SOURCE}@{domain}"


async def test_an_anonymous_caller_is_recorded_as_such(product: Product) -> None:
    """Identity that arrives: a provider's asserted identity is believed, its Privacy honoured."""
    to = await product.store_number(await product.store_flow({"type": "answer"}, sleep(1)))
    caller = number()
    try:
        seen: set[str] = set()

        async def ring(*, anonymous: bool) -> Json:
            events = await product.dial_in(caller, to, seconds=3, anonymous=anonymous)
            assert events[-1]["answered"], events[-1]
            record = await product.incoming(to, known=seen)
            seen.add(record["id"])
            return record

        async def known() -> bool:
            return (await product.dial_in(caller, to, seconds=0.1))[-1]["answered"] is True

        await eventually(known, "the number is in service")
        seen.add((await product.incoming(to))["id"])
        for anonymous in (True, False):
            record = await ring(anonymous=anonymous)
            assert (record["anonymous"], record["source"]["target"]) == (anonymous, caller)
    finally:
        await product.drop_numbers(to)
