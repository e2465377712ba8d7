"""The sandbox's vendor side: the real carrier process, asked by ``SandboxVendor``, and its webhooks."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.component.sandbox.conftest import Running, free_port, start_carrier, stop_carrier

from ringline.vendors.errors import HookRefused, VendorRefused, VendorUncertain, VendorUnknown
from ringline.vendors.events import Event, Hook, OrderChanged, TextArrived, TextChanged
from ringline.vendors.models import Address, Held, Order, Purchase, Search, Text
from ringline.vendors.sandbox import SandboxVendor

SECRET = "whsec_" + base64.b64encode(os.urandom(24)).decode()


class Receiver:
    """Takes webhooks as the controller does: verifies them and keeps their events. ``status`` is its answer."""

    def __init__(self, vendor: SandboxVendor) -> None:
        self.vendor = vendor
        self.events: list[Event] = []
        self.hooks: list[Hook] = []
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        hook = Hook("sandbox", request.method, str(request.url), headers, await request.read())
        if self.status == 200:
            self.events += self.vendor.read_hook(hook)
            self.hooks.append(hook)
        return web.Response(status=self.status)

    async def until(self, *wanted: Any, within: float = 60.0) -> list[Any]:
        """Until events came that match each of the tests."""
        async with asyncio.timeout(within):
            while True:
                found = [next((event for event in self.events if test(event)), None) for test in wanted]
                if None not in found:
                    return found
                await asyncio.sleep(0.02)


class Sandbox:
    """The carrier, what asks it and what it tells."""

    def __init__(self, running: Running, vendor: SandboxVendor, receiver: Receiver) -> None:
        self.running = running
        self.vendor = vendor
        self.receiver = receiver

    async def bought(self, number: str) -> Held:
        """Buy a number and wait until it is ours."""
        purchase = Purchase(uuid.uuid4(), number)
        await self.vendor.buy(purchase)
        return Held(number, (await self.done(purchase)).number_reference)

    async def done(self, purchase: Purchase) -> Order:
        async with asyncio.timeout(60):
            while True:
                order = await self.vendor.find_order(purchase, "")
                if order is not None and order.state != "pending":
                    return order
                await asyncio.sleep(0.05)

    async def handset(self, source: str, to: str, text: str, *media: str) -> int:
        url = f"http://127.0.0.1:{self.running.control_port}/handset/texts"
        body = {"from": source, "to": to, "text": text, "media": list(media)}
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            return response.status


def settings(api_port: int) -> dict[str, str]:
    return {
        "RINGLINE_CARRIER_ORDER_SECONDS": "0.3",
        "RINGLINE_CARRIER_ORDER_SLOW_SECONDS": "3",
        "RINGLINE_API_URL": f"http://127.0.0.1:{api_port}",
        "RINGLINE_SANDBOX_HOOK_SECRET": SECRET,
    }


@pytest.fixture(scope="module")
async def sandbox(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    import socket

    port = free_port(socket.SOCK_STREAM)
    running = await start_carrier(tmp_path_factory.mktemp("vendor"), **settings(port))
    vendor = SandboxVendor(f"http://127.0.0.1:{running.control_port}", SECRET)
    receiver = Receiver(vendor)
    app = web.Application()
    app.router.add_post("/hooks/sandbox", receiver.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield Sandbox(running, vendor, receiver)
    await vendor.close()
    await runner.cleanup()
    assert await stop_carrier(running) == 0


async def available(sandbox: Sandbox, ending: str) -> str:
    """A number for sale with these last digits."""
    offers = await sandbox.vendor.search(Search("US", "local", contains=ending, limit=200))
    return next(offer.number for offer in offers if offer.number.endswith(ending))


async def test_search(sandbox: Sandbox) -> None:
    offers = await sandbox.vendor.search(Search("US", "local", limit=5))
    assert len(offers) == 5
    assert {(offer.country, offer.kind) for offer in offers} == {("US", "local")}
    berlin = await sandbox.vendor.search(Search("DE", region="Berlin", features=("fax",), limit=50))
    assert len(berlin) == 50
    assert all(offer.number.startswith("+4930") and offer.region == "Berlin" for offer in berlin)
    assert all("fax" in offer.features for offer in berlin)
    assert await sandbox.vendor.search(Search("AQ")) == []
    assert await sandbox.vendor.search(Search("DE", "local", features=("mms",))) == []
    found = await sandbox.vendor.search(Search("GB", contains="7946*77", limit=100))
    assert sorted(offer.number for offer in found) == [
        f"+44207946{any_one}77{last}" for any_one in range(10) for last in range(10)
    ]


async def test_the_numbers_of_the_seed_page_are_for_sale(sandbox: Sandbox) -> None:
    for number in ("+15551234568", "+12182558711", "+16062067563", "+18005551234"):
        offer = await sandbox.vendor.find(number)
        assert offer is not None
        assert offer.number == number
    assert await sandbox.vendor.find("+15551230000") is None


async def test_buying_takes_a_while_and_ends_with_a_webhook(sandbox: Sandbox) -> None:
    purchase = Purchase(uuid.uuid4(), "+16062067563")
    order = await sandbox.vendor.buy(purchase)
    assert (order.state, order.number_reference) == ("pending", "")
    assert await sandbox.vendor.find(purchase.number) is None  # nobody else's any more
    with pytest.raises(VendorRefused):
        await sandbox.vendor.buy(Purchase(uuid.uuid4(), purchase.number))
    (event,) = await sandbox.receiver.until(
        lambda one: isinstance(one, OrderChanged) and one.purchase_id == purchase.id
    )
    assert event.order == await sandbox.vendor.find_order(purchase, order.reference)
    assert event.order.state == "done"
    assert event.order.number_reference
    again = await sandbox.vendor.buy(purchase)
    assert again == event.order  # the same reference is the same order, not a second one
    held = Held(purchase.number, event.order.number_reference)
    home = Address("Joe", "1 Main Street", "Ashland", "KY", "41101", "US")
    await sandbox.vendor.configure(Held(held.number, held.reference, t38=True, emergency=home))
    await sandbox.vendor.release(held)
    await sandbox.vendor.release(held)  # what is gone is no error
    with pytest.raises(VendorUnknown):
        await sandbox.vendor.configure(held)
    assert await sandbox.vendor.find(purchase.number) is not None


async def test_orders_that_go_wrong(sandbox: Sandbox) -> None:
    vendor = sandbox.vendor
    refused = Purchase(uuid.uuid4(), await available(sandbox, "0901"))
    with pytest.raises(VendorRefused, match="cannot be sold"):
        await vendor.buy(refused)
    assert await vendor.find_order(refused, "") is None

    rejected = Purchase(uuid.uuid4(), await available(sandbox, "0902"))
    assert (await vendor.buy(rejected)).state == "pending"
    order = await sandbox.done(rejected)
    assert (order.state, order.number_reference) == ("failed", "")
    assert "rejected" in order.reason
    assert await vendor.find(rejected.number) is not None

    for ending in ("0904", "0905"):  # charged, and the answer never came
        uncertain = Purchase(uuid.uuid4(), await available(sandbox, ending))
        with pytest.raises(VendorUncertain):
            await vendor.buy(uncertain)
        assert (await sandbox.done(uncertain)).state == "done"

    busy = Purchase(uuid.uuid4(), await available(sandbox, "0906"))
    started = time.monotonic()
    assert (await vendor.buy(busy)).state in {"pending", "done"}  # asked again after the pause
    assert time.monotonic() - started >= 1.0

    broken = Purchase(uuid.uuid4(), await available(sandbox, "0907"))
    with pytest.raises(VendorUncertain):
        await vendor.buy(broken)
    assert await vendor.find_order(broken, "") is None  # never heard of: safe to buy
    assert (await vendor.buy(broken)).state == "pending"


async def test_the_webhook_is_there_before_the_answer(sandbox: Sandbox) -> None:
    purchase = Purchase(uuid.uuid4(), await available(sandbox, "0908"))
    asked = asyncio.create_task(sandbox.vendor.buy(purchase))
    (event,) = await sandbox.receiver.until(
        lambda one: isinstance(one, OrderChanged) and one.purchase_id == purchase.id
    )
    assert not asked.done()
    assert await asked == event.order


async def test_the_webhook_comes_twice(sandbox: Sandbox) -> None:
    purchase = Purchase(uuid.uuid4(), await available(sandbox, "0909"))
    await sandbox.vendor.buy(purchase)
    async with asyncio.timeout(60):
        while True:
            same = [
                one
                for one in sandbox.receiver.events
                if isinstance(one, OrderChanged) and one.purchase_id == purchase.id
            ]
            if len(same) == 2:
                break
            await asyncio.sleep(0.05)
    assert same[0] == same[1]


async def test_texts_to_handsets(sandbox: Sandbox) -> None:
    async def states(to: str, final: str) -> list[str]:
        text = Text(uuid.uuid4(), "+15551234567", to, "hello", ())
        assert (await sandbox.vendor.send(text)).state == "sending"
        await sandbox.receiver.until(
            lambda one: isinstance(one, TextChanged) and one.text_id == text.id and one.sent.state == final
        )
        last = await sandbox.vendor.find_text(text, "")
        assert last is not None
        assert last.state == final
        return [
            one.sent.state
            for one in sandbox.receiver.events
            if isinstance(one, TextChanged) and one.text_id == text.id
        ]

    ordinary, failed, silent = await asyncio.gather(
        states("+15550007777", "delivered"), states("+15550000001", "failed"), states("+15550000002", "sent")
    )
    assert sorted(ordinary) == ["delivered", "sent"]
    assert failed == ["failed"]
    assert silent == ["sent"]
    with pytest.raises(VendorRefused, match="cannot get texts"):
        await sandbox.vendor.send(Text(uuid.uuid4(), "+15551234567", "+15550000004", "hello"))
    lost = Text(uuid.uuid4(), "+15551234567", "+15550000005", "hello")
    with pytest.raises(VendorUncertain):
        await sandbox.vendor.send(lost)
    assert await sandbox.vendor.find_text(lost, "") is not None


async def test_handsets_answer(sandbox: Sandbox) -> None:
    media = "https://example.com/picture.png"
    await asyncio.gather(
        sandbox.vendor.send(Text(uuid.uuid4(), "+15551234567", "+15550000008", "echo \u2603", (media,))),
        sandbox.vendor.send(Text(uuid.uuid4(), "+15551234567", "+15550000009", "hello")),
    )
    echo, stop = await sandbox.receiver.until(
        lambda one: isinstance(one, TextArrived) and one.source == "+15550000008",
        lambda one: isinstance(one, TextArrived) and one.source == "+15550000009",
    )
    assert (echo.text, echo.destination) == ("echo \u2603", "+15551234567")
    assert [(one.url, one.content_type) for one in echo.media] == [(media, "image/png")]
    assert stop.text == "STOP"


async def test_a_handset_texts_a_number_that_is_set_up_for_it(sandbox: Sandbox) -> None:
    held = await sandbox.bought("+12182558711")
    assert await sandbox.handset("+15557654321", held.number, "HOURS") == 409
    await sandbox.vendor.configure(held)
    assert await sandbox.handset("+15557654321", held.number, "HOURS") == 201
    await sandbox.receiver.until(
        lambda one: isinstance(one, TextArrived) and (one.destination, one.text) == (held.number, "HOURS")
    )
    assert await sandbox.handset("+15557654321", held.number, "") == 400
    assert await sandbox.handset("nobody", held.number, "x") == 400
    assert await sandbox.handset("+15557654321", held.number, "x" * 1601) == 400
    lines = [
        json.loads(line) for line in (sandbox.running.folder / "messages.jsonl").read_text().splitlines()
    ]
    (line,) = [line for line in lines if (line["from"], line["to"]) == ("+15557654321", held.number)]
    assert (line["text"], line["media"], line["parts"]) == ("HOURS", [], 1)


async def command(sandbox: Sandbox, *arguments: str) -> tuple[int, str, str]:
    """``ringline sandbox ...`` as a person runs it."""
    code = "from ringline.sandbox.cli import app; app()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, *arguments),
        env=sandbox.running.environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, out.decode(), error.decode()


async def test_commands_of_handsets(sandbox: Sandbox) -> None:
    media = "https://example.com/a.jpg"
    text = Text(uuid.uuid4(), "+15551234567", "+15550007001", "line\nfeed \x1b[31m", (media,))
    await sandbox.vendor.send(text)
    sent, wrong, empty = await asyncio.gather(
        command(sandbox, "text", "--from", "+15550007002", "--to", "+15552222222", "Hi", "--media", media),
        command(sandbox, "text", "--from", "+15550007002", "--to", "nobody", "Hi"),
        command(sandbox, "texts", "--of", "+15550007003"),
    )
    assert sent[0] == 0, sent
    assert "1 part)" in sent[1]
    assert (wrong[0], wrong[1]) == (1, "")
    assert wrong[2].startswith("refused: to")
    assert empty == (0, "", "no texts yet\n")
    (arrived,) = await sandbox.receiver.until(
        lambda one: isinstance(one, TextArrived) and one.source == "+15550007002"
    )
    assert (arrived.text, arrived.media[0].content_type) == ("Hi", "image/jpeg")
    code, out, _ = await command(sandbox, "texts", "--of", "+15550007001")
    assert code == 0
    (line,) = out.splitlines()
    assert "+15551234567 -> +15550007001" in line
    assert line.endswith(f"line feed  [31m {media}")


def test_signatures(sandbox: Sandbox) -> None:
    vendor = sandbox.vendor
    hook = sandbox.receiver.hooks[-1]
    assert vendor.read_hook(hook)

    def refuses(body: bytes = hook.body, **changes: str) -> None:
        headers = {**hook.headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
        with pytest.raises(HookRefused):
            vendor.read_hook(Hook("sandbox", "POST", hook.url, headers, body))

    refuses(hook.body + b" ")
    refuses(b"\xff\xfe")
    refuses(webhook_id="msg_other")
    refuses(webhook_timestamp=str(int(hook.headers["webhook-timestamp"]) - 301))
    refuses(webhook_timestamp="nan")
    refuses(webhook_timestamp="")
    refuses(webhook_signature="")
    refuses(webhook_signature="v1")
    refuses(webhook_signature="v1,???")
    refuses(webhook_signature="v1a," + hook.headers["webhook-signature"].partition(",")[2])
    with pytest.raises(HookRefused, match="not set"):
        SandboxVendor("http://127.0.0.1:1", "").read_hook(hook)


async def test_the_state_outlives_the_process(tmp_path: Path, sandbox: Sandbox) -> None:
    import socket

    port = free_port(socket.SOCK_STREAM)
    changes = {**settings(port), "RINGLINE_CARRIER_ORDER_SECONDS": "1.5"}
    running = await start_carrier(tmp_path, **changes)
    vendor = SandboxVendor(f"http://127.0.0.1:{running.control_port}", SECRET)
    purchase = Purchase(uuid.uuid4(), "+15551234568")
    assert (await vendor.buy(purchase)).state == "pending"
    running.process.kill()
    await running.process.wait()
    await vendor.close()
    with (tmp_path / "state.jsonl").open("a") as file:
        file.write('{"table": "orders", "key": "half')

    second = await start_carrier(tmp_path, **changes)
    vendor = SandboxVendor(f"http://127.0.0.1:{second.control_port}", SECRET)
    receiver = Receiver(vendor)
    runner = None
    try:
        judged = Sandbox(second, vendor, receiver)
        order = await judged.done(purchase)
        assert order.state == "done"
        assert "1 of them held" in await vendor.check()
        # its webhook found nobody: it comes when somebody listens, and once
        app = web.Application()
        app.router.add_post("/hooks/sandbox", receiver.take)
        receiver.status = 503
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.sleep(1.0)
        receiver.status = 200
        (event,) = await receiver.until(lambda one: isinstance(one, OrderChanged), within=60)
        assert event.purchase_id == purchase.id
        await asyncio.sleep(0.2)
        assert len(receiver.events) == 1
    finally:
        await vendor.close()
        if runner is not None:
            await runner.cleanup()
        assert await stop_carrier(second) == 0
