"""The edge on 5060, where SIP messages name no port: the other tests run on ports that no user has."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping

import pytest

from ringline.traces.dialogs import Sockets, messages
from ringline.traces.receiver import Receiver
from tests.stack import edge as edges
from tests.stack.edge import Edge, asterisk_headers
from tests.stack.product import eventually
from tests.stack.sip import reply

DEFAULT = 5060


def _is_free(port: int) -> bool:
    with socket.socket(type=socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        # as Kamailio does, for which a closed connection of a moment ago is no reason not to start
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="module")
async def copies() -> AsyncIterator[tuple[Receiver, list[bytes]]]:
    taken: list[bytes] = []
    receiver = Receiver(0, taken.append)
    receiver.open()
    yield receiver, taken
    receiver.close()


@pytest.fixture(scope="module")
async def edge(env: Mapping[str, str], copies: tuple[Receiver, list[bytes]]) -> AsyncIterator[Edge]:
    """On the default port, unless a stack of the user's own is there; then the same holds on another one."""
    port = DEFAULT if _is_free(DEFAULT) else 0
    running = await edges.start(env, port=port, RINGLINE_HEP_PORT=str(copies[0].port))
    try:
        yield running
    finally:
        await edges.stop(running, env)


async def test_each_message_of_a_call_is_copied_once(
    edge: Edge, copies: tuple[Receiver, list[bytes]]
) -> None:
    provider, known = await edge.provider(reply(200, after=(180,)))
    await edge.route(known, target="all")
    begun = edge.call("+15559876543", *asterisk_headers())
    answer = await edge.asterisk.final(begun.call_id)
    assert answer.status == 200
    edge.acknowledge(begun, answer)
    await provider.request("ACK", begun.call_id)
    begun.next()
    edge.asterisk.send(begun.text("BYE"), edge.port)
    assert (await edge.asterisk.final(begun.call_id, "BYE")).status == 200
    sockets = Sockets(["127.0.0.1"], {edge.port: "udp"})

    def seen() -> Counter[tuple[str, str, int]]:
        mine = [one for one in copies[1] if begun.call_id.encode() in one]
        return Counter((one.direction, one.side, one.status or one.method) for one in messages(mine, sockets))

    wanted = Counter(
        [
            *(("in", "caller", what) for what in ("INVITE", "ACK", "BYE")),
            *(("out", "callee", what) for what in ("INVITE", "ACK", "BYE")),
            *(("in", "callee", what) for what in (180, 200, 200)),
            *(("out", "caller", what) for what in (180, 200, 200)),
        ]
    )

    async def whole() -> bool:
        return not wanted - seen()

    await eventually(whole, f"all copies of {wanted}")
    await asyncio.sleep(0.3)
    # 100 goes one hop
    assert +Counter({key: count for key, count in seen().items() if key[2] != 100}) == wanted
