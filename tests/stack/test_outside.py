"""Actions that talk with servers of customers: lists of actions, webhooks, and the call's audio both ways."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import numpy as np
import pytest

from tests.stack.audio import RATE, Samples, chirp, encode, find, read_wav
from tests.stack.conftest import AsteriskView
from tests.stack.containers import Containers
from tests.stack.files import Files, allowed_address
from tests.stack.product import HANGUP, SOURCE, Json, Product, eventually, number, play, sleep
from tests.stack.servers import RtpPeer, Servers, Talker, mulaw, strength, tone

PROMPT = chirp(500, 1400, 2.0)
BOT, PEER = 1000.0, 1700.0


@pytest.fixture(autouse=True)
async def nothing_left(ari: AsteriskView) -> AsyncIterator[None]:
    """After each test Asterisk has no channel and no bridge."""
    yield
    await ari.wait_idle(within=30)


@pytest.fixture
async def servers(env: Mapping[str, str]) -> AsyncIterator[Servers]:
    made = await Servers(allowed_address(env)).start()
    yield made
    await made.close()


@pytest.fixture
async def peer(env: Mapping[str, str]) -> AsyncIterator[RtpPeer]:
    made = await RtpPeer.open(allowed_address(env))
    yield made
    made.close()


def fetch(url: str, method: str = "POST") -> Json:
    return {"type": "fetch", "option": {"event_url": url, "event_method": method}}


def webhook(uri: str, **option: Any) -> Json:
    return {"type": "webhook_send", "option": {"uri": uri, **option}}


def stream(host: str, **option: Any) -> Json:
    return {"type": "external_media_start", "option": {"external_host": host, **option}}


STOP: Json = {"type": "external_media_stop"}


def reasons(call: Json) -> list[str]:
    return [failure["reason"] for failure in call["failures"]]


async def talker(servers: Servers, count: int = 1) -> Talker:
    await eventually(lambda: len(servers.talkers) >= count, "the server was connected to", within=30)
    return servers.talkers[count - 1]


async def recorded(product: Product, to: str) -> Samples:
    return read_wav(product.recording(await product.line(to))) / 32768


def pieces(sound: Samples, seconds: float = 0.5) -> list[Samples]:
    size = int(seconds * RATE)
    return [sound[at : at + size] for at in range(0, sound.size - size + 1, size)]


# fetch and webhook_send


async def test_a_flow_is_asked_for_step_by_step(product: Product, servers: Servers, files: Files) -> None:
    first, second = chirp(500, 1400), chirp(2600, 1800)
    servers.answers["/start"] = [
        play(files.add("one.wav", encode(first, "wav"))),
        fetch(servers.url("more"), "GET"),
    ]
    servers.answers["/more"] = {"actions": [play(files.add("two.wav", encode(second, "wav")))]}
    to = number()
    call = await product.place(to, fetch(servers.url("start")), HANGUP, variables={"colour": "red"})
    record = await product.ended(call)
    assert (record["hangup_reason"], record["failures"]) == ("normal", [])
    (body,) = servers.bodies("/start")
    assert body["variables"]["colour"] == "red"
    assert (body["call"]["id"], body["activeflow"]["id"]) == (call["id"], call["activeflow_id"])
    assert body["call"]["destination"]["target"] == to
    ((method, headers, _),) = servers.seen("/more")
    assert (method, headers["X-Ringline-Call-Id"]) == ("GET", call["id"])
    heard = await recorded(product, to)
    assert find(heard, first).peak > 0.9
    assert find(heard, second).start >= find(heard, first).end - 0.01


async def test_a_stored_flow_within_a_flow(product: Product, files: Files) -> None:
    inner, outer = chirp(500, 1400), chirp(2600, 1800)
    flow_id = await product.store_flow(play(files.add("inner.wav", encode(inner, "wav"))))
    to = number()
    call = await product.place(
        to,
        {"type": "fetch_flow", "option": {"flow_id": flow_id}},
        play(files.add("outer.wav", encode(outer, "wav"))),
        HANGUP,
    )
    assert (await product.ended(call))["failures"] == []
    heard = await recorded(product, to)
    assert find(heard, outer).start >= find(heard, inner).end - 0.01


async def test_webhooks_arrive_and_an_answer_can_be_used(product: Product, servers: Servers) -> None:
    servers.answers["/hook"] = {"ok": True}
    servers.answers["/told"] = {"ok": True}
    call = await product.place(
        number(),
        webhook(servers.url("hook"), data='{"call": "${voipbin.call.id}"}'),
        webhook(servers.url("hook"), sync=True, method="PUT", data="x", data_type="text/plain"),
        webhook(
            servers.url("told?status=${voipbin.webhook.status_code}&body=${voipbin.webhook.body}"), sync=True
        ),
        HANGUP,
    )
    assert (await product.ended(call))["failures"] == []
    await eventually(lambda: len(servers.seen("/hook")) == 2, "both webhooks", within=30)
    posted = next(request for request in servers.seen("/hook") if request[0] == "POST")
    assert posted[2] == b'{"call": "%s"}' % call["id"].encode()
    assert posted[1]["Content-Type"] == "application/json"
    assert len({headers["Webhook-Id"] for _, headers, _ in servers.seen("/hook")}) == 2
    assert len(servers.seen("/told")) == 1


# audio


async def test_a_websocket_hears_the_call_and_is_heard_while_a_prompt_plays(
    product: Product, servers: Servers, files: Files
) -> None:
    servers.say = mulaw(tone(BOT, 1.0))
    to = number("0009")
    call = await product.place(
        to,
        stream(servers.url("audio", "ws"), type="websocket", data="a b/ü"),
        sleep(2),
        play(files.add("prompt.wav", encode(PROMPT, "wav"))),
        sleep(2),
        STOP,
        sleep(1.5),
        HANGUP,
    )
    bot = await talker(servers)
    assert bot.headers["X-Ringline-Call-Id"] == call["id"]
    assert bot.headers["X-Ringline-Data"] == "a%20b/%C3%BC"
    await eventually(lambda: bot.ended, "the stream was stopped", within=40)
    record = await product.ended(call)
    assert record["failures"] == []
    assert bot.texts[0].startswith("MEDIA_START ")
    assert f"channel_id:{call['id']}" in bot.texts[0]
    assert "0x" not in bot.texts[0]
    heard = await recorded(product, to)
    # before the prompt, with it, and after it
    at = find(heard, PROMPT)
    assert strength(heard[: int((at.start - 0.2) * RATE)][-RATE:], BOT) > 0.9
    during = heard[int(at.start * RATE) : int(at.end * RATE)]
    assert 0.1 < strength(during, BOT) < 0.95
    assert find(during, PROMPT).peak > 0.4
    after = heard[int((at.end + 0.4) * RATE) : int((at.end + 1.4) * RATE)]
    assert strength(after, BOT) > 0.9
    assert strength(heard[-RATE:], BOT) < 0.1, "stopped means silent"
    # the server heard the prompt and the machine at the other end, and not itself
    assert find(bot.sound, PROMPT).peak > 0.5
    greeting = bot.sound[: int(1.5 * RATE)]
    assert float(np.abs(greeting).max()) > 0.01
    assert strength(bot.sound, BOT) < 0.2


async def test_directions_are_kept_apart(product: Product, servers: Servers, files: Files) -> None:
    servers.say = mulaw(tone(BOT, 1.0))
    to = number()
    call = await product.place(
        to,
        stream(servers.url("audio", "ws"), type="websocket", direction_listen="in", direction_speak="none"),
        stream(servers.url("audio", "ws"), type="websocket", direction_listen="out", direction_speak="none"),
        sleep(0.5),
        play(files.add("prompt.wav", encode(PROMPT, "wav"))),
        HANGUP,
    )
    await product.ended(call)
    incoming, outgoing = await talker(servers, 1), await talker(servers, 2)
    await eventually(lambda: incoming.ended and outgoing.ended, "both ended with the call", within=20)
    assert find(outgoing.sound, PROMPT).peak > 0.9
    assert incoming.sound.size == 0 or find(incoming.sound, PROMPT).peak < 0.3
    heard = await recorded(product, to)
    assert find(heard, PROMPT).peak > 0.9
    assert strength(heard, BOT) < 0.05


async def test_a_conversation_goes_on_beside_a_stream(
    product: Product, servers: Servers, files: Files
) -> None:
    servers.say = mulaw(tone(BOT, 1.0, 0.1))
    caller, machine = number("1234"), number("0009")
    call = await product.place(
        caller,
        stream(servers.url("audio", "ws"), type="websocket"),
        sleep(0.5),
        {
            "type": "connect",
            "option": {
                "source": {"type": "tel", "target": SOURCE},
                "destinations": [{"type": "tel", "target": machine}],
            },
        },
        sleep(1),
        play(files.add("prompt.wav", encode(PROMPT, "wav"))),
        sleep(1.5),
        HANGUP,
    )
    bot = await talker(servers)

    async def leg() -> Any:
        return (await product.show(call))["chained_call_ids"]

    (leg_id,) = await eventually(leg, "the leg", within=20)
    await product.reached({"id": leg_id}, "progressing")
    await asyncio.sleep(5)
    await product.hang_up({"id": leg_id})
    record = await product.ended(call)
    assert record["failures"] == []
    heard = await recorded(product, caller)
    talking = [
        piece for piece in pieces(heard) if float(np.abs(piece).max()) > 0.15 and strength(piece, BOT) < 0.8
    ]
    assert len(talking) >= 4, "the caller hears the machine's greeting through the stream's words"
    assert strength(heard[-int(1.2 * RATE) : -int(0.2 * RATE)], BOT) > 0.8, "and the server again afterwards"
    assert strength(bot.sound, BOT) < 0.2
    assert float(np.abs(bot.sound).max()) > 0.1
    assert find(bot.sound, PROMPT).peak > 0.7, (
        "the server hears what the call hears after its conversation, too"
    )


async def test_rtp_goes_both_ways(product: Product, peer: RtpPeer, files: Files) -> None:
    peer.say = mulaw(tone(PEER, 1.0))
    to = number()
    call = await product.place(
        to,
        stream(peer.host),
        sleep(1),
        play(files.add("prompt.wav", encode(PROMPT, "wav"))),
        sleep(1.5),
        HANGUP,
    )
    record = await product.ended(call)
    assert record["failures"] == []
    assert peer.types == {0}
    assert find(peer.sound, PROMPT).peak > 0.9
    heard = await recorded(product, to)
    assert strength(heard[-int(1.2 * RATE) : -int(0.2 * RATE)], PEER) > 0.9


async def test_a_server_that_hangs_up_ends_the_stream_and_nothing_else(
    product: Product, servers: Servers, ari: AsteriskView
) -> None:
    call = await product.place(
        number(), stream(servers.url("audio", "ws"), type="websocket"), sleep(60), HANGUP
    )
    bot = await talker(servers)
    await eventually(lambda: bot.texts, "it runs", within=20)
    await asyncio.sleep(0.5)
    await bot.close()

    async def one_channel() -> bool:
        return len(await ari.list("channels")) == 1 and not await ari.list("bridges")

    await eventually(one_channel, "only the call is left", within=20)
    assert (await product.show(call))["status"] == "progressing"
    await product.hang_up(call)
    record = await product.ended(call)
    assert (record["failures"], record["hangup_reason"]) == ([], "normal")


async def test_a_server_that_breaks_off_is_noted(product: Product, servers: Servers) -> None:
    call = await product.place(
        number(), stream(servers.url("audio", "ws"), type="websocket"), sleep(60), HANGUP
    )
    bot = await talker(servers)
    await eventually(lambda: bot.texts, "it runs", within=20)
    await bot.close(1011)

    async def noted() -> bool:
        return bool((await product.show(call))["failures"])

    await eventually(noted, "the loss is noted", within=20)
    await product.hang_up(call)
    assert reasons(await product.ended(call)) == ["EXTERNAL_MEDIA_LOST"]


@pytest.mark.parametrize("moment", [0.0, 0.05, 0.15, 0.4, 1.0])
async def test_a_caller_who_hangs_up_at_any_moment_leaves_nothing(
    product: Product, servers: Servers, peer: RtpPeer, moment: float
) -> None:
    call = await product.place(
        number(), stream(servers.url("audio", "ws"), type="websocket"), stream(peer.host), sleep(20)
    )
    await product.reached(call, "progressing")
    await asyncio.sleep(moment)
    await product.hang_up(call)
    await product.ended(call)
    await eventually(lambda: all(bot.ended for bot in servers.talkers), "no WebSocket is left", within=20)
    if peer.last:
        await eventually(lambda: time.monotonic() - peer.last > 0.5, "no more RTP", within=20)


async def test_what_cannot_be_reached_is_said_and_the_flow_goes_on(
    product: Product, servers: Servers, files: Files
) -> None:
    to = number()
    call = await product.place(
        to,
        stream(servers.url("nothing", "ws"), type="websocket"),
        stream("ws://127.0.0.2:1/", type="websocket"),
        stream("localhost:40000"),
        stream("ws://localhost:40000/", type="websocket"),
        play(files.add("prompt.wav", encode(PROMPT, "wav"))),
        HANGUP,
    )
    record = await product.ended(call)
    assert reasons(record) == [
        "EXTERNAL_MEDIA_FAILED",
        "EXTERNAL_MEDIA_FAILED",
        "EXTERNAL_MEDIA_FORBIDDEN",
        "EXTERNAL_MEDIA_FORBIDDEN",
    ]
    assert find(await recorded(product, to), PROMPT).peak > 0.9


async def test_a_call_has_so_many_streams_and_no_more(product: Product, servers: Servers) -> None:
    one = stream(servers.url("audio", "ws"), type="websocket")
    call = await product.place(number(), *[one] * 5, sleep(1), STOP, one, sleep(0.5), HANGUP)
    record = await product.ended(call)
    assert reasons(record) == ["EXTERNAL_MEDIA_LIMIT"]
    assert len(servers.talkers) == 5


async def test_the_relay_dies_and_the_next_stream_has_a_new_one(
    product: Product, servers: Servers, containers: Containers
) -> None:
    one = stream(servers.url("audio", "ws"), type="websocket")
    call = await product.place(number(), one, sleep(8), one, sleep(30), HANGUP)
    bot = await talker(servers)
    await eventually(lambda: bot.texts, "it runs", within=20)
    # the brackets keep the shell from finding itself
    kill = (
        "for p in /proc/[0-9]*; do grep -qs 'relay[_]process' $p/cmdline && kill -9 ${p#/proc/}; done; true"
    )
    assert (await containers.run("controller", "sh", "-c", kill))[0] == 0
    other = await talker(servers, 2)
    await eventually(lambda: other.texts, "the second one runs", within=20)
    await product.hang_up(call)
    assert reasons(await product.ended(call)) == ["EXTERNAL_MEDIA_LOST"]
