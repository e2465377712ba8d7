"""Strangers at a Kamailio of its own: what scans, guesses, floods and forged packets get, what they cost, and that
telephones go on working. Each test has addresses of its own: 127.0.0.1 is never banned.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from ringline.routing.bans import Ban, Bans
from tests.stack import edge as edges
from tests.stack.edge import Edge
from tests.stack.product import eventually
from tests.stack.registering import Account, Line, StreamPhone, add_extension
from tests.stack.sip import CRLF, SDP, Dialog, Message, Phone, dialog, reply
from tests.stack.stalls import Stalls

FAILURES, STRANGERS, SECONDS = 6, 12, 90
SILENCE = 0.7


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str]) -> AsyncIterator[Edge]:
    running = await edges.start(
        env,
        RINGLINE_BAN_FAILURES=str(FAILURES),
        RINGLINE_BAN_STRANGERS=str(STRANGERS),
        RINGLINE_BAN_SECONDS=str(SECONDS),
        RINGLINE_FLOOD_REQUESTS_PER_SECOND="100",
    )
    try:
        yield running
    finally:
        await edges.stop(running, env)


@pytest.fixture(scope="module")
async def account(edge: Edge) -> Account:
    made = await add_extension(edge.database, "alice", label="one", sip_domain=edge.domain)
    await edge.rpc.reload_accounts()
    return made


async def at(edge: Edge, host: str) -> Phone:
    phone = await Phone.open(0, reply(200), host)
    edge.phones.append(phone)
    return phone


async def line(edge: Edge, account: Account, host: str, password: str = "") -> Line:
    found = Line(await at(edge, host), account, edge.port)
    if password:
        found.credentials.password = password
    return found


def request(edge: Edge, phone: Phone, method: str, *extra: str, uri: str = "", body: str = "") -> Dialog:
    begun = dialog(phone, uri or f"sip:100@{edge.domain}", "<sip:100@stranger.test>")
    phone.send(begun.text(method, *extra, body=body), edge.port)
    return begun


async def bans(edge: Edge) -> dict[str, Ban]:
    return {ban.address: ban for ban in await Bans(edge.rpc).all()}


async def answers_of(phone: Phone) -> list[Message]:
    await asyncio.sleep(SILENCE)
    return phone.received


async def counted(edge: Edge, before: Mapping[str, int], **more: int) -> None:
    """Until so many more were counted, and no further ones: packets may wait where the machine is busy."""

    async def look() -> bool:
        now = await edge.counters()
        found = {name: now[name] - before[name] for name in more}
        assert found == more, found
        return True

    await eventually(look, f"counted {more}")


async def test_strangers_hear_nothing_whatever_they_say(edge: Edge) -> None:
    before = await edge.counters()
    phone = await at(edge, "127.0.0.90")
    forged = (
        "X-Ringline-Arrival: provider,x",
        "X-Ringline-Customer: 1",
        "P-Asserted-Identity: <sip:+1555@x>",
    )
    request(edge, phone, "INVITE", *forged, uri=f"sip:+15551234567@{edge.domain}", body=SDP)
    request(edge, phone, "INVITE", uri="sip:+15551234567@elsewhere.test", body=SDP)
    request(edge, phone, "OPTIONS")
    request(edge, phone, "OPTIONS", uri=f"sip:{edge.domain}")
    request(edge, phone, "REGISTER", uri="sip:elsewhere.test")
    request(edge, phone, "SUBSCRIBE")
    request(edge, phone, "BYE", "Route: <sip:127.0.0.1:5090;lr>")
    assert await answers_of(phone) == []
    await counted(edge, before, stranger=7)
    assert edge.asterisk.received == []
    assert phone.received == []


async def test_the_answer_does_not_tell_who_exists(edge: Edge, account: Account) -> None:
    texts = []
    for user in (account.user, "nobody"):
        somebody = Account(account.id, account.customer_id, user, account.domain, "wrong")
        phone = await line(edge, somebody, "127.0.0.89")
        first = await phone.send_register(phone.register_text())
        phone.credentials.challenged(first)
        second = await phone.send_register(
            phone.register_text(
                authorization=phone.credentials.header("REGISTER", f"sip:{account.domain}", "Authorization")
            )
        )
        texts.append([_shape(first), _shape(second)])
    assert texts[0] == texts[1]


def _shape(answer: Message) -> tuple[str, list[str]]:
    return answer.start, [name for name, _ in answer.fields]


async def test_persistent_strangers_are_banned_and_phones_at_their_address_are_not(
    edge: Edge, account: Account
) -> None:
    host = "127.0.0.92"
    alice = await line(edge, account, host)
    assert (await alice.register()).status == 200
    stranger = await at(edge, host)
    for _ in range(STRANGERS):
        request(edge, stranger, "OPTIONS")
    await eventually(lambda: _is_banned(edge, host), "the stranger is banned")
    ban = (await bans(edge))[host]
    assert (ban.reason, ban.proven) == ("stranger", False)
    before = await edge.counters()
    request(edge, stranger, "INVITE", uri=f"sip:+15551234567@{account.domain}", body=SDP)
    assert await answers_of(stranger) == []
    await counted(edge, before, banned=1)
    # whoever forges packets from a phone's address locks neither that phone out nor one that comes later
    assert (await alice.register()).status == 200
    begun = await alice.invite("0301234567")
    assert (await edge.asterisk.request("INVITE", begun.call_id)).method == "INVITE"
    assert (await (await line(edge, account, host)).register()).status == 200


async def _is_banned(edge: Edge, host: str) -> bool:
    return host in await bans(edge)


async def test_scanners_are_banned_by_their_name(edge: Edge, account: Account) -> None:
    host = "127.0.0.93"
    scanner = await at(edge, host)
    request(edge, scanner, "OPTIONS", "User-Agent: friendly-scanner")
    await eventually(lambda: _is_banned(edge, host), "the scanner is banned")
    ban = (await bans(edge))[host]
    assert (ban.reason, ban.proven) == ("scanner", False)
    assert scanner.received == []

    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port, local_addr=("127.0.0.94", 0))
    text = dialog(scanner, f"sip:100@{account.domain}").text("REGISTER", "User-Agent: VaxSIPUserAgent/3.1")
    writer.write(text.replace("/UDP", "/TCP").encode())
    assert await asyncio.wait_for(reader.read(), 30) == b"", "closed without a word"
    writer.close()
    await eventually(lambda: _is_banned(edge, "127.0.0.94"), "the scanner is banned")
    ban = (await bans(edge))["127.0.0.94"]
    assert (ban.reason, ban.proven) == ("scanner", True)


async def test_guesses_end_in_a_ban_that_grows(edge: Edge, account: Account) -> None:
    host = "127.0.0.95"
    before = await edge.counters()

    async def guess() -> float:
        guesser = await line(edge, account, host, "guess")
        for _ in range(FAILURES):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(guesser.credentials, "nonce", "")
                try:
                    assert (await asyncio.wait_for(guesser.register(), 3)).status == 401
                except TimeoutError:
                    break
        await eventually(lambda: _is_banned(edge, host), "the guesser is banned")
        ban = (await bans(edge))[host]
        assert (ban.reason, ban.proven) == ("password", True)
        return ban.until.timestamp() - time.time()

    first = await guess()
    await counted(edge, before, auth_failed=FAILURES)
    right = await line(edge, account, host)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(right.register(), SILENCE)
    other = await line(edge, account, "127.0.0.96")
    assert (await other.register()).status == 200
    await edge.rpc.reload_routes()
    assert host in await bans(edge), "a reload keeps bans"
    # it runs out; so soon here because the table is told so
    await edge.rpc.call("htable.delete", "banned", host)
    await edge.rpc.call("htable.delete", "failures", host)
    second = await guess()
    assert SECONDS - 10 < first <= SECONDS + 1
    assert second > SECONDS * 1.7


async def test_a_success_clears_the_count(edge: Edge, account: Account) -> None:
    host = "127.0.0.97"
    for _ in range(3):
        for password in ["guess"] * (FAILURES - 1) + [""]:
            phone = await line(edge, account, host, password)
            assert (await phone.register()).status == (401 if password else 200)
    assert host not in await bans(edge)


async def test_a_forged_answer_bans_nobody(edge: Edge, account: Account) -> None:
    """A nonce is good only for the address it was sent to: who forges another one proves nothing about it."""
    victim = "127.0.0.98"
    before = await edge.counters()
    attacker = await line(edge, account, "127.0.0.99", "guess")
    attacker.credentials.challenged(await attacker.send_register(attacker.register_text()))
    forger = await line(edge, account, victim, "guess")
    forger.credentials.nonce, forger.credentials.realm = (
        attacker.credentials.nonce,
        attacker.credentials.realm,
    )
    for _ in range(FAILURES * 2):
        answer = await forger.send_register(forger.register_text(authorization=forger.authorization()))
        assert answer.status == 401
    assert victim not in await bans(edge)
    assert (await edge.counters())["auth_failed"] == before["auth_failed"]
    assert (await (await line(edge, account, victim)).register()).status == 200


async def test_a_flood_costs_little_and_telephones_go_on(edge: Edge, account: Account) -> None:
    alice = await line(edge, account, "127.0.0.100")
    assert (await alice.register()).status == 200
    begun = await alice.invite("0301234567")
    invite = await edge.asterisk.request("INVITE", begun.call_id)
    edge.asterisk.answer(invite, 200, body=SDP)
    answer = await alice.phone.final(begun.call_id)
    edge.acknowledge(begun, answer)
    before, began = await _cpu(edge), time.monotonic()
    known, lost = await edge.counters(), _lost(edge)
    # from an address of its own, and with the address of the telephone forged
    floods = [asyncio.create_task(_flood(edge, host, 1000, 3.0)) for host in ("127.0.0.101", "127.0.0.100")]
    worst = 0.0
    async with Stalls() as stalls:
        while not all(flood.done() for flood in floods):
            asked = stalls.now()
            assert await _registered(alice) == 200
            worst = max(worst, stalls.now() - asked)
            await asyncio.sleep(0.1)
    sent = sum(flood.result() for flood in floods)
    spent = await _cpu(edge) - before
    seconds = time.monotonic() - began
    after = await edge.counters()
    dropped = sum(after[name] - known[name] for name in ("flood", "banned", "stranger"))
    # where Kamailio is held up, its socket is full and the system drops them
    dropped += _lost(edge) - lost
    begun.next()
    alice.phone.send(begun.text("BYE"), edge.port)
    edge.asterisk.answer(await edge.asterisk.request("BYE", begun.call_id), 200)
    assert (await alice.phone.final(begun.call_id, "BYE")).status == 200
    print(
        f"\nflood: {sent} packets in {seconds:.1f} s, {dropped} dropped; Kamailio {spent:.2f} s of CPU"
        f" ({1e6 * spent / sent:.0f} us each); slowest REGISTER {1000 * worst:.0f} ms"
    )
    assert sent > 1000
    assert dropped > 0.9 * sent
    found = await bans(edge)
    assert {found[host].proven for host in ("127.0.0.100", "127.0.0.101")} == {False}
    assert {found[host].reason for host in ("127.0.0.100", "127.0.0.101")} <= {"flood", "stranger"}
    assert worst < 2.0


async def _registered(line: Line) -> int:
    """As a telephone does it: what is not answered after half a second is sent again (RFC 3261's T1)."""
    for _ in range(20):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                return (await line.register()).status
    return 408


def _lost(edge: Edge) -> int:
    """Packets that did not fit into the buffers of Kamailio's sockets (proc(5), ``/proc/net/udp``)."""
    rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if int(row[1].partition(":")[2], 16) == edge.port)


async def _flood(edge: Edge, host: str, rate: int, seconds: float) -> int:
    phone = await at(edge, host)
    text = dialog(phone, f"sip:100@{edge.domain}").text("OPTIONS")
    began, sent = time.monotonic(), 0
    while (gone := time.monotonic() - began) < seconds:
        while sent < gone * rate:
            phone.send(text, edge.port)
            sent += 1
        await asyncio.sleep(0.01)
    return sent


async def _cpu(edge: Edge) -> float:
    """Seconds of CPU that the processes of this Kamailio have used."""
    top = await _run("docker", "top", edge.container, "-eo", "pid")
    ticks = 0
    for pid in top.split()[1:]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def _run(*command: str, env: Mapping[str, str] | None = None, within: float = 90.0) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=None if env is None else {**os.environ, **env},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), within)
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode(errors="replace")


async def test_what_is_too_large_or_no_sip_is_dropped(edge: Edge) -> None:
    before = await edge.counters()
    phone = await at(edge, "127.0.0.102")
    request(edge, phone, "OPTIONS", "X-Padding: " + "x" * 20_000)
    phone.send("INVITE nonsense" + CRLF * 2 + "x" * 100, edge.port)
    phone.send("INVITE sip:100@edge.test SIP/2.0" + CRLF + "Via: x" + CRLF * 2, edge.port)
    wrong = dialog(phone, f"sip:100@{edge.domain}").text("INVITE", body=SDP)
    phone.send(wrong.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"), edge.port)
    assert await answers_of(phone) == []
    await counted(edge, before, malformed=4)
    assert phone.received == []
    logged = await _run("docker", "logs", "--tail", "100", edge.container)
    assert "binary" not in logged


async def test_loops_end(edge: Edge) -> None:
    provider, _ = await edge.provider(reply(200))
    before = await edge.counters()
    ours = f"Via: SIP/2.0/UDP 127.0.0.1:{edge.port};branch=z9hG4bKab12"
    begun = edge.call("+15551234567", ours, caller=provider)
    assert (await provider.final(begun.call_id)).status == 482
    begun = edge.call("+15551234567", "Max-Forwards: 0", caller=provider)
    assert (await provider.final(begun.call_id)).status == 483
    stranger = await at(edge, "127.0.0.103")
    request(edge, stranger, "INVITE", ours, body=SDP)
    assert await answers_of(stranger) == []
    await counted(edge, before, loop=2)


@pytest.mark.parametrize(
    "contact",
    [
        "<http://127.0.0.1/>",
        "<tel:+15551234567>",
        "<sip:mallory@127.0.0.1:5080>, <ftp://x>",
        "http://127.0.0.1/",
        "<sip:b\u00fcro@127.0.0.1:5080>",
        f'<sip:mallory@127.0.0.1:5080>;+sip.instance="<urn:uuid:{"z" * 300}>"',
        '<sip:mallory@127.0.0.1:5080>;+sip.instance="<urn:b\u00fcro>"',
    ],
)
async def test_a_contact_that_cannot_be_called_is_refused_once_and_kept_nowhere(
    edge: Edge, account: Account, contact: str
) -> None:
    mallory = await add_extension(edge.database, f"m{uuid4().hex[:8]}", label="one", sip_domain=edge.domain)
    phone = await line(edge, mallory, "127.0.0.109")
    assert (await phone.register(contact=contact)).status == 400
    assert (await phone.register(contact="*", expires=60)).status == 400
    await asyncio.sleep(0.3)
    finals = [answer.status for answer in phone.phone.received if answer.status != 401]
    assert finals == [400, 400]
    answer = await phone.register(
        contact='"B\u00fcro, http:" <sip:+mallory@127.0.0.1;transport=udp;x=sip:y>;+sip.instance="<urn:x>"'
    )
    assert answer.status == 200
    assert len(answer.all("contact")) == 1, answer.raw


async def test_a_phone_whose_name_is_not_ascii_registers(edge: Edge, account: Account) -> None:
    own = await add_extension(edge.database, "umlaut", label="one", sip_domain=edge.domain)
    phone = await line(edge, own, "127.0.0.109")
    assert (await phone.register("User-Agent: B\u00fcro-Telefon 2")).status == 200
    async with edge.database.connect() as connection:
        kept = await connection.scalar(
            sa.text("SELECT user_agent FROM kamailio.location WHERE username = 'umlaut'")
        )
    assert kept == "B??ro-Telefon 2"


async def test_what_is_no_user_is_not_found_at_once(edge: Edge, account: Account) -> None:
    phone = await line(edge, account, "127.0.0.109")
    for user in ("${EXTEN}", "a|b", "x^y", "%zz"):
        begun = await phone.invite(user)
        async with Stalls() as stalls:
            began = stalls.now()
            assert (await phone.phone.final(begun.call_id)).status == 404
            assert stalls.now() - began < 2
        assert edge.asterisk.requests("INVITE", begun.call_id) == []


async def test_connections_of_one_address_leave_room_for_others(edge: Edge) -> None:
    loop = asyncio.get_running_loop()
    sockets = []
    try:
        for _ in range(600):
            sock = socket.socket()
            sockets.append(sock)
            sock.setblocking(False)
            sock.bind(("127.0.0.110", 0))
            await asyncio.wait_for(loop.sock_connect(sock, ("127.0.0.1", edge.port)), 30)
        await asyncio.sleep(SILENCE)
        # the system takes them before Kamailio closes those that are too many
        await eventually(
            lambda: 500 <= sum(_is_open(sock) for sock in sockets) <= 512, "not more than are allowed stay"
        )
        other = await StreamPhone.connect(edge.port)
        edge.phones.append(other)
        begun = dialog(other, f"sip:127.0.0.1:{edge.port}")
        other.send(begun.text("OPTIONS"), edge.port)
        assert (await other.final(begun.call_id, "OPTIONS")).status == 200
    finally:
        for sock in sockets:
            sock.close()


def _is_open(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


async def test_asterisk_and_providers_are_never_banned(edge: Edge, account: Account) -> None:
    provider, _ = await edge.provider(reply(200))
    for phone in (edge.asterisk, provider):
        for _ in range(STRANGERS * 2):
            request(edge, phone, "SUBSCRIBE", "User-Agent: friendly-scanner")
    begun = edge.call("+15551234567", caller=provider)
    await edge.asterisk.request("INVITE", begun.call_id)
    assert "127.0.0.1" not in await bans(edge)


async def test_sipvicious_learns_nothing(edge: Edge, account: Account, tmp_path: Path) -> None:
    before = await edge.counters()
    port = f"-p{edge.port}"
    home = {"HOME": str(tmp_path)}
    found = await _run("svmap", port, "-b", "127.0.0.104", "-t", "0.1", "127.0.0.1", env=home)
    assert f"127.0.0.1:{edge.port}" not in found, found
    await eventually(lambda: _is_banned(edge, "127.0.0.104"), "the scanner is banned")
    assert (await bans(edge))["127.0.0.104"].reason == "scanner"
    words = tmp_path / "words.txt"
    words.write_text(f"guess\n{account.password}\n")
    # these two have no say in the address that they send from, which here is the one that is never banned; at a port
    # of their own nobody else's packets keep them waiting
    war, crack = await asyncio.gather(
        _run(
            *(
                "svwar",
                port,
                f"-P{edges.free_port()}",
                "-e",
                "100-120",
                "-m",
                "REGISTER",
                "--domain",
                account.domain,
            ),
            *("--maximumtime", "2", "--force", "127.0.0.1"),
            env=home,
        ),
        _run(
            *(
                "svcrack",
                port,
                f"-P{edges.free_port()}",
                "-u",
                account.user,
                "-d",
                str(words),
                "--domain",
                account.domain,
            ),
            *("--maximumtime", "2", "127.0.0.1"),
            env=home,
        ),
    )
    assert "reqauth" not in war, war
    assert account.password not in crack, crack

    async def known() -> bool:
        return (await edge.counters())["scanner"] >= before["scanner"] + 3

    await eventually(known, "all three are known for what they are")
    assert (await edge.counters())["auth_failed"] == before["auth_failed"]


async def test_bans_are_listed_and_lifted_by_the_command(edge: Edge, env: Mapping[str, str]) -> None:
    secret = (await _run("docker", "exec", edge.container, "printenv", "RINGLINE_KAMAILIO_SECRET")).strip()
    own = {
        "RINGLINE_KAMAILIO_RPC_URL": f"http://127.0.0.1:{edge.port}/rpc",
        "RINGLINE_KAMAILIO_SECRET": secret,
    }

    async def ban(*words: str) -> str:
        program = "from ringline.cli import app; app()"
        return await _run(sys.executable, "-c", program, "ban", *words, env=own)

    stranger = await at(edge, "127.0.0.107")
    request(edge, stranger, "OPTIONS", "User-Agent: sipcli/v1.8")
    await eventually(lambda: _is_banned(edge, "127.0.0.107"), "the scanner is banned")
    await Bans(edge.rpc).add("127.0.0.108", 600)
    listed = await ban("list")
    rows = {line.split()[0]: line.split() for line in listed.splitlines()}
    assert rows["127.0.0.107"][3:] == ["scanner", "unproven"]
    assert rows["127.0.0.108"][3:] == ["operator", "proven"]
    assert 0 < int(rows["127.0.0.108"][1]) <= 600
    assert "not banned any more" in await ban("clear", "127.0.0.107")
    assert "127.0.0.107" not in await bans(edge)
    assert await Bans(edge.rpc).clear_all() >= 1
    assert await bans(edge) == {}
