"""Requests over WebSockets: answers, errors, order, limits of time."""

from __future__ import annotations

import asyncio
import gc

import pytest
from structlog.testing import capture_logs

from ringline.ari import Client, Conflict, ConnectionLost, NotFound, RequestTimeout, Unauthorized

from .fake_asterisk import Answer, Call, FakeAsterisk


async def test_an_answer_is_decoded_json_and_204_is_none(asterisk: FakeAsterisk, client: Client) -> None:
    asterisk.route("POST", "channels/c1/answer", lambda call: (204, None))

    assert await client.request("GET", "asterisk/ping") == {"ping": "pong"}
    assert await client.request("POST", "channels/c1/answer") is None


async def test_query_and_body_travel_as_asterisk_reads_them(asterisk: FakeAsterisk, client: Client) -> None:
    asterisk.route("POST", "channels", lambda call: (200, {"id": "c1"}))

    await client.request(
        "POST",
        "channels",
        query={
            "endpoint": "PJSIP/kamailio/sip:+49@x.test",
            "timeout": 30,
            "formats": ["ulaw", "slin16"],
            "no": None,
        },
        body={"variables": {"PJSIP_HEADER(add,X-A)": "ä"}},
    )

    call = asterisk.requests[-1]
    assert call.query == {
        "endpoint": "PJSIP/kamailio/sip:+49@x.test",
        "timeout": "30",
        "formats": "ulaw,slin16",
    }
    assert call.body == {"variables": {"PJSIP_HEADER(add,X-A)": "ä"}}


async def test_errors_carry_status_message_method_and_uri(asterisk: FakeAsterisk, client: Client) -> None:
    asterisk.route("POST", "channels/c1/play", lambda call: (409, {"message": "Channel not in Stasis"}))

    with pytest.raises(NotFound):
        await client.request("DELETE", "channels/none")
    with pytest.raises(Conflict) as caught:
        await client.request("POST", "channels/c1/play")

    error = caught.value
    assert (error.status, error.message, error.method, error.uri) == (
        409,
        "Channel not in Stasis",
        "POST",
        "channels/c1/play",
    )


async def test_requests_of_one_key_share_a_socket_and_keep_their_order(
    asterisk: FakeAsterisk, client: Client
) -> None:
    async def slow_first(call: Call) -> Answer:
        if call.path.endswith("0"):
            await asyncio.sleep(0.05)
        return 204, None

    for number in range(20):
        asterisk.route("POST", f"thing/{number}", slow_first)

    futures = [client.send("POST", f"thing/{number}", key="call-1") for number in range(20)]
    await asyncio.gather(*futures)

    served = [call for call in asterisk.requests if call.path.startswith("thing/")]
    assert [call.path for call in served] == [f"thing/{number}" for number in range(20)]
    assert len({call.socket for call in served}) == 1
    assert served[0].socket.startswith("app-req-")


async def test_different_keys_spread_over_the_request_sockets(asterisk: FakeAsterisk, client: Client) -> None:
    await asyncio.gather(*(client.send("GET", "asterisk/ping", key=str(number)) for number in range(64)))

    assert {call.socket for call in asterisk.requests if call.socket != "app"} >= {"app-req-1", "app-req-2"}


async def test_an_unanswered_request_times_out_and_others_go_on(
    asterisk: FakeAsterisk, client: Client
) -> None:
    async def never(call: Call) -> Answer:
        await asyncio.sleep(30)
        return 204, None

    asterisk.route("POST", "slow/1", never)

    with pytest.raises(RequestTimeout):
        await client.request("POST", "slow/1", timeout=0.2, key="a")
    assert client.stats.requests_timed_out == 1


async def test_a_failure_that_nobody_awaits_makes_no_noise(client: Client) -> None:
    unraised: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unraised.append(context))
    try:
        client.send("DELETE", "channels/none")
        await client.request("GET", "asterisk/ping")
        await asyncio.sleep(0.05)
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)

    assert unraised == []
    assert client.stats.requests_failed == 1


async def test_tell_logs_what_failed_unless_it_was_expected(asterisk: FakeAsterisk, client: Client) -> None:
    asterisk.route("POST", "channels/c1/play", lambda call: (500, {"message": "Allocation failed"}))

    with capture_logs() as lines:
        client.tell("DELETE", "channels/none")
        client.tell("POST", "channels/c1/play")
        async with asyncio.timeout(30):
            while client.stats.requests_failed < 2:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    warnings = [line for line in lines if line["event"] == "ari_request_failed"]
    assert [line["uri"] for line in warnings] == ["channels/c1/play"]


async def test_requests_in_flight_fail_at_once_when_the_socket_dies(
    asterisk: FakeAsterisk, client: Client
) -> None:
    async def never(call: Call) -> Answer:
        await asyncio.sleep(30)
        return 204, None

    asterisk.route("POST", "slow/1", never)
    future = client.send("POST", "slow/1")
    await asyncio.sleep(0.05)

    asterisk.cut()

    async with asyncio.timeout(20):
        with pytest.raises(ConnectionLost):
            await future


async def test_a_wrong_password_is_an_error_at_start(asterisk: FakeAsterisk) -> None:
    client = Client(asterisk.url, "test", "wrong", "app")
    try:
        with pytest.raises(Unauthorized):
            await client.start(timeout=5)
    finally:
        await client.close()


async def test_an_asterisk_without_rest_over_websocket_is_served_by_http(
    asterisk: FakeAsterisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ringline.ari.sockets.PROBE_SECONDS", 0.5)
    asterisk.rest_over_websocket = False
    asterisk.route("POST", "channels/c1/answer", lambda call: (204, None))
    async with Client(asterisk.url, "test", "secret", "app") as client:
        await client.request("POST", "channels/c1/answer")
        with pytest.raises(NotFound):
            await client.request("POST", "channels/c2/answer")

    assert asterisk.requests[-1].socket == ""


async def test_binary_answers_come_by_http_and_have_a_limit(asterisk: FakeAsterisk, client: Client) -> None:
    asterisk.files["recordings/stored/a%2Fb/file"] = b"RIFF" * 100

    assert await client.download("recordings/stored/a%2Fb/file") == b"RIFF" * 100
    with pytest.raises(Exception, match="larger than 10 bytes"):
        await client.download("recordings/stored/a%2Fb/file", max_bytes=10)
    with pytest.raises(NotFound):
        await client.download("recordings/stored/none/file")
