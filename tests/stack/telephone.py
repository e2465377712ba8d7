"""Telephones of the tests: SIP and sound on a loopback address that the instance may call (``sip`` destinations)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.stack.product import eventually
from tests.stack.rtp import Ear, linear
from tests.stack.sip import Message, Phone


def telephone_address(env: Mapping[str, str]) -> str:
    """The loopback address that the test instance is allowed to call (``scripts/env.sh``)."""
    network = env["RINGLINE_SIP_ALLOWED_NETWORKS"].split(",")[0]
    assert network.startswith("127.") and network.endswith("/32"), network
    return network.removesuffix("/32")


@dataclass
class Telephone:
    """Rings, and answers after ``answers`` seconds (``None``: never), or refuses with ``status`` after them."""

    phone: Phone
    ear: Ear
    answers: float | None = 0.5
    status: int = 200
    crosses: bool = False
    """Answers when it is cancelled, as if its answer had been on the way already."""
    answered: dict[str, float] = field(default_factory=dict)
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    @property
    def target(self) -> str:
        """Its SIP address."""
        host, port = self.phone.address
        return f"phone@{host}:{port}"

    @property
    def destination(self) -> dict[str, str]:
        """Itself as a destination of the API."""
        return {"type": "sip", "target": self.target}

    def heard(self) -> float:
        """The loudness of what came (root mean square of 16 bits), 0 where nothing came."""
        samples = linear(self.ear.audio())
        return float((samples**2).mean() ** 0.5) if samples.size else 0.0

    async def rings(self) -> Message:
        """Until it was called; the INVITE."""
        return await self.phone.wait(lambda m: m.method == "INVITE" and not m.status)

    async def cancelled(self) -> Message:
        """Until it need not ring any more; the CANCEL."""
        return await self.phone.wait(lambda m: m.method == "CANCEL" and not m.status)

    async def hears(self, within: float = 30.0) -> None:
        """Until it has heard something that is loud enough for speech."""
        await eventually(lambda: self.heard() > 500, "speech is heard", within=within, every=0.3)

    def hang_up(self, call_id: str) -> None:
        """Send the BYE of a call that was answered, straight along its route set."""
        invite = self.phone.requests("INVITE", call_id)[0]
        ack = self.phone.requests("ACK", call_id)[0]
        routes = invite.all("record-route")
        tag = f";tag=p{self.phone.address[1]}"
        lines = [
            f"BYE {invite.one('contact').partition('<')[2].partition('>')[0]} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.phone.address[0]}:{self.phone.address[1]};rport;branch=z9hG4bK{time.time_ns()}",
            *(f"Route: {route}" for route in routes),
            f"From: {invite.one('to')}{tag}",
            f"To: {invite.one('from')}",
            f"Call-ID: {call_id}",
            "CSeq: 77 BYE",
            "Max-Forwards: 70",
            "Content-Length: 0",
            "",
            "",
        ]
        self.phone.send("\r\n".join(lines), ack.source[1], ack.source[0])

    def answer_now(self) -> None:
        """Answer (or refuse) every call that rings."""
        for invite in self.phone.requests("INVITE"):
            self._final(invite)

    def behave(self, phone: Phone, request: Message) -> None:
        call_id = request.one("call-id")
        if request.method == "INVITE":
            if len(phone.requests("INVITE", call_id)) > 1 and call_id in self.answered:
                return
            phone.answer(request, 180, "Ringing")
            if self.answers is not None:
                loop = asyncio.get_running_loop()
                self.timers.append(loop.call_later(self.answers, self._final, request))
        elif request.method == "CANCEL":
            phone.answer(request, 200, "OK")
            for invite in phone.requests("INVITE", call_id)[:1]:
                if self.crosses:
                    self._final(invite)
                elif call_id not in self.answered:
                    self.answered[call_id] = 0.0
                    phone.answer(invite, 487, "Request Terminated")
        elif request.method == "BYE":
            phone.answer(request, 200, "OK")

    def _final(self, invite: Message) -> None:
        call_id = invite.one("call-id")
        if call_id in self.answered:
            return
        self.answered[call_id] = time.monotonic()
        if self.status == 200:
            self.phone.answer(
                invite, 200, "OK", body=self.ear.sdp(codecs="0 101", host=self.phone.address[0])
            )
        else:
            self.phone.answer(invite, self.status, "Refused")

    def close(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.phone.close()
        self.ear.close()


class Telephones:
    """Makes telephones and takes them away again."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._made: list[Telephone] = []

    async def add(self, answers: float | None = 0.5, status: int = 200) -> Telephone:
        phone = await Phone.open(0, None, self._host)
        telephone = Telephone(phone, await Ear.open(self._host), answers, status)
        phone.behaviour = telephone.behave
        self._made.append(telephone)
        return telephone

    def close(self) -> None:
        for telephone in self._made:
            telephone.close()


@asynccontextmanager
async def telephones(env: Mapping[str, str]) -> AsyncIterator[Telephones]:
    made = Telephones(telephone_address(env))
    try:
        yield made
    finally:
        made.close()
