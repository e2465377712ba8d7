"""The RTP stream of one call: what is heard goes to a recording, keys to a listener, audio is sent by the clock."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import structlog

from ringline.sandbox.audio import g711, rtp, tones
from ringline.sandbox.audio.pacer import TICK, Pacer
from ringline.sandbox.audio.ports import Ports
from ringline.sandbox.audio.recording import Recording, Timeline
from ringline.sandbox.ua.sdp import Audio

log = structlog.get_logger(__name__)

KEY_MILLISECONDS = 120
KEY_PAUSE_MILLISECONDS = 100
BIND_TRIES = 20


@dataclass(frozen=True, slots=True)
class _Key:
    """One packet of a telephone event that is being sent."""

    code: int
    duration: int
    end: bool


class Session(asyncio.DatagramProtocol):
    """One UDP socket for audio.

    Packets count only when they come from the address that the SDP named, and from one port: the one it named, or,
    until something comes from there, the first that sends (as telephones behind a NAT do).
    """

    def __init__(self, host: str, ports: Ports, pacer: Pacer, *, silence: bool) -> None:
        """``silence``: send 20 ms of it whenever there is nothing else to say, as a telephone network does."""
        self.host = host
        self.port = 0
        self.digits: list[str] = []
        self.on_digit: Callable[[str], None] | None = None
        self.packets_received = 0
        self.packets_sent = 0
        self._ports = ports
        self._pacer = pacer
        self._silence = silence
        self._transport: asyncio.DatagramTransport | None = None
        self._audio: Audio | None = None
        self._remote = ("", 0)
        self._source: tuple[str, int] | None = None
        self._keys = rtp.KeyPresses()
        self._event_seen: tuple[int, int] | None = None
        self._recording: Recording | None = None
        self._timeline = Timeline()
        self._started = 0.0
        self._echo = False
        self._queue: deque[bytes | _Key] = deque()
        self._drained: list[asyncio.Future[None]] = []
        self._sequence = secrets.randbelow(1 << 15)
        self._timestamp = secrets.randbelow(1 << 31)
        self._ssrc = secrets.randbits(32)
        self._talking = False
        self._last_tick = 0.0
        self._stopped = False

    async def open(self) -> None:
        """Bind a port of the range, once; ``Exhausted`` or ``OSError`` where none can be had."""
        if self.port:
            return
        loop = asyncio.get_running_loop()
        for attempt in range(BIND_TRIES):
            port = self._ports.take()
            try:
                await loop.create_datagram_endpoint(lambda: self, local_addr=(self.host, port))
            except OSError:
                self._ports.give_back(port)
                if attempt == BIND_TRIES - 1:
                    raise
            else:
                self.port = port
                return

    def close(self) -> None:
        """Stop sending and receiving, finish the recording, return the port. Safe to call twice."""
        self._pacer.remove(self)
        self._wake()
        if self._transport is not None:
            self._transport.close()
            self._transport = None
        if self._recording is not None:
            recording, self._recording = self._recording, None
            try:
                recording.close(self._elapsed())
            except OSError as error:
                log.error("carrier_recording_failed", path=str(recording.path), error=str(error))
        if self.port:
            self._ports.give_back(self.port)
            self.port = 0

    def connect(self, audio: Audio) -> None:
        """What the other side's description says, at the beginning of a call and at each change."""
        if self._audio is None or (self._audio.address, self._audio.port) != (audio.address, audio.port):
            self._source = None
        self._audio = audio
        self._remote = (str(audio.address), audio.port)

    def start(self, recording: Recording | None) -> None:
        """The call is answered: time zero of the recording is now."""
        self._recording = recording
        self._started = asyncio.get_running_loop().time()
        if self._silence:
            self._pacer.add(self)

    def stop(self) -> None:
        """Say nothing more: drop what is still to be sent; whoever waits for it goes on."""
        self._stopped = True
        self._queue.clear()
        self._wake()

    def echo(self) -> None:
        """Send back every packet of audio that arrives, instead of anything else.

        Keys are heard and not sent back: while Asterisk sends a key, it sends its next packet for each packet it
        receives, so that a reflected one makes a storm of them.
        """
        self._echo = True
        self._pacer.remove(self)
        self._queue.clear()
        self._wake()

    async def play(self, samples: g711.Linear) -> None:
        """Send audio in real time and return when its last packet has gone out."""
        if self._stopped:
            return
        law = self._audio.law if self._audio is not None else "PCMU"
        data = g711.encode(law, samples)
        for start in range(0, len(data), g711.FRAME):
            frame = data[start : start + g711.FRAME]
            self._queue.append(frame + g711.SILENCE[law][len(frame) :])
        await self._sent()

    async def press(self, digits: str) -> None:
        """Press keys, 120 ms each with 100 ms between them; as tones where the other side takes no events."""
        if self._audio is None:
            return
        silence = g711.SILENCE[self._audio.law]
        for digit in digits:
            if self._stopped:
                return
            if self._audio.event_payload is None:
                await self.play(tones.key(digit, KEY_MILLISECONDS))
            else:
                code = rtp.DIGITS.index(digit)
                durations = range(g711.FRAME, KEY_MILLISECONDS * g711.RATE // 1000 + 1, g711.FRAME)
                self._queue.extend(_Key(code, duration, duration == durations[-1]) for duration in durations)
            self._queue.extend([silence] * (KEY_PAUSE_MILLISECONDS // 20))
            await self._sent()

    # sending

    def tick(self) -> None:
        """Send what is due for these 20 ms."""
        if self._queue:
            item = self._queue.popleft()
            if isinstance(item, _Key):
                self._send_key(item)
            else:
                self._send_audio(item)
            if not self._queue:
                self._wake()
                if not self._silence:
                    self._pacer.remove(self)
        elif self._silence and self._audio is not None:
            self._send_audio(g711.SILENCE[self._audio.law])
        self._timestamp += g711.FRAME
        self._last_tick = asyncio.get_running_loop().time()

    def _send_audio(self, payload: bytes) -> None:
        if self._audio is None or self._audio.direction in ("sendonly", "inactive"):
            self._talking = False
            return
        self._send(self._audio.payload, self._timestamp, payload, marker=not self._talking)
        self._talking = True

    def _send_key(self, key: _Key) -> None:
        if self._audio is None or self._audio.event_payload is None:
            return
        # Every packet of a press carries the timestamp of its beginning.
        timestamp = self._timestamp - (key.duration - g711.FRAME)
        payload = rtp.event_payload(key.code, key.duration, end=key.end)
        for copy in range(3 if key.end else 1):
            first = key.duration == g711.FRAME and copy == 0
            self._send(self._audio.event_payload, timestamp, payload, marker=first)

    def _send(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        if self._transport is None or self._audio is None:
            return
        packet = rtp.pack(payload_type, self._sequence, timestamp, self._ssrc, payload, marker=marker)
        self._sequence += 1
        self.packets_sent += 1
        self._transport.sendto(packet, self._source or self._remote)

    async def _sent(self) -> None:
        idle = asyncio.get_running_loop().time() - self._last_tick
        if self._last_tick and idle > 2 * TICK:  # timestamps go on through a pause (RFC 3550 section 5.1)
            self._timestamp += int(idle / TICK) * g711.FRAME
            self._talking = False
        self._pacer.add(self)
        if self._queue and not self._stopped:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drained.append(future)
            await future

    def _wake(self) -> None:
        for future in self._drained:
            if not future.done():
                future.set_result(None)
        self._drained.clear()

    # receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def error_received(self, exc: Exception) -> None:
        log.debug("carrier_rtp_socket_error", error=str(exc))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        audio = self._audio
        if audio is None or addr[0] != self._remote[0]:
            return
        packet = rtp.parse(data)
        if packet is None or packet.payload_type not in (audio.payload, audio.event_payload):
            return
        if self._source is None or addr[1] == audio.port:
            self._source = (addr[0], addr[1])
        if self._source[1] != addr[1]:  # someone else's, or a late one of the port's last call
            return
        self.packets_received += 1
        if packet.payload_type == audio.event_payload:
            self._heard_key(packet)
        else:
            self._heard_audio(packet, audio.law)
            if self._echo and audio.direction not in ("sendonly", "inactive"):
                self._send(packet.payload_type, packet.timestamp, packet.payload, marker=packet.marker)

    def _heard_audio(self, packet: rtp.Packet, law: str) -> None:
        if self._recording is None:
            return
        position = self._timeline.place(
            packet.ssrc, packet.sequence, packet.timestamp, len(packet.payload), self._elapsed()
        )
        if position is not None:
            self._record(position, g711.decode(law, packet.payload))

    def _heard_key(self, packet: rtp.Packet) -> None:
        digit = self._keys.feed(packet)
        if digit:
            self.digits.append(digit)
            if self.on_digit is not None:
                self.on_digit(digit)
        event = rtp.parse_event(packet.payload)
        press = (packet.ssrc, packet.timestamp)
        if event is not None and event.end and self._event_seen != press:
            # The key took the place of audio for this long.
            self._event_seen = press
            self._timeline.place(
                packet.ssrc, packet.sequence, packet.timestamp, event.duration, self._elapsed(), key=True
            )
        else:
            self._timeline.pass_over(packet.sequence)

    def _record(self, position: int, pcm: bytes) -> None:
        try:
            if self._recording is not None:
                self._recording.write(position, pcm)
        except OSError as error:
            log.error("carrier_recording_failed", error=str(error))
            recording, self._recording = self._recording, None
            if recording is not None:
                with contextlib.suppress(OSError):
                    recording.close(0)

    def _elapsed(self) -> int:
        """Samples since the answer."""
        return int((asyncio.get_running_loop().time() - self._started) * g711.RATE)
