"""Cutting a stream into frames, wherever the network cuts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from ringline.ari.connection import Connection
from ringline.ari.errors import AriError
from ringline.ari.frames import FrameCutter


def server_frame(opcode: Opcode, payload: bytes, *, fin: bool = True, mask: bool = False) -> bytes:
    return Frame(opcode, payload, fin).serialize(mask=mask)


payloads = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([125, 126, 127, 65535, 65536, 70000]).map(lambda size: b"x" * size),
)
frames = st.lists(
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.PING]), payloads).map(
        lambda pair: (pair[0], pair[1][:125] if pair[0] is Opcode.PING else pair[1])
    ),
    max_size=6,
)


@settings(deadline=None, max_examples=50)
@given(frames, st.lists(st.integers(min_value=1, max_value=5000), min_size=1, max_size=5))
def test_frames_come_out_whole_however_they_arrive(
    sent: list[tuple[Opcode, bytes]], sizes: list[int]
) -> None:
    stream = b"".join(server_frame(opcode, payload) for opcode, payload in sent)
    cutter = FrameCutter(100_000)
    got: list[tuple[bool, bytes]] = []
    position, turn = 0, 0
    while position < len(stream):
        size = sizes[turn % len(sizes)]
        got += cutter.feed(stream[position : position + size])
        position, turn = position + size, turn + 1

    assert got == [
        (True, payload) if opcode is Opcode.TEXT else (False, server_frame(opcode, payload))
        for opcode, payload in sent
    ]


def test_fragments_and_masked_frames_are_left_to_the_package() -> None:
    begin = server_frame(Opcode.TEXT, b"a", fin=False)
    end = server_frame(Opcode.CONT, b"b")
    masked = server_frame(Opcode.TEXT, b"c", mask=True)

    assert list(FrameCutter(100).feed(begin + end + masked)) == [
        (False, begin),
        (False, end),
        (False, masked),
    ]


def test_a_frame_that_is_too_long_is_handed_on_before_it_is_collected() -> None:
    cutter = FrameCutter(1000)
    head = server_frame(Opcode.TEXT, b"x" * 1001)[:10]

    assert list(cutter.feed(head)) == [(False, head)]
    assert list(cutter.feed(b"more")) == [(False, b"more")]


class Server:
    """Sends prepared bytes after the handshake, in pieces of a size."""

    def __init__(self, response: Callable[[str], bytes], pieces: int) -> None:
        self._response = response
        self._pieces = pieces

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        data = self._response(request)
        for start in range(0, len(data), self._pieces):
            writer.write(data[start : start + self._pieces])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()
        writer.close()


def accepted(request: str, rest: bytes) -> bytes:
    from websockets.utils import accept_key

    key = next(line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
    head = (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n"
    )
    return head.encode() + rest


async def receive(response: Callable[[str], bytes], pieces: int) -> tuple[list[bytes], str]:
    """Messages that arrive until the connection is gone, and why it is."""
    server = await asyncio.start_server(Server(response, pieces), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    messages: list[bytes] = []
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    try:
        async with asyncio.timeout(30):
            await Connection.open(f"ws://127.0.0.1:{port}/", "Basic x", messages.append, lost.set_result)
            return messages, await lost
    finally:
        server.close()


@pytest.mark.parametrize("pieces", [1, 7, 100_000])
async def test_messages_of_every_sort_arrive_in_order(pieces: int) -> None:
    """Frames right behind the handshake, a ping between fragments, an empty text, a farewell."""
    rest = (
        server_frame(Opcode.TEXT, b'{"a":1}')
        + server_frame(Opcode.TEXT, b"begin ", fin=False)
        + server_frame(Opcode.PING, b"?")
        + server_frame(Opcode.CONT, b"end")
        + server_frame(Opcode.TEXT, b"")
        + server_frame(Opcode.TEXT, "ä".encode() * 100)
        + server_frame(Opcode.CLOSE, b"\x03\xe9going")
    )
    messages, reason = await receive(lambda request: accepted(request, rest), pieces)

    assert messages == [b'{"a":1}', b"begin end", b"", "ä".encode() * 100]
    assert "1001" in reason


@pytest.mark.parametrize(
    "rest",
    [
        server_frame(Opcode.TEXT, b"masked", mask=True),
        b"\x83\x00",  # an opcode that does not exist
        b"\x81\x7f" + (1 << 40).to_bytes(8, "big"),  # a terabyte
        server_frame(Opcode.CONT, b"of nothing"),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_dropped(rest: bytes) -> None:
    messages, reason = await receive(lambda request: accepted(request, rest), 100)
    assert messages == []
    assert reason


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"x" * 100_000,
    ],
)
async def test_a_server_that_is_no_asterisk_is_an_error(response: bytes) -> None:
    with pytest.raises(AriError):
        await receive(lambda request: response, 50_000)
