"""The far side of outgoing calls: a SIP user agent that answers at once and knows when each INVITE came.

The time is the kernel's (SO_TIMESTAMPNS), taken as the packet arrived: how busy this process is does not matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterable

SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("ll")
_COPIED = ("via", "record-route", "from", "call-id", "cseq")
_SHORT = {"v": "via", "f": "from", "t": "to", "i": "call-id"}


class FarSide:
    """Listens on one UDP address. ``arrivals``: dialled number to the epoch seconds of its first INVITE."""

    def __init__(self, address: str, port: int) -> None:
        self.arrivals: dict[str, float] = {}
        self.hung_up = 0
        self._contact = f"<sip:far@{address}:{port}>"
        self._address = address
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self._socket.setblocking(False)
        self._socket.bind((address, port))
        # media go to a socket that nobody reads: the kernel drops what does not fit, and sends no ICMP
        self._media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._media.bind((address, 0))

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._media.close()

    def _readable(self) -> None:
        for _ in range(64):
            try:
                data, ancillary, _, sender = self._socket.recvmsg(65536, 64)
            except (BlockingIOError, ConnectionError):
                return
            with contextlib.suppress(ValueError, IndexError, BlockingIOError):
                answer = self._answer(data.decode("utf-8", "replace"), _moment(ancillary))
                if answer:
                    self._socket.sendto(answer.encode(), sender)

    def _answer(self, message: str, moment: float) -> str:
        head = message.split("\r\n\r\n", 1)[0].split("\r\n")
        method, uri, _ = head[0].split(" ", 2)
        if method == "INVITE":
            number = uri.partition(":")[2].partition("@")[0].partition(";")[0]
            self.arrivals.setdefault(number, moment)
            return self._ok(head[1:], self._description())
        if method == "BYE":
            self.hung_up += 1
        return "" if method == "ACK" else self._ok(head[1:], "")

    def _ok(self, headers: Iterable[str], body: str) -> str:
        lines = ["SIP/2.0 200 OK"]
        for header in headers:
            name = header.partition(":")[0].strip().lower()
            name = _SHORT.get(name, name)
            if name == "to":
                lines.append(header if ";tag=" in header else f"{header};tag=far")
            elif name in _COPIED:
                lines.append(header)
        lines += [f"Contact: {self._contact}", f"Content-Length: {len(body)}"]
        if body:
            lines.insert(-1, "Content-Type: application/sdp")
        return "\r\n".join(lines) + "\r\n\r\n" + body

    def _description(self) -> str:
        port = self._media.getsockname()[1]
        return (
            f"v=0\r\no=- 1 1 IN IP4 {self._address}\r\ns=-\r\nc=IN IP4 {self._address}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
        )


def _moment(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
            return float(seconds + nanoseconds / 1e9)
    raise ValueError("the kernel told no time")
