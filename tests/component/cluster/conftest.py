"""Processes that share a Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from ringline.storage import Live


@pytest.fixture
async def live(redis_url: str) -> AsyncIterator[Live]:
    client = Live(redis_url, timeout=20.0)
    yield client
    await client.close()


@pytest.fixture
def asterisk() -> str:
    """The name of an Asterisk that no other test knows."""
    return f"a-{uuid4().hex[:12]}"
