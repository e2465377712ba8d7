"""Phones register and are authenticated, and calls find them: what is on the wire at a Kamailio of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import unquote_plus

import pytest

from ringline.extensions.seed import ha1
from tests.stack import edge as edges
from tests.stack.conftest import Api
from tests.stack.containers import Containers
from tests.stack.edge import Edge, asterisk_headers
from tests.stack.product import eventually
from tests.stack.registering import Account, Line, StreamPhone, add_extension, add_trunk
from tests.stack.sip import SDP, Behaviour, Dialog, Message, Phone, dialog, reply, silent
from tests.stack.stalls import Stalls

PRIVATE = "10.1.2.3"


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str]) -> AsyncIterator[Edge]:
    running = await edges.start(env, RINGLINE_NAT_KEEPALIVE_SECONDS="1")
    try:
        yield running
    finally:
        await edges.stop(running, env)


@pytest.fixture(scope="module")
async def account(edge: Edge) -> Account:
    return await extension(edge, "alice")


async def extension(edge: Edge, user: str, label: str = "one", digest_realm: str = "") -> Account:
    made = await add_extension(
        edge.database, user, label=label, sip_domain=edge.domain, digest_realm=digest_realm
    )
    await edge.rpc.reload_accounts()
    return made


async def line(edge: Edge, account: Account, behaviour: Behaviour | None = None, contact: str = "") -> Line:
    return Line(await edge.phone(behaviour), account, edge.port, contact=contact)


async def registered(edge: Edge, user: str, behaviour: Behaviour | None = None, contact: str = "") -> Line:
    """A telephone with a new extension that is registered."""
    made = await line(edge, await extension(edge, user), behaviour, contact)
    assert (await made.register()).status == 200
    return made


def call(edge: Edge, account: Account, *extra: str) -> Dialog:
    """Have Asterisk call an extension."""
    uri = f"sip:{account.user}@{account.domain}"
    return edge.call("", *extra, uri=uri, customer=str(account.customer_id))


async def refused_within(edge: Edge, account: Account) -> float:
    """Seconds until a call to an extension is refused, for want of a phone; a machine that stands still adds none."""
    async with Stalls() as stalls:
        began = stalls.now()
        begun = call(edge, account)
        answer = await edge.asterisk.final(begun.call_id, within=40)
        passed = stalls.now() - began
    assert answer.status == 480, answer.raw
    return passed


def ring(phone: Phone, request: Message) -> None:
    """A telephone that rings until it is told to stop."""
    if request.method == "INVITE":
        phone.answer(request, 180)
    elif request.method == "CANCEL":
        phone.answer(request, 200)
        phone.answer(phone.requests("INVITE", request.one("call-id"))[0], 487)


# --- registering -----------------------------------------------------------------------------------------------


async def test_a_phone_registers_is_called_and_leaves(edge: Edge, account: Account) -> None:
    alice = await line(edge, account, reply(200, after=(180,)))
    answer = await alice.register()
    assert answer.status == 200, answer.raw
    assert "expires=600" in answer.one("contact")
    begun = call(edge, account, *asterisk_headers(), "X-Ringline-Number: 1")
    answer = await edge.asterisk.final(begun.call_id)
    assert answer.status == 200
    edge.acknowledge(begun, answer)
    await alice.phone.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    await alice.phone.request("BYE", begun.call_id)
    assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200
    invite = await alice.phone.request("INVITE", begun.call_id)
    assert "x-ringline" not in invite.raw.lower()
    assert invite.one("p-asserted-identity") == f"<sip:+15551234567@{edge.domain}>"
    assert (await alice.register(expires=0)).status == 200
    begun = call(edge, account)
    assert (await edge.asterisk.final(begun.call_id)).status == 480


async def test_wrong_passwords_and_unknown_users_are_answered_alike(edge: Edge, account: Account) -> None:
    answers = []
    before = await edge.counters()
    for guess in (replace(account, password="wrong"), replace(account, user="nobody")):
        guesser = await line(edge, guess)
        first = await guesser.send_register(guesser.register_text())
        guesser.credentials.challenged(first)
        second = await guesser.send_register(guesser.register_text(authorization=guesser.authorization()))
        answers.append([first, second])
    shapes = [
        [(answer.status, answer.start, [name for name, _ in answer.fields]) for answer in pair]
        for pair in answers
    ]
    assert shapes[0] == shapes[1]
    assert [answer.status for answer in answers[0]] == [401, 401]
    after = await edge.counters()
    assert after["auth_failed"] == before["auth_failed"] + 2


async def test_only_the_realms_of_customers_are_answered(edge: Edge, account: Account) -> None:
    stranger = await line(edge, replace(account, domain=f"other.{edge.domain}"))
    stranger.phone.send(stranger.register_text(), edge.port)
    begun = dialog(stranger.phone, f"sip:+15551234567@{edge.domain}", f"<sip:alice@other.{edge.domain}>")
    stranger.phone.send(begun.text("INVITE", body=SDP), edge.port)
    await asyncio.sleep(0.5)
    assert stranger.phone.received == []


async def test_an_overheard_answer_is_worth_nothing(edge: Edge, account: Account) -> None:
    """A nonce is good once, and for the address that it was given to."""
    alice = await line(edge, account)
    assert (await alice.register()).status == 200
    for again in (alice.authorization(count=1), alice.authorization()):
        answer = await alice.send_register(alice.register_text(authorization=again))
        assert (answer.status, "stale=true" in answer.one("www-authenticate")) == (401, True)

    alice.credentials.challenged(answer)
    thief = Line(await Phone.open(host="127.0.0.9"), account, edge.port)
    edge.phones.append(thief.phone)
    thief.credentials = alice.credentials
    answer = await thief.send_register(thief.register_text(authorization=alice.authorization()))
    assert answer.status == 401
    assert (await alice.register(expires=0)).status == 200


async def test_nobody_registers_for_somebody_else(edge: Edge, account: Account) -> None:
    bob = await line(edge, await extension(edge, "bob"))
    assert (await bob.register()).status == 200
    bob.credentials.challenged(await bob.send_register(bob.register_text()))
    text = bob.register_text(authorization=bob.authorization())
    answer = await bob.send_register(text.replace("To: <sip:bob@", "To: <sip:alice@"))
    assert answer.status == 403
    await extension(edge, "bob", label="two")
    text = bob.register_text(authorization=bob.authorization())
    answer = await bob.send_register(text.replace("@one.", "@two."))
    assert answer.status == 401, "another customer's realm asks for its own secret"


async def test_a_new_password_is_in_force_at_once(edge: Edge) -> None:
    carol = await registered(edge, "carol")
    async with edge.database.begin() as connection:
        await connection.exec_driver_sql(
            f"UPDATE extensions SET ha1 = '{ha1('carol', carol.account.realm, 'new')}'"
            f" WHERE id = '{carol.account.id}'"
        )
    assert (await carol.register()).status == 401
    renewed = await line(edge, replace(carol.account, password="new"))
    assert (await renewed.register()).status == 200


async def test_a_customer_with_a_new_label_keeps_the_secrets_of_the_old_one(edge: Edge) -> None:
    dave = await line(edge, await extension(edge, "dave", "renamed", f"old.{edge.domain}"), reply(486))
    assert (await dave.register()).status == 200
    assert dave.credentials.realm == f"old.{edge.domain}"
    begun = call(edge, dave.account)
    assert (await edge.asterisk.final(begun.call_id)).status == 486


async def test_times_are_bounded_and_a_star_removes_all(edge: Edge) -> None:
    eve = await registered(edge, "eve")
    answer = await eve.register(expires=10)
    assert (answer.status, answer.one("min-expires")) == (423, "60")
    assert "expires=7200" in (await eve.register(expires=999999)).one("contact")
    assert "expires=3600" in (await eve.register(expires=None)).one("contact")
    assert (await eve.register(contact="*", expires=0)).status == 200
    begun = call(edge, eve.account)
    assert (await edge.asterisk.final(begun.call_id)).status == 480


async def test_an_extension_has_ten_contacts(edge: Edge) -> None:
    many = await registered(edge, "many")
    for place in range(1, 10):
        assert (await many.register(contact=f"<sip:many@127.0.0.1:{20000 + place}>")).status == 200
    assert (await many.register(contact="<sip:many@127.0.0.1:30000>")).status == 503
    assert (await many.register()).status == 200, "one that is known is refreshed"


async def test_a_binding_that_ran_out_is_not_called(edge: Edge, account: Account) -> None:
    phone = await edge.phone(reply(200))
    record = f"{account.user}@{account.domain}"
    contact = f"sip:alice@127.0.0.1:{phone.address[1]}"
    await edge.rpc.call("ul.rm", "location", record)
    await edge.rpc.call("ul.add", "location", record, contact, 1, "1.0", "0", 0, 16, 0)
    await asyncio.sleep(2.1)
    assert await refused_within(edge, account) < 1.0
    assert phone.received == []


# --- being called ----------------------------------------------------------------------------------------------


async def test_all_phones_ring_and_the_others_hear_that_it_was_answered_elsewhere(edge: Edge) -> None:
    account = await extension(edge, "family")
    lines = [await line(edge, account, ring) for _ in range(3)]
    for one in lines:
        assert (await one.register()).status == 200
    begun = call(edge, account)
    invites = [await one.phone.request("INVITE", begun.call_id) for one in lines]

    async def all_ring() -> bool:
        heard = edge.asterisk.received
        return len([m for m in heard if m.status == 180 and m.one("call-id") == begun.call_id]) == len(lines)

    # one whose 180 comes after the 200 is cancelled with the cause alone
    await eventually(all_ring, "all of them ring")
    lines[1].phone.answer(invites[1], 200, body=SDP)
    answer = await edge.asterisk.final(begun.call_id)
    assert answer.status == 200
    edge.acknowledge(begun, answer)
    for one in (lines[0], lines[2]):
        cancel = await one.phone.request("CANCEL", begun.call_id)
        assert cancel.one("reason") == 'SIP;cause=200;text="Call completed elsewhere"'
    assert lines[1].phone.requests("CANCEL") == []


async def test_a_busy_phone_does_not_silence_the_others_and_the_best_answer_is_given(edge: Edge) -> None:
    account = await extension(edge, "shared")
    busy, gone = await line(edge, account, reply(486)), await line(edge, account, silent)
    for one in (busy, gone):
        assert (await one.register()).status == 200
    begun = call(edge, account)
    answer = await edge.asterisk.final(begun.call_id, within=30)
    assert answer.status == 486


async def test_a_phone_that_vanished_holds_the_call_for_seconds_only(edge: Edge) -> None:
    lost = await registered(edge, "lost", silent)
    assert await refused_within(edge, lost.account) < 6


async def test_a_phone_does_not_send_a_call_elsewhere(edge: Edge) -> None:
    def redirect(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(request, 302, "Moved", "Contact: <sip:+19005551234@127.0.0.1:9>")

    mover = await registered(edge, "mover", redirect)
    begun = call(edge, mover.account)
    assert (await edge.asterisk.final(begun.call_id)).status == 480


async def test_browsers_and_other_phones_are_called_apart(edge: Edge, account: Account) -> None:
    desk = await registered(edge, "desk", reply(486))
    begun = call(edge, desk.account, "X-Ringline-Media: webrtc")
    assert (await edge.asterisk.final(begun.call_id)).status == 480
    begun = call(edge, desk.account, "X-Ringline-Media: srtp")
    assert (await edge.asterisk.final(begun.call_id)).status == 486


async def test_who_wants_to_be_anonymous_is_it_to_phones_too(edge: Edge) -> None:
    frank = await registered(edge, "frank", reply(486))
    begun = call(edge, frank.account, *asterisk_headers(anonymous=True))
    await edge.asterisk.final(begun.call_id)
    invite = await frank.phone.request("INVITE", begun.call_id)
    assert invite.all("p-asserted-identity") == []
    assert invite.all("privacy") == ["id"]


# --- behind a NAT ----------------------------------------------------------------------------------------------


async def test_a_phone_behind_a_nat_is_reached_where_it_came_from(edge: Edge) -> None:
    inner = f"<sip:nat@{PRIVATE}:5060>"
    away = SDP.replace("127.0.0.1", PRIVATE)

    def behave(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            phone.answer(
                request,
                200,
                "OK",
                f"Contact: {inner}",
                "X-Ringline-Call: 1",
                "P-Asserted-Identity: <sip:a@b>",
                body=away,
            )
        elif request.method == "BYE":
            phone.answer(request, 200)

    nat = await registered(edge, "nat", behave, contact=inner)
    begun = call(edge, nat.account)
    answer = await edge.asterisk.final(begun.call_id)
    assert "c=IN IP4 127.0.0.1" in answer.body
    assert PRIVATE not in answer.body.partition("c=")[2]
    assert answer.all("p-asserted-identity") == []
    assert "x-ringline" not in answer.raw.lower()
    edge.acknowledge(begun, answer)
    ack = await nat.phone.request("ACK", begun.call_id)
    assert ack.uri == f"sip:nat@{PRIVATE}:5060"
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    assert (await nat.phone.request("BYE", begun.call_id)).uri == f"sip:nat@{PRIVATE}:5060"
    assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200


@pytest.mark.parametrize("forged", [";alias=127.0.0.1~{port}~1", "; ALIAS=127.0.0.1~{port}~1"])
async def test_a_phones_words_lead_no_request_elsewhere(edge: Edge, forged: str) -> None:
    """Neither a Contact, nor an alias, nor a route of a phone's own making."""
    victim = await edge.phone()
    port = victim.address[1]

    def behave(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            routes = [f"Record-Route: <sip:127.0.0.1:{port};lr>"]
            own = f"Contact: <sip:x@{phone.address[0]}:{phone.address[1]}{forged.format(port=port)}>"
            phone.answer(request, 200, "OK", *routes, own, body=SDP)

    name = f"mallory{len(forged)}"
    mallory = await registered(edge, name, behave, contact=f"<sip:{name}@127.0.0.1:{port}>")
    begun = call(edge, mallory.account)
    answer = await edge.asterisk.final(begun.call_id)
    edge.acknowledge(begun, answer)
    begun.next()
    begun.uri = f"sip:x@127.0.0.1:{mallory.phone.address[1]}"
    edge.asterisk.send(begun.text("BYE"), edge.port)
    await asyncio.sleep(0.5)
    assert victim.received == []


async def test_a_phone_over_tcp_is_reached_over_its_connection_and_away_without_it(edge: Edge) -> None:
    phone = await StreamPhone.connect(edge.port, reply(486))
    edge.phones.append(phone)
    grace = Line(
        phone, await extension(edge, "grace"), edge.port, contact=f"<sip:grace@{PRIVATE};transport=tcp>"
    )
    assert (await grace.register()).status == 200
    begun = call(edge, grace.account)
    assert (await edge.asterisk.final(begun.call_id)).status == 486
    phone.close()
    await asyncio.sleep(0.5)
    assert await refused_within(edge, grace.account) < 1.5


# --- dialling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_phone_dials(edge: Edge, account: Account, tcp: bool) -> None:
    alice = await line(edge, account)
    if tcp:
        alice = Line(await StreamPhone.connect(edge.port), account, edge.port)
        edge.phones.append(alice.phone)
    begun = await alice.invite(
        "0301234567",
        "P-Asserted-Identity: <sip:+15550000000@x>",
        "Remote-Party-ID: <sip:+15550000000@x>",
        "Diversion: <sip:+15550000000@x>",
        "Privacy: id",
        "X-Ringline-Arrival: provider,x",
        body=SDP.replace("127.0.0.1", PRIVATE),
    )
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert invite.uri == f"sip:0301234567@{edge.domain}"
    parts = [unquote_plus(part) for part in invite.one("x-ringline-arrival").split(",")]
    assert parts == ["extension", str(account.id), invite.one("from"), "", "id"]
    for name in ("p-asserted-identity", "remote-party-id", "diversion", "proxy-authorization"):
        assert invite.all(name) == []
    assert "c=IN IP4 127.0.0.1" in invite.body
    edge.asterisk.answer(invite, 200, body=SDP)
    answer = await alice.phone.final(begun.call_id)
    assert answer.status == 200
    edge.acknowledge(begun, answer)
    await edge.asterisk.request("ACK", begun.call_id)
    for method in ("INFO", "UPDATE", "BYE"):
        begun.next()
        alice.phone.send(begun.text(method), edge.port)
        edge.asterisk.answer(await edge.asterisk.request(method, begun.call_id), 200)
        assert (await alice.phone.final(begun.call_id, method)).status == 200


async def test_asterisk_speaks_to_the_phone_that_called(edge: Edge, account: Account) -> None:
    alice = await line(edge, account, reply(200))
    begun = await alice.invite("+15559876543")
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    edge.asterisk.answer(invite, 200, body=SDP)
    answer = await alice.phone.final(begun.call_id)
    edge.acknowledge(begun, answer)
    contact = invite.one("contact").partition("<")[2].partition(">")[0]
    back = Dialog(
        edge.asterisk,
        begun.call_id,
        uri=contact,
        from_=answer.one("to"),
        to=invite.one("from"),
        branch="z9hG4bKback",
        routes=tuple(invite.all("record-route")),
        cseq=7,
    )
    for method in ("INFO", "BYE"):
        edge.asterisk.send(back.text(method), edge.port)
        assert (await alice.phone.request(method, begun.call_id)).uri.partition(";")[0] == contact.partition(
            ";"
        )[0]
        assert (await edge.asterisk.final(begun.call_id, method)).status == 200
        back.next()


async def test_a_phone_calls_its_own_realm_and_the_installation_and_nobody_else(
    edge: Edge, account: Account
) -> None:
    alice = await line(edge, account)
    begun = await alice.invite("100", host=edge.domain)
    edge.asterisk.answer(await edge.asterisk.request("INVITE", begun.call_id), 486)
    assert (await alice.phone.final(begun.call_id)).status == 486
    for host in ("example.org", f"two.{edge.domain}", "127.0.0.1"):
        begun = await alice.invite("100", host=host)
        assert (await alice.phone.final(begun.call_id)).status == 404, host
        assert edge.asterisk.requests("INVITE", begun.call_id) == []


@pytest.mark.parametrize("method", ["MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER"])
async def test_phones_call_and_nothing_else(edge: Edge, account: Account, method: str) -> None:
    alice = await line(edge, account)
    alice.credentials.challenged(await alice.send_register(alice.register_text()))
    begun = dialog(alice.phone, f"sip:bob@{account.domain}", f"<sip:alice@{account.domain}>")
    header = alice.credentials.header(method, begun.uri, "Proxy-Authorization")
    alice.phone.send(begun.text(method, header), edge.port)
    assert (await alice.phone.final(begun.call_id, method)).status == 405


async def test_a_trunk_is_known_by_address_or_password(edge: Edge, account: Account) -> None:
    by_address = await add_trunk(
        edge.database, "office", account.customer_id, sip_domain=edge.domain, address="127.0.0.11"
    )
    by_password = await add_trunk(
        edge.database, "branch", account.customer_id, sip_domain=edge.domain, password="secret"
    )
    await edge.rpc.reload_accounts()
    phone = await Phone.open(host="127.0.0.11")
    edge.phones.append(phone)
    begun = dialog(phone, f"sip:+15559876543@{by_address.domain}", "<sip:+4930123@pbx.example.org>")
    phone.send(begun.text("INVITE", body=SDP), edge.port)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert invite.one("x-ringline-arrival").split(",")[:2] == ["trunk", str(by_address.id)]
    edge.asterisk.answer(invite, 486)
    assert (await phone.final(begun.call_id)).status == 486

    branch = await line(edge, by_password)
    begun = await branch.invite("+15559876543", host=edge.domain)
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    assert invite.one("x-ringline-arrival").split(",")[:2] == ["trunk", str(by_password.id)]
    assert (await branch.register()).status == 403, "telephone systems do not register"

    elsewhere = await edge.phone()
    begun = dialog(elsewhere, f"sip:+15559876543@{by_address.domain}", "<sip:a@b>")
    elsewhere.send(begun.text("INVITE", body=SDP), edge.port)
    await asyncio.sleep(0.3)
    assert elsewhere.received == []


# --- outages ---------------------------------------------------------------------------------------------------


async def test_without_the_database_phones_are_told_to_wait_and_calls_still_reach_them(edge: Edge) -> None:
    heidi = await registered(edge, "heidi", reply(486))
    before = await edge.counters()
    async with no_database(edge):
        answer = await heidi.register()
        assert (answer.status, answer.one("retry-after")) == (503, "10")
        begun = call(edge, heidi.account)
        assert (await edge.asterisk.final(begun.call_id)).status == 486
    assert (await edge.counters())["auth_failed"] == before["auth_failed"]
    assert (await heidi.register()).status == 200


async def test_a_database_that_says_nothing_holds_nobody_for_long(
    edge: Edge, containers: Containers, api: Api
) -> None:
    """Neither the phones, which are told to come back, nor those who need no database."""
    ivan = await registered(edge, "ivan", reply(486))
    others = [await line(edge, ivan.account) for _ in range(10)]
    for other in others:
        other.credentials.challenged(await other.send_register(other.register_text()))
    async with containers.frozen("postgres"), Stalls() as stalls:
        began = stalls.now()
        texts = [other.register_text(authorization=other.authorization()) for other in others]
        sent = [
            asyncio.create_task(o.send_register(t, within=60)) for o, t in zip(others, texts, strict=True)
        ]
        answers = await asyncio.gather(*sent)
        assert {answer.status for answer in answers} == {503}
        assert stalls.now() - began < 12
        began = stalls.now()
        begun = await ivan.invite("*43")
        assert (await ivan.phone.final(begun.call_id)).status == 503
        begun = call(edge, ivan.account)
        assert (await edge.asterisk.final(begun.call_id)).status == 486
        assert stalls.now() - began < 3

    async def back() -> bool:
        return (await ivan.register()).status == 200

    await eventually(back, "phones register again", within=60, every=0.5)

    async def ready() -> bool:
        return (await api.call("GET", "/readyz"))[0] == 200

    await eventually(ready, "the instance, whose database it is, is ready", within=60, every=0.5)


async def test_a_restart_forgets_nobody(edge: Edge) -> None:
    judy = await registered(edge, "judy", reply(486), contact=f"<sip:judy@{PRIVATE}>")
    process = await asyncio.create_subprocess_exec(
        "docker", "restart", "--time", "5", edge.container, stdout=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    async with asyncio.timeout(60):
        while True:
            begun = call(edge, judy.account)
            try:
                answer = await edge.asterisk.final(begun.call_id, within=2)
                break
            except TimeoutError:
                continue
    assert answer.status == 486
    assert (await judy.register()).status == 200, "its password is known as before"


async def test_the_way_to_a_phone_behind_a_nat_is_kept_open(edge: Edge) -> None:
    behind = await registered(edge, "behind", contact=f"<sip:behind@{PRIVATE}:5060>")
    beside = await registered(edge, "beside")
    ping = await behind.phone.wait(lambda m: m.method == "OPTIONS", within=30)
    assert ping.uri == f"sip:behind@{PRIVATE}:5060"
    assert beside.phone.requests("OPTIONS") == []


@asynccontextmanager
async def no_database(edge: Edge) -> AsyncIterator[None]:
    """Kamailio has no connection to PostgreSQL and gets none."""
    async with edge.database.begin() as connection:
        await connection.exec_driver_sql(f'ALTER DATABASE "{edge.container}" CONNECTION LIMIT 0')
    async with edge.database.connect() as connection:
        await connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'kamailio'"
            f" AND datname = '{edge.container}'"
        )
    try:
        yield
    finally:
        async with edge.database.begin() as connection:
            await connection.exec_driver_sql(f'ALTER DATABASE "{edge.container}" CONNECTION LIMIT -1')
