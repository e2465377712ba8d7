"""``ringline message`` against a server that answers as the API does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from typer.testing import CliRunner

from ringline import settings
from ringline.messages.cli import message_app

TARGET = {"destination": {"target": "+12025550143"}, "status": "failed", "reason": "opted_out", "parts": 2}
MESSAGE = {
    "id": "0f2a",
    "tm_create": "2026-11-22T09:00:00Z",
    "direction": "outbound",
    "source": {"target": "+15551234567"},
    "text": "hello",
    "targets": [TARGET],
}


class Api:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.fault = ""
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, dict(request.query), body))
        assert request.headers["Authorization"] == "Bearer vb_key"
        if self.fault:
            return web.json_response({"error": {"message": self.fault}}, status=400)
        return web.json_response(MESSAGE if request.method == "POST" else {"result": [MESSAGE]})


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """The server, in a loop of its own: the commands have theirs."""
    made, loop = Api(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_route("*", "/v1.0/messages", made.answer)
    runner = web.AppRunner(app)

    async def begin() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    port = loop.run_until_complete(begin())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    monkeypatch.setenv("RINGLINE_API_URL", f"http://127.0.0.1:{port}/")
    settings.load.cache_clear()
    yield made
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    loop.close()
    settings.load.cache_clear()


def run(*words: str) -> Any:
    return CliRunner().invoke(message_app, [*words, "--accesskey", "vb_key"])


def test_a_text_is_sent(api: Api) -> None:
    done = run("send", "hello", "--to", "+12025550143", "--from", "+15551234567")
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == ["0f2a", "+12025550143       failed (opted_out), 2 parts"]
    wanted = {"source": "+15551234567", "destinations": ["+12025550143"], "text": "hello", "media": []}
    assert api.asked == [("POST", {}, wanted)]


def test_texts_are_listed(api: Api) -> None:
    done = run("list", "--status", "failed", "--to", "+12025550143", "--most", "5")
    assert done.output == (
        "2026-11-22T09:00:00Z  +15551234567 -> +12025550143  failed (opted_out)  'hello'\n"
    )
    assert api.asked == [("GET", {"page_size": "5", "status": "failed", "destination": "+12025550143"}, None)]


def test_what_the_api_refuses_is_said(api: Api) -> None:
    api.fault = "`text`: is empty."
    done = run("send", "", "--to", "+12025550143")
    assert (done.exit_code, done.stderr) == (1, "`text`: is empty.\n")
