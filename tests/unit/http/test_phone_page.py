"""The page ``/phone``: what it is allowed to do, where it connects to, and what it says without its library."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from pydantic import ValidationError
from tests.unit.http.conftest import Client, Doorkeeper

from ringline.http import Readiness, Server, create_app
from ringline.settings import Settings


async def serving(settings: Settings) -> AsyncIterator[Client]:
    app = create_app([], settings=settings, authenticator=Doorkeeper(), readiness=Readiness())
    server = Server(app, "127.0.0.1", 0, grace=1.0)
    await server.start()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Client(f"http://127.0.0.1:{server.port}", session)
    await server.close()


@pytest.fixture
async def outside_of_the_image(tmp_path: Path) -> AsyncIterator[Client]:
    absent = tmp_path / "absent"
    async for client in serving(
        Settings(
            phone_library_dir=absent, sip_domain="sip.example", kamailio_ws_port=5066, kamailio_wss_port=5067
        )
    ):
        yield client


@pytest.fixture
async def in_the_image(tmp_path: Path) -> AsyncIterator[Client]:
    (tmp_path / "jssip.js").write_text("var JsSIP = {};")
    (tmp_path / "licences.txt").write_text("=== jssip")
    async for client in serving(
        Settings(phone_library_dir=tmp_path, kamailio_ws_port=7066, kamailio_wss_port=7067)
    ):
        yield client


async def test_the_page_may_connect_to_kamailio_and_to_nobody_else(in_the_image: Client) -> None:
    async with in_the_image.session.get(
        in_the_image.url + "/phone", headers={"Host": "phone.example:8080"}
    ) as reply:
        policy = reply.headers["Content-Security-Policy"]
        page = await reply.text()
    assert (reply.status, reply.content_type) == (200, "text/html")
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "connect-src 'self' wss://phone.example:7067 ws://phone.example:7066;" in policy
    assert "frame-ancestors 'none'" in policy
    assert reply.headers["Permissions-Policy"].startswith("microphone=(self)")
    # what the policy forbids would not work: no script, style or handler stands in the page itself
    assert "<style" not in page
    assert "style=" not in page
    assert " on" + "click" not in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize("host", ["evil; script-src *", "a b", "x'y", "", "a" * 300])
async def test_a_host_that_is_none_does_not_get_into_the_policy(in_the_image: Client, host: str) -> None:
    async with in_the_image.session.get(in_the_image.url + "/phone", headers={"Host": host}) as reply:
        assert reply.status in {200, 400}
        if reply.status == 200:
            policy = reply.headers["Content-Security-Policy"]
            assert "connect-src 'self' wss://127.0.0.1:7067 ws://127.0.0.1:7066;" in policy


async def test_the_page_is_told_where_to_connect_and_who_to_be(outside_of_the_image: Client) -> None:
    status, body = await outside_of_the_image.ask(
        "GET", "/phone/settings.json", headers={"Host": "[::1]:8080"}
    )
    assert (status, body) == (
        200,
        {
            "servers": {"wss": "wss://[::1]:5067", "ws": "ws://[::1]:5066"},
            "domain": "test.sip.example",
            "user": "test11",
        },
    )


async def test_a_proxys_address_takes_the_place_of_kamailios_own() -> None:
    async for client in serving(Settings(websocket_url="wss://phone.example/sip")):
        _, body = await client.ask("GET", "/phone/settings.json")
        assert body["servers"] == {"wss": "wss://phone.example/sip"}
        async with client.session.get(client.url + "/phone") as reply:
            assert "connect-src 'self' wss://phone.example/sip;" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize("url", ["https://phone.example", "wss://a;script-src *", "phone.example"])
def test_such_an_address_is_a_websockets(url: str) -> None:
    with pytest.raises(ValidationError, match="websocket_url"):
        Settings(websocket_url=url)


async def test_files_are_served_with_their_types_and_an_entity_tag(in_the_image: Client) -> None:
    for path, kind in (
        ("/phone/phone.js", "text/javascript"),
        ("/phone/phone.css", "text/css"),
        ("/phone/jssip.js", "text/javascript"),
        ("/phone/licences.txt", "text/plain"),
    ):
        async with in_the_image.session.get(in_the_image.url + path) as reply:
            assert (reply.status, reply.content_type) == (200, kind)
            assert await reply.text()
        again = {"If-None-Match": reply.headers["ETag"]}
        async with in_the_image.session.get(in_the_image.url + path, headers=again) as reply:
            assert reply.status == 304


async def test_without_its_library_the_page_is_there_and_the_library_says_where_it_comes_from(
    outside_of_the_image: Client,
) -> None:
    client = outside_of_the_image
    async with client.session.get(client.url + "/phone") as reply:
        assert reply.status == 200
    for name in ("jssip.js", "licences.txt"):
        async with client.session.get(f"{client.url}/phone/{name}") as reply:
            assert reply.status == 404
            assert "make up" in await reply.text()
