"""A dialog (RFC 3261 section 12): the identity of a call between two ends, and the requests inside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ringline.sandbox.ua.address import NameAddr, Uri
from ringline.sandbox.ua.message import Request, Response

Key = tuple[str, str]


@dataclass(slots=True)
class Dialog:
    """``local`` and ``remote`` are the From/To values as they stand in our requests, tags included."""

    call_id: str
    local: str
    local_tag: str
    remote: str
    remote_tag: str
    target: str
    routes: list[str] = field(default_factory=list)
    local_cseq: int = 0
    remote_cseq: int = 0

    @property
    def key(self) -> Key:
        """Call-ID and our tag: how a request of the other side finds us."""
        return self.call_id, self.local_tag

    @classmethod
    def incoming(cls, request: Request, tag: str) -> Dialog:
        """The dialog that an INVITE makes at its receiver."""
        remote = request.get("from")
        return cls(
            call_id=request.get("call-id"),
            local=f"{request.get('to')};tag={tag}",
            local_tag=tag,
            remote=remote,
            remote_tag=NameAddr.parse(remote).tag,
            target=contact(request) or NameAddr.parse(remote).uri,
            routes=request.all("record-route"),
            remote_cseq=request.cseq[0],
        )

    @classmethod
    def outgoing(cls, request: Request, response: Response) -> Dialog:
        """The dialog that a response to our INVITE makes at its sender."""
        local = request.get("from")
        remote = response.get("to")
        return cls(
            call_id=request.get("call-id"),
            local=local,
            local_tag=NameAddr.parse(local).tag,
            remote=remote,
            remote_tag=NameAddr.parse(remote).tag,
            target=contact(response) or request.uri,
            routes=list(reversed(response.all("record-route"))),
            local_cseq=request.cseq[0],
        )

    def request(self, method: str, *, cseq: int | None = None) -> Request:
        """The next request of our side; ACK takes the number of its INVITE instead."""
        if cseq is None:
            self.local_cseq += 1
            cseq = self.local_cseq
        request = Request(method=method, uri=self.target)
        for route in self.routes:
            request.add("route", route)
        request.add("max-forwards", "70")
        request.add("from", self.local)
        request.add("to", self.remote)
        request.add("call-id", self.call_id)
        request.add("cseq", f"{cseq} {method}")
        return request

    def next_hop(self) -> Uri:
        """Where requests of ours go: the first route, else the target itself (loose routing only)."""
        return Uri.parse(NameAddr.parse(self.routes[0]).uri if self.routes else self.target)


def contact(message: Request | Response) -> str:
    """The URI of the Contact header, ``""`` where there is none."""
    value = message.get("contact")
    return NameAddr.parse(value).uri if value else ""
