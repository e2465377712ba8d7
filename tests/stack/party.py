"""A telephone outside that is called by its SIP address, hums a tone of its own and keeps what it hears."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any, cast

import numpy as np

from ringline.sandbox.audio import g711
from tests.stack.audio import RATE, Samples
from tests.stack.rtp import Ear, linear
from tests.stack.sip import Message, Phone

HOST = "127.0.0.3"
"""The one address of this machine that the test instance may call as a SIP destination."""
_FRAME = 160


class Party:
    """Answers the first INVITE at once and hums ``frequency`` (Hz) from then on."""

    def __init__(self, phone: Phone, ear: Ear, frequency: float) -> None:
        self.frequency = frequency
        self.phone = phone
        self.ear = ear
        self.silent = False
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()
        self._port = 0
        self._invite: Message | None = None
        self._humming: asyncio.Task[None] | None = None
        phone.behaviour = self._behave

    @classmethod
    async def open(cls, frequency: float) -> Party:
        loop = asyncio.get_running_loop()
        _, ear = await loop.create_datagram_endpoint(Ear, local_addr=(HOST, 0))
        return cls(await Phone.open(host=HOST), ear, frequency)

    async def close(self) -> None:
        if self._humming is not None:
            self._humming.cancel()
            await asyncio.gather(self._humming, return_exceptions=True)
        self.phone.close()
        self.ear.close()

    @property
    def address(self) -> dict[str, Any]:
        """The destination that reaches this telephone."""
        return {"type": "sip", "target": f"party@{HOST}:{self.phone.address[1]}"}

    def hang_up(self) -> None:
        """BYE, in the dialog that the INVITE has made."""
        invite = self._invite
        assert invite is not None
        contact = re.search(r"<([^>]+)>", invite.one("contact"))
        assert contact is not None
        lines = [
            f"BYE {contact[1]} SIP/2.0",
            f"Via: SIP/2.0/UDP {HOST}:{self.phone.address[1]};branch=z9hG4bKparty{self.phone.address[1]}",
            "Max-Forwards: 70",
            *(f"Route: {route}" for route in invite.all("record-route")),
            f"From: {invite.one('to')};tag=p{self.phone.address[1]}",
            f"To: {invite.one('from')}",
            f"Call-ID: {invite.one('call-id')}",
            "CSeq: 7 BYE",
            "Content-Length: 0",
            "",
            "",
        ]
        self.phone.send("\r\n".join(lines), invite.source[1], invite.source[0])

    def last(self, seconds: float) -> Samples:
        """What was heard in the last ``seconds``: less, or nothing, where less was sent."""
        since = time.monotonic() - seconds
        packets = [packet for packet in self.ear.heard if packet.type == 0 and packet.at >= since]
        return linear(b"".join(packet.payload for packet in packets))

    def levels(self, *frequencies: float, seconds: float = 1.0) -> list[float]:
        """How loud these tones were in the last ``seconds``, in dB against full scale."""
        samples = self.last(seconds)
        if samples.size < RATE * seconds / 4:
            return [-120.0 for _ in frequencies]
        spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size))) / (samples.size / 4) / 32768
        bins = np.fft.rfftfreq(samples.size, 1 / RATE)
        return [
            20 * float(np.log10(max(spectrum[np.abs(bins - frequency) < 12].max(), 1e-6)))
            for frequency in frequencies
        ]

    def loudness(self, seconds: float = 1.0) -> float:
        """Root mean square of what was heard in the last ``seconds``, 0 where nothing was sent."""
        samples = self.last(seconds)
        return float((samples**2).mean()) ** 0.5 if samples.size else 0.0

    async def press(self, digits: str) -> None:
        await self.ear.press(self._port, digits)

    def _behave(self, phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            if self._invite is None:
                self._invite = request
                media = re.search(r"^m=audio (\d+)", request.body, re.MULTILINE)
                assert media is not None
                self._port = int(media[1])
                self._humming = asyncio.create_task(self._hum())
            phone.answer(request, 200, "OK", body=self.ear.sdp().replace("127.0.0.1", HOST))
        elif request.method == "ACK":
            self.answered.set()
        else:
            phone.answer(request, 200, "OK")
            if request.method in ("BYE", "CANCEL"):
                self.gone.set()

    async def _hum(self) -> None:
        loop = asyncio.get_running_loop()
        begin, index = loop.time(), 0
        while not self.gone.is_set():
            moments = (np.arange(_FRAME) + index * _FRAME) / RATE
            tone = 6000 * np.sin(2 * np.pi * self.frequency * moments)
            samples = cast("g711.Linear", (np.zeros(_FRAME) if self.silent else tone).astype(np.int16))
            self.ear.send(self._port, 0, g711.encode("PCMU", samples), marker=index == 0)
            self.ear.timestamp += _FRAME
            index += 1
            await asyncio.sleep(max(0.0, begin + index * 0.02 - loop.time()))
