"""CPU that the ARI client costs per call, without an Asterisk: six events in, three requests out and answered.

    python -m bench.ari_micro [calls]

A server in a process of its own speaks Asterisk's frames as fast as it can; measured is the CPU of this process
alone, per call, beside the floor: decoding the same bytes and encoding the same requests with nothing around them.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import sys
import time
from multiprocessing.connection import Connection as Pipe
from typing import Any
from urllib.parse import urlsplit

import orjson
import uvloop
from aiohttp import WSMsgType, web

from ringline.ari import Client

EVENTS = 6
CONCURRENT = 50

CHANNEL = {
    "name": "PJSIP/kamailio-00000001",
    "state": "Up",
    "protocol_id": "3c26700857a8-g2ir5a8mlk1s",
    "caller": {"name": "", "number": "+15551234567"},
    "connected": {"name": "", "number": ""},
    "accountcode": "",
    "dialplan": {
        "context": "edge",
        "exten": "+15552222222",
        "priority": 1,
        "app_name": "Stasis",
        "app_data": "x",
    },
    "creationtime": "2026-11-21T22:03:13.926+0000",
    "language": "en",
}


def events(channel_id: str) -> list[str]:
    """What Asterisk sends of one prompt call, once the filter is set."""
    channel = {"id": channel_id, **CHANNEL}
    common = {
        "timestamp": "2026-11-21T22:03:13.926+0000",
        "asterisk_id": "02:fc:00:00:00:01",
        "application": "app",
    }
    playback = {
        "id": f"p-{channel_id}",
        "media_uri": "sound:x",
        "target_uri": f"channel:{channel_id}",
        "state": "done",
    }
    bodies: list[dict[str, Any]] = [
        {"type": "StasisStart", "args": ["inbound"], "channel": channel},
        {"type": "ChannelStateChange", "channel": channel},
        {"type": "PlaybackFinished", "playback": playback},
        {"type": "ChannelHangupRequest", "cause": 32, "soft": True, "channel": channel},
        {"type": "StasisEnd", "channel": channel},
        {"type": "ChannelDestroyed", "cause": 16, "cause_txt": "Normal Clearing", "channel": channel},
    ]
    return [json.dumps({**body, **common}) for body in bodies]


def serve(pipe: Pipe) -> None:
    """The other side: answers every request, and a request for ``call/ID`` with that call's events."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("ari",), compress=False)
        await socket.prepare(request)
        sockets[request.query["app"]] = socket
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            frame = orjson.loads(message.data)
            path = urlsplit(frame["uri"]).path
            body = f'{{"id":"{path}"}}'
            answer = {
                "type": "RESTResponse",
                "transaction_id": "",
                "request_id": frame["request_id"],
                "status_code": 200,
                "reason_phrase": "OK",
                "uri": path,
                "content_type": "application/json",
                "message_body": body,
                "application": request.query["app"],
            }
            await socket.send_str(json.dumps(answer))
            if path.startswith("call/"):
                for event in events(path.removeprefix("call/")):
                    await sockets["app"].send_str(event)
        return socket

    async def filtered(request: web.Request) -> web.Response:
        return web.json_response({})

    async def main() -> None:
        app = web.Application()
        app.router.add_get("/ari/events", handle)
        app.router.add_put("/ari/applications/app/eventFilter", filtered)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    sockets: dict[str, web.WebSocketResponse] = {}
    uvloop.run(main())


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(port: int, calls: int, request_sockets: int) -> tuple[float, float]:
    """CPU seconds and wall seconds of ``calls`` calls."""
    client = Client(
        f"http://127.0.0.1:{port}", "u", "p", "app", request_sockets=request_sockets, describe=False
    )
    await client.start(timeout=10)
    ended: dict[str, asyncio.Future[None]] = {}

    def on_event(event: dict[str, Any]) -> None:
        if event["type"] == "StasisStart":
            channel_id = event["channel"]["id"]
            client.send("POST", f"channels/{channel_id}/answer", key=channel_id)
            client.send(
                "POST",
                f"channels/{channel_id}/play",
                body={"media": ["sound:x"], "playbackId": f"p-{channel_id}"},
                key=channel_id,
            )
        elif event["type"] == "ChannelDestroyed":
            ended.pop(event["channel"]["id"]).set_result(None)

    client.on_event("*", on_event)
    loop = asyncio.get_running_loop()

    async def one(number: int) -> None:
        channel_id = f"1795299061.{number}"
        ended[channel_id] = future = loop.create_future()
        client.send("POST", f"call/{channel_id}", key=channel_id)
        await future

    async def several(first: int, last: int) -> None:
        for number in range(first, last):
            await one(number)

    used, began = cpu(), time.perf_counter()
    share = calls // CONCURRENT
    await asyncio.gather(*(several(index * share, (index + 1) * share) for index in range(CONCURRENT)))
    while client.in_flight:
        await asyncio.sleep(0.01)
    result = cpu() - used, time.perf_counter() - began
    assert client.stats.events >= EVENTS * share * CONCURRENT
    await client.close()
    return result


def floor(calls: int) -> float:
    """CPU seconds of the JSON alone."""
    raw = [event.encode() for event in events("1795299061.1")]
    answer = b'{"type":"RESTResponse","request_id":"1","status_code":200,"message_body":"{}"}'
    request = {"type": "RESTRequest", "request_id": "1", "method": "POST", "uri": "channels/1/play"}
    used = cpu()
    for _ in range(calls):
        for event in raw:
            orjson.loads(event)
        for _ in range(3):
            orjson.loads(answer)
            orjson.dumps(request)
    return cpu() - used


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    try:
        print(f"floor (JSON only)              {floor(calls) / calls * 1e3:6.3f} ms CPU a call")
        for name, run in (("uvloop", uvloop.run), ("asyncio", asyncio.run)):
            for sockets in (0, 4):
                used, wall = run(measure(port, calls, sockets))
                print(
                    f"{name:8} {sockets} request sockets    {used / calls * 1e3:6.3f} ms CPU a call, "
                    f"{calls / wall:6.0f} calls/s, {calls * EVENTS / wall:7.0f} events/s"
                )
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
