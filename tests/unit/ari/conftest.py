"""A fake Asterisk and a client connected to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ringline.ari import Client

from .fake_asterisk import FakeAsterisk


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk() as fake:
        yield fake


@pytest.fixture
async def client(asterisk: FakeAsterisk) -> AsyncIterator[Client]:
    client = Client(asterisk.url, "test", "secret", "app", request_sockets=2, allowed_events=None)
    await client.start(timeout=10)
    yield client
    await client.close()
