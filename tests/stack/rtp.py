"""The audio side of a test telephone: sends G.711 in real time, keeps every packet it hears."""

from __future__ import annotations

import asyncio
import struct
import time
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct("!BBHII")
EVENT_TYPE = 101


@dataclass(frozen=True)
class Heard:
    """A packet that arrived."""

    at: float
    type: int
    marker: bool
    sequence: int
    timestamp: int
    payload: bytes
    port: int = 0
    """Where it came from."""


class Ear(asyncio.DatagramProtocol):
    """A UDP port for RTP with payload types 0 and 101."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.port = 0
        self.sequence = 100
        self.timestamp = 5000
        self._transport: asyncio.DatagramTransport | None = None

    @classmethod
    async def open(cls, host: str = "127.0.0.1") -> Ear:
        _, ear = await asyncio.get_running_loop().create_datagram_endpoint(cls, local_addr=(host, 0))
        return ear

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # the port above another one is where that one's RTCP goes (types 192 to 223, RFC 5761)
        if len(data) < HEADER.size or 192 <= data[1] < 224:
            return
        _, second, sequence, timestamp, _ = HEADER.unpack_from(data)
        self.heard.append(
            Heard(
                time.monotonic(),
                second & 0x7F,
                bool(second & 0x80),
                sequence,
                timestamp,
                data[HEADER.size :],
                addr[1],
            )
        )

    def audio(self) -> bytes:
        """All the PCMU that was heard, in order of arrival."""
        return b"".join(packet.payload for packet in self.heard if packet.type == 0)

    def sdp(self, direction: str = "sendrecv", codecs: str = "0 101", host: str = "127.0.0.1") -> str:
        """An offer to hear on this port."""
        lines = [
            "v=0",
            f"o=test 1 1 IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {self.port} RTP/AVP {codecs}",
            "a=rtpmap:0 PCMU/8000",
            f"a=rtpmap:{EVENT_TYPE} telephone-event/8000",
            f"a=fmtp:{EVENT_TYPE} 0-15",
            f"a={direction}",
            "",
        ]
        return "\r\n".join(lines)

    def send(
        self, port: int, type_: int, payload: bytes, *, marker: bool = False, timestamp: int = -1
    ) -> None:
        assert self._transport is not None
        stamp = self.timestamp if timestamp < 0 else timestamp
        head = HEADER.pack(
            0x80, type_ | (0x80 if marker else 0), self.sequence & 0xFFFF, stamp & 0xFFFFFFFF, 0xCAFE
        )
        self.sequence += 1
        self._transport.sendto(head + payload, ("127.0.0.1", port))

    async def say(self, port: int, data: bytes, *, skip: frozenset[int] = frozenset()) -> None:
        """Send PCMU in real time; packets whose index is in ``skip`` are lost."""
        start = time.monotonic()
        for index in range(0, len(data), 160):
            if index // 160 in skip:
                self.sequence += 1
            else:
                self.send(port, 0, data[index : index + 160], marker=index == 0)
            self.timestamp += 160
            await asyncio.sleep(max(0.0, start + (index / 160 + 1) * 0.02 - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """Let the timestamps run on."""
        self.timestamp += int(seconds * 8000)

    async def press(self, port: int, digits: str) -> None:
        """Press keys of 100 ms with 60 ms between them, each end sent three times (RFC 4733)."""
        for digit in digits:
            code = "0123456789*#ABCD".index(digit)
            stamp = self.timestamp
            for step in range(1, 6):
                payload = struct.pack("!BBH", code, 10, step * 160)
                self.send(port, EVENT_TYPE, payload, marker=step == 1, timestamp=stamp)
                await asyncio.sleep(0.02)
            for _ in range(3):
                self.send(port, EVENT_TYPE, struct.pack("!BBH", code, 0x8A, 800), timestamp=stamp)
            self.timestamp += 800 + 480
            await asyncio.sleep(0.06)


def pressed(heard: list[Heard]) -> str:
    """The keys in telephone events, one for each timestamp."""
    digits: dict[int, str] = {}
    for packet in heard:
        if packet.type == EVENT_TYPE:
            digits.setdefault(packet.timestamp, "0123456789*#ABCD"[packet.payload[0]])
    return "".join(digits.values())


def noise(seconds: float, seed: int = 1) -> bytes:
    """PCMU that resembles nothing else: random codes of middling loudness."""
    codes = np.random.default_rng(seed).integers(0x20, 0x60, int(seconds * 8000))
    signs = np.random.default_rng(seed + 1).integers(0, 2, codes.size) * 0x80
    return (codes | signs).astype(np.uint8).tobytes()


def linear(data: bytes) -> NDArray[np.float64]:
    """PCMU as samples (ITU-T G.711 table 2), written out so that it shares nothing with what it tests."""
    samples = []
    for code in data:
        value = ~code & 0xFF
        magnitude = (((value & 0x0F) << 3) + 0x84 << ((value & 0x70) >> 4)) - 0x84
        samples.append(-magnitude if value & 0x80 else magnitude)
    return np.array(samples, dtype=np.float64)


def read_wav(path: Path) -> NDArray[np.float64]:
    """The samples of a WAV file, which must be 8 kHz, 16 bits, one channel."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (8000, 2, 1)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float64)


def match(recording: NDArray[np.float64], sent: NDArray[np.float64]) -> tuple[float, float]:
    """Best normalised correlation of ``sent`` within ``recording`` and where it begins, in seconds."""
    size = 1 << (recording.size + sent.size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(recording, size) * np.conj(np.fft.rfft(sent, size)), size)
    valid = max(1, recording.size - sent.size + 1)
    lag = int(np.argmax(product[:valid]))
    part = recording[lag : lag + sent.size]
    scale = float(np.linalg.norm(part) * np.linalg.norm(sent[: part.size])) or 1.0
    return float(np.dot(part, sent[: part.size])) / scale, lag / 8000
