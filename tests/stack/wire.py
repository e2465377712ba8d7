"""SIP as it is on the wire: the packets of the loopback interface that come from or go to one UDP port.

The listening runs in a container of its own, which may open raw sockets whoever runs the tests.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.stack.containers import docker
from tests.stack.product import eventually
from tests.stack.sip import Message

_LISTENER = """
import json, socket, struct, sys
wanted = int(sys.argv[1])
wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
wire.bind(("lo", 0x0800))
print("{}", flush=True)
while True:
    packet, where = wire.recvfrom(65535)
    if where[2] == socket.PACKET_OUTGOING or packet[9] != 17:  # loopback shows each packet twice
        continue
    head = (packet[0] & 15) * 4
    source, target, length, _ = struct.unpack_from("!HHHH", packet, head)
    if wanted in (source, target):
        text = packet[head + 8 : head + length].decode(errors="replace")
        print(json.dumps({"source": source, "target": target, "text": text}), flush=True)
"""


@dataclass(frozen=True)
class Packet:
    """One SIP message between two UDP ports of this machine."""

    source: int
    target: int
    message: Message


@dataclass
class Wire:
    """What was heard so far."""

    packets: list[Packet] = field(default_factory=list)

    def dialog(self, number: str) -> list[Packet]:
        """Every message of the call to ``number``, in order."""
        ids = {
            packet.message.one("call-id")
            for packet in self.packets
            if packet.message.start.startswith(f"INVITE sip:{number}@")
        }
        return [packet for packet in self.packets if packet.message.one("call-id") in ids]

    async def wait(self, number: str, wanted: Callable[[Message], bool], within: float = 30.0) -> Message:
        """The first message of the call to ``number`` that is wanted."""

        def look() -> Message | None:
            return next((packet.message for packet in self.dialog(number) if wanted(packet.message)), None)

        found: Message = await eventually(look, f"a message of the call to {number}", within=within)
        return found


@asynccontextmanager
async def listen(env: Mapping[str, str], port: int) -> AsyncIterator[Wire]:
    """Listen to ``port`` until the block ends."""
    name = f"ringline-wire-{secrets.token_hex(4)}"
    image = f"ringline/ringline:{env.get('RINGLINE_IMAGE_TAG', 'dev')}"
    process = await asyncio.create_subprocess_exec(
        *("docker", "run", "--rm", "--name", name, "--network", "host", "--user", "0"),
        *("--cap-drop", "ALL", "--cap-add", "NET_RAW", "--entrypoint", "python", image),
        *("-c", _LISTENER, str(port)),
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stdout is not None
    output = process.stdout
    wire = Wire()

    async def read() -> None:
        async for line in output:
            heard = json.loads(line)
            message = Message.parse(heard["text"].encode(), ("127.0.0.1", heard["source"]))
            if " " in message.start:  # a keep-alive is no message
                wire.packets.append(Packet(heard["source"], heard["target"], message))

    reader: asyncio.Task[None] | None = None
    try:
        async with asyncio.timeout(60):
            assert await output.readline() == b"{}\n", "the listener did not start"
        reader = asyncio.create_task(read())
        yield wire
    finally:
        await docker("rm", "--force", name)
        await process.wait()
        if reader is not None:
            await reader
