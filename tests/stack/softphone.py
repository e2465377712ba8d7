"""A registered telephone of the tests that says on the wire exactly what it is told, and hums a tone of its own."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Mapping
from uuid import uuid4

import numpy as np

from ringline.sandbox.audio import g711
from tests.stack.audio import RATE, Samples
from tests.stack.registering import Account, Line
from tests.stack.rtp import Ear
from tests.stack.sip import CRLF, Message, Phone, new_branch
from tests.stack.sip import Dialog as Dialling

FRAME = 160
CODECS = {"PCMU": (0, "PCMU/8000"), "PCMA": (8, "PCMA/8000")}


class Talk:
    """One dialog of a softphone, whoever began it."""

    def __init__(self, phone: Softphone, call_id: str, local: str, remote: str) -> None:
        self.phone = phone
        self.call_id = call_id
        self.local = local
        self.remote = remote
        self.target = ""
        self.routes: tuple[str, ...] = ()
        self.cseq = 100
        self.rtp_port = 0
        self.codec = "PCMU"
        self.ended = asyncio.Event()

    @property
    def replaces(self) -> str:
        """Itself as the value of ``Replaces`` in a Refer-To: tags as the other end knows them (RFC 3891)."""
        theirs, ours = (re.search(r";tag=([^;>]+)", side) for side in (self.remote, self.local))
        assert theirs and ours
        return f"{self.call_id}%3Bto-tag%3D{theirs[1]}%3Bfrom-tag%3D{ours[1]}"

    @property
    def plain(self) -> str:
        """The same as the value of a ``Replaces`` header."""
        return self.replaces.replace("%3B", ";").replace("%3D", "=")

    def learn(self, message: Message) -> None:
        """Where the other end is, and where its sound goes."""
        if contact := re.search(r"<([^>]+)>", message.one("contact")):
            self.target = contact[1]
        if media := re.search(r"^m=audio (\d+) \S+ (\d+)", message.body, re.MULTILINE):
            self.rtp_port = int(media[1])
            self.codec = next((name for name, (kind, _) in CODECS.items() if str(kind) == media[2]), "PCMU")

    def text(self, method: str, *headers: str, body: str = "", cseq: int = 0) -> str:
        host, port = self.phone.phone.address
        kind = () if not body or any(h.lower().startswith("content-type") for h in headers) else (_SDP,)
        lines = [
            f"{method} {self.target} SIP/2.0",
            f"Via: SIP/2.0/UDP {host}:{port};rport;branch={new_branch()}",
            *(f"Route: {route}" for route in self.routes),
            f"From: {self.local}",
            f"To: {self.remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq or self.cseq} {method}",
            "Max-Forwards: 70",
            f"Contact: <sip:{self.phone.user}@{host}:{port}>",
            *headers,
            *kind,
            f"Content-Length: {len(body)}",
        ]
        return CRLF.join([*lines, "", body])

    async def request(self, method: str, *headers: str, body: str = "") -> Message:
        """Send a request within the dialog; its final answer, acknowledged where it is to be."""
        self.cseq += 1
        cseq = self.cseq
        self.phone.send(self.text(method, *headers, body=body))
        answer = await self.phone.phone.wait(
            lambda m: (
                m.status >= 200 and m.one("call-id") == self.call_id and m.one("cseq") == f"{cseq} {method}"
            )
        )
        if method == "INVITE" and answer.status < 300:
            self.learn(answer)
            self.phone.send(self.text("ACK", cseq=cseq))
        return answer

    async def hold(self, direction: str = "sendonly") -> Message:
        return await self.request("INVITE", body=self.phone.offer(direction))

    async def resume(self) -> Message:
        return await self.request("INVITE", body=self.phone.offer())

    async def refer(self, to: str, *headers: str) -> Message:
        return await self.request("REFER", f"Refer-To: <{to}>", *headers)

    def told(self) -> list[str]:
        """What the NOTIFYs said of the transfer, status by status, repetitions left out."""
        found = [m.body.split()[1] for m in self.phone.phone.requests("NOTIFY", self.call_id) if m.body]
        return list(dict.fromkeys(found))

    def finals(self) -> int:
        """How many transfers were told to be over."""
        notified = self.phone.phone.requests("NOTIFY", self.call_id)
        return len({m.one("cseq") for m in notified if m.one("subscription-state").startswith("terminated")})

    async def bye(self) -> None:
        await self.request("BYE")
        self.ended.set()


_SDP = "Content-Type: application/sdp"


class Softphone:
    """``frequency`` (Hz) is what it hums to whoever it talks with. Answers every call at once."""

    def __init__(self, phone: Phone, ear: Ear, line: Line, frequency: float) -> None:
        self.phone = phone
        self.ear = ear
        self.line = line
        self.frequency = frequency
        self.user = line.account.user
        self.talks: dict[str, Talk] = {}
        self.answers = True
        self.codecs = ("PCMU",)
        self._humming: asyncio.Task[None] | None = None
        phone.behaviour = self._behave

    @classmethod
    async def open(
        cls, env: Mapping[str, str], user: str, frequency: float, account: Account | None = None
    ) -> Softphone:
        """A telephone of the first customer's extension ``user`` (or of ``account``), registered."""
        phone, ear = await Phone.open(), await Ear.open()
        domain = f"test.{env['RINGLINE_SIP_DOMAIN']}"
        account = account or Account(uuid4(), uuid4(), user, domain, env["RINGLINE_EXTENSION_PASSWORD"])
        made = cls(phone, ear, Line(phone, account, int(env["RINGLINE_KAMAILIO_PORT"])), frequency)
        answer = await made.line.register()
        assert answer.status == 200, answer.raw
        made._humming = asyncio.create_task(made._hum())
        return made

    async def close(self) -> None:
        for talk in self.talks.values():
            if not talk.ended.is_set() and talk.target:
                self.send(talk.text("BYE", cseq=talk.cseq + 1))
        await self.line.register(expires=0)
        if self._humming is not None:
            self._humming.cancel()
            await asyncio.gather(self._humming, return_exceptions=True)
        self.phone.close()
        self.ear.close()

    def send(self, text: str) -> None:
        self.phone.send(text, self.line.port)

    def offer(self, direction: str = "sendrecv", codecs: tuple[str, ...] = ()) -> str:
        host = self.phone.address[0]
        kinds = [CODECS[name] for name in codecs or self.codecs]
        lines = [
            *(
                "v=0",
                f"o=soft 1 {secrets.randbelow(10**6)} IN IP4 {host}",
                "s=-",
                f"c=IN IP4 {host}",
                "t=0 0",
            ),
            f"m=audio {self.ear.port} RTP/AVP {' '.join(str(kind) for kind, _ in kinds)} 101",
            *(f"a=rtpmap:{kind} {name}" for kind, name in kinds),
            *("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15", f"a={direction}", ""),
        ]
        return CRLF.join(lines)

    async def dial(self, number: str, *headers: str, body: str | None = None, within: float = 30) -> Talk:
        """Call and wait for the answer. Without a body (``""``) the far side offers, and is answered in the ACK."""
        begun = await self.line.invite(number, *headers, body=self.offer() if body is None else body)
        answer = await self.final(begun, within)
        assert answer.status == 200, answer.raw
        return self.established(begun, answer, late=body == "")

    async def final(self, begun: Dialling, within: float = 30) -> Message:
        """The final answer to a call."""
        return await self.phone.wait(
            lambda m: (
                m.status >= 200
                and m.status != 407
                and m.one("call-id") == begun.call_id
                and m.method == "INVITE"
            ),
            within,
        )

    def established(self, begun: Dialling, answer: Message, *, late: bool = False) -> Talk:
        talk = self.talks[begun.call_id] = Talk(self, begun.call_id, begun.from_, answer.one("to"))
        talk.routes = tuple(reversed(answer.all("record-route")))
        talk.cseq = begun.cseq
        talk.learn(answer)
        self.send(talk.text("ACK", body=self.offer() if late else ""))
        return talk

    async def called(self, within: float = 30, besides: Talk | None = None) -> Talk:
        """The call that came and was answered, ``besides`` another one."""
        known = {talk.call_id for talk in self.talks.values() if talk.ended.is_set() or talk is besides}
        ack = await self.phone.wait(
            lambda m: not m.status and m.method == "ACK" and m.one("call-id") not in known, within
        )
        return self.talks[ack.one("call-id")]

    def last(self, seconds: float, talk: Talk | None = None) -> Samples:
        """What was heard in the last ``seconds``, in one talk of several: who is on hold goes on sending."""
        since = time.monotonic() - seconds
        names = {kind: name for name, (kind, _) in CODECS.items()}
        heard = [packet for packet in self.ear.heard if packet.at >= since and packet.type in names]
        if talk is not None:
            heard = [packet for packet in heard if packet.port == talk.rtp_port]
        data = b"".join(g711.decode(names[packet.type], packet.payload) for packet in heard)
        return np.frombuffer(data, dtype="<i2").astype(np.float64)

    def hears(self, frequency: float, seconds: float = 0.5) -> bool:
        """Whether this tone is most of what was heard lately."""
        return share(self.last(seconds), frequency) > 0.5

    def _behave(self, phone: Phone, request: Message) -> None:
        call_id = request.one("call-id")
        talk = self.talks.get(call_id)
        match request.method:
            case "INVITE" if talk is None:
                tag = f";tag=p{phone.address[1]}"
                talk = self.talks[call_id] = Talk(self, call_id, request.one("to") + tag, request.one("from"))
                talk.routes = tuple(request.all("record-route"))
                talk.learn(request)
                phone.answer(request, 180, "Ringing", self._contact())
                if self.answers:
                    self._accept(request)
            case "INVITE":
                assert talk is not None
                talk.learn(request)
                if request.body and "a=inactive" in request.body:
                    self._accept(request, "inactive")
                else:
                    self._accept(request, "recvonly" if "a=sendonly" in request.body else "sendrecv")
            case "BYE":
                phone.answer(request, 200, "OK")
                if talk is not None:
                    talk.ended.set()
            case "CANCEL":
                phone.answer(request, 200, "OK")
                for invite in phone.requests("INVITE", call_id)[:1]:
                    phone.answer(invite, 487, "Request Terminated", self._contact())
                if talk is not None:
                    talk.ended.set()
            case "NOTIFY" | "INFO" | "OPTIONS" | "UPDATE":
                phone.answer(request, 200, "OK", self._contact())

    def _accept(self, request: Message, direction: str = "sendrecv") -> None:
        self.phone.answer(request, 200, "OK", self._contact(), body=self.offer(direction))

    def _contact(self) -> str:
        host, port = self.phone.address
        return f"Contact: <sip:{self.user}@{host}:{port}>"

    async def _hum(self) -> None:
        """Say the tone to all whom it talks with, 20 ms at a time, on time."""
        start, index = time.monotonic(), 0
        # whole periods: each packet goes on where the one before has ended
        assert self.frequency % 50 == 0
        tone = (8000 * np.sin(2 * np.pi * self.frequency * np.arange(FRAME) / RATE)).astype(np.int16)
        payloads = {name: g711.encode(name, tone) for name in CODECS}
        while True:
            for talk in list(self.talks.values()):
                if talk.rtp_port and not talk.ended.is_set():
                    kind, payload = CODECS[talk.codec][0], payloads[talk.codec]
                    self.ear.send(talk.rtp_port, kind, payload, timestamp=5000 + index * FRAME)
            index += 1
            await asyncio.sleep(max(0.0, start + index * 0.02 - time.monotonic()))


def share(samples: Samples, frequency: float) -> float:
    """How much of the energy is at a frequency (0 to 1); 0 for silence."""
    if samples.size < RATE // 10 or float(np.sqrt((samples**2).mean())) < 50:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size))) ** 2
    bins = np.fft.rfftfreq(samples.size, 1 / RATE)
    return float(spectrum[np.abs(bins - frequency) < 25].sum() / spectrum.sum())


def loudness(samples: Samples) -> float:
    """Root mean square of 16-bit samples, 0 where nothing came."""
    return float(np.sqrt((samples**2).mean())) if samples.size else 0.0
