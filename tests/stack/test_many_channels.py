"""Lists of everything that Asterisk has: they may be long, and asking for them must not end it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from ringline import ari
from tests.stack.product import Product

PAIRS = 600
"""Twice as many channels: their list is over a megabyte, twice the stack of one of Asterisk's threads."""


@pytest.mark.timeout(240)
async def test_a_long_list_of_channels_is_answered_and_asterisk_lives(product: Product) -> None:
    env = product.env
    client = ari.Client(
        env["RINGLINE_ARI_URL"],
        env["RINGLINE_ARI_USERNAME"],
        env["RINGLINE_ARI_PASSWORD"],
        f"many-{uuid4().hex[:8]}",
        describe=False,
        request_timeout=60.0,
    )
    await client.start()
    try:
        begun = (await client.request("GET", "asterisk/info"))["status"]["startup_time"]
        names = [f"many-{uuid4()}" for _ in range(PAIRS)]
        made = [
            client.request(
                "POST",
                "channels/create",
                query={"endpoint": "Local/nobody@nowhere", "app": client.application, "channelId": name},
            )
            for name in names
        ]
        try:
            await asyncio.gather(*made)
            listed = await client.request("GET", "channels", timeout=60)
            assert set(names) <= {channel["id"] for channel in listed}
            assert len(listed) >= 2 * PAIRS
        finally:
            gone = [client.request("DELETE", f"channels/{name}") for name in names]
            await asyncio.gather(*gone, return_exceptions=True)
        assert (await client.request("GET", "asterisk/info"))["status"]["startup_time"] == begun
    finally:
        await client.close()
