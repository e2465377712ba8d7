"""The yardstick of the API: an aiohttp handler that does nothing but read a body and answer one.

``python -m bench.bare PORT``.
"""

from __future__ import annotations

import sys

import orjson
import uvloop
from aiohttp import web

_ANSWER = {"result": [{"id": "00000000-0000-0000-0000-000000000000", "name": "", "detail": ""}]}


async def answer(request: web.Request) -> web.Response:
    """Parse what came, and answer a small JSON."""
    if request.can_read_body:
        orjson.loads(await request.read())
    return web.Response(body=orjson.dumps(_ANSWER), content_type="application/json")


def main() -> None:
    """Serve on loopback until the process is ended."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    uvloop.install()
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)


if __name__ == "__main__":
    main()
