"""SIP transactions over UDP (RFC 3261 section 17, RFC 6026): what is repeated, how often and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ringline.sandbox.ua.message import Request, Response

T1 = 0.5
T2 = 4.0
LIFETIME = 64 * T1

Peer = tuple[str, int]
Send = Callable[[bytes, Peer], None]
Key = tuple[str, str, str]


class _Repeater:
    """Sends the same bytes again after T1, 2*T1, ... until stopped or until ``LIFETIME`` is over."""

    def __init__(self, again: Callable[[], None], over: Callable[[], None], *, cap: float) -> None:
        self._again = again
        self._over = over
        self._cap = cap
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._end = 0.0

    def start(self) -> None:
        self.stop()
        self._end = self._loop.time() + LIFETIME
        self._timer = self._loop.call_later(T1, self._tick, T1)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self, interval: float) -> None:
        if self._loop.time() >= self._end:
            self._timer = None
            self._over()
            return
        self._again()
        interval = min(interval * 2, self._cap)
        remaining = max(0.0, self._end - self._loop.time())
        self._timer = self._loop.call_later(min(interval, remaining), self._tick, interval)


class ServerTransaction:
    """A request that came in: remembers its last response and repeats it when the request is repeated.

    For INVITE a final response is repeated by itself until its ACK arrives: then ``on_acknowledged`` is called, or
    ``on_unacknowledged`` when it never does. ``on_cancel`` is called when the caller gives up before that.
    """

    def __init__(self, send: Send, request: Request, peer: Peer) -> None:
        self.request = request
        self.status = 0
        self.on_cancel: Callable[[], None] | None = None
        self.on_acknowledged: Callable[[], None] | None = None
        self.on_unacknowledged: Callable[[], None] | None = None
        self.peer = peer
        self._send = send
        self._last = b""
        self._over_at = 0.0
        self._repeater = _Repeater(self._repeat, self._lost, cap=T2)

    @property
    def is_invite(self) -> bool:
        return self.request.method == "INVITE"

    @property
    def final(self) -> bool:
        """Whether the final response has been sent."""
        return self.status >= 200

    def respond(self, response: Response) -> None:
        """Send a response. After a final one, nothing more can be said: later calls do nothing."""
        if self.final:
            return
        self.status = response.status
        self._last = response.to_bytes()
        self._repeat()
        if response.status >= 200:
            # A little longer than its repetitions last, so that it hears of an ACK that never came.
            self._over_at = asyncio.get_running_loop().time() + LIFETIME + 1
            if self.is_invite:
                self._repeater.start()

    def repeated(self) -> None:
        """The request arrived again."""
        if self._last:
            self._repeat()

    def acknowledged(self) -> None:
        """The ACK for the final response arrived."""
        self._repeater.stop()
        notify, self.on_acknowledged = self.on_acknowledged, None
        if notify is not None:
            notify()

    def remaining(self) -> float:
        """Seconds it must still be remembered: one lifetime while unanswered or after its final response."""
        return max(0.0, self._over_at - asyncio.get_running_loop().time()) if self.final else LIFETIME

    def close(self) -> None:
        """Forget it: no more repetitions."""
        self._repeater.stop()
        self.on_cancel = self.on_acknowledged = self.on_unacknowledged = None

    def _repeat(self) -> None:
        self._send(self._last, self.peer)

    def _lost(self) -> None:
        if self.on_unacknowledged is not None:
            self.on_unacknowledged()


class ClientTransaction:
    """A request of ours: repeated until something is heard.

    ``on_response`` receives every provisional response, the final one, and each repetition of a 2xx to an INVITE
    (its ACK must be repeated too); a request nobody answers ends with a 408 of our own.
    """

    def __init__(
        self, send: Send, request: Request, peer: Peer, on_response: Callable[[Response], None]
    ) -> None:
        self.request = request
        self.on_response = on_response
        self.final = False
        self.provisional = False
        self._send = send
        self._peer = peer
        self._bytes = request.to_bytes()
        self._ack = b""
        self._repeater = _Repeater(self._repeat, self._timeout, cap=LIFETIME if self.is_invite else T2)

    @property
    def is_invite(self) -> bool:
        return self.request.method == "INVITE"

    def start(self) -> None:
        """Send it."""
        self._repeat()
        self._repeater.start()

    def received(self, response: Response) -> None:
        """A response with this transaction's branch arrived."""
        if response.status < 200:
            if self.final:
                return
            self.provisional = True
            if self.is_invite:
                self._repeater.stop()
            self.on_response(response)
            return
        self._repeater.stop()
        if self.is_invite and response.status >= 300:
            if not self._ack:
                self._ack = self._acknowledge(response).to_bytes()
            self._send(self._ack, self._peer)
        if self.final and not (self.is_invite and response.status < 300):
            return
        self.final = True
        self.on_response(response)

    def close(self) -> None:
        """Forget it: no more repetitions."""
        self._repeater.stop()

    def cancel_request(self) -> Request:
        """The CANCEL of this INVITE (RFC 3261 section 9.1)."""
        return self._same_branch("CANCEL")

    def _acknowledge(self, response: Response) -> Request:
        ack = self._same_branch("ACK")
        ack.headers = [(name, value) for name, value in ack.headers if name != "to"]
        ack.add("to", response.get("to"))
        return ack

    def _same_branch(self, method: str) -> Request:
        other = Request(method=method, uri=self.request.uri)
        for name, value in self.request.headers:
            if name in ("via", "route", "max-forwards", "from", "to", "call-id"):
                other.headers.append((name, value))
        other.add("cseq", f"{self.request.cseq[0]} {method}")
        return other

    def _repeat(self) -> None:
        self._send(self._bytes, self._peer)

    def _timeout(self) -> None:
        if not self.final:
            self.final = True
            self.on_response(self.request.response(408))


def server_key(request: Request, branch: str, sent_by: Peer) -> Key:
    """What makes two requests the same one: branch, sender, and the method (ACK and CANCEL find their INVITE)."""
    method = "INVITE" if request.method in ("ACK", "CANCEL") else request.method
    if not branch.startswith("z9hG4bK"):  # RFC 2543 peers: match by what identifies the request
        branch = f"{request.get('call-id')} {request.get('from')} {request.cseq[0]}"
    return branch, f"{sent_by[0]}:{sent_by[1]}", method
