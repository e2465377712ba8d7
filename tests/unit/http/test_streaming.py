"""Answers that are made while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from ringline.http import streaming
from ringline.http.streaming import Streamed


class Source:
    """Chunks, how many were asked for, and whether it was closed."""

    def __init__(self, count: int, size: int = 100_000, fails: bool = False) -> None:
        self.count, self.size, self.fails = count, size, fails
        self.made = 0
        self.closed = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(self.count):
                self.made += 1
                yield b"x" * self.size
            if self.fails:
                raise RuntimeError("broken")
        finally:
            self.closed.set()


async def serve(source: Source) -> TestServer:
    async def handler(_: web.Request) -> web.StreamResponse:
        return Streamed(source.chunks(), {"Content-Type": "text/csv"})

    app = web.Application()
    app.router.add_route("*", "/", handler)
    server = TestServer(app)
    await server.start_server()
    return server


async def test_all_of_it_arrives() -> None:
    source = Source(20)
    server = await serve(source)
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/csv")
        assert len(await response.read()) == 2_000_000
    await asyncio.wait_for(source.closed.wait(), 30)
    await server.close()


async def test_no_more_is_made_than_is_read_and_who_goes_ends_it() -> None:
    source = Source(100_000)
    server = await serve(source)
    async with aiohttp.ClientSession() as session:
        response = await session.get(server.make_url("/"))
        await response.content.readexactly(100_000)
        await asyncio.sleep(0.3)
        made = source.made
        assert made < 1000, "a client that does not read holds the making up"
        response.close()
        await asyncio.wait_for(source.closed.wait(), 30)
        assert source.made < made + 1000
    await server.close()


async def test_what_breaks_on_the_way_is_no_whole_answer() -> None:
    source = Source(3, fails=True)
    server = await serve(source)
    async with aiohttp.ClientSession() as session, session.get(server.make_url("/")) as response:
        with pytest.raises(aiohttp.ClientError):
            await response.read()
    await asyncio.wait_for(source.closed.wait(), 30)
    await server.close()


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "STALL_SECONDS", 0.3)
    source = Source(100_000)
    server = await serve(source)
    async with aiohttp.ClientSession() as session:
        response = await session.get(server.make_url("/"))
        await asyncio.wait_for(source.closed.wait(), 30)
        response.close()
    await server.close()
