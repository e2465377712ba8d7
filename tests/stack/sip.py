"""A SIP telephone of a few lines, for tests: it sends what it is told and records what it gets, with times."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

CRLF = "\r\n"
WITHIN = 15.0
"""How long what will come is waited for (seconds); who waits for silence says for how long."""


@dataclass(frozen=True)
class Message:
    """One SIP message as it was on the wire."""

    start: str
    fields: tuple[tuple[str, str], ...]
    body: str
    raw: str
    source: tuple[str, int] = ("", 0)
    at: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, data: bytes, source: tuple[str, int]) -> Message:
        raw = data.decode(errors="replace")
        head, _, body = raw.partition(CRLF * 2)
        start, *lines = head.split(CRLF)
        fields = tuple(
            (name.strip().lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)
        )
        return cls(start, fields, body, raw, source)

    @property
    def status(self) -> int:
        """The status code of a response, 0 for a request."""
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0") else 0

    @property
    def method(self) -> str:
        return self.start.split()[0] if not self.status else self.one("cseq").split()[1]

    @property
    def uri(self) -> str:
        return self.start.split()[1]

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]

    def one(self, name: str) -> str:
        return next(iter(self.all(name)), "")


Behaviour = Callable[["Phone", Message], None]


class Phone(asyncio.DatagramProtocol):
    """A UDP port that speaks SIP. ``behaviour`` is called with each request that arrives."""

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour
        self.received: list[Message] = []
        self._answered: dict[str, tuple[str, int, str] | None] = {}
        self._news = asyncio.Event()
        self._transport: asyncio.DatagramTransport | None = None
        self.address = ("", 0)

    @classmethod
    async def open(cls, port: int = 0, behaviour: Behaviour | None = None, host: str = "127.0.0.1") -> Phone:
        loop = asyncio.get_running_loop()
        _, phone = await loop.create_datagram_endpoint(lambda: cls(behaviour), local_addr=(host, port))
        return phone

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.address = transport.get_extra_info("sockname")

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = Message.parse(data, addr)
        if message.start and not message.status and message.method != "ACK":
            # a request that is sent again is the same one, and is answered as it was (RFC 3261 section 17.2)
            if message.raw in self._answered:
                if (said := self._answered[message.raw]) is not None:
                    self.send(*said)
                return
            self._answered[message.raw] = None
        self.received.append(message)
        if not message.status and self.behaviour is not None:
            self.behaviour(self, message)
        self._news.set()

    def send(self, text: str, port: int, host: str = "127.0.0.1") -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), (host, port))

    def answer(
        self, request: Message, status: int, reason: str = "Whatever", *extra: str, body: str = ""
    ) -> None:
        """Send a response along the request's Via, with a To tag of our own."""
        to = request.one("to")
        if status > 100 and ";tag=" not in to:
            to += f";tag=p{self.address[1]}"
        lines = [f"SIP/2.0 {status} {reason}"]
        lines += [f"Via: {via}" for via in request.all("via")]
        lines += [f"Record-Route: {route}" for route in request.all("record-route")]
        lines += [f"From: {request.one('from')}", f"To: {to}"]
        lines += [f"Call-ID: {request.one('call-id')}", f"CSeq: {request.one('cseq')}"]
        lines += [
            *(
                ()
                if any(line.lower().startswith("contact:") for line in extra)
                else (f"Contact: <sip:{self.address[0]}:{self.address[1]}>",)
            ),
            *extra,
            *(("Content-Type: application/sdp",) if body else ()),
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
        said = CRLF.join(lines), request.source[1], request.source[0]
        self._answered[request.raw] = said
        self.send(*said)

    def requests(self, method: str, call_id: str = "") -> list[Message]:
        found = [m for m in self.received if not m.status and m.method == method]
        return [m for m in found if not call_id or m.one("call-id") == call_id]

    async def wait(self, wanted: Callable[[Message], bool], within: float = WITHIN) -> Message:
        """The first message that is wanted, from the beginning of the record."""
        try:
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    for message in self.received:
                        if wanted(message):
                            return message
                    await self._news.wait()
        except TimeoutError:
            raise TimeoutError(f"not within {within:g} s: {[m.start for m in self.received]}") from None

    async def request(self, method: str, call_id: str, within: float = WITHIN) -> Message:
        return await self.wait(
            lambda m: not m.status and m.method == method and m.one("call-id") == call_id, within
        )

    async def final(self, call_id: str, method: str = "INVITE", within: float = WITHIN) -> Message:
        """The final response to our request of that Call-ID."""
        return await self.wait(
            lambda m: m.status >= 200 and m.one("call-id") == call_id and m.method == method, within
        )


SDP = CRLF.join(
    ("v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "c=IN IP4 127.0.0.1", "t=0 0", "m=audio 17999 RTP/AVP 0", "")
)


@dataclass
class Dialog:
    """What a caller must remember to speak in its dialog."""

    phone: Phone
    call_id: str
    uri: str
    from_: str
    to: str
    branch: str
    cseq: int = 1
    routes: tuple[str, ...] = ()

    def accept(self, answer: Message) -> None:
        """Take the remote tag, the Contact and the route set of a response."""
        self.to = answer.one("to")
        self.routes = tuple(reversed(answer.all("record-route")))
        if contact := answer.one("contact"):
            self.uri = contact.partition("<")[2].partition(">")[0]

    def text(self, method: str, *extra: str, body: str = "") -> str:
        port = self.phone.address[1]
        lines = [
            f"{method} {self.uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:{port};rport;branch={self.branch}",
            *(f"Route: {route}" for route in self.routes),
            f"From: {self.from_}",
            f"To: {self.to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            *(() if any(x.lower().startswith("max-forwards") for x in extra) else ("Max-Forwards: 70",)),
            f"Contact: <sip:asterisk@127.0.0.1:{port}>",
            *extra,
            *(("Content-Type: application/sdp",) if body else ()),
            f"Content-Length: {len(body)}",
        ]
        return CRLF.join([*lines, "", body])

    def next(self) -> None:
        self.branch = new_branch()
        self.cseq += 1


def new_branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)


def dialog(phone: Phone, uri: str, from_: str = "<sip:+15551234567@127.0.0.1>") -> Dialog:
    """A dialog that is about to begin."""
    return Dialog(
        phone,
        call_id=secrets.token_hex(12),
        uri=uri,
        from_=f"{from_};tag={secrets.token_hex(4)}",
        to=f"<{uri}>",
        branch=new_branch(),
    )


def reply(status: int, *, after: tuple[int, ...] = ()) -> Behaviour:
    """A callee that answers each INVITE with these statuses and every BYE and CANCEL properly."""

    def behave(phone: Phone, request: Message) -> None:
        if request.method == "INVITE":
            for provisional in after:
                phone.answer(request, provisional)
            # Not in the same breath: Kamailio's workers would overtake each other.
            pause = 0.1 if after else 0.0
            final = partial(phone.answer, request, status, body=SDP if status == 200 else "")
            asyncio.get_running_loop().call_later(pause, final)
        elif request.method in ("BYE", "CANCEL", "INFO"):
            phone.answer(request, 200)

    return behave


def silent(_phone: Phone, _request: Message) -> None:
    """A callee that never says anything."""
