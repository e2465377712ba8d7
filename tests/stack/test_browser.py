"""Browsers and TLS: the page ``/phone`` in headless Chromium, a softphone with TLS and SRTP, and who is let in."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping

import aiohttp
import numpy as np
import pytest
import sqlalchemy as sa

from ringline.extensions.store import locations
from tests.stack import edge as edges
from tests.stack.audio import RATE, Samples, encode, read_wav
from tests.stack.baresip import Baresip, account
from tests.stack.chromium import Chromium
from tests.stack.conftest import AsteriskView, CarrierCalls
from tests.stack.edge import Edge
from tests.stack.files import Files
from tests.stack.product import ANSWER, Product, eventually, number, play
from tests.stack.test_callers import Desk

VOICE = 1000  # Hz, what the browser says
OTHER = 440  # what the telephone says
PROMPT = 700


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    yield
    await ari.wait_idle()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Chromium]:
    browser = await Chromium.start(tone=VOICE)
    yield browser
    await browser.stop()


@pytest.fixture
async def desk(product: Product) -> AsyncIterator[Desk]:
    desk = Desk(product)
    yield desk
    await desk.close()


async def contacts(product: Product, user: str) -> list[str]:
    """Where an extension's contacts over WebSocket came from, as Kamailio wrote it down."""
    own = locations.c.username == user, locations.c.received.endswith(";transport=ws")
    query = sa.select(locations.c.received).where(*own)
    async with product.database.connect() as connection:
        return [str(row.received) for row in await connection.execute(query)]


def tones(sound: Samples, frequency: float, *, rate: int = RATE) -> float:
    """Seconds in which this tone is the loudest thing heard, counted in pieces of 100 ms."""
    size = rate // 10
    found = 0
    for at in range(0, sound.size - size + 1, size):
        piece = sound[at : at + size]
        if float(np.sqrt(np.mean(piece**2))) < 200:
            continue
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(size)))
        found += abs(float(np.argmax(spectrum)) * rate / size - frequency) <= 20
    return found / 10


async def heard(phone: Baresip, frequency: float, seconds: float) -> None:
    """Wait until the telephone has written down that it heard this tone for so long."""
    await eventually(
        lambda: tones(phone.heard(), frequency) > seconds, f"{frequency:g} Hz in what the telephone heard"
    )


def silence(sound: Samples) -> float:
    """Seconds in which nothing is heard, between the first sound and the last."""
    size = RATE // 10
    levels = [
        float(np.sqrt(np.mean(sound[at : at + size] ** 2))) for at in range(0, sound.size - size + 1, size)
    ]
    loud = [index for index, level in enumerate(levels) if level > 200]
    return sum(level <= 200 for level in levels[loud[0] : loud[-1]]) / 10 if loud else 0.0


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_a_page_registers_and_its_registration_ends_with_it(
    browser: Chromium, product: Product, env: Mapping[str, str], scheme: str
) -> None:
    await browser.register(env, "test11", scheme=scheme)
    assert await browser.text("line") == "Registered as test11"
    assert await browser.visible("phone")
    assert not await browser.visible("account")
    await eventually(lambda: _one(product), "one contact")
    # signing out takes it away
    await browser.click("unregister")
    await browser.state("line", "off")
    await eventually(lambda: _none(product), "no contact is left after signing out")
    # so does a window that is closed without a word
    await browser.register(env, "test11", scheme=scheme)
    await eventually(lambda: _one(product), "one contact")
    await browser.send("Page.navigate", url="about:blank")
    await eventually(lambda: _none(product), "no contact is left of a closed page")


async def _none(product: Product) -> bool:
    return not await contacts(product, "test11")


async def _one(product: Product) -> bool:
    return len(await contacts(product, "test11")) == 1


async def test_a_wrong_password_is_said(browser: Chromium, product: Product, env: Mapping[str, str]) -> None:
    await browser.register(env, "test11", password="guessed", wait=False)
    assert "password is wrong" in await browser.state("line", "failed")
    assert await browser.visible("account")
    await eventually(lambda: _none(product), "no contact")
    # the form is ready for another try
    await browser.fill(password=env["RINGLINE_EXTENSION_PASSWORD"])
    await browser.click("register")
    await browser.state("line", "registered")


async def test_a_number_of_the_inside_runs_its_flow_for_a_browser(
    browser: Chromium, product: Product, desk: Desk, files: Files, env: Mapping[str, str]
) -> None:
    moments = np.arange(RATE * 30) / RATE
    prompt = files.add("prompt.wav", encode(0.2 * np.sin(2 * np.pi * PROMPT * moments), "wav"))
    own = await desk.add(await product.store_flow(ANSWER, play(prompt)), virtual=True)
    await browser.register(env, "test11")
    await browser.dial(own)
    assert await browser.state("call", "talking") == f"In a call with {own}"
    await browser.hears(PROMPT)
    await browser.click("hangup")
    assert await browser.state("call", "ended") == "Ended"
    call = await product.incoming(own)
    call = await product.ended(call)
    assert (call["hangup_by"], call["hangup_reason"]) == ("remote", "normal")
    assert call["source"]["target"] == "test11"


async def test_a_browser_dials_out_is_heard_presses_keys_and_is_silent_when_muted(
    browser: Chromium, product: Product, carrier_calls: CarrierCalls, env: Mapping[str, str]
) -> None:
    to = number("1234")
    await browser.register(env, "test11", scheme="wss")
    # keys before a call write the number
    await browser.press(to[1:4])
    assert await browser.run("document.getElementById('number').value") == to[1:4]
    await browser.dial(to)
    assert await browser.state("call", "ringing", "talking") in {f"{to} is ringing", f"In a call with {to}"}
    await browser.state("call", "talking")
    await asyncio.sleep(1.5)
    await browser.press("159#")
    await asyncio.sleep(1.5)
    await browser.click("mute")
    assert await browser.run("document.getElementById('mute').getAttribute('aria-pressed')") == "true"
    await asyncio.sleep(1.5)
    await browser.click("mute")
    await asyncio.sleep(1.0)
    await browser.click("hangup")
    await browser.state("call", "ended")
    line = (await carrier_calls.wait(to))[0]
    assert line["dtmf"] == "159#"
    heard = read_wav(product.recording(line))
    assert tones(heard, VOICE) > 2.5
    # the muted part; keys are no voice either, and a busy machine may stammer
    assert 1.0 < silence(heard) < 6.0


async def test_a_browser_calls_a_telephone(browser: Chromium, env: Mapping[str, str]) -> None:
    phone = await Baresip.start(account(env, "test12"), tone=OTHER, answer="auto")
    try:
        await phone.registered()
        await browser.register(env, "test11")
        await browser.dial("test12")
        await browser.state("call", "talking")
        await browser.hears(OTHER)
        # the browser puts the telephone on hold and takes it back; baresip's files end with the first hold
        await asyncio.sleep(2.0)
        await browser.click("hold")
        assert await browser.state("call", "held") == "test12 is on hold"
        await browser.until("!document.getElementById('hold').disabled", "the hold is accepted")
        await browser.click("hold")
        await browser.state("call", "talking")
        await browser.hears(OTHER)
        await phone.hang_up()
        assert await browser.state("call", "ended") == "test12 hung up"
        assert await browser.visible("dial")
        await heard(phone, VOICE, 1.0)
    finally:
        await phone.stop()


async def test_a_browser_transfers(browser: Chromium, product: Product, env: Mapping[str, str]) -> None:
    await browser.register(env, "test11")
    first, second = number("0008"), number("0007")
    await browser.dial(first)
    await browser.state("call", "talking")
    told = "accepted: () => { window.told = 'accepted'; }, failed: () => { window.told = 'failed'; }"
    target = f"sip:{second}@test.{env['RINGLINE_SIP_DOMAIN']}"
    await browser.run(f"session.refer('{target}', {{ eventHandlers: {{ {told} }} }}) && true")
    assert await browser.until("window.told", "the browser is told of its transfer") == "accepted"
    # whoever was called hangs up after a second, and with it the party that was sent there
    assert (await product.line(second))["tm_answer"]
    assert (await product.line(first))["tm_answer"]


async def test_a_telephone_calls_a_browser(browser: Chromium, env: Mapping[str, str]) -> None:
    phone = await Baresip.start(account(env, "test12"), tone=OTHER)
    try:
        await phone.registered()
        await browser.register(env, "test11")
        await phone.dial("test11")
        assert "is calling" in await browser.state("call", "incoming")
        assert await browser.visible("answer")
        await browser.click("answer")
        await browser.state("call", "talking")
        await phone.event("CALL_ESTABLISHED")
        await browser.hears(OTHER)
        await asyncio.sleep(2.0)
        await browser.click("hangup")
        await phone.event("CALL_CLOSED")
        await heard(phone, VOICE, 1.0)
        # a call that the browser declines, and one that its caller gives up
        phone.forget()
        await phone.dial("test11")
        await browser.state("call", "incoming")
        await browser.click("hangup")
        await phone.event("CALL_CLOSED")
        await browser.state("call", "ended")
        phone.forget()
        await phone.dial("test11")
        await browser.state("call", "incoming")
        await phone.hang_up()
        assert (await browser.state("call", "ended")).startswith("Missed")
    finally:
        await phone.stop()


async def test_a_telephone_with_tls_and_srtp_hears_itself(env: Mapping[str, str]) -> None:
    secure = account(env, "test12", transport="tls", parameters=("mediaenc=srtp-mand",))
    phone = await Baresip.start(secure, tone=OTHER)
    try:
        await phone.registered()
        await phone.dial(number("0008"))
        await phone.event("CALL_ESTABLISHED", within=20)
        await asyncio.sleep(3.0)
        await phone.hang_up()
        await phone.event("CALL_CLOSED")
        # both descriptions, the offer and the answer
        assert phone.log.count("RTP/SAVP") >= 2
        assert phone.log.count("a=crypto:") >= 2
        await heard(phone, OTHER, 1.0)
    finally:
        await phone.stop()


# who is let in, at a Kamailio of its own


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str]) -> AsyncIterator[Edge]:
    running = await edges.start(
        env, RINGLINE_WEBSOCKET_ORIGINS="https://phone.example, http://127.0.0.1:8080"
    )
    yield running
    await edges.stop(running, env)


HANDSHAKE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "sip",
    "Origin": "https://phone.example",
}


@pytest.mark.parametrize(
    ("method", "path", "without", "headers", "status"),
    [
        ("GET", "/", "", {}, 101),
        ("GET", "/anything", "", {}, 101),
        ("GET", "/", "", {"Origin": "http://127.0.0.1:8080"}, 101),
        ("GET", "/", "", {"Origin": "https://elsewhere.example"}, 403),
        ("GET", "/", "Origin", {}, 403),
        ("GET", "/", "", {"Sec-WebSocket-Protocol": "chat"}, 400),
        ("GET", "/", "Sec-WebSocket-Protocol", {}, 404),
        ("GET", "/", "Upgrade", {}, 404),
        ("POST", "/", "", {}, 404),
        ("POST", "/rpc", "", {}, 404),
        ("GET", "/rpc", "Upgrade", {}, 404),
    ],
)
async def test_only_sip_over_websocket_from_known_pages_is_served_on_these_ports(
    edge: Edge, method: str, path: str, without: str, headers: dict[str, str], status: int
) -> None:
    sent = {name: value for name, value in {**HANDSHAKE, **headers}.items() if name != without}
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for port, tls in ((edge.ports["ws"], None), (edge.ports["wss"], context)):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Length: 0"]
        lines += [f"{name}: {value}" for name, value in sent.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        first = await asyncio.wait_for(reader.readline(), 30)
        assert int(first.split()[1]) == status, first
        writer.close()


async def test_the_certificate_is_for_the_domain_and_tls_is_not_old(edge: Edge) -> None:
    loop = asyncio.get_running_loop()
    pem = await loop.run_in_executor(None, ssl.get_server_certificate, ("127.0.0.1", edge.ports["tls"]))
    # its own authority: verified against itself, for each name
    for name in ("edge.test", "test.edge.test", "localhost", "127.0.0.1"):
        context = ssl.create_default_context(cadata=pem)
        _, writer = await asyncio.open_connection(
            "127.0.0.1", edge.ports["tls"], ssl=context, server_hostname=name
        )
        assert writer.get_extra_info("ssl_object").version() in {"TLSv1.2", "TLSv1.3"}
        writer.close()
    with pytest.raises(ssl.SSLError):
        await asyncio.open_connection(
            "127.0.0.1",
            edge.ports["tls"],
            ssl=ssl.create_default_context(cadata=pem),
            server_hostname="elsewhere.example",
        )
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.options &= ~ssl.OP_NO_TLSv1_1
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", edge.ports["tls"], ssl=old)


async def test_the_page_comes_with_its_library(env: Mapping[str, str]) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(env["RINGLINE_API_URL"] + "/phone/jssip.js") as reply:
            assert reply.status == 200
            assert "JsSIP" in await reply.text()
        async with session.get(env["RINGLINE_API_URL"] + "/phone/licences.txt") as reply:
            text = await reply.text()
            assert text.count("Permission is hereby granted") >= 5
