"""Events as lines, and as signed requests."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from standardwebhooks import Webhook

from ringline.listening import forwarding
from ringline.listening.forwarding import Forwarder
from ringline.listening.showing import facts, line

CALL = {
    "id": "019c0000-0000-7000-8000-000000000001",
    "type": "call_hangup",
    "timestamp": "2026-11-22T12:03:04.123456Z",
    "resource": "call",
    "resource_id": "1a2b3c4d-0000-4000-8000-000000000000",
    "sequence": 5,
    "data": {
        "source": {"type": "tel", "target": "+15551234567"},
        "destination": {"type": "tel", "target": "+15559876543"},
        "status": "hangup",
        "hangup_reason": "normal",
        "hangup_by": "remote",
        "failures": [],
    },
}


def test_a_call_in_one_line() -> None:
    assert line(CALL) == (
        "12:03:04.123  call_hangup               call 1a2b3c4d  +15551234567 -> +15559876543  normal, by remote"
    )


def test_colours_tell_how_it_ended_and_are_over_at_the_end_of_what_they_colour() -> None:
    failed = {**CALL, "data": {**CALL["data"], "hangup_reason": "failed"}}  # type: ignore[dict-item]
    assert "\x1b[31mcall_hangup" in line(failed, colours=True)
    assert line(failed, colours=True).count("\x1b[0m") == 3


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({}, ""),
        (["no", "object"], ""),
        ({"text": "evil\x1b[2J\n"}, "evil?[2J?"),
        ({"number": "+15551234567", "status": "active"}, "+15551234567  active"),
        (
            {
                "source": {"target": "+1"},
                "targets": [{"destination": {"target": "+2"}}, {"destination": {"target": "+3"}}],
            },
            "+1 -> +2 and 1 more",
        ),
        ({"failures": [{"reason": "QUEUE_NOT_FOUND", "message": "no queue"}]}, "QUEUE_NOT_FOUND: no queue"),
        ({"text": "x" * 500}, "x" * 119 + "…"),
    ],
)
def test_facts(data: Any, shown: str) -> None:
    assert facts({"data": data}) == shown


@pytest.mark.parametrize(
    "secret", ["", "abc", "whsec_", "whsec_!!!", "whsec_YWJj", "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo="]
)
def test_what_is_no_secret(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        forwarding.key(secret)


async def test_what_is_forwarded_is_a_webhook_and_its_fate_is_told() -> None:
    got: list[tuple[str, dict[str, str]]] = []
    answers = iter((204, 500))

    async def hook(request: web.Request) -> web.Response:
        got.append((await request.text(), dict(request.headers)))
        return web.Response(status=next(answers))

    app = web.Application()
    app.router.add_post("/hook", hook)
    secret, body = forwarding.new_secret(), json.dumps(CALL).encode()
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        forwarder = Forwarder(session, str(server.make_url("/hook")), secret)
        assert (await forwarder.post("event-1", body)).startswith("204 in ")
        assert (await forwarder.post("event-2", body)).startswith("500 in ")
        url = str(server.make_url("/hook"))
    assert forwarder.failures == 1
    text, headers = got[0]
    lowered = {name.lower(): value for name, value in headers.items()}
    assert Webhook(secret).verify(text, lowered) == CALL
    assert lowered["webhook-id"] == "event-1"
    async with aiohttp.ClientSession() as session:
        nobody = Forwarder(session, url, secret)
        assert "onnect" in await nobody.post("event-3", body)
        assert nobody.failures == 1
